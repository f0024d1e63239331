"""Which device computes, and with how many threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch

from gancli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def choose(name: str = "auto") -> torch.device:
    """The device of that name; auto: CUDA, then Apple's MPS, then the CPU. Raises UsageError where there is none."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        raise UsageError(f"no device {name!r} here", where="--device", hint="use --device auto or cpu")
    return torch.device(name)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU within this block; None: as torch is set."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def uses_threads(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb with an argument `threads`: it computes with so many, and leaves torch as it found it."""

    @wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with threads(cast(int | None, kwargs.get("threads"))):
            return verb(*args, **kwargs)

    return wrapped
