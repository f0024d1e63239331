"""Which device computes."""

import torch

from gancli.errors import UsageError


def choose(name: str = "auto") -> torch.device:
    """The device of that name; auto: CUDA, then Apple's MPS, then the CPU. Raises UsageError where there is none."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        raise UsageError(f"no device {name!r} here", where="--device", mend="use --device auto or cpu")
    return torch.device(name)
