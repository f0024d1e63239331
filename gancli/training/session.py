"""The state of one process that is training a run."""

import time
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gancli.config import ResolvedConfig
from gancli.data import Feed
from gancli.growth import Phase, Schedule
from gancli.results import Warned
from gancli.runs import Run
from gancli.stats.histograms import Levels
from gancli.training import log
from gancli.training.callbacks import Callback
from gancli.training.state import TrainState
from gancli.training.tick_metrics import TickMetrics

# Keys in TrainState.extra. STEP_DONE is there if the networks are trained; its value is 1 if the tick is taken, else 0.
BEFORE, STEP_DONE = "images before an unfinished step", "only the tick is missing"
LOSS = "loss "  # begins the keys of the last losses


@dataclass
class Session:
    """What training needs besides the TrainState. Of it, only the last losses are saved in checkpoints."""

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
    logged_at: int = -1  # images at the last tick in the log
    losses: dict[str, Tensor] = field(default_factory=dict)  # last value of each, lazy penalties included
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


def begin(session: Session, state: TrainState) -> None:
    """Make the session and the log match a state that was loaded."""
    session.logged_at = state.workers.on_first(lambda: cut_log(session, state))
    session.losses = {key: loss.to(state.device) for key, loss in pop_losses(state.extra).items()}
    session.images_at_tick, session.since_tick = state.images, time.monotonic()
    session.saved_at = session.drawn_at = -1


def cut_log(session: Session, state: TrainState) -> int:
    """Remove what is in the log after the state. Returns the images at the last tick that is left, or -1."""
    session.history = log.cut(session.run, logged(state))
    return session.history[-1]["images"] if session.history else -1


def logged(state: TrainState) -> int:
    """The images up to which the log belongs to the weights.

    A checkpoint that was saved after a signal may be from before the tick at its own images. If a process that was
    killed later has logged that tick, it is taken again: the next tick compares its fakes with those of this one.
    """
    is_taken = BEFORE not in state.extra or (STEP_DONE in state.extra and bool(state.extra[STEP_DONE]))
    return state.images if is_taken else state.images - 1


def pop_losses(extra: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses of the last step before a checkpoint, for the next tick. They are removed from `extra`."""
    return {key.removeprefix(LOSS): extra.pop(key) for key in [*extra] if key.startswith(LOSS)}
