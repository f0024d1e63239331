"""gancli: train GANs, sample them, and diagnose mode collapse.

    import gancli
    generator = gancli.load("runs/00000-shapes-quickstart")   # a .pt file or a run folder
    images = generator.sample(seeds=range(16))                # (16, C, H, W) in [-1, 1]

Every command that trains, samples or evaluates is also a function of this module that returns a frozen result.
torch is imported on the first use of such a function, so `import gancli` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gancli.version import __version__

if TYPE_CHECKING:
    from gancli.errors import (
        CannotCreate,
        CheckpointError,
        ChildFailed,
        ConfigError,
        DataError,
        ExtraMissing,
        GancliError,
        InputMissing,
        Interrupted,
        OutOfMemory,
        RunBusy,
        StorageError,
        TrainingDiverged,
        UsageError,
        WorkerLost,
        WorkersDisagree,
    )
    from gancli.overview import scan
    from gancli.register import register_family, register_loss
    from gancli.report.verb import write_report
    from gancli.sampling import Generator, interpolate, sample
    from gancli.stats.inspect import inspect_stats
    from gancli.superres import enlarge
    from gancli.training.ablate import ablate
    from gancli.training.callbacks import Callback, PrintProgress
    from gancli.training.verbs import grow, plan, resume, train

    load = Generator.load

_HOME = {
    "CannotCreate": "gancli.errors",
    "CheckpointError": "gancli.errors",
    "ChildFailed": "gancli.errors",
    "ConfigError": "gancli.errors",
    "DataError": "gancli.errors",
    "ExtraMissing": "gancli.errors",
    "GancliError": "gancli.errors",
    "InputMissing": "gancli.errors",
    "Interrupted": "gancli.errors",
    "OutOfMemory": "gancli.errors",
    "RunBusy": "gancli.errors",
    "StorageError": "gancli.errors",
    "TrainingDiverged": "gancli.errors",
    "UsageError": "gancli.errors",
    "WorkerLost": "gancli.errors",
    "WorkersDisagree": "gancli.errors",
    "Callback": "gancli.training.callbacks",
    "PrintProgress": "gancli.training.callbacks",
    "Generator": "gancli.sampling",
    "sample": "gancli.sampling",
    "interpolate": "gancli.sampling",
    "inspect_stats": "gancli.stats.inspect",
    "scan": "gancli.overview",
    "train": "gancli.training.verbs",
    "grow": "gancli.training.verbs",
    "resume": "gancli.training.verbs",
    "plan": "gancli.training.verbs",
    "ablate": "gancli.training.ablate",
    "enlarge": "gancli.superres",
    "write_report": "gancli.report.verb",
    "register_family": "gancli.register",
    "register_loss": "gancli.register",
}

__all__ = [
    "Callback",
    "CannotCreate",
    "CheckpointError",
    "ChildFailed",
    "ConfigError",
    "DataError",
    "ExtraMissing",
    "GancliError",
    "Generator",
    "InputMissing",
    "Interrupted",
    "OutOfMemory",
    "PrintProgress",
    "RunBusy",
    "StorageError",
    "TrainingDiverged",
    "UsageError",
    "WorkerLost",
    "WorkersDisagree",
    "__version__",
    "ablate",
    "enlarge",
    "grow",
    "inspect_stats",
    "interpolate",
    "load",
    "plan",
    "register_family",
    "register_loss",
    "resume",
    "sample",
    "scan",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "load":
        return __getattr__("Generator").load
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gancli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
