"""Train a run in this process: lock its folder, resume from its last checkpoint if there is one, train, report."""

from functools import partial

import torch

from gancli import config as configs
from gancli import files, runs
from gancli.annealing import lr_factor, stretched
from gancli.checkpoint import Opened
from gancli.config import ResolvedConfig
from gancli.data import Dataset, write_rejected
from gancli.errors import Interrupted
from gancli.growth import Schedule
from gancli.results import TrainReport
from gancli.runs import Run
from gancli.training import loop
from gancli.training.callbacks import Callback
from gancli.training.forecast import forecast
from gancli.training.outputs import draw_reals
from gancli.training.state import TrainState


def go_on(
    run: Run,
    config: ResolvedConfig,
    dataset: Dataset,
    source: Opened | None,
    device: torch.device,
    callback: Callback,
    stop_on: frozenset[str],
    *,
    keep_adam: bool = False,
) -> TrainReport:
    """Lock the run, resume from its last checkpoint if there is one, train, and report."""
    with runs.locked(run), torch.random.fork_rng(devices=[]):  # dropout seeds the global generator
        for folder in (run.path, run.path / "checkpoints", run.path / "samples"):
            files.sweep(folder, idle=0)
        state = TrainState.open(run, config, device, callback.say)
        begin(state, run, config, dataset, source, keep_adam=keep_adam)
        duration = config.train.duration
        if state.images >= duration and not loop.is_unfinished(state):
            callback.say(
                f"{run.path} is already finished at {state.images / 1000:g} kimg; --kimg trains it longer, "
                "train --new starts a new run"
            )
            return TrainReport(run.path, run.last, state.images, duration, "already finished", state.seconds)
        say_rate(run, config, state, callback)
        say_size(config, callback)
        files.replace_text(run.config_file, configs.as_text(config))
        callback.start(run, config, state.images, partial(forecast, config, dataset, device))
        try:
            finding = loop.train(state, run, config, dataset, callback, stop_on)
        except Interrupted as stop:
            report = TrainReport(run.path, run.last, state.images, duration, "interrupted", state.seconds)
            raise Interrupted(stop.signum, report) from None
    ended = "stopped" if finding else "finished"
    return TrainReport(run.path, run.last, state.images, duration, ended, state.seconds, finding)


def begin(
    state: TrainState,
    run: Run,
    config: ResolvedConfig,
    dataset: Dataset,
    source: Opened | None,
    *,
    keep_adam: bool,
) -> None:
    """Initialize a new run: copy the source's weights, write reals.png and rejected.jsonl."""
    if state.images > 0:
        return
    if source is not None:
        state.adopt(source)
        if keep_adam:
            state.restore_adam(source)
    draw_reals(run, config, dataset)
    write_rejected(run.path / "rejected.jsonl", dataset.report.rejected)


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
