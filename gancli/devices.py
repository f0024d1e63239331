"""Selection of the device and of the number of CPU threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch

from gancli import process
from gancli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def choose(name: str = "auto") -> torch.device:
    """The device of a name. auto: CUDA, else MPS, else CPU. Raises UsageError if the device is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        raise UsageError(f"device {name!r} is not available", where="--device", hint="use --device auto or cpu")
    if name.startswith("cuda:") and process.world_size() > 1:
        raise UsageError("each worker takes a GPU of its own", where=f"--device {name}", hint="use --device cuda")
    if name == "cuda" and process.world_size() > 1:
        name = f"cuda:{process.local_rank() % torch.cuda.device_count()}"  # each worker has its own
    return torch.device(name)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Context manager: use `count` CPU threads in torch. None: keep the current setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def uses_threads(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for a function with an argument `threads`: apply it to torch, and restore the setting afterwards."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with threads(cast(int | None, kwargs.get("threads"))):
            return function(*args, **kwargs)

    return wrapped
