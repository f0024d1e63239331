"""Prepare training from the user's arguments: the resolved config, the data set and the run folder."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, process, runs, safe_load
from gancli import config as configs
from gancli.checkpoint import Opened
from gancli.config import Config, ResolvedConfig, combinations
from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, open_dataset, plan_cache
from gancli.errors import CannotCreate, ConfigError, DataError, InputMissing, UsageError
from gancli.results import printable
from gancli.runs import Run
from gancli.training import auto, timed
from gancli.training.callbacks import Callback, Silent
from gancli.training.resolve import refuse_misfit, resolve, transferred

SHOWN = 5  # maximum number of config differences in a message


def written(
    preset: str,
    data: str | None,
    changes: Mapping[str, Any] | None,
    start_from: str | Path | None,
    device: torch.device,
    callback: Callback,
) -> tuple[Config, Opened | None]:
    """The config of the arguments, and the checkpoint that training starts from, if any."""
    changes = changes or {}
    if start_from is not None:
        source = checkpoint.read(start_from)
        return transferred(source, changes), source
    if preset == auto.NAME:
        refuse_run_folder(data)
        choice = auto.choose(data, device, changes)
        callback.say(f"preset: {choice.reason}")
        preset, changes = choice.preset, {**choice.changes, **changes}
    return configs.load(preset, changes), None


def prepare(
    config: Config, data: str | None, callback: Callback, *, source: Opened | None = None, rescan: bool = False
) -> tuple[ResolvedConfig, Dataset]:
    """Open the data set and resolve the config for it.

    source: the checkpoint that training starts from. Raises ConfigError if they are not compatible.
    """
    place = data or config.data.source
    if place is None:
        raise UsageError(
            "no data to train on", where=f"preset {config.preset}", hint="give DATA, such as builtin:shapes"
        )
    refuse_run_folder(place)
    dataset = open_dataset(
        place,
        shape_of(config),
        held_out=config.data.held_out,
        kind=config.data.kind,
        rescan=rescan,
        progress=callback.progress,
    )
    callback.data(dataset.report)
    resolved = resolve(config, dataset, place)
    if source is not None:
        refuse_misfit(source, resolved)
    for warning in combinations.warnings(resolved):
        callback.say(warning)
    return resolved, dataset


def refuse_run_folder(place: str | None) -> None:
    """Raise UsageError if the data is a run."""
    with suppress(OSError):  # such as a name that is too long, which opening the data explains
        if place is not None and (Path(place) / "config.yaml").is_file() and (Path(place) / "checkpoints").is_dir():
            hint = f"to continue this run: gancli resume {place}"
            raise UsageError("this is a run folder, not a data set", where=printable(str(place)), hint=hint)


def say_cache(config: Config, data: str | None, callback: Callback) -> None:
    """Tell the user the size of the data cache before it is created."""
    place = data or config.data.source
    if place is not None and (planned := plan_cache(place, shape_of(config))).nbytes:
        callback.say(f"decoding the data into a cache of up to {planned.nbytes / 2**20:,.0f} MiB in {planned.folder}")


def shape_of(config: Config) -> Shape:
    """The size and channels to which every image of the data is converted."""
    height, width = config.network.picture_size or USUAL_SIZE
    return Shape(height, width, config.data.channels, config.data.fit)


def refuse_rejected(dataset: Dataset, *, strict: bool) -> None:
    """With --strict, raise DataError if a file cannot be used."""
    rejected = dataset.report.rejected
    if strict and rejected:
        files = "1 file" if len(rejected) == 1 else f"{len(rejected)} files"
        raise DataError(
            f"{files} cannot be used; the first is {rejected[0].name}: {rejected[0].reason}",
            where=dataset.report.source,
            hint="remove or repair them, or leave out --strict",
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], section: str = "") -> list[str]:
    """["train.lr: 0.001, now 0.002"] for every key whose value differs."""
    found = []
    for key in sorted(old.keys() | new.keys(), key=str):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{section}{key}.")
        elif a != b:
            found.append(f"{section}{key}: {a}, now {b}")
    return found


def run_for(
    config: ResolvedConfig,
    dataset: Dataset,
    device: torch.device,
    outdir: Path,
    name: str | None,
    callback: Callback,
    workers: int = 1,
    *,
    new: bool,
) -> tuple[Run, ResolvedConfig]:
    """The run to train, see `find_or_create`, and its config.

    That is fitted to `train.minutes` and to the number of workers when the run begins.
    """
    if begun := process.note(process.RUN):  # workers that were started again go on with their run
        name, new = Path(begun).name, False
    new = new and not process.restarted_by_torchrun()
    found = None if new else existing_for(config, outdir, name)
    config = sharded(config, found, workers, callback)
    if config.train.minutes is not None and found is None:
        config = timed.fitted(config, dataset, device, workers)
        callback.say(
            f"{config.train.minutes:g} minutes are about {config.train.duration / 1000:.4g} kimg on this machine"
        )
    run = find_or_create(config, outdir, name, callback, new=new)
    config = config.model_copy(update={"samples": run.config().samples})  # the units of its networks
    return run, config if config.train.minutes is None else timed.as_begun(config, run)


def sharded(config: ResolvedConfig, run: Run | None, workers: int, callback: Callback) -> ResolvedConfig:
    """The config with the shards of the run, or of a new run. They are at least as many as the workers.

    Raises ConfigError if a batch cannot be divided into them, or if the user wants another number than the run has.
    """
    wanted, shards = config.train.shards, config.shards
    if run is not None:
        shards = run.config().shards
        if wanted not in (None, shards):
            what = f"that run divides its batches into {shards} shards, not {wanted}"
            hint = "leave out train.shards, or start a new run with --new"
            raise ConfigError(what, where=str(run.path), hint=hint)
        if shards < workers:
            callback.say(
                f"batches are divided into {workers} shards from here on, one per worker; with {shards} as before, "
                "the run would go on bit for bit, but no more workers could share it"
            )
    elif wanted is not None and wanted < workers:
        what, hint = f"{workers} workers cannot share {wanted} shards", f"set it to a multiple of {workers}"
        raise ConfigError(what, where="train.shards", hint=hint)
    shards = max(shards, workers)
    config = config.with_train(shards=shards if shards > 1 or wanted else None)
    combinations.refuse(config)
    return config


def existing_for(config: ResolvedConfig, outdir: Path, name: str | None) -> Run | None:
    """The run with this name, or without a name the newest run with the same config and data; None if there is none."""
    if name is None:
        return runs.match(outdir, config)
    return Run(outdir / name) if Run(outdir / name).config_file.is_file() else None


def find_or_create(config: ResolvedConfig, outdir: Path, name: str | None, callback: Callback, *, new: bool) -> Run:
    """The run with this name, else the newest run with the same config and data, else a new run."""
    found = None if new else existing_for(config, outdir, name)
    if found is not None and name is not None:
        return _named(config, found, callback)
    if found is None and not new and (old := runs.match_before_change(outdir, config)):
        callback.say(
            f"the data has changed since {old.path}, starting a new run; to continue the old one: --run {old.path.name}"
        )
    try:
        return found or runs.create(outdir, config.data.source, config, name)
    except CannotCreate:
        meanwhile = None if new or name is None else existing_for(config, outdir, name)
        if meanwhile is None:
            raise
        return _named(config, meanwhile, callback)  # another process has created it meanwhile


def existing(run: str | Path | None, outdir: Path) -> Run:
    """The run of a folder, or the newest one under `outdir`. Raises InputMissing."""
    if run is None:
        return runs.newest(outdir)
    folder = Path(run)
    if folder.suffix == ".pt" and folder.is_file():
        folder = folder.parent.parent if folder.parent.name == "checkpoints" else folder.parent
    inside = folder if folder.exists() else outdir / folder  # a name as `gancli runs` lists it
    if not (inside / "config.yaml").is_file():
        raise InputMissing("not a run folder", where=printable(str(folder)), hint="`gancli runs` lists the run folders")
    return Run(inside)


def source_of(config: ResolvedConfig) -> Opened | None:
    """The checkpoint that a run starts from, if any. Raises InputMissing if it has changed since."""
    if config.origin is None:
        return None
    path = config.origin.checkpoint
    source = checkpoint.read(path)
    if safe_load.digest(Path(path)) != config.origin.digest:
        what = "the checkpoint that the run starts from has changed"
        raise InputMissing(what, where=printable(path), hint="start a new run from it, or restore the file")
    return source


def data_of(config: ResolvedConfig, callback: Callback | None = None) -> Dataset:
    """The data set of a run."""
    return open_dataset(
        config.data.source,
        shape_of(config),
        held_out=config.data.held_out,
        kind=config.data.kind,
        progress=(callback or Silent()).progress,
    )


def reopened(run: Run, duration: int | None, workers: int, callback: Callback) -> tuple[ResolvedConfig, Dataset]:
    """The config of a run, with the new duration if given, and its data set, which may have changed since."""
    config = run.config()
    if duration is not None:
        config = config.with_train(duration=duration)
    config = sharded(config.with_train(shards=None), run, workers, callback)
    dataset = data_of(config, callback)
    callback.data(dataset.report)
    say_changed(run, dataset.sample_shape, dataset.fingerprint, config.data.source, callback)
    return config, dataset


def say_changed(run: Run, shape: tuple[int, ...], fingerprint: str, source: str, callback: Callback) -> None:
    """Tell the user that the data of a run has changed. Raises DataError if its samples have another shape."""
    before = run.config().samples
    if shape != before.shape:
        what = f"the data now has samples of shape {shape}; the run was trained on {before.shape}"
        raise DataError(what, where=printable(source), hint="restore the data, or train a new run")
    if fingerprint != before.fingerprint:
        callback.say(f"the data has changed since {run.path} was trained on it")


def _named(config: ResolvedConfig, run: Run, callback: Callback) -> Run:
    """The run of --run, if its config is the same apart from the data. Raises ConfigError with the differences."""
    theirs = run.config()
    if found := differences(runs.identity(theirs, data=False), runs.identity(config, data=False)):
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ConfigError(
            f"that run has a different config: {'; '.join(found[:SHOWN])}{more}",
            where=str(run.path),
            hint="give another --run name, or continue the run with its own config: gancli resume " + str(run.path),
        )
    say_changed(run, config.samples.shape, config.samples.fingerprint, config.data.source, callback)
    return run
