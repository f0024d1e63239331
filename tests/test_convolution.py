"""Convolution, sums, leaky ReLU and pixel norm against torch's own, in float64: values and both derivatives."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.activations import leaky_pixel_norm, leaky_relu, pixel_norm
from gancli.convolution import Window, convolve, convolve_transposed, input_gradients_only, sums_2x2
from gancli.penalties import squared_gradients

SPACES = {"signals": (9,), "images": (7, 6)}
WINDOWS = [Window(1, 1), Window(2, 0), Window(2, 1), Window(1, 0), Window(1, 1, 2), Window(2, 1, 2)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def plain(x, kernel, bias, window):
    function = F.conv1d if x.ndim == 3 else F.conv2d
    return function(x, kernel, bias, stride=window.stride, padding=window.padding, groups=window.groups)


def transposed(x, kernel, window):
    function = F.conv_transpose1d if x.ndim == 3 else F.conv_transpose2d
    return function(x, kernel, stride=window.stride, padding=window.padding, groups=window.groups)


def penalized(function, x, *weights):
    """Gradients of a loss and of a penalty on the slope, with respect to everything: both derivatives in one number."""
    y = function(x, *weights)
    (slope,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    return torch.autograd.grad(y.square().mean() + slope.square().sum(), (x, *weights))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
class TestConvolve:
    def test_is_torchs(self, space, window):
        """Signals and images, any stride, padding and groups."""
        x, kernel, bias = (
            normal(3, 2, *space),
            normal(4, 2 // window.groups, *[3] * len(space), seed=1),
            normal(4, seed=2),
        )

        torch.testing.assert_close(convolve(x, kernel, bias, window), plain(x, kernel, bias, window))
        torch.testing.assert_close(convolve(x, kernel, None, window), plain(x, kernel, None, window))

    def test_has_torchs_first_and_second_derivatives(self, space, window):
        """A loss with a penalty on its own gradient has the same gradient, to 1e-12."""
        values = normal(3, 2, *space), normal(4, 2 // window.groups, *[3] * len(space), seed=1), normal(4, seed=2)

        ours = penalized(lambda *v: convolve(*v, window), *leaves(*values))
        theirs = penalized(lambda *v: plain(*v, window), *leaves(*values))

        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)

    def test_has_the_derivatives_of_finite_differences(self, space, window):
        """Of any combination of inputs, kernels and biases."""
        values = leaves(
            normal(2, 2, *space), normal(2, 2 // window.groups, *[3] * len(space), seed=1), normal(2, seed=2)
        )

        assert torch.autograd.gradcheck(lambda *v: convolve(*v, window), values, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda *v: convolve(*v, window), values, fast_mode=True)

    def test_transposed_is_torchs(self, space, window):
        """Values and both derivatives."""
        values = normal(3, 4, *space), normal(4, 2 // window.groups, *[3] * len(space), seed=1)

        torch.testing.assert_close(convolve_transposed(*values, window), transposed(*values, window))
        ours = penalized(lambda *v: convolve_transposed(*v, window), *leaves(*values))
        theirs = penalized(lambda *v: transposed(*v, window), *leaves(*values))
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class TestSums:
    @pytest.mark.parametrize("pad", [False, True])
    def test_are_four_times_the_means(self, pad):
        """Values and both derivatives of torch's pooling; zeros around the image count."""
        x = normal(2, 3, 5, 4)

        torch.testing.assert_close(sums_2x2(x, pad=pad), pooled(x, pad))
        ours = penalized(lambda v: sums_2x2(v, pad=pad), *leaves(x))
        theirs = penalized(lambda v: pooled(v, pad), *leaves(x))
        torch.testing.assert_close(ours, theirs)


def pooled(x, pad):
    return 4 * F.avg_pool2d(x, 2, stride=1, padding=int(pad))


class TestLeakyRelu:
    def test_has_torchs_first_and_second_derivatives(self):
        """Also at 0, where the slope is that of negative values."""
        x = torch.cat([normal(40), torch.zeros(1, dtype=torch.float64)])

        ours = penalized(leaky_relu, *leaves(x))
        theirs = penalized(lambda v: F.leaky_relu(v, 0.2), *leaves(x))

        torch.testing.assert_close(ours, theirs)

    def test_its_second_derivative_is_not_computed(self):
        """The penalty of a piecewise linear critic does not differentiate the critic's forward pass.

        torch's own leaky ReLU passes zeros back through it: one more kernel gradient per layer.
        """
        calls = {name: kernel_gradients_of_a_penalty(name) for name in ("ours", "torch")}

        assert calls == {"ours": 2, "torch": 4}


def kernel_gradients_of_a_penalty(activation):
    activate = leaky_relu if activation == "ours" else lambda v: F.leaky_relu(v, 0.2)
    x, first, second = leaves(normal(2, 2, 6, 6), normal(3, 2, 3, 3), normal(3, 3, 3, 3))
    h = activate(convolve(x, first, None, Window(1, 1)))
    (penalty,) = squared_gradients(activate(convolve(h, second, None, Window(1, 1))).sum(), x)
    with Calls() as calls:
        penalty.sum().backward()
    return calls.kernel_gradients


class Calls(TorchDispatchMode):
    """Counts the gradients of convolutions."""

    def __init__(self):
        super().__init__()
        self.kernel_gradients = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default:
            self.kernel_gradients += args[-1][1]
        return function(*args, **(kwargs or {}))


class TestInputGradientsOnly:
    def test_a_penalty_computes_no_kernel_gradient_before_it_is_differentiated(self):
        """The gradient with respect to the images is all that the penalty needs."""
        x, kernel, bias = leaves(normal(2, 2, 6, 6), normal(3, 2, 3, 3), normal(3))

        with Calls() as calls:
            squared_gradients(convolve(x, kernel, bias, Window(1, 1)).square().sum(), x)

        assert calls.kernel_gradients == 0

    def test_ends_with_its_context(self):
        """Also after an error."""
        x, kernel, bias = leaves(normal(2, 2, 6, 6), normal(3, 2, 3, 3), normal(3))

        with pytest.raises(ZeroDivisionError), input_gradients_only():
            raise ZeroDivisionError
        convolve(x, kernel, bias, Window(1, 1)).sum().backward()

        assert kernel.grad is not None
        assert bias.grad is not None


class TestPixelNorm:
    @pytest.mark.parametrize("space", [(), (5,), (4, 3)])
    def test_has_the_gradient_of_its_formula(self, space):
        """x / sqrt(mean_C x^2 + eps), differentiated by torch operation by operation."""
        x, g = normal(3, 6, *space), normal(3, 6, *space, seed=1)
        mine, theirs = leaves(x, x)

        y = pixel_norm(mine)
        expected = theirs / (theirs.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(torch.autograd.grad(y, mine, g), torch.autograd.grad(expected, theirs, g))

    def test_goes_with_leaky_relu_in_one_pass(self):
        """The values and the gradient of both, one after the other."""
        x, g = normal(3, 6, 4, 3), normal(3, 6, 4, 3, seed=1)
        mine, theirs = leaves(x, x)

        y, expected = leaky_pixel_norm(mine), pixel_norm(F.leaky_relu(theirs, 0.2))

        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(torch.autograd.grad(y, mine, g), torch.autograd.grad(expected, theirs, g))
        torch.testing.assert_close(mine.detach(), x, msg="its input has changed")

    def test_refuses_a_second_derivative(self):
        """An error, not a wrong number."""
        (x,) = leaves(normal(3, 6))
        (slope,) = torch.autograd.grad(pixel_norm(x).sin().sum(), x, create_graph=True)

        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.sum().backward()
