"""Every error a user can fix. Anything else is a bug and keeps its traceback.

GancliError                exit 1
├── UsageError             exit 2    arguments that do not go together
├── DataError              exit 65   data set unreadable, of the wrong shape, or empty
├── CheckpointError        exit 65   cut short, damaged, unsafe, or from another network
├── InputMissing           exit 66   no such file or folder
├── ExtraMissing           exit 69   an optional package is not installed
├── TrainingDiverged       exit 70   a loss or a weight is no longer finite
├── CannotCreate           exit 73   the output exists already, or its folder cannot be written
├── ChildFailed            as the training that failed: one of an ablation's
├── StorageError           exit 74   the disk is full, or reading or writing failed
├── RunBusy                exit 75   another process trains in this run folder
└── ConfigError            exit 78   a preset or --set is wrong

Not errors, but ways to leave: Interrupted (a signal asked us to stop; exit 128 + signal),
Finding (exit 4: a check the user asked for has found something) and PipeClosed (exit 141).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gancli.results import TrainReport


class GancliError(Exception):
    """What went wrong, where, and how to fix it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str, hint: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  hint:  {hint}")
        self.what, self.where, self.hint = what, where, hint


class UsageError(GancliError):
    """Arguments that do not go together."""

    exit_code = 2


class DataError(GancliError):
    """A data set that cannot be read, has the wrong shape, or is empty."""

    exit_code = 65


class CheckpointError(GancliError):
    """A checkpoint that is cut short, damaged, unsafe, or of another network."""

    exit_code = 65


class InputMissing(GancliError):
    """A file or folder that does not exist."""

    exit_code = 66


class ExtraMissing(GancliError):
    """A feature whose optional package is not installed."""

    exit_code = 69


class TrainingDiverged(GancliError):
    """A loss or a weight that is no longer finite."""

    exit_code = 70


class CannotCreate(GancliError):
    """An output that exists already or whose folder cannot be written."""

    exit_code = 73


class StorageError(GancliError):
    """A full disk, or reading or writing that failed."""

    exit_code = 74


class RunBusy(GancliError):
    """A run folder in which another process trains."""

    exit_code = 75


class ChildFailed(GancliError):
    """A training that another command had started and that failed; with its exit code."""

    def __init__(self, what: str, code: int, *, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.exit_code = code if code > 0 else 128 - code


class ConfigError(GancliError):
    """A preset, a --set or a combination of settings that is wrong."""

    exit_code = 78


class Interrupted(Exception):
    """Stopped by a signal, with everything saved. report: the TrainReport of the run that was stopped, if any."""

    def __init__(self, signum: int, report: "TrainReport | None" = None) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum, self.report = signum, report


class PipeClosed(Exception):
    """The reader of our standard output went away, as in `gancli … | head -1`."""


class Finding(Exception):
    """A check that the user asked for, `--fail-on` or `--stop-on`, has found something."""

    exit_code = 4
