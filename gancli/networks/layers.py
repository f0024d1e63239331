"""The building blocks: equalized layers, pixel norm, minibatch standard deviation."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from gancli.seeds import stream

Resample = Literal["keep", "up", "down"]


class EqualizedWeight(nn.Module):
    """A weight drawn from N(0, 1) and scaled by gain / sqrt(fan_in) each time it is used.

    Adam's step does not depend on the size of a gradient, so weights that differ in scale would
    learn at different speeds. Scaling at run time, not at the start, gives all of them the same
    dynamic range, and so the same speed.

    Source: Karras et al. 2018, arXiv:1710.10196, section 4.1. `equalized=False` draws the weight
    at its final scale instead, as He et al. do.

    Args:
        shape: (out, in, *kernel) for a convolution, (out, in) for a dense layer.
        gain: sqrt(2) before a leaky ReLU, 1 before a linear output.
    """

    def __init__(self, *shape: int, gain: float, equalized: bool = True) -> None:
        super().__init__()
        he = gain / math.sqrt(math.prod(shape[1:]))
        self.scale, self.initial_std = (he, 1.0) if equalized else (1.0, he)
        self.weight = nn.Parameter(torch.empty(shape))
        self.draw(None)

    def draw(self, generator: torch.Generator | None) -> None:
        """Draw the weight anew."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator)).mul_(self.initial_std)

    def scaled(self, dtype: torch.dtype) -> Tensor:
        """The weight as a layer uses it, in its compute dtype."""
        return (self.weight * self.scale).to(dtype)


class Dense(EqualizedWeight):
    """x W + b. Shape: (N, C_in) -> (N, C_out)."""

    def __init__(self, c_in: int, c_out: int, gain: float = math.sqrt(2), *, equalized: bool = True) -> None:
        super().__init__(c_out, c_in, gain=gain, equalized=equalized)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        return F.linear(x, self.scaled(x.dtype), self.bias.to(x.dtype))


