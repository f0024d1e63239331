"""Interpolation of images and signals that can be differentiated twice, unlike torch's grid_sample."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F  # noqa: N812  (torch's own convention)


def interpolate(x: Tensor, grid: Tensor) -> Tensor:
    """Values of x at other places, linearly between values and constant beyond the edges.

    Images (N, C, H, W) with a grid (N, H', W', 2) of (x, y), -1 and 1 at the edges -> (N, C, H', W'). Signals (N, C, L)
    with a grid (N, 1, L', 2) -> (N, C, L'). Differentiable twice with respect to x.
    """
    if x.ndim == 3:
        return interpolate(x[:, :, None], grid)[:, :, 0]
    y: Tensor = _Interpolation.apply(x, grid)
    return y


class _Interpolation(Function):
    """Linear in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Adjoint.apply(g, grid, ctx.shape), None


class _Adjoint(Function):
    """The adjoint of the interpolation, linear in g: each value is added to the places that it came from."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        bilinear, border = 0, 1
        found: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            g, g.new_empty(1).expand(shape), grid, bilinear, border, False, [True, False]
        )[0]
        return found

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Interpolation.apply(t, grid), None, None
