"""The training loop."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, ema, files, growth, media, plots, runs, signals
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.errors import Interrupted, TrainingDiverged, is_out_of_memory
from gancli.growth import Phase, Schedule
from gancli.results import Warned
from gancli.runs import Run
from gancli.stats.histograms import Levels
from gancli.training import alarms, log
from gancli.training.alarms import Alarm
from gancli.training.callbacks import Callback
from gancli.training.memory import too_little
from gancli.training.sentinel import Sentinel
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator
from gancli.training.tick_metrics import TickMetrics

MOST_ROLLBACKS = 3  # in one session
BEFORE, STEP_DONE = "images before an unfinished step", "only the tick is missing"  # keys in TrainState.extra
LOSS = "loss "


@dataclass
class Session:
    """The state of one process that is training a run. None of it is saved in checkpoints."""

    run: Run
    config: ResolvedConfig
    schedule: Schedule
    feed: Feed
    callback: Callback
    tick_metrics: TickMetrics
    stop_on: frozenset[str] = frozenset()
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
    rollbacks: list[Warned] = field(default_factory=list)  # what was done about values that were not finite

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
    session = Session(run, config, Schedule.of(config), Feed(dataset, config), callback, tick_metrics, stop_on)
    if damage := run.damage():
        callback.say(damage)
    begin(session, state)
    while True:
        try:
            to_the_end(session, state)
        except TrainingDiverged as error:
            roll_back(session, state, error)
        else:
            return session.finding
        if session.finding:
            return session.finding


def begin(session: Session, state: TrainState) -> None:
    """Make the session and the log match a state that was loaded."""
    session.history = log.cut(session.run, state.images)
    session.losses = pop_losses(state.extra)
    session.images_at_tick, session.since_tick, session.saved_at, session.drawn_at = (
        state.images,
        time.monotonic(),
        -1,
        -1,
    )


def to_the_end(session: Session, state: TrainState) -> None:
    """Train until the duration is reached, `stop_on` finds something, or a signal arrives. Raises as `train`.

    After a signal, a step is left where it is: between two critic steps, before the generator step, or before its tick.
    """
    sentinel = Sentinel(state.device)
    while (state.images < session.config.train.duration or is_unfinished(state)) and not session.finding:
        began = time.monotonic()
        before, is_done = images_before(state), state.extra.pop(STEP_DONE, None) is not None
        phase = session.schedule.phase_at(before)
        if not is_done:
            if not one_step_in_memory(session, state, before, phase):
                break
            sentinel.check(session.losses, state.images)
            took = time.monotonic() - began
            state.seconds, session.tick_metrics.trained = state.seconds + took, session.tick_metrics.trained + took
        session.callback.step(state.images)
        after_step(session, state, before, phase)
        if signals.stop_requested():
            break
    draw_fakes(session, state)
    if not (session.finding or "").startswith("diverged"):  # non-finite weights are not saved
        save(session, state)
    signals.poll()


def one_step_in_memory(session: Session, state: TrainState, before: int, phase: Phase) -> bool:
    """As `one_step`. Raises OutOfMemory with the largest batch that fits; the state is of no use afterwards."""
    try:
        return one_step(session, state, before, phase)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    state.images = before  # outside of the except block, where the exception has released its tensors
    raise too_little(state, session.config, session.feed, phase, session.run)


def one_step(session: Session, state: TrainState, before: int, phase: Phase) -> bool:
    """The critic steps and the generator step that follow the image `before`. False if a signal has interrupted it."""
    config = session.config
    losses, inputs = train_critic(state, config, session.feed, phase, before)
    session.losses |= losses
    if inputs is None:
        state.extra[BEFORE] = torch.tensor(before)
        return False
    session.losses |= train_generator(state, config, phase, inputs)
    average(state, config, state.images - before)
    if growth.resets_optimizer(config, phase, session.schedule.phase_at(state.images)):
        state.clear_adam()
    return True


def after_step(session: Session, state: TrainState, before: int, phase: Phase) -> None:
    """The tick, the grid of fakes and the checkpoint, where they are due. Once a signal has arrived, none of them.

    The grid comes before the checkpoint, so that a run that is killed between the two draws it again.
    """
    train, after = session.config.train, state.images
    is_logged, is_last = bool(session.history) and session.history[-1]["images"] == after, after >= train.duration
    ticks = (due(train.tick_every, before, after) or is_last) and not is_logged
    if ticks:
        with suppress(Interrupted):  # in the tick, or before it
            signals.poll()
            take_tick(session, state, phase)
            ticks = False
    draws = due(train.sample_every, before, after) or is_last
    if draws and not signals.stop_requested():
        draw_fakes(session, state)
    if ticks or (draws and session.drawn_at != after):
        state.extra |= {BEFORE: torch.tensor(before), STEP_DONE: torch.tensor(1)}
    elif save_due(session, before, after):
        save(session, state)


def images_before(state: TrainState) -> int:
    """Images before the critic steps of the next generator step. A signal may have come between two critic steps."""
    return int(state.extra.pop(BEFORE, torch.tensor(state.images)))


def is_unfinished(state: TrainState) -> bool:
    """Whether a signal has stopped training before the generator step, or before the tick of a step."""
    return BEFORE in state.extra


def pop_losses(extra: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The losses of the last step before a checkpoint, for the next tick. They are removed from `extra`."""
    return {key.removeprefix(LOSS): extra.pop(key) for key in [*extra] if key.startswith(LOSS)}


def due(every: int, before: int, after: int) -> bool:
    """Whether the number of images passed a multiple of `every`. Always False if `every` is 0."""
    return every > 0 and before // every != after // every


