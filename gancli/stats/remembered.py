"""Results of functions of tensors, kept for as long as the tensors live.

Many figures need the same distances, and the EMA and the raw weights are compared with the same reals.
"""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

P = ParamSpec("P")
R = TypeVar("R")


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for a pure function of tensors, then of hashable values: compute each result once.

    A result is found again for the same tensor objects while they live. A tensor that was changed in place counts as
    another one.
    """
    kept: Any = WeakIdKeyDictionary()

    @wraps(function)
    def wrapped(*args: P.args, **options: P.kwargs) -> R:
        known, versions = kept, []
        for tensor in args:
            if not isinstance(tensor, Tensor):
                break
            known = known.setdefault(tensor, WeakIdKeyDictionary())
            versions.append(0 if tensor.is_inference() else tensor._version)
        results: dict[Hashable, R] = _results(known)
        key = (tuple(versions), args[len(versions) :], tuple(sorted(options.items())))
        if key not in results:
            results[key] = function(*args, **options)
        return results[key]

    return wrapped


def _results(known: Any) -> dict[Hashable, Any]:
    """The results that are kept for the tensors which led to a dictionary."""
    if not hasattr(known, "results"):
        known.results = {}
    found: dict[Hashable, Any] = known.results
    return found
