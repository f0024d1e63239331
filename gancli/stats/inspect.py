"""inspect_stats(): compare samples with the reals, decide a verdict, and add the history of the run."""

import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gancli import checkpoint, devices, runs
from gancli.checkpoint import Opened
from gancli.config import ResolvedConfig
from gancli.config.family import USUAL_SIZE
from gancli.config.networks import ProgressiveConfig
from gancli.data import Dataset, Shape, facts, open_dataset
from gancli.data.given import Data, place_of
from gancli.data.labels import labels_of
from gancli.errors import DataError, GancliError, InputMissing, UsageError
from gancli.growth import Schedule
from gancli.health import Health
from gancli.networks.feature_extractors import SHA256, FeatureExtractor, open_feature_extractor, pretrained
from gancli.pool import Pool
from gancli.results import Progress, printable, silent, warnings_of
from gancli.runs import Run, StoredVerdict
from gancli.sampling import Generator
from gancli.seeds import permutation
from gancli.stats import figures, sample_sets
from gancli.stats.comparison import Comparison
from gancli.stats.evaluate import evaluate
from gancli.stats.known_modes import mode_counter
from gancli.stats.sample_sets import FIRST_SEED, MAX_HEIGHT, Reals
from gancli.stats.verdict import MIN_SAMPLES, decide

EARLY = 0.1  # share of the schedule below which nothing is decided
EVEN_SMALL = ("collapsed", "low-diversity", "memorizing")  # verdicts that hold before full size, too

SAMPLES, QUICK_SAMPLES = 1_000, 400


@dataclass(frozen=True)
class How:
    """Options of an inspection."""

    samples: int  # per side, at most
    quick: bool
    slow: bool  # also the figures that take longest
    network: FeatureExtractor | None  # of the user, for FID
    labels: str | Path | None  # file of labels
    device: str
    progress: Progress
    pool: Pool | None = None

    def extractor(self, kind: str) -> FeatureExtractor | None:
        """Trained features, if they are installed and the samples are images."""
        found = pretrained(str(devices.choose(self.device))) if kind == "image" else None
        return found and replace(found, pool=self.pool)

    def generator(self, opened: Opened, *, raw: bool) -> Generator:
        """The generator of a checkpoint."""
        return replace(Generator.of(opened, raw=raw, device=self.device), pool=self.pool)


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
            return _files(target, data, how)
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
    health = replace(_checkpoint(opened, dataset, how, raw=raw), history=history)
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


