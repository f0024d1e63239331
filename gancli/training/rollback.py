"""Going back to the last checkpoint when a value is not finite."""

from pathlib import Path

from gancli.errors import TrainingDiverged
from gancli.results import Warned
from gancli.runs import Run
from gancli.training import log
from gancli.training.outputs import take_tick
from gancli.training.session import Session, begin
from gancli.training.state import TrainState

MOST_ROLLBACKS = 3  # in one session


def roll_back(session: Session, state: TrainState, error: TrainingDiverged) -> None:
    """Return to the last checkpoint, so that training can go on. Raises the error if this has not helped before."""
    session.finding = state.workers.on_first(lambda: restore(session, state, error))
    if session.finding is None:
        state.share(session.config)
        begin(session, state)


def restore(session: Session, state: TrainState, error: TrainingDiverged) -> str | None:
    """Load the last checkpoint. Returns what `stop_on` found, if anything; then training ends.

    Training is deterministic, so there is no second attempt at the same image.
    """
    at, tried, say = state.images, session.rollbacks, session.callback.say
    if "diverged" in session.stop_on:
        log_end(session, state, error)
        return f"diverged: {error.what}"
    hopeless = len(tried) == MOST_ROLLBACKS or any(warned.since == at for warned in tried)
    saved = None if hopeless else state.restore_newest(session.run, say)
    if saved is None:
        if tried:
            error = TrainingDiverged(f"{error.what}, also after a rollback", where=error.where, hint=error.hint)
        log_end(session, state, error)
        raise error
    number = f"rollback {len(tried) + 1} of at most {MOST_ROLLBACKS}"
    text = f"{error.what}; training has gone back to {saved.images / 1000:g} kimg ({number})"
    tried.append(Warned("rolled-back", text, at, name_in(session.run, saved.path)))
    say(f"warning: {text}")
    return None


def log_end(session: Session, state: TrainState, error: TrainingDiverged) -> None:
    """Log a last tick with the reason why training ends. It is removed when the run is resumed."""
    session.history = log.cut(session.run, state.images - 1)
    last = session.run.checkpoints()[-1:]
    ended = Warned("diverged", error.what, state.images, last[0].name if last else None)
    take_tick(session, state, session.schedule.phase_at(state.images), ended)


def name_in(run: Run, path: Path) -> str:
    """The name of a checkpoint in checkpoints/; last.pt is one of them."""
    return next((file.name for file in run.checkpoints() if file.samefile(path)), path.name)