class Conv2d(EqualizedWeight):
    """A same-size convolution, or one fused with doubling or halving the picture.

    up:   nearest-neighbour doubling, then convolution, as ONE 4x4 transposed convolution with
          stride 2: the same function, with 16 multiplications where the plain form has 36.
    down: convolution, then 2x2 mean, as one 4x4 convolution with stride 2.

    Shape: (N, C_in, H, W) -> (N, C_out, H, W), doubled or halved.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        gain: float = math.sqrt(2),
        *,
        resample: Resample = "keep",
        equalized: bool = True,
    ) -> None:
        super().__init__(c_out, c_in, kernel, kernel, gain=gain, equalized=equalized)
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W), doubled or halved."""
        weight, bias = self.scaled(x.dtype), self.bias.to(x.dtype)
        if self.resample == "up":
            # flipped: conv_transpose2d convolves where conv2d correlates
            return F.conv_transpose2d(x, _four_shifts(weight.flip(2, 3)).transpose(0, 1), bias, stride=2, padding=1)
        if self.resample == "down":
            return F.conv2d(x, _four_shifts(weight) * 0.25, bias, stride=2, padding=1)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _four_shifts(weight: Tensor) -> Tensor:
    """A 3x3 kernel padded to 5x5 and summed over its four 1-pixel shifts. (O, I, 3, 3) -> (O, I, 4, 4)."""
    padded = F.pad(weight, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def leaky(x: Tensor) -> Tensor:
    """max(x, 0.2 x)."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean_C x^2 + eps): every pixel's feature vector brought to the same length.

    Keeps the magnitudes of generator and critic from escalating. Shape: (N, C, *S) -> the same.
    The mean square is taken in float32. Source: Karras et al. 2018, section 4.2.
    """
    mean_square = x.float().square().mean(dim=1, keepdim=True)
    return x * torch.rsqrt(mean_square + eps).to(x.dtype)


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n up to `at_most`; if that is 1 (n = 5, 7 ...), n itself."""
    divisor = max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)
    return n if divisor == 1 else divisor


def minibatch_spread(
    x: Tensor, group_size: int, statistic: str = "position", feature_groups: int = 1, eps: float = 1e-8
) -> Tensor:
    """How much the samples of a group differ: a mean of standard deviations. (N, C, *S) -> (N, F).

    position: the biased deviation over the group at each channel and position, averaged over them
    (Karras et al. 2018). channel: the deviation over group and positions of each channel, averaged
    over channels, which is what a batch-norm layer would divide by.

    Groups are strided: of M = N / G groups, sample i is in group i mod M. F = feature_groups.
    In float32, since a variance of bfloat16 features is mostly rounding.
    """
    n = x.shape[0]
    group = largest_divisor(n, at_most=group_size)
    y = x.float().reshape(group, n // group, x.shape[1], -1)  # (G, M, C, S)
    dims = (0,) if statistic == "position" else (0, 3)
    spread = y.var(dim=dims, correction=0).add(eps).sqrt()  # (M, C, S) or (M, C)
    spread = spread.unflatten(1, (feature_groups, -1)).flatten(2).mean(dim=2)  # (M, F)
    tiled: Tensor = spread.repeat(group, 1)
    return tiled


class MinibatchStdDev(nn.Module):
    """Append channels that say how much the samples of a group differ.

    A critic that judges samples one by one cannot see that a generator keeps drawing the same
    one. This channel shows it mode collapse.

    Shape: (N, C, *S) -> (N, C + feature_groups, *S), S any spatial shape. The group is the
        largest divisor of N up to group_size; where that is 1, the whole batch.
    Unit:  that of the input features (a standard deviation, not a variance).
    Source: Karras et al. 2018, arXiv:1710.10196, section 3.

    Args:
        group_size: samples compared with one another; None for the whole batch.
        statistic: "position" (the paper's) or "channel"; see `minibatch_spread`.
        feature_groups: into how many parts the channels are split, each with its own figure.
    """

    def __init__(self, group_size: int | None = 4, statistic: str = "position", feature_groups: int = 1) -> None:
        super().__init__()
        self.group_size = group_size
        self.statistic = statistic
        self.feature_groups = feature_groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C + feature_groups, *S)."""
        n, space = x.shape[0], x.shape[2:]
        s = minibatch_spread(x, self.group_size or n, self.statistic, self.feature_groups)  # (N, F)
        channels = s.to(x.dtype).view(n, -1, *(1 for _ in space)).expand(n, -1, *space)
        return torch.cat([x, channels], dim=1)


def interleave(x: Tensor, y: Tensor, group: int) -> Tensor:
    """Two batches as one in which no strided group mixes them. (N, ...), (N, ...) -> (2N, ...)."""
    both: list[Tensor] = [side.unflatten(0, (group, -1)) for side in (x, y)]
    return torch.cat(both, dim=1).flatten(0, 1)


def undo_interleave(both: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """The two halves of what `interleave` joined. (2N, ...) -> (N, ...), (N, ...)."""
    x, y = both.unflatten(0, (group, -1)).chunk(2, dim=1)
    return x.flatten(0, 1), y.flatten(0, 1)


def upscale(x: Tensor) -> Tensor:
    """Nearest-neighbour doubling. (N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downscale(x: Tensor, factor: int = 2) -> Tensor:
    """Mean over blocks of factor x factor pixels. (N, C, H, W) -> (N, C, H / factor, W / factor)."""
    return x if factor == 1 else F.avg_pool2d(x, factor)


def initialise(network: nn.Module, seed: int, name: str) -> None:
    """Draw every equalized weight from a named stream of the run's seed: one seed, one network."""
    generator = stream(seed, f"weights/{name}", 0)
    for layer in network.modules():
        if isinstance(layer, EqualizedWeight):
            layer.draw(generator)
