"""The average of the generator's weights over time, which draws better pictures than any single moment."""

import torch
from torch import Tensor, nn


def decay(batch: int, half_life: float) -> float:
    """The weight that the old average keeps after `batch` images: 1/2 after `half_life` images; 0 for none."""
    return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


def half_life_at(images: int, half_life: int, ramp: float) -> float:
    """The half-life is never longer than a share `ramp` of the images shown, so that early pictures are not stale."""
    return min(half_life, images * ramp) if ramp > 0 else half_life


def update(average: nn.Module, current: nn.Module, keep: float) -> None:
    """average = keep * average + (1 - keep) * current. Buffers (moving statistics) are copied."""
    mine: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(current.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(mine, new, 1 - keep)
        for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
            kept.copy_(buffer)