def average(state: TrainState, config: ResolvedConfig, shown: int) -> None:
    """Update the EMA generator after `shown` images."""
    seen = state.images + (config.origin.images if config.origin else 0)
    half_life = ema.half_life_at(seen, config.train.ema_half_life, config.train.ema_ramp)
    ema.update(state.ema, state.G, keep=ema.decay(shown, half_life))


def roll_back(session: Session, state: TrainState, error: TrainingDiverged) -> None:
    """Return to the last checkpoint, so that training can go on. Raises the error if this has not helped before.

    Training is deterministic, so there is no second attempt at the same image.
    """
    at, tried, say = state.images, session.rollbacks, session.callback.say
    if "diverged" in session.stop_on:
        log_end(session, state, error)
        session.finding = f"diverged: {error.what}"
        return
    hopeless = len(tried) == MOST_ROLLBACKS or any(warned.since == at for warned in tried)
    saved = None if hopeless else state.restore_newest(session.run, say)
    if saved is None:
        log_end(session, state, error)
        raise error
    number = f"rollback {len(tried) + 1} of at most {MOST_ROLLBACKS}"
    text = f"{error.what}; training has gone back to {saved.images / 1000:g} kimg ({number})"
    tried.append(Warned("rolled-back", text, at, name_in(session.run, saved.path)))
    say(f"warning: {text}")
    begin(session, state)


def log_end(session: Session, state: TrainState, error: TrainingDiverged) -> None:
    """Log a last tick with the reason why training ends. It is removed when the run is resumed."""
    session.history = log.cut(session.run, state.images - 1)
    last = session.run.checkpoints()[-1:]
    ended = Warned("diverged", error.what, state.images, last[0].name if last else None)
    take_tick(session, state, session.schedule.phase_at(state.images), ended)


def name_in(run: Run, path: Path) -> str:
    """The name of a checkpoint in checkpoints/; last.pt is one of them."""
    return next((file.name for file in run.checkpoints() if file.samefile(path)), path.name)


def take_tick(session: Session, state: TrainState, phase: Phase, *more: Warned) -> None:
    """Measure a tick, check for alarms, append it to the log, call the callback, and check `stop_on`.

    more: warnings that are not from the alarms.
    """
    speed = (state.images - session.images_at_tick) / max(1e-9, time.monotonic() - session.since_tick)
    levels = session.levels(phase)
    tick = log.measure(
        state, session.config, session.feed, phase, session.losses, levels, session.tick_metrics, images_per_s=speed
    )
    judged = alarms.may_judge(session.schedule, state.images, session.config.train.duration)
    raised = alarms.raised(tick, session.history, judged=judged)
    said = {tuple(warning.values()) for row in session.history for warning in row["warnings"]}
    more += tuple(warned for warned in session.rollbacks if tuple(asdict(warned).values()) not in said)
    unsaid = {
        name: alarm
        for name, alarm in alarms.unsaid(raised, session.history).items()
        if name not in {warned.name for warned in more}
    }
    tick = replace(tick, warnings=(*more, *_warnings(unsaid, session)))
    found = (f"{name}: {alarm.text}" for name, alarm in raised.items() if name in session.stop_on)
    session.finding = next(found, None)
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


def save_due(session: Session, before: int, after: int) -> bool:
    """Whether to save: at the intervals in images and minutes, on SIGUSR1, and after the first step.

    Saving after the first step detects a full disk early.
    """
    late = time.monotonic() - session.since_save > session.config.train.checkpoint_minutes * 60
    return before == 0 or late or signals.save_requested() or due(session.config.train.checkpoint_every, before, after)


def save(session: Session, state: TrainState) -> None:
    """Write a checkpoint, link last.pt to it, then delete old ones, except those that a warning refers to."""
    if session.saved_at == state.images:
        return
    run, keep, kept = session.run, session.config.train.keep, alarms.kept_checkpoints(session.history)
    name = f"{name_of(state.images, session.config.train.checkpoint_every)}.pt"
    path = run.path / "checkpoints" / (name if name not in kept else f"{state.images:09d}.pt")
    state.extra |= {f"{LOSS}{name}": loss.detach().cpu() for name, loss in session.losses.items()}
    if run.stats_file.exists():
        files.sync(run.stats_file)  # after a power failure, the log must reach as far as the checkpoint
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
    """Write samples/fakes-<kimg>.png: samples of the EMA generator on fixed latents, in the layout of reals.png.

    Does nothing if they are drawn, or once a signal has arrived.
    """
    if session.drawn_at == state.images:
        return
    phase = session.schedule.phase_at(state.images)
    kind = session.feed.kind
    z = session.feed.inputs(plots.COUNTS[kind], phase).to(state.device)
    chunks = []
    for part in z.split(16 if kind == "image" else 256):
        if signals.stop_requested():
            return
        chunks.append(state.ema(part, phase.stage, phase.alpha))
    folder = session.run.path / "samples"
    files.make_folder(folder)
    name = f"fakes-{name_of(state.images, session.config.train.sample_every)}.png"
    sheet = plots.sheet(torch.cat(chunks), kind)
    media.save(folder / name, sheet)
    session.drawn_at = state.images


def draw_reals(run: Run, config: ResolvedConfig, dataset: Dataset) -> None:
    """Write reals.png: the first training samples at full size, in the layout of the fakes."""
    count = min(plots.COUNTS[dataset.kind], len(dataset.train_rows))
    x = Feed(dataset, config).first(count)
    media.save(run.path / "reals.png", plots.sheet(x, dataset.kind))