def _files(target: str, data: str | None, how: How) -> Health:
    """Evaluate samples from files against a set of reals, at the size of the samples."""
    if data is None:
        hint = "add --against REALS, a folder or zip of the training images"
        raise UsageError(
            "no real data to compare the samples with",
            where=printable(target),
            hint=hint,
        )
    fakes, reals = _open_both(target, data, how.progress)
    count = min(how.samples, len(fakes.values), len(reals.values) // 2)
    center, scale = _range(reals)
    base = _undecided(count, "files", target, data, reals.kind, how)
    if count < MIN_SAMPLES:
        return _too_few(base)
    labels, extractor = labels_of(data, reals, how.labels), how.extractor(reals.kind)
    sets = Reals(reals, center=center, scale=scale, labels=labels, extractor=extractor)
    reference, trained = sets.reference(count, quick=how.quick, progress=how.progress)
    places = permutation(0, 1, len(fakes.values)).numpy()[:count]
    x = Reals(fakes, center=center, scale=scale).shown(places)
    c = Comparison(x, reference, network=how.network, count_modes=mode_counter(data, center, scale))
    health = evaluate(
        base, c, places.tolist(), reals=sets.both(count), rows=trained, quick=not how.slow, progress=how.progress
    )
    if 2 * reals.report.enlarged <= len(reals.values):
        return health
    enlarged = f"{reals.report.enlarged} of the reals were upscaled to the size of the samples: sharpness is unreliable"
    return replace(health, confidence="low", right=None, evidence=(*health.evidence, enlarged))


def _undecided(count: int, weights: str, source: str, reals: str, kind: str, how: How) -> Health:
    """A Health with the verdict `undecided`, before any figure is computed."""
    return Health(
        "undecided",
        "low",
        (),
        samples=count,
        weights=weights,
        source=source,
        reals=reals,
        kind=kind,
        quick=not how.slow,
    )


def _open_both(target: str, data: str, progress: Progress) -> tuple[Dataset, Dataset]:
    """Samples and reals at the size of the samples, at most MAX_HEIGHT; gray becomes color if the other is color."""
    height, width = facts(target).size or USUAL_SIZE
    shrink = max(1.0, max(height, width) / MAX_HEIGHT)
    shape = Shape(max(1, round(height / shrink)), max(1, round(width / shrink)), None, "crop")
    opened = partial(open_dataset, held_out=0.0, progress=progress)
    fakes, reals = opened(target, shape), opened(data, shape)
    if fakes.sample_shape != reals.sample_shape and len(fakes.sample_shape) == len(reals.sample_shape) == 3:
        shape = replace(shape, channels=max(fakes.sample_shape[0], reals.sample_shape[0]))
        fakes, reals = opened(target, shape), opened(data, shape)
    if fakes.sample_shape != reals.sample_shape:
        what = f"the samples have shape {fakes.sample_shape}, the reals {reals.sample_shape}"
        raise DataError(what, where=printable(data), hint="give reals of the same kind")
    return fakes, reals


def _range(reals: Dataset) -> tuple[float, float]:
    """Center and half-width of the value range of signals and points; (0, 1) for images."""
    if reals.kind == "image":
        return 0.0, 1.0
    low, high = float(reals.values.min()), float(reals.values.max())
    return (low + high) / 2, max((high - low) / 2, 1e-12)


def _too_few(health: Health) -> Health:
    few = decide((), health.samples, None)
    return replace(health, verdict=few.word, confidence=few.confidence, evidence=few.evidence)


def reals_of(opened: Opened, data: str | None, progress: Progress) -> Dataset:
    """The training data of the checkpoint, or the given data. Raises InputMissing if the training data has changed."""
    config = opened.config
    source = data or config.data.source
    if source is None:
        raise InputMissing(
            "the checkpoint does not name its training data", where="DATA", hint="give DATA after the checkpoint"
        )
    dataset = _opened(opened, source, config.data.channels, progress)
    shape = dataset.sample_shape
    both_pictures = len(shape) == len(config.samples.shape) == 3
    if both_pictures and shape[0] != config.samples.shape[0]:  # gray data, color generator
        dataset = _opened(opened, source, config.samples.shape[0], progress)
        shape = dataset.sample_shape
    if shape != config.samples.shape:
        what = f"the generator makes samples of shape {config.samples.shape}, the data has {shape}"
        raise DataError(what, where=source, hint="give data with the shape of the training data")
    if data is None and dataset.fingerprint != config.samples.fingerprint:
        raise InputMissing(
            "the data has changed since training", where=source, hint="give DATA explicitly to compare with it anyway"
        )
    return dataset


def _opened(opened: Opened, source: str, channels: int | None, progress: Progress) -> Dataset:
    config = opened.config
    height, width = config.network.picture_size or USUAL_SIZE
    shape = Shape(height, width, channels, config.data.fit)
    return open_dataset(source, shape, held_out=config.data.held_out, progress=progress)


def _checkpoint(opened: Opened, dataset: Dataset, how: How, *, raw: bool) -> Health:
    """Evaluate the EMA and, unless quick, the raw weights of a checkpoint. The verdict is of the EMA unless `raw`."""
    config, source = opened.config, dataset.report.source
    count, names = min(how.samples, len(dataset.values) // 2), ("raw", "ema") if raw else ("ema", "raw")
    base = _undecided(count, names[0], str(opened.path), source, dataset.kind, how)
    if count < MIN_SAMPLES:
        return _too_few(base)
    first = how.generator(opened, raw=raw)
    trained = dataset.fingerprint == config.samples.fingerprint and not first.network.enlarges
    labels, extractor = labels_of(source, dataset, how.labels), how.extractor(dataset.kind)
    if extractor is not None and extractor.digest == trained_against(config):
        why = f"content compared by fixed features, because the generator was trained against {extractor.name}"
        extractor, base = None, replace(base, compared_by=why)
    reals = sample_sets.of_generator(first, dataset, trained=trained, labels=labels, extractor=extractor)
    reference, rows = reals.reference(count, quick=how.quick, progress=how.progress)
    count_modes = mode_counter(
        source if config.data.source == source else "", config.samples.center, config.samples.scale
    )

    used, critic = _used(config), sample_sets.critic_features(first)

    def evaluated(generator: Generator, network: FeatureExtractor | None, *, quick: bool) -> Health:
        fakes = sample_sets.generated(generator, reference.others, how.progress)
        c = Comparison(fakes, reference, critic, network, count_modes)
        seeds = range(FIRST_SEED, FIRST_SEED + count)
        health = evaluate(base, c, seeds, reals=reals.both(count), rows=rows, quick=quick, progress=how.progress)
        return _early(replace(health, panel=figures.advised(health.panel, used)), generator)

    health = evaluated(first, how.network, quick=not how.slow)
    if how.network is not None and how.network.digest == trained_against(config):
        too_low = "the generator was trained against the network of --features: its FID and KID are too low"
        health = replace(health, evidence=(*health.evidence, too_low))
    if how.quick or not {"G", "ema"} <= opened.weights.keys():
        return health
    other = evaluated(how.generator(opened, raw=not raw), None, quick=True)
    evidence = health.evidence
    if other.verdict != health.verdict:
        evidence += (f"the verdict on the {names[1]} weights differs: {other.verdict}",)
    return replace(health, evidence=evidence, raw_verdict=health.verdict if raw else other.verdict)


def trained_against(config: ResolvedConfig) -> str | None:
    """Digest of the weights of the feature network that the generator was trained against; None: without one."""
    if config.network.uses_pretrained:
        return SHA256
    return None if config.loss.perceptual is None else config.loss.perceptual.digest


def _used(config: ResolvedConfig) -> set[str]:
    """Advice that does not apply: techniques that the config already uses or cannot use."""
    network = config.network
    rough = isinstance(network, ProgressiveConfig) and not (network.upsampling == "bilinear" and network.noise)
    used = {
        figures.SMOOTHER: not rough,
        figures.MINIBATCH_STD: network.minibatch_std is not None,
        figures.MIRROR: config.data.mirror or config.samples.kind != "image",
        figures.BN_CLIP: network.output == "bn-clip",
        figures.LESS_AUGMENTATION: config.augment is None,
    }
    return {name for name, on in used.items() if on}


def _early(health: Health, generator: Generator) -> Health:
    """Replace the verdict by `undecided` in the first tenth of the schedule, and before full size for most verdicts."""
    phase, opened = generator.phase, generator.checkpoint
    share, last = trained_share(opened), opened.config.full_height
    if share < EARLY:
        why = f"only {share:.0%} of the schedule is trained; a verdict needs {EARLY:.0%}"
    elif (phase.height < last or phase.alpha < 1) and health.verdict not in EVEN_SMALL:
        why = f"the network is still growing: {phase.height} of {last} px, alpha {phase.alpha:.2f}"
    else:
        return health
    found = f"ignoring this, the verdict would be {health.verdict}"
    evidence = (why, *health.evidence, *([found] if health.verdict != "undecided" else []))
    return replace(health, verdict="undecided", confidence="low", right=None, evidence=evidence)


def trained_share(opened: Opened) -> float:
    """Trained share of the schedule, or of a longer duration; 1 if the run started from trained weights."""
    config = opened.config
    planned = max(config.train.duration, Schedule.of(config).total)
    return 1.0 if config.origin else min(1.0, opened.images / planned)


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
