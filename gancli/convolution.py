"""Convolution and 2x2 sums with fast second derivatives.

A penalty on the gradient of the critic is differentiated twice. torch then computes the gradient of a kernel as a
convolution whose kernel is as large as the image, at half the speed of the first derivative. Here, both are the same
operation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

_inputs_only = False


@contextmanager
def input_gradients_only() -> Iterator[None]:
    """Context manager for `torch.autograd.grad` with respect to inputs: gradients of kernels are not computed.

    autograd does not tell a Python function which of its gradients are used.
    """
    global _inputs_only
    before, _inputs_only = _inputs_only, True
    try:
        yield
    finally:
        _inputs_only = before


class Window(NamedTuple):
    """Stride and padding of a convolution, the same in all dimensions, and the number of its channel groups."""

    stride: int = 1
    padding: int = 0
    groups: int = 1


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """As torch's conv1d or conv2d. (N, C_in, *S), (C_out, C_in / groups, *K), (C_out,) -> (N, C_out, *S')."""
    y: Tensor = _Convolve.apply(x, kernel, bias, window)
    return y


def convolve_transposed(g: Tensor, kernel: Tensor, window: Window) -> Tensor:
    """As torch's conv_transpose1d or conv_transpose2d, the adjoint of `convolve`. (N, C_out, *S') -> (N, C_in, *S).

    Computed as the input gradient of a convolution, which takes less time on a CPU in bfloat16.
    """
    sizes = (
        (n - 1) * window.stride + k - 2 * window.padding for n, k in zip(g.shape[2:], kernel.shape[2:], strict=True)
    )
    x = _empty_as(g, (len(g), kernel.shape[1] * window.groups, *sizes))
    y: Tensor = _InputGradient.apply(g, kernel, x, window)
    return y


# <g, kernel * x> is linear in g, kernel and x. Its gradients are the convolution and the two functions that follow it;
# the gradients of each of the three are the other two.


class _Convolve(Function):
    """kernel * x + bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, kernel)
        ctx.window, ctx.has_bias = window, bias is not None
        return torch.convolution(x, kernel, bias, *_each(window, x))

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, ...]:
        if g is None:
            return None, None, None, None
        x, kernel = ctx.saved_tensors
        wants_x, wants_kernel = ctx.needs_input_grad[0], ctx.needs_input_grad[1] and not _inputs_only
        if not torch.is_grad_enabled():
            wanted = (wants_x, wants_kernel, wants_kernel and ctx.has_bias)
            return *_gradients(g, x, kernel, ctx.window, wanted), None
        g_x = _InputGradient.apply(g, kernel, x.detach(), ctx.window) if wants_x else None
        if not wants_kernel:
            return g_x, None, None, None
        g_kernel, g_bias = _KernelGradient.apply(g, x, kernel.detach(), ctx.window)
        return g_x, g_kernel, g_bias if ctx.has_bias else None, None


class _InputGradient(Function):
    """The gradient of <g, kernel * x> with respect to x."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, kernel: Tensor, x: Tensor, window: Window) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, kernel)
        ctx.window = window
        return _gradients(g, x, kernel, window, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, t: Tensor | None) -> tuple[Tensor | None, ...]:
        if t is None:
            return None, None, None, None
        g, kernel = ctx.saved_tensors
        g_g = convolve(t, kernel, None, ctx.window) if ctx.needs_input_grad[0] else None
        wants_kernel = ctx.needs_input_grad[1] and not _inputs_only
        g_kernel = _KernelGradient.apply(g, t, kernel.detach(), ctx.window)[0] if wants_kernel else None
        return g_g, g_kernel, None, None


class _KernelGradient(Function):
    """The gradients of <g, kernel * x + bias> with respect to kernel and bias."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, kernel: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x)
        ctx.window = window
        _, g_kernel, g_bias = _gradients(g, x, kernel, window, (False, True, True))
        return g_kernel, g_bias

    @staticmethod
    def backward(ctx: Any, k: Tensor | None, b: Tensor | None) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        if k is None:
            spread = None if b is None else b.view(1, -1, *(1 for _ in g.shape[2:])).expand_as(g)
            return spread, None, None, None
        g_g = convolve(x, k, b, ctx.window) if ctx.needs_input_grad[0] else None
        g_x = _InputGradient.apply(g, k, x.detach(), ctx.window) if ctx.needs_input_grad[1] else None
        return g_g, g_x, None, None


def _each(window: Window, x: Tensor) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    """Stride, padding, dilation, transposed, output padding and groups, for each dimension of x, as torch takes them.

    Grouped convolutions take less time than dense ones with zeros, on a CPU, too.
    """
    rank = x.ndim - 2
    return [window.stride] * rank, [window.padding] * rank, [1] * rank, False, [0] * rank, window.groups


def _empty_as(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An uninitialized tensor with the type and device of x, channels last if it is a batch of images."""
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _gradients(
    g: Tensor, x: Tensor, kernel: Tensor, window: Window, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of <g, kernel * x + bias> with respect to x, kernel and bias; None if not wanted."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        g, x, kernel, [g.shape[1]], *_each(window, x), wanted
    )
    return found


def sums_2x2(x: Tensor, *, pad: bool) -> Tensor:
    """Sums over all 2x2 blocks. (N, C, H, W) -> (N, C, H - 1, W - 1); with zeros around it, (N, C, H + 1, W + 1)."""
    y: Tensor = _Sums.apply(x, pad)
    return y


class _Sums(Function):
    """Sums over 2x2 blocks. The adjoint of the sums with padding are those without, and conversely."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: bool) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.pad = pad
        return _pairs(_pairs(x, 2, pad), 3, pad)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, None]:
        return (None if g is None else _Sums.apply(g, not ctx.pad)), None


def _pairs(x: Tensor, dim: int, pad: bool) -> Tensor:
    """Sums of neighbors along a dimension; with zero padding, one more than x has, else one less."""
    size = x.shape[dim]
    first, second = x.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1)
    if not pad:
        return first + second
    shape = [*x.shape]
    shape[dim] += 1
    y = _empty_as(x, tuple(shape))
    torch.add(first, second, out=y.narrow(dim, 1, size - 1))
    y.select(dim, 0).copy_(x.select(dim, 0))
    y.select(dim, size).copy_(x.select(dim, size - 1))
    return y
