"""The training loop: a table of contents."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, ema, files, growth, media, plots, runs, signals
from gancli.config import Config
from gancli.data import Dataset, Feed
from gancli.growth import Phase, Schedule
from gancli.runs import Run
from gancli.stats.histograms import Levels
from gancli.training import alarms, log
from gancli.training.alarms import Alarm
from gancli.training.checkup import Checkup
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator
from gancli.training.watch import Watcher

KEPT = "checkpoints/"  # before the name of a checkpoint in a warning


@dataclass
class Sitting:
    """One process's time with a run: what need not survive it."""

    run: Run
    config: Config
    schedule: Schedule
    feed: Feed
    watch: Watcher
    history: list[dict[str, Any]] = field(default_factory=list)  # the ticks so far
    since_save: float = field(default_factory=time.monotonic)
    since_tick: float = field(default_factory=time.monotonic)
    images_at_tick: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)  # of the last step; a lazy penalty's last value
    saved_at: int = -1  # images at the last checkpoint of this sitting
    drawn_at: int = -1  # images at the last picture
    finding: str | None = None  # the warning at which --stop-on stopped
    checkup: Checkup = field(default_factory=Checkup)
    good: set[str] = field(default_factory=set)  # names of the last checkpoints before something went wrong: kept
    saved: dict[str, int] = field(default_factory=dict)  # images at the checkpoints of this sitting, by name
    levels_of: dict[int, Levels] = field(default_factory=dict)  # of the training data, by stage

    def levels(self, phase: Phase) -> Levels:
        """The histograms of the training data's channels at a stage, taken once."""
        if phase.stage not in self.levels_of:
            self.levels_of[phase.stage] = log.reference_levels(self.feed, phase)
        return self.levels_of[phase.stage]


def train(
    state: TrainState,
    run: Run,
    config: Config,
    dataset: Dataset,
    watch: Watcher,
    stop_on: frozenset[str] = frozenset(),
) -> str | None:
    """Train until `duration` images were shown to the critic. Returns what `stop_on` found, if anything.

    Raises Interrupted after a signal, with everything saved; TrainingDiverged; StorageError.
    """
    assert config.train.duration is not None, "resolve fills the duration"
    sitting = Sitting(run, config, Schedule.of(config), Feed(dataset, config), watch)
    sitting.history, sitting.images_at_tick = log.cut(run, state.images), state.images
    sitting.good = kept_before(sitting.history)
    fresh = state.images == 0
    while state.images < config.train.duration and not sitting.finding and not signals.stop_requested():
        before, started = state.images, time.monotonic()
        phase = sitting.schedule.phase_at(before)
        losses, shown = train_critic(state, config, sitting.feed, phase)
        sitting.losses |= losses | train_generator(state, config, phase, shown)
        average(state, config, state.images - before)
        if growth.resets_optimizer(config, phase, sitting.schedule.phase_at(state.images)):
            state.clear_adam()
        took = time.monotonic() - started
        state.seconds, sitting.checkup.trained = state.seconds + took, sitting.checkup.trained + took
        watch.step(state.images)
        if due(config.train.tick_every, before, state.images) or state.images >= config.train.duration:
            take_tick(sitting, state, phase, stop_on)
        if save_due(sitting, before, state.images, first=fresh and before == 0):
            save(sitting, state)
        if due(config.train.sample_every, before, state.images):
            draw_fakes(sitting, state)
    if not (sitting.finding or "").startswith("non-finite"):  # what is not finite is not kept
        save(sitting, state)
    signals.poll()
    draw_fakes(sitting, state)
    return sitting.finding


def due(every: int, before: int, after: int) -> bool:
    """Did the count of images pass a multiple of `every`? Never, when every is 0."""
    return every > 0 and before // every != after // every


def average(state: TrainState, config: Config, shown: int) -> None:
    """Let the average follow the generator by `shown` images."""
    seen = state.images + (config.origin.images if config.origin else 0)
    half_life = ema.half_life_at(seen, config.train.ema_half_life, config.train.ema_ramp)
    ema.update(state.ema, state.G, keep=ema.decay(shown, half_life))


