"""Train a run: lock its folder, resume from its last checkpoint if there is one, train, report."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from gancli import config as configs
from gancli import files, process, runs
from gancli.annealing import lr_factor, stretched
from gancli.checkpoint import Opened
from gancli.config import ResolvedConfig
from gancli.data import Dataset, write_rejected
from gancli.errors import DataError, Interrupted, UsageError
from gancli.growth import Schedule
from gancli.results import TrainReport
from gancli.runs import Run
from gancli.training import loop
from gancli.training.callbacks import Callback
from gancli.training.forecast import forecast
from gancli.training.outputs import draw_reals
from gancli.training.state import TrainState
from gancli.workers import Workers


@dataclass(frozen=True)
class Prepared:
    """A run that can be trained."""

    run: Run
    config: ResolvedConfig
    dataset: Dataset
    source: Opened | None = None  # the checkpoint that a new run starts from


def in_all(
    workers: Workers, prepare: Callable[[], Prepared], open_data: Callable[[ResolvedConfig], Dataset]
) -> Prepared:
    """What `prepare` returns in the first worker. The others take run and config from it, and open the data themselves.

    Raises the errors of `prepare`; DataError if the data of a worker is different.
    """
    mine: list[Prepared] = []

    def first() -> tuple[Run, ResolvedConfig, str]:
        mine.append(prepare())
        return mine[0].run, mine[0].config, mine[0].dataset.fingerprint

    run, config, fingerprint = workers.on_first(first)

    def opened() -> Prepared:
        if mine:
            return mine[0]
        dataset = open_data(config)
        if dataset.fingerprint != fingerprint:
            what, hint = f"the data of worker {workers.rank} is different", "all workers need the same files"
            raise DataError(what, where=config.data.source, hint=hint)
        return Prepared(run, config, dataset)

    return workers.on_each(opened)


def go_on(
    prepared: Prepared, device: torch.device, callback: Callback, stop_on: frozenset[str], workers: Workers
) -> TrainReport:
    """Lock the run, resume from its last checkpoint if there is one, train, and report."""
    run, config, dataset = prepared.run, prepared.config, prepared.dataset
    duration = config.train.duration
    with ExitStack() as stack, torch.random.fork_rng(devices=[]):  # dropout seeds the global generator
        state = TrainState.fresh(config, device, workers)
        workers.on_first(lambda: open_run(stack, state, prepared, callback))
        state.share(config)
        if is_finished(state, config):
            return TrainReport(run.path, run.last, state.images, duration, "already finished", state.seconds)
        estimate = partial(forecast, config, dataset, device, workers.count)
        workers.on_first(lambda: callback.start(run, config, state.images, estimate))
        try:
            finding = loop.train(state, run, config, dataset, callback, stop_on)
        except Interrupted as stop:
            report = TrainReport(run.path, run.last, state.images, duration, "interrupted", state.seconds)
            raise Interrupted(stop.signum, report) from None
    ended = "stopped" if finding else "finished"
    return TrainReport(run.path, run.last, state.images, duration, ended, state.seconds, finding)


def open_run(stack: ExitStack, state: TrainState, prepared: Prepared, callback: Callback) -> None:
    """Lock the run until the stack ends, load its last checkpoint or begin it, and tell the user what will happen."""
    run, config = prepared.run, prepared.config
    stack.enter_context(runs.locked(run))
    process.leave_note(process.RUN, str(run.path))
    for folder in (run.path, run.path / "checkpoints", run.path / "samples"):
        files.sweep(folder, idle=0)
    state.load(run, callback.say)
    refuse_shorter(state, prepared)
    begin(state, prepared)
    if is_finished(state, config):
        callback.say(
            f"{run.path} is already finished at {state.images / 1000:g} kimg; "
            f"gancli resume {run.path} --kimg N trains it longer, train --new starts a new run"
        )
        return
    say_rate(run, config, state, callback)
    say_size(config, callback)
    files.replace_text(run.config_file, configs.as_text(config))


def refuse_shorter(state: TrainState, prepared: Prepared) -> None:
    """Raise UsageError if an unfinished run is to end before the images that it has already seen."""
    duration = prepared.config.train.duration
    if duration < state.images < prepared.run.config().train.duration:
        what, hint = f"the run is already at {state.images / 1000:g} kimg", "give more, or leave it out"
        raise UsageError(what, where="--kimg", hint=hint)


def begin(state: TrainState, prepared: Prepared) -> None:
    """Initialize a new run: copy the source's weights, write reals.png and rejected.jsonl."""
    if state.images > 0:
        return
    run, source = prepared.run, prepared.source
    if source is not None:
        state.adopt(source)
        if prepared.config.origin is not None and prepared.config.origin.keep_adam:
            state.restore_adam(source)
    draw_reals(run, prepared.config, prepared.dataset)
    write_rejected(run.path / "rejected.jsonl", prepared.dataset.report.rejected)


def is_finished(state: TrainState, config: ResolvedConfig) -> bool:
    """Whether nothing is left to train."""
    return state.images >= config.train.duration and not loop.is_unfinished(state.extra)


def say_size(config: ResolvedConfig, callback: Callback) -> None:
    """Tell the user if the run is too short to reach the final resolution."""
    end, full = Schedule.of(config).phase_at(config.train.duration), config.full_height
    if end.height < full or end.alpha < 1:
        at = f"{end.height} px" + (", still fading in" if end.alpha < 1 else "")
        kimg = f"{config.train.duration / 1000:g} kimg"
        callback.say(
            f"a run of {kimg} ends at {at}; the schedule reaches the full {full} px later: see train --dry-run"
        )


def say_rate(run: Run, config: ResolvedConfig, state: TrainState, callback: Callback) -> None:
    """Tell the user that a run is resumed, and what another duration changes: the learning rate, annealed settings."""
    if state.images == 0:
        return
    callback.say(f"resuming {run.path} at {state.images / 1000:g} kimg")
    old, new = run.config().train.duration, config.train.duration
    if lr_factor(config, state.images, old) < lr_factor(config, state.images, new):
        callback.say("the learning-rate decay restarts for the new duration")
    if names := stretched(config, state.images, (old, new)):
        callback.say(f"the curves of anneal are stretched to the new duration: {', '.join(names)}")
