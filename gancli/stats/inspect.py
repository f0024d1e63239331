"""inspect_stats(): compare samples with the reals, decide a verdict, and add the history of the run."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from gancli import checkpoint, devices, runs
from gancli.data.given import Data, place_of
from gancli.errors import GancliError, InputMissing
from gancli.health import Health
from gancli.networks.feature_extractors import open_feature_extractor
from gancli.pool import Pool
from gancli.results import Progress, printable, silent, warnings_of
from gancli.runs import Run, StoredVerdict
from gancli.stats.inspect_checkpoint import of_checkpoint, reals_of
from gancli.stats.inspect_files import of_files
from gancli.stats.inspection import How

SAMPLES, QUICK_SAMPLES = 1_000, 400


@devices.uses_threads
def inspect_stats(
    target: Data | None = None,
    data: Data | None = None,
    *,
    outdir: str | Path = "runs",
    samples: int = SAMPLES,
    raw: bool = False,
    quick: bool = False,
    slow: bool = True,
    features: str | Path | None = None,
    labels: str | Path | None = None,
    need_reals: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    processes: int = 1,
    progress: Progress = silent,
) -> Health:
    """Evaluate a run folder, a checkpoint or a set of samples against real data.

    target: defaults to the newest run under `outdir`. It may also be a folder, zip, tar, array or tensor of samples
    of any source; `data` must then name the reals. data: the reals, if they have moved since training. raw: evaluate
    the raw weights instead of their EMA. quick: use at most 400 samples, skip the slower figures, and do not search for
    copies or judge the raw weights, too. slow: compute the figures that take longest, too; the verdict does not rest
    on them. features: weights of a feature network, for FID. labels: classes of the reals, a .csv, .npy or idx file; by
    default a labels.csv beside them, or their folders. With the extra `pretrained`, the content of images is compared
    by the features of EfficientNet-Lite0. processes: they generate samples and compute trained features together, with
    the same result. Both sides have the same N: min(samples, reals / 2). Without reals the verdict is `undecided`, or
    InputMissing is raised if `need_reals`. Raises UsageError, InputMissing, CheckpointError and DataError.
    """
    target, data = place_of(target), place_of(data)
    wanted = min(samples, QUICK_SAMPLES) if quick else samples
    network = open_feature_extractor(features, device=str(devices.choose(device))) if features is not None else None
    if target is not None and not target.startswith("builtin:") and not Path(target).exists():
        hint = "give a run folder, a .pt file, or samples: a folder, zip, tar or array"
        raise InputMissing("no such file or folder", where=printable(target), hint=hint)
    with Pool.opened(processes, devices.choose(device).type) as pool:
        network = network and replace(network, pool=pool)
        how = How(wanted, quick, slow and not quick, network, labels, device, progress, pool)
        if target is not None and _is_samples(target):
            return of_files(target, data, how)
        run = None if target is not None else runs.newest(Path(outdir))
        return _run(run.path if run else Path(str(target)), data, how, raw=raw, need_reals=need_reals)


def _run(path: Path, data: str | None, how: How, *, raw: bool, need_reals: bool) -> Health:
    """Evaluate a run folder or a checkpoint."""
    path = checkpoint.locate(path)
    opened = checkpoint.read(path)
    history = _history(path)
    try:
        dataset = reals_of(opened, data, how.progress)
    except GancliError as error:
        if need_reals or data is not None:
            raise
        why = f"no reals to compare with: {error.what}"
        return Health("undecided", "low", (why,), source=str(path), history=history)
    health = replace(of_checkpoint(opened, dataset, how, raw=raw), history=history)
    if data is None and not raw and (folder := _run_of(path)).config_file.exists():
        StoredVerdict(health.verdict, health.confidence, opened.images).write(folder)
    return health


def _is_samples(target: str | Path) -> bool:
    """Decided by content: True for a folder that is not a run, or a file that is not a checkpoint."""
    path = Path(target)
    if path.is_dir():
        return not (path / "config.yaml").exists() and not (path / "last.pt").exists()
    if not path.is_file():
        return str(target).startswith("builtin:")
    if path.suffix.lower() in (".pt", ".pth"):
        return False
    if not zipfile.is_zipfile(path):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # the reader of samples tells what is wrong with it
        return True


def _run_of(path: Path) -> Run:
    """The run folder that contains a checkpoint."""
    return Run(path.parent.parent if path.parent.name == "checkpoints" else path.parent)


def _history(path: Path) -> dict[str, Any]:
    """The history in stats.jsonl of the run that contains the checkpoint; empty if there is none."""
    ticks = _run_of(path).stats()
    if not ticks:
        return {}
    return {
        "kimg": [tick["kimg"] for tick in ticks],
        "std_ratio": [tick["std_ratio"] for tick in ticks],
        "critic_loss": [tick["critic_loss"] for tick in ticks],
        "warnings": [f"{tick['kimg']:g} kimg: {warning}" for tick in ticks for warning in warnings_of(tick)],
    }