def take_tick(sitting: Sitting, state: TrainState, phase: Phase, stop_on: frozenset[str]) -> None:
    """Measure, look for alarms, write a line to the log, tell the watcher; note what `stop_on` was waiting for."""
    speed = (state.images - sitting.images_at_tick) / max(1e-9, time.monotonic() - sitting.since_tick)
    levels = sitting.levels(phase)
    tick = log.measure(
        state, sitting.config, sitting.feed, phase, sitting.losses, levels, sitting.checkup, images_per_s=speed
    )
    judged = alarms.may_judge(sitting.schedule, state.images, sitting.config.train.duration or 0)
    raised = alarms.raised(tick, sitting.history, judged=judged)
    tick = replace(tick, warnings=alarms.unsaid(_with_checkpoints(raised, sitting), sitting.history))
    sitting.finding = next((f"{name}: {alarm.text}" for name, alarm in raised.items() if name in stop_on), None)
    sitting.history.append(log.append(sitting.run, tick))
    sitting.watch.tick(tick)
    sitting.since_tick, sitting.images_at_tick = time.monotonic(), state.images


def _with_checkpoints(raised: Mapping[str, Alarm], sitting: Sitting) -> dict[str, str]:
    """What the alarms say, with the last checkpoint from before each began, which is kept from then on."""
    texts = {}
    for name, alarm in raised.items():
        before = [path.name for path in sitting.run.checkpoints() if _images_at(path, sitting) < alarm.began]
        sitting.good |= set(before[-1:])
        kept = f"{KEPT}{before[-1]}" if before else "none"
        texts[name] = f"{alarm.text}; since {alarm.began / 1000:g} kimg; the last checkpoint before it: {kept}"
    return texts


def _images_at(path: Path, sitting: Sitting) -> int:
    """When a checkpoint was written: exactly in this sitting, else not later than its name allows."""
    latest = runs.images_of(path.stem) + (0 if len(path.stem) == 9 else 999)
    return sitting.saved.get(path.name, latest)


def kept_before(history: Sequence[Mapping[str, Any]]) -> set[str]:
    """The checkpoints that the warnings of earlier sittings name."""
    warnings = [text for tick in history for text in tick["warnings"] if KEPT in text]
    return {text.rpartition(KEPT)[2] for text in warnings}


def save_due(sitting: Sitting, before: int, after: int, *, first: bool) -> bool:
    """Every so many images or minutes, on SIGUSR1, and after the first step, when a full disk is found out early."""
    late = time.monotonic() - sitting.since_save > sitting.config.train.checkpoint_minutes * 60
    return first or late or signals.save_requested() or due(sitting.config.train.checkpoint_every, before, after)


def save(sitting: Sitting, state: TrainState) -> None:
    """Write a checkpoint, let last.pt mean it, and only then prune old ones."""
    if sitting.saved_at == state.images:
        return
    run, keep = sitting.run, sitting.config.train.keep
    path = run.path / "checkpoints" / f"{name_of(state.images, sitting.config.train.checkpoint_every)}.pt"
    checkpoint.write(path, state.as_checkpoint(sitting.config))
    files.link(path, run.last)
    newest = [file for file in run.checkpoints() if file != path and file.name not in sitting.good]
    for old in newest[: max(0, len(newest) + 1 - keep)]:
        old.unlink(missing_ok=True)
    sitting.since_save, sitting.saved_at = time.monotonic(), state.images
    sitting.saved[path.name] = state.images


def name_of(images: int, every: int) -> str:
    """kimg for the names of files; images where files come more often than every kimg."""
    return f"{images:09d}" if 0 < every < 1000 else f"{images // 1000:06d}"


@torch.inference_mode()
def draw_fakes(sitting: Sitting, state: TrainState) -> None:
    """samples/fakes-<kimg>.png on fixed latents, from the averaged generator, beside reals.png of the same layout."""
    if sitting.drawn_at == state.images:
        return
    phase = sitting.schedule.phase_at(state.images)
    kind = sitting.feed.kind
    z = sitting.feed.inputs(plots.COUNTS[kind], phase).to(state.device)
    chunks = [state.ema(part, phase.stage, phase.alpha) for part in z.split(16 if kind == "image" else 256)]
    folder = sitting.run.path / "samples"
    folder.mkdir(exist_ok=True)
    name = f"fakes-{name_of(state.images, sitting.config.train.sample_every)}.png"
    sheet = plots.sheet(torch.cat(chunks), kind)
    files.replace(folder / name, lambda file: file.write_bytes(media.png(sheet)))
    sitting.drawn_at = state.images


def draw_reals(run: Run, config: Config, dataset: Dataset) -> None:
    """reals.png: the first training samples at full size, in the layout of the fakes."""
    count = min(plots.COUNTS[dataset.kind], len(dataset.train_rows))
    x = Feed(dataset, config).first(count)
    media.save(run.path / "reals.png", plots.sheet(x, dataset.kind))
