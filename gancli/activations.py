"""Leaky ReLU and pixel norm with derivatives that do no needless work.

torch passes the second derivative of leaky ReLU, which is zero, on through all layers before it. Its gradient of
pixel norm, derived operation by operation, reads the activations about ten times.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

SLOPE = 0.2  # of leaky ReLU, for negative values


def leaky_relu(x: Tensor) -> Tensor:
    """max(x, 0.2 x). The same shape."""
    y: Tensor = _LeakyRelu.apply(x)
    return y


class _LeakyRelu(Function):
    """max(x, 0.2 x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        y = F.leaky_relu(x, SLOPE)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Tensor | None:
        (y,) = ctx.saved_tensors
        if g is None or not torch.is_grad_enabled():
            return None if g is None else _sloped(g, y)
        return _Slopes.apply(g, y.detach())


class _Slopes(Function):
    """g times the slope at y: linear in g, and its own adjoint."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, y: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y)
        return _sloped(g, y)

    @staticmethod
    def backward(ctx: Any, t: Tensor | None) -> tuple[Tensor | None, None]:
        (y,) = ctx.saved_tensors
        return (None if t is None else _Slopes.apply(t, y)), None


def _sloped(g: Tensor, y: Tensor) -> Tensor:
    """g where y > 0, else 0.2 g."""
    return torch.ops.aten.leaky_relu_backward(g, y, SLOPE, True)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean_C x^2 + eps): normalizes the feature vector of each pixel.

    Prevents the magnitudes in generator and critic from escalating. Shape: (N, C, *S) -> the same.
    The mean square is taken in float32. Differentiable once: a penalty on the gradient is an error.
    Source: Karras et al. 2018, section 4.2.
    """
    y: Tensor = _PixelNorm.apply(x, eps, 1.0)
    return y


def leaky_pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """`pixel_norm` of `leaky_relu`, in one pass."""
    y: Tensor = _PixelNorm.apply(x, eps, SLOPE)
    return y


class _PixelNorm(Function):
    """y = r h with r = 1 / sqrt(mean_C h^2 + eps), h = max(x, slope x). The gradient for h is r (g - y mean_C(g y))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, slope: float) -> Tensor:
        wide = _wide(x)
        is_copy = wide is not x
        if slope < 1:
            wide, is_copy = F.leaky_relu(wide, slope, inplace=is_copy), True
        norm = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        r = norm.square_().div_(x.shape[1]).add_(eps).rsqrt_()
        y = (wide.mul_(r) if is_copy else wide * r).to(x.dtype)
        ctx.save_for_backward(y, r)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        y, r = ctx.saved_tensors
        g, wide = _wide(g), _wide(y)
        along = (g * wide).mean(dim=1, keepdim=True)
        g = torch.addcmul(g, wide, along, value=-1).mul_(r)
        g = torch.ops.aten.leaky_relu_backward(g, wide, ctx.slope, True) if ctx.slope < 1 else g
        return g.to(y.dtype), None, None


def _wide(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
