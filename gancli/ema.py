"""Exponential moving average (EMA) of the generator weights. It generates better images than the raw weights."""

import torch
from torch import Tensor, nn


def decay(batch: int, half_life: float) -> float:
    """Decay of the average over `batch` images: 1/2 over `half_life` images; 0 if half_life is 0."""
    return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


def half_life_at(images: int, half_life: float, ramp: float) -> float:
    """min(half_life, ramp * images): a shorter half-life early on, so that the average does not lag behind."""
    return min(half_life, images * ramp) if ramp > 0 else half_life


def update(average: nn.Module, current: nn.Module, keep: float) -> None:
    """average = keep * average + (1 - keep) * current. Buffers (running statistics) are copied."""
    mine: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(current.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(mine, new, 1 - keep)
        for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
            kept.copy_(buffer)
