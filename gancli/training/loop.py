"""The training loop."""

import time
from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor

from gancli import annealing, ema, growth, signals
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.errors import Interrupted, TrainingDiverged, is_out_of_memory
from gancli.growth import Phase, Schedule
from gancli.runs import Run
from gancli.training import alarms
from gancli.training.callbacks import Callback
from gancli.training.memory import too_little
from gancli.training.outputs import draw_fakes, save, take_tick
from gancli.training.rollback import roll_back
from gancli.training.sentinel import Sentinel
from gancli.training.session import BEFORE, STEP_DONE, Session, begin
from gancli.training.state import STEERED, TrainState
from gancli.training.step import train_critic, train_generator
from gancli.training.tick_metrics import TickMetrics


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
    tick_metrics = TickMetrics(
        at_every_tick=config.steered_augment is not None or bool(stop_on & alarms.BY_TICK_METRICS)
    )
    session = Session(run, config, Schedule.of(config), Feed(dataset, config), callback, tick_metrics, stop_on)
    if state.workers.first and (damage := run.damage()):
        callback.say(damage)
    begin(session, state)
    with state.workers.agreeing_on_signals():
        while True:
            try:
                to_the_end(session, state)
            except TrainingDiverged as error:
                roll_back(session, state, error)
            else:
                return session.finding
            if session.finding:
                return session.finding


def to_the_end(session: Session, state: TrainState) -> None:
    """Train until the duration is reached, `stop_on` finds something, or a signal arrives. Raises as `train`.

    After a signal, a step is left where it is: between two critic steps, before the generator step, or before its tick.
    """
    sentinel = Sentinel(state.device)
    while (state.images < session.config.train.duration or is_unfinished(state.extra)) and not session.finding:
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
        late = time.monotonic() - session.since_save > session.config.train.checkpoint_minutes * 60
        if late and state.workers.first:
            signals.request_save()
            session.since_save = time.monotonic()
        after_step(session, state, before, phase)
        if signals.stop_requested():
            break
    write_fakes(session, state)
    if not (session.finding or "").startswith("diverged"):  # non-finite weights are not saved
        write_checkpoint(session, state)
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

    The grid comes before the checkpoint, so that a run that is killed between the two draws it again. A checkpoint is
    also due before a new resolution, which needs more memory than those before.
    """
    train, after = session.config.train, state.images
    is_last = after >= train.duration
    ticks = (due(train.tick_every, before, after) or is_last) and session.logged_at != after
    if ticks:
        with suppress(Interrupted):  # in the tick, or before it
            signals.poll()
            write_tick(session, state, phase)
            ticks = False
    draws = due(train.sample_every, before, after) or is_last
    if draws and not signals.stop_requested():
        write_fakes(session, state)
    if ticks or (draws and session.drawn_at != after):
        state.extra |= {BEFORE: torch.tensor(before), STEP_DONE: torch.tensor(int(not ticks))}
    elif save_due(session, before, after) or session.schedule.phase_at(after).stage != phase.stage:
        write_checkpoint(session, state)


def write_tick(session: Session, state: TrainState, phase: Phase) -> None:
    """Measure and log a tick, in the first worker. All of them learn what it has decided."""
    state.workers.check_equal(state.weights())
    session.finding, steered = state.workers.on_first(lambda: take_tick(session, state, phase))
    if steered is not None:
        state.extra[STEERED] = steered
    session.logged_at = state.images


def write_fakes(session: Session, state: TrainState) -> None:
    """Write the grid of fakes, in the first worker, unless it is there. Another signal may come between."""
    if session.drawn_at != state.images and state.workers.on_first(lambda: draw_fakes(session, state)):
        session.drawn_at = state.images


def write_checkpoint(session: Session, state: TrainState) -> None:
    """Save, in the first worker, unless it is done."""
    if session.saved_at != state.images:
        state.workers.on_first(lambda: save(session, state))
        session.since_save, session.saved_at = time.monotonic(), state.images


def images_before(state: TrainState) -> int:
    """Images before the critic steps of the next generator step. A signal may have come between two critic steps."""
    return int(state.extra.pop(BEFORE, torch.tensor(state.images)))


def is_unfinished(extra: Mapping[str, Tensor]) -> bool:
    """Whether a signal has stopped training before the generator step, or before the tick of a step.

    extra: of the state or of its checkpoint.
    """
    return BEFORE in extra


def due(every: int, before: int, after: int) -> bool:
    """Whether the number of images passed a multiple of `every`. Always False if `every` is 0."""
    return every > 0 and before // every != after // every


def average(state: TrainState, config: ResolvedConfig, shown: int) -> None:
    """Update the EMA generator after `shown` images."""
    seen, train = state.images + (config.origin.images if config.origin else 0), config.train
    annealed = annealing.value(config.anneal.ema_half_life, state.images, train.duration)
    half_life = ema.half_life_at(seen, annealed * train.ema_half_life, train.ema_ramp)
    ema.update(state.ema, state.G, keep=ema.decay(shown, half_life))


def save_due(session: Session, before: int, after: int) -> bool:
    """Whether to save: at the intervals in images and minutes, on SIGUSR1, and after the first step.

    Saving after the first step detects a full disk early.
    """
    asked = signals.save_requested()
    return before == 0 or asked or due(session.config.train.checkpoint_every, before, after)
