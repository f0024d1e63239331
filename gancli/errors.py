"""The errors that a user can fix. Any other exception is a bug and keeps its traceback.

GancliError                exit 1
├── UsageError             exit 2    invalid or conflicting arguments
├── DataError              exit 65   data set unreadable, of the wrong shape, or empty
├── CheckpointError        exit 65   truncated, damaged, unsafe, or from another network
├── InputMissing           exit 66   no such file or folder
├── ExtraMissing           exit 69   an optional package is not installed
├── TrainingDiverged       exit 70   a loss or a weight is not finite
├── OutOfMemory            exit 71   not enough memory, of the CPU or the GPU
├── CannotCreate           exit 73   the output exists already, or its folder is not writable
├── ChildFailed            exit code of the training run of an ablation that failed
├── StorageError           exit 74   the disk is full, or reading or writing failed
├── RunBusy                exit 75   another process is training in this run folder
├── WorkerLost             exit 76   another worker of a distributed training is gone
├── WorkersDisagree        exit 70   the workers of a distributed training have different weights
└── ConfigError            exit 78   invalid preset or --set

Exits that are not errors: Interrupted (stopped by a signal; exit 128 + signal), Finding (exit 4: --fail-on or
--stop-on found something) and PipeClosed (exit 141).
"""

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gancli.results import TrainReport


class GancliError(Exception):
    """Base class of all errors. what: what went wrong. where: the file or option. hint: how to fix it."""

    exit_code = 1
    elsewhere = False  # whether another worker raised it, and prints it

    def __init__(self, what: str, *, where: str, hint: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  hint:  {hint}")
        self.what, self.where, self.hint = what, where, hint

    def __reduce__(self) -> Any:
        """For other processes."""
        return partial(type(self), self.what, where=self.where, hint=self.hint), ()


class UsageError(GancliError):
    """Invalid or conflicting arguments."""

    exit_code = 2


class DataError(GancliError):
    """A data set that cannot be read, has the wrong shape, or is empty."""

    exit_code = 65


class CheckpointError(GancliError):
    """A checkpoint that is truncated, damaged, unsafe, or from another network."""

    exit_code = 65


class InputMissing(GancliError):
    """A file or folder that does not exist."""

    exit_code = 66


class ExtraMissing(GancliError):
    """A feature whose optional package is not installed."""

    exit_code = 69


class TrainingDiverged(GancliError):
    """A loss or a weight that is not finite."""

    exit_code = 70


class OutOfMemory(GancliError):
    """Not enough memory, of the CPU or the GPU."""

    exit_code = 71


class CannotCreate(GancliError):
    """An output that exists already, or whose folder is not writable."""

    exit_code = 73


class StorageError(GancliError):
    """The disk is full, or reading or writing failed."""

    exit_code = 74


class RunBusy(GancliError):
    """A run folder in which another process is training."""

    exit_code = 75


class WorkerLost(GancliError):
    """Another worker of a distributed training, or the connection to it, is gone."""

    exit_code = 76


class WorkersDisagree(GancliError):
    """The workers of a distributed training have different weights."""

    exit_code = 70


class ChildFailed(GancliError):
    """A training run of an ablation that failed. The exit code is that of the run."""

    def __init__(self, what: str, code: int, *, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.exit_code = code if code > 0 else 128 - code

    def __reduce__(self) -> Any:
        """For other processes."""
        return partial(type(self), self.what, self.exit_code, where=self.where, hint=self.hint), ()


class ConfigError(GancliError):
    """An invalid preset, --set or combination of settings."""

    exit_code = 78


NO_MEMORY = (
    "DefaultCPUAllocator",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",
    "could not execute a primitive",
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that there is not enough memory.

    torch has a type of its own only for GPUs. On a CPU, the allocator, C++ and oneDNN (the last two texts) each say it
    in their own way.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


class Interrupted(Exception):
    """Stopped by a signal, after saving a checkpoint. report: the TrainReport of the stopped run, if any."""

    def __init__(self, signum: int, report: "TrainReport | None" = None) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum, self.report = signum, report


class PipeClosed(Exception):
    """The reader of standard output closed the pipe, as in `gancli … | head -1`."""


class Finding(Exception):
    """`--fail-on` or `--stop-on` found something."""

    exit_code = 4
