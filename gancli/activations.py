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
    y: Tensor = _PixelNorm.apply(x, eps)
    return y


class _PixelNorm(Function):
    """y = r x with r = 1 / sqrt(mean_C x^2 + eps). Its gradient is r (g - y mean_C(g y))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        r = wide.square().mean(dim=1, keepdim=True).add_(eps).rsqrt_()
        y = (wide * r).to(x.dtype)
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        y, r = ctx.saved_tensors
        wide, y = g.to(r.dtype), y.to(r.dtype)
        along = (wide * y).mean(dim=1, keepdim=True)
        return torch.addcmul(wide, y, along, value=-1).mul_(r).to(g.dtype), None
