"""The functions train(), resume(), grow() and plan()."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, devices, process, signals
from gancli.data.given import Data, place_of
from gancli.results import Forecast, TrainReport
from gancli.training import auto, setup, timed
from gancli.training.alarms import stop_names
from gancli.training.callbacks import Callback, Silent
from gancli.training.forecast import forecast
from gancli.training.resolve import grown
from gancli.training.start import Prepared, go_on, in_all
from gancli.workers import joined

OUTDIR = "runs"


@devices.uses_threads
def plan(
    preset: str = auto.NAME,
    data: Data | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    start_from: str | Path | None = None,
    rescan: bool = False,
    workers: int = 1,
    device: str = "auto",
    threads: int | None = None,
    callback: Callback | None = None,
) -> Forecast:
    """Estimate the cost of `train` with the same arguments. Writes nothing but the data cache.

    workers: the number of processes that will share the training. threads: those of one of them.
    """
    callback, place = of_first(callback), devices.choose(device)
    where = place_of(data)
    config, source = setup.written(preset, where, changes, start_from, place, callback)
    setup.say_cache(config, where, callback)
    resolved, dataset = setup.prepare(config, where, callback, source=source, rescan=rescan)
    resolved = setup.sharded(resolved, None, workers, callback)
    if resolved.train.minutes is not None:
        resolved = timed.fitted(resolved, dataset, place, workers)
    return forecast(resolved, dataset, place, workers)


@signals.handled()
@devices.uses_threads
def train(
    preset: str = auto.NAME,
    data: Data | None = None,
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
    reduce: str = "exact",
    callback: Callback | None = None,
) -> TrainReport:
    """Train a preset on data. Called again with the same arguments, it resumes the run, or reports that it is finished.

    preset: a name, a path, or "auto", which chooses by the data and the device, see `gancli.training.auto`.
    data: a path, an array or a tensor, see `gancli.data.given.place_of`. threads: CPU threads during training;
    default: torch's current setting. Ctrl-C saves a checkpoint first. In workers that torchrun has started, they train
    one run together; reduce: "exact" adds gradients in a fixed order, "sum" as is fastest, see docs/scaling.md.
    Raises ConfigError, DataError, InputMissing, RunBusy, TrainingDiverged, StorageError; Interrupted after a signal.
    """
    callback, names, place = of_first(callback), stop_names(stop_on), devices.choose(device)
    where = place_of(data)

    def prepare(workers: int) -> Prepared:
        config, source = setup.written(preset, where, changes, start_from, place, callback)
        resolved, dataset = setup.prepare(config, where, callback, source=source, rescan=rescan)
        setup.refuse_rejected(dataset, strict=strict)
        run, resolved = setup.run_for(resolved, dataset, place, Path(outdir), name, callback, workers, new=new)
        return Prepared(run, resolved, dataset, source)

    return _trained(prepare, place, reduce, callback, names)


@signals.handled()
@devices.uses_threads
def resume(
    run: str | Path | None = None,
    *,
    duration: int | None = None,
    outdir: str | Path = OUTDIR,
    stop_on: tuple[str, ...] = (),
    device: str = "auto",
    threads: int | None = None,
    reduce: str = "exact",
    callback: Callback | None = None,
) -> TrainReport:
    """Resume a run from its last checkpoint, with its own config and data.

    run: the run folder; default: the newest run in `outdir`. duration: total number of images; default: as in the
    run's config. Raises InputMissing if the folder is not a run or its data is missing, and the errors of `train`.
    """
    callback, names, place = of_first(callback), stop_names(stop_on), devices.choose(device)

    def prepare(workers: int) -> Prepared:
        found = setup.existing(run, Path(outdir))
        config, dataset = setup.reopened(found, duration, workers, callback)
        begun = found.last.exists() or bool(found.checkpoints())
        source = None if begun else setup.source_of(config)
        return Prepared(found, config, dataset, source)

    return _trained(prepare, place, reduce, callback, names)


@signals.handled()
@devices.uses_threads
def grow(
    ckpt: str | Path,
    data: Data | None = None,
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
    reduce: str = "exact",
    callback: Callback | None = None,
) -> TrainReport:
    """Add blocks to a trained progressive network, up to `to` pixels (default: twice its height), and train it.

    Creates a new run folder; the source is not changed. New stages use the schedule, batch size and learning rate of
    the last stage. At the first image the output is equal to the old output, upscaled. Raises the errors of `train`.
    """
    callback, names, place = of_first(callback), stop_names(stop_on), devices.choose(device)
    where = place_of(data)

    def prepare(workers: int) -> Prepared:
        source = checkpoint.read(ckpt)
        config = grown(source, to, changes or {}, keep_adam=not fresh_adam)
        resolved, dataset = setup.prepare(config, where, callback, source=source)
        setup.refuse_rejected(dataset, strict=strict)
        run, resolved = setup.run_for(resolved, dataset, place, Path(outdir), name, callback, workers, new=new)
        return Prepared(run, resolved, dataset, source)

    return _trained(prepare, place, reduce, callback, names)


def _trained(
    prepare: Callable[[int], Prepared], device: torch.device, reduce: str, callback: Callback, stop_on: frozenset[str]
) -> TrainReport:
    """Train what `prepare` returns for a number of workers, together with the other workers if there are any."""
    with joined(device, reduce) as workers:
        prepared = in_all(workers, lambda: prepare(workers.count), setup.data_of)
        return go_on(prepared, device, callback, stop_on, workers)


def of_first(callback: Callback | None) -> Callback:
    """The callback, of which only the first worker makes use."""
    return callback if callback is not None and process.rank() == 0 else Silent()
