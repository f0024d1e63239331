"""train(), grow() and plan(): from a user's words to a config, a data set, a run folder, and the loop."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, devices, files, process, runs
from gancli import config as configs
from gancli.checkpoint import Checkpoint
from gancli.config import Config, combinations
from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, open_dataset, write_rejected
from gancli.errors import ConfigError, DataError, UsageError
from gancli.growth import lr_factor
from gancli.results import Forecast, TrainReport
from gancli.runs import Run
from gancli.training import loop
from gancli.training.derive import grown, resolve, transferred
from gancli.training.forecast import forecast
from gancli.training.state import TrainState
from gancli.training.watch import Silent, Watcher

OUTDIR = "runs"
STOP_WORDS = {
    "collapse": "collapse",
    "collapsed": "collapse",
    "low-diversity": "low diversity",
    "diverged": "non-finite",
    "overfitting": "overfitting",
    "dead": "dead generator",
}


def prepare(config: Config, data: str | None, watch: Watcher, *, rescan: bool = False) -> tuple[Config, Dataset]:
    """Open the data set and fill what the config leaves to it. Raises ConfigError where the two do not fit."""
    source = data or config.data.source
    if source is None:
        raise UsageError("no data to train on", where=f"preset {config.preset}", mend="give DATA, or builtin:shapes")
    height, width = config.network.picture_size or USUAL_SIZE
    shape = Shape(height, width, config.data.channels, config.data.fit)
    dataset = open_dataset(
        source,
        shape,
        held_out=config.data.held_out,
        kind=config.data.kind,
        rescan=rescan,
        progress=watch.progress,
    )
    watch.data(dataset.report)
    resolved = resolve(config, dataset, source)
    for warning in combinations.warnings(resolved):
        watch.say(warning)
    return resolved, dataset


def plan(
    preset: str = "quickstart",
    data: str | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    start_from: str | Path | None = None,
    rescan: bool = False,
    device: str = "auto",
    threads: int | None = None,
    watch: Watcher | None = None,
) -> Forecast:
    """What `train` with the same words would do and cost; nothing is written but the data cache."""
    place = devices.choose(device)
    set_up(threads)
    source = checkpoint.read(start_from) if start_from is not None else None
    config = configs.load(preset, changes) if source is None else transferred(source, changes or {})
    return forecast(prepare(config, data, watch or Silent(), rescan=rescan)[0], place)


def train(
    preset: str = "quickstart",
    data: str | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    outdir: str | Path = OUTDIR,
    name: str | None = None,
    new: bool = False,
    start_from: str | Path | None = None,
    strict: bool = False,
    rescan: bool = False,
    stop_on: tuple[str, ...] = (),
    device: str = "auto",
    threads: int | None = None,
    watch: Watcher | None = None,
) -> TrainReport:
    """Train a preset on data. The same words again go on with the same run, or say that it is finished.

    Raises ConfigError, DataError, InputMissing, RunBusy, TrainingDiverged, StorageError; Interrupted after a signal.
    """
    watch = watch or Silent()
    words, place = stop_words(stop_on), devices.choose(device)
    set_up(threads)
    source = checkpoint.read(start_from) if start_from is not None else None
    config = configs.load(preset, changes) if source is None else transferred(source, changes or {})
    config, dataset = prepare(config, data, watch, rescan=rescan)
    refuse_rejected(dataset, strict=strict)
    run = find_or_create(config, Path(outdir), name, watch, new=new)
    return sit(run, config, dataset, source, place, watch, words)


def grow(
    ckpt: str | Path,
    data: str | None = None,
    *,
    to: int | None = None,
    changes: Mapping[str, Any] | None = None,
    outdir: str | Path = OUTDIR,
    name: str | None = None,
    new: bool = False,
    fresh_adam: bool = True,
    strict: bool = False,
    stop_on: tuple[str, ...] = (),
    device: str = "auto",
    threads: int | None = None,
    watch: Watcher | None = None,
) -> TrainReport:
    """Add blocks to a trained progressive network, up to `to` pixels (default: twice its height), and train on.

    A new run folder; the source is not touched. A new stage copies the last one's schedule, batch and
    rate. At the first image the output equals the old one, upscaled. Raises as `train`.
    """
    watch = watch or Silent()
    words, place = stop_words(stop_on), devices.choose(device)
    set_up(threads)
    source = checkpoint.read(ckpt)
    config = grown(source, to, changes or {})
    config, dataset = prepare(config, data, watch)
    refuse_rejected(dataset, strict=strict)
    run = find_or_create(config, Path(outdir), name, watch, new=new)
    return sit(run, config, dataset, source, place, watch, words, keep_adam=not fresh_adam)


def stop_words(words: tuple[str, ...]) -> frozenset[str]:
    """The names of alarms for the words of --stop-on. Raises UsageError."""
    for word in words:
        if word not in STOP_WORDS:
            raise UsageError(f"unknown word {word!r}", where="--stop-on", mend=f"use {', '.join(STOP_WORDS)}")
    return frozenset(STOP_WORDS[word] for word in words)


def set_up(threads: int | None) -> None:
    """Threads and allocator, before any large tensor is made."""
    process.keep_memory()
    torch.set_num_threads(threads or os.cpu_count() or 1)


def refuse_rejected(dataset: Dataset, *, strict: bool) -> None:
    """With --strict one unusable file is enough to stop. Raises DataError."""
    rejected = dataset.report.rejected
    if strict and rejected:
        raise DataError(
            f"{len(rejected)} files cannot be used; the first is {rejected[0].name}: {rejected[0].reason}",
            where=dataset.report.source,
            mend="remove or repair them, or leave out --strict",
        )


def find_or_create(config: Config, outdir: Path, name: str | None, watch: Watcher, *, new: bool) -> Run:
    """The run that these words mean: the named one, the newest with the same config and data, or a new one."""
    if name is not None and (outdir / name / "config.yaml").is_file() and not new:
        return _named(config, Run(outdir / name), watch)
    found = None if new or name is not None else runs.match(outdir, config)
    if found is None and not new and (old := runs.match_before_change(outdir, config)):
        watch.say(f"the data has changed since {old.path}: a new run; to go on with that one, --run {old.path.name}")
    return found or runs.create(outdir, config.data.source or "data", config, name)


def _named(config: Config, run: Run, watch: Watcher) -> Run:
    """--run: that run, its data changed or not, if the config is its own. Raises ConfigError."""
    theirs = run.config()
    if runs.identity(theirs, data=False) != runs.identity(config, data=False):
        raise ConfigError("that run has another config", where=str(run.path), mend="give another --run name")
    if theirs.data.fingerprint != config.data.fingerprint:
        watch.say(f"the data has changed since {run.path} was trained on it")
    return run


def sit(
    run: Run,
    config: Config,
    dataset: Dataset,
    source: Checkpoint | None,
    device: torch.device,
    watch: Watcher,
    stop_on: frozenset[str],
    *,
    keep_adam: bool = False,
) -> TrainReport:
    """Hold the run, go on from what it already has, train, and report."""
    with runs.locked(run):
        sweep(run)
        state = TrainState.open(run, config, device, watch.say)
        begin(state, run, config, dataset, source, keep_adam=keep_adam)
        duration = config.train.duration or 0
        if state.images >= duration:
            watch.say(f"{run.path} is finished: {state.images / 1000:g} kimg. More: --kimg; another run: --new")
            return TrainReport(run.path, run.last, state.images, duration, "already finished", state.seconds)
        say_rate(run, config, state, watch)
        files.replace_text(run.config_file, configs.as_text(config))
        watch.start(run, config, state.images, forecast(config, device) if state.images == 0 else None)
        finding = loop.train(state, run, config, dataset, watch, stop_on)
    ended = "stopped" if finding else "finished"
    return TrainReport(run.path, run.last, state.images, duration, ended, state.seconds, finding)


def begin(
    state: TrainState,
    run: Run,
    config: Config,
    dataset: Dataset,
    source: Checkpoint | None,
    *,
    keep_adam: bool,
) -> None:
    """What only a fresh run needs: the source's weights, the picture of the reals, the list of rejected files."""
    if state.images > 0:
        return
    if source is not None:
        state.adopt(source)
        if keep_adam:
            state.restore_adam(source)
    loop.draw_reals(run, config, dataset)
    write_rejected(run.path / "rejected.jsonl", dataset.report.rejected)


def sweep(run: Run) -> None:
    """Remove temporary files that a killed process left behind."""
    for stale in [*run.path.glob(".*.tmp-*"), *run.path.glob("*/.*.tmp-*")]:
        stale.unlink(missing_ok=True)


def say_rate(run: Run, config: Config, state: TrainState, watch: Watcher) -> None:
    """Say that a run goes on, and that a rate which had fallen rises again where more images were asked for."""
    if state.images == 0:
        return
    watch.say(f"going on with {run.path} at {state.images / 1000:g} kimg")
    old = run.config().train.duration
    if (
        old
        and config.train.duration
        and lr_factor(config, state.images, old) < lr_factor(config, state.images, config.train.duration)
    ):
        watch.say("the learning rate had fallen towards the old end and rises again")
