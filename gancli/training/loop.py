"""The training loop."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, ema, files, growth, media, plots, runs, signals
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.growth import Phase, Schedule
from gancli.results import Warned
from gancli.runs import Run
from gancli.stats.histograms import Levels
from gancli.training import alarms, log
from gancli.training.alarms import Alarm
from gancli.training.callbacks import Callback
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator
from gancli.training.tick_metrics import TickMetrics


@dataclass
class Session:
    """The state of one process that is training a run. None of it is saved in checkpoints."""

    run: Run
    config: ResolvedConfig
    schedule: Schedule
    feed: Feed
    callback: Callback
    tick_metrics: TickMetrics
    history: list[dict[str, Any]] = field(default_factory=list)  # the ticks so far
    since_save: float = field(default_factory=time.monotonic)
    since_tick: float = field(default_factory=time.monotonic)
    images_at_tick: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)  # last value of each, lazy penalties included
    saved_at: int = -1  # images at the last checkpoint of this session
    drawn_at: int = -1  # images at the last grid of fakes
    finding: str | None = None  # the warning that stopped training, with --stop-on
    saved: dict[str, int] = field(default_factory=dict)  # images at the checkpoints of this session, by file name
    levels_of: dict[int, Levels] = field(default_factory=dict)  # histograms of the training data, by stage

    def levels(self, phase: Phase) -> Levels:
        """Histograms of the channels of the training data at a stage, computed once."""
        if phase.stage not in self.levels_of:
            self.levels_of[phase.stage] = log.reference_levels(self.feed, phase)
        return self.levels_of[phase.stage]


def train(
    state: TrainState,
    run: Run,
    config: ResolvedConfig,
    dataset: Dataset,
    callback: Callback,
    stop_on: frozenset[str] = frozenset(),
) -> str | None:
    """Train until `duration` images were shown to the critic. Returns the warning that `stop_on` found, if any.

    Raises Interrupted after a signal, once a checkpoint is saved; TrainingDiverged; StorageError.
    """
    tick_metrics = TickMetrics(at_every_tick=bool(stop_on & alarms.BY_TICK_METRICS))
    session = Session(run, config, Schedule.of(config), Feed(dataset, config), callback, tick_metrics)
    session.history, session.images_at_tick = log.cut(run, state.images), state.images
    fresh = state.images == 0
    while state.images < config.train.duration and not session.finding and not signals.stop_requested():
        before, started = state.images, time.monotonic()
        phase = session.schedule.phase_at(before)
        losses, inputs = train_critic(state, config, session.feed, phase)
        session.losses |= losses | train_generator(state, config, phase, inputs)
        average(state, config, state.images - before)
        if growth.resets_optimizer(config, phase, session.schedule.phase_at(state.images)):
            state.clear_adam()
        took = time.monotonic() - started
        state.seconds, session.tick_metrics.trained = state.seconds + took, session.tick_metrics.trained + took
        callback.step(state.images)
        if due(config.train.tick_every, before, state.images) or state.images >= config.train.duration:
            take_tick(session, state, phase, stop_on)
        if save_due(session, before, state.images, first=fresh and before == 0):
            save(session, state)
        if due(config.train.sample_every, before, state.images):
            draw_fakes(session, state)
    if not (session.finding or "").startswith("diverged"):  # non-finite weights are not saved
        save(session, state)
    signals.poll()
    draw_fakes(session, state)
    return session.finding


def due(every: int, before: int, after: int) -> bool:
    """Whether the number of images passed a multiple of `every`. Always False if `every` is 0."""
    return every > 0 and before // every != after // every


def average(state: TrainState, config: ResolvedConfig, shown: int) -> None:
    """Update the EMA generator after `shown` images."""
    seen = state.images + (config.origin.images if config.origin else 0)
    half_life = ema.half_life_at(seen, config.train.ema_half_life, config.train.ema_ramp)
    ema.update(state.ema, state.G, keep=ema.decay(shown, half_life))


def take_tick(session: Session, state: TrainState, phase: Phase, stop_on: frozenset[str]) -> None:
    """Measure a tick, check for alarms, append it to the log, call the callback, and check `stop_on`."""
    speed = (state.images - session.images_at_tick) / max(1e-9, time.monotonic() - session.since_tick)
    levels = session.levels(phase)
    tick = log.measure(
        state, session.config, session.feed, phase, session.losses, levels, session.tick_metrics, images_per_s=speed
    )
    judged = alarms.may_judge(session.schedule, state.images, session.config.train.duration)
    raised = alarms.raised(tick, session.history, judged=judged)
    tick = replace(tick, warnings=_warnings(alarms.unsaid(raised, session.history), session))
    session.finding = next((f"{name}: {alarm.text}" for name, alarm in raised.items() if name in stop_on), None)
    session.history.append(log.append(session.run, tick))
    session.callback.tick(tick)
    session.since_tick, session.images_at_tick = time.monotonic(), state.images


def _warnings(unsaid: Mapping[str, Alarm], session: Session) -> tuple[Warned, ...]:
    """The alarms as warnings, each with the last checkpoint before it began."""
    found = []
    for name, alarm in unsaid.items():
        before = [path.name for path in session.run.checkpoints() if _images_at(path, session) < alarm.began]
        found.append(Warned(name, alarm.text, alarm.began, before[-1] if before else None))
    return tuple(found)


def _images_at(path: Path, session: Session) -> int:
    """Images at a checkpoint: exact if saved in this session, otherwise the maximum that its name allows."""
    latest = runs.images_of(path.stem) + (0 if len(path.stem) == 9 else 999)
    return session.saved.get(path.name, latest)


def save_due(session: Session, before: int, after: int, *, first: bool) -> bool:
    """Whether to save: at the intervals in images and minutes, on SIGUSR1, and after the first step.

    Saving after the first step detects a full disk early.
    """
    late = time.monotonic() - session.since_save > session.config.train.checkpoint_minutes * 60
    return first or late or signals.save_requested() or due(session.config.train.checkpoint_every, before, after)


def save(session: Session, state: TrainState) -> None:
    """Write a checkpoint, link last.pt to it, then delete old ones, except those that a warning refers to."""
    if session.saved_at == state.images:
        return
    run, keep, kept = session.run, session.config.train.keep, alarms.kept_checkpoints(session.history)
    name = f"{name_of(state.images, session.config.train.checkpoint_every)}.pt"
    path = run.path / "checkpoints" / (name if name not in kept else f"{state.images:09d}.pt")
    checkpoint.write(path, state.as_checkpoint(session.config))
    files.link(path, run.last)
    newest = [file for file in run.checkpoints() if file != path and file.name not in kept]
    for old in newest[: max(0, len(newest) + 1 - keep)]:
        old.unlink(missing_ok=True)
    session.since_save, session.saved_at = time.monotonic(), state.images
    session.saved[path.name] = state.images


def name_of(images: int, every: int) -> str:
    """The number in a file name: kimg, or images if the interval is shorter than 1 kimg."""
    return f"{images:09d}" if 0 < every < 1000 else f"{images // 1000:06d}"


@torch.inference_mode()
def draw_fakes(session: Session, state: TrainState) -> None:
    """Write samples/fakes-<kimg>.png: samples of the EMA generator on fixed latents, in the layout of reals.png."""
    if session.drawn_at == state.images:
        return
    phase = session.schedule.phase_at(state.images)
    kind = session.feed.kind
    z = session.feed.inputs(plots.COUNTS[kind], phase).to(state.device)
    chunks = [state.ema(part, phase.stage, phase.alpha) for part in z.split(16 if kind == "image" else 256)]
    folder = session.run.path / "samples"
    folder.mkdir(exist_ok=True)
    name = f"fakes-{name_of(state.images, session.config.train.sample_every)}.png"
    sheet = plots.sheet(torch.cat(chunks), kind)
    files.replace(folder / name, lambda file: file.write_bytes(media.png(sheet)))
    session.drawn_at = state.images


def draw_reals(run: Run, config: ResolvedConfig, dataset: Dataset) -> None:
    """Write reals.png: the first training samples at full size, in the layout of the fakes."""
    count = min(plots.COUNTS[dataset.kind], len(dataset.train_rows))
    x = Feed(dataset, config).first(count)
    media.save(run.path / "reals.png", plots.sheet(x, dataset.kind))
