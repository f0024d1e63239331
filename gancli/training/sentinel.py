"""Finds losses that are not finite, at every step and without waiting for a GPU."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.training.state import diverged


class Sentinel:
    """Checks the losses of every step. On CUDA the result of a step is read in the next one, when it is there."""

    def __init__(self, device: torch.device) -> None:
        self._waits = device.type == "cuda"
        self._pending: tuple[Tensor, torch.cuda.Event] | None = None

    def check(self, losses: Mapping[str, Tensor], images: int) -> None:
        """Raise TrainingDiverged if a loss of this step (on CUDA: of the step before) is not finite."""
        total = torch.stack([loss.detach().float() for loss in losses.values()]).sum()
        before, self._pending = self._pending, self._copied(total) if self._waits else None
        if before is not None:
            before[1].synchronize()
        value = float(before[0]) if before is not None else 0.0 if self._waits else float(total)
        if not math.isfinite(value):
            raise diverged("a loss is not finite", images)

    def _copied(self, total: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        """A copy of a value on its way to the CPU, and the event after which it is there."""
        value = torch.empty((), pin_memory=True)
        value.copy_(total, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        return value, done
