"""Building blocks of the networks: equalized layers, norms, noise, resampling."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from gancli.activations import leaky_relu, pixel_norm
from gancli.convolution import Window, convolve, convolve_transposed, sums_2x2
from gancli.seeds import stream

Resample = Literal["keep", "up", "down"]
Padding = Literal["same", "none"]


class WeightInit(NamedTuple):
    """How the weights of a layer are initialized, and their learning rate factor.

    equalized: initialized from N(0, 1) and scaled at run time; else initialized at the final scale.
    std: that scale, in place of He initialization. Not used with `equalized`.
    wider: number of inputs at width 1 over the number here. A narrower network keeps the scale of its
        activations, and the rate at which they change, only if `std` grows by sqrt(wider) and the learning
        rate of the weight by `wider`.
    """

    equalized: bool = True
    std: float | None = None
    wider: float = 1.0


class EqualizedWeight(nn.Module):
    """A weight initialized from N(0, 1) and scaled by gain / sqrt(fan_in) each time it is used.

    Adam's update does not depend on the scale of the gradient, so weights of different scales would
    learn at different speeds. Scaling at run time instead of at initialization gives all weights the
    same dynamic range, and so the same learning speed.

    Source: Karras et al. 2018, arXiv:1710.10196, section 4.1. See `WeightInit` for the alternatives.

    Args:
        shape: (out, in, *kernel) for a convolution, (out, in) for a dense layer.
        gain: sqrt(2) before a leaky ReLU, 1 before a linear output.
    """

    def __init__(self, *shape: int, gain: float, init: WeightInit = WeightInit()) -> None:  # noqa: B008  (a tuple)
        super().__init__()
        he = gain / math.sqrt(math.prod(shape[1:]))
        self.scale = he if init.equalized else 1.0
        plain = he if init.std is None else init.std * math.sqrt(init.wider)
        self.initial_std = 1.0 if init.equalized else plain
        self.lr_scale = 1.0 if init.equalized else init.wider
        self.weight = nn.Parameter(torch.empty(shape))
        if not self.weight.is_meta:
            self.draw(None)

    def draw(self, generator: torch.Generator | None) -> None:
        """Re-initialize the weight."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator)).mul_(self.initial_std)

    def scaled(self, dtype: torch.dtype) -> Tensor:
        """The scaled weight in the compute dtype."""
        return (self.weight if self.scale == 1 else self.weight * self.scale).to(dtype)


class Dense(EqualizedWeight):
    """x W + b. Shape: (N, C_in) -> (N, C_out)."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        gain: float = math.sqrt(2),
        *,
        bias: bool = True,
        init: WeightInit = WeightInit(),  # noqa: B008  (a tuple)
    ) -> None:
        super().__init__(c_out, c_in, gain=gain, init=init)
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        return F.linear(x, self.scaled(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Conv(EqualizedWeight):
    """A convolution of signals (rank 1) or images (rank 2), optionally fused with 2x up- or downsampling.

    up:   nearest-neighbor doubling, then convolution. For images with a 3x3 kernel, computed as a transposed
          convolution with stride 2, then 2x2 sums: the same function with 9 instead of 36 multiplications.
          smooth: doubling with [1 3 3 1] / 4 in both directions instead; only for images with 3x3.
    down: convolution, then 2x2 mean; only for images with 3x3. Computed as 2x2 means, then the convolution with
          stride 2: the same function with 9 instead of 36 multiplications.

    Shape: (N, C_in, *S) -> (N, C_out, *S), doubled, halved, or smaller by stride and padding.

    Args:
        padding: "same" keeps the size at stride 1 (an even kernel pads one more on the right), or "none".
        groups: parts of the channels that are convolved separately; not with `resample`.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        gain: float = math.sqrt(2),
        *,
        rank: int = 2,
        stride: int = 1,
        padding: Padding = "same",
        resample: Resample = "keep",
        smooth: bool = False,
        groups: int = 1,
        bias: bool = True,
        init: WeightInit = WeightInit(),  # noqa: B008  (a tuple)
    ) -> None:
        super().__init__(c_out, c_in // groups, *[kernel] * rank, gain=gain, init=init)
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.stride, self.padding, self.groups = stride, padding, groups
        self.resample, self.smooth = resample, smooth

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, *S) -> (N, C_out, *S), doubled, halved, or smaller by stride and padding."""
        weight, bias = self.scaled(x.dtype), None if self.bias is None else self.bias.to(x.dtype)
        if self.resample == "up" and weight.shape[2:] == (3, 3) and self.stride == 1 and self.padding == "same":
            weight = weight * (1 / 16) if self.smooth else weight
            # flipped: a transposed convolution convolves where a convolution correlates
            y = sums_2x2(convolve_transposed(x, weight.flip(2, 3).transpose(0, 1), Window(2)), pad=False)
            y = sums_3x3(y) if self.smooth else y
            return y if bias is None else y.add_(bias.view(-1, 1, 1))
        if self.resample == "down":
            return convolve(sums_2x2(x, pad=True), weight * 0.25, bias, Window(2))
        x = upscale(x) if self.resample == "up" else x
        kernel = weight.shape[-1]
        if self.padding == "same" and kernel % 2 == 0:
            x = F.pad(x, ((kernel - 1) // 2, kernel // 2) * (weight.ndim - 2))
        padding = kernel // 2 if self.padding == "same" and kernel % 2 else 0
        return convolve(x, weight, bias, Window(self.stride, padding, self.groups))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"leaky": leaky_relu, "relu": F.relu, "elu": F.elu}


class Noise(nn.Module):
    """x + s n with noise n of deviation 1 at each position, and a learned strength s per channel, zero at first.

    The noise is a fixed linear function of the direction of the first latents, so that a latent always gives the same
    sample, and similar latents give similar samples. Source: Karras et al. 2019, arXiv:1812.04948, section 3.2, where
    it is drawn anew.

    Shape: (N, C, H, W), (N, z_dim) -> (N, C, H, W).

    Args:
        size: (H, W).
    """

    LATENTS = 8  # more make a checkpoint larger; fewer, the noise of two samples more alike

    def __init__(self, channels: int, latent: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels))
        self.maps: Tensor
        self.register_buffer("maps", torch.empty(min(self.LATENTS, latent), *size))
        if not self.maps.is_meta:
            self.draw(None)

    def draw(self, generator: torch.Generator | None) -> None:
        """Draw other noise."""
        self.maps.copy_(torch.randn(self.maps.shape, generator=generator)).mul_(len(self.maps) ** -0.5)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(N, C, H, W), (N, z_dim) -> (N, C, H, W)."""
        noise = torch.einsum("nk,khw->nhw", pixel_norm(z[:, : len(self.maps)].to(self.maps.dtype)), self.maps)
        return torch.addcmul(x, self.strength.to(x.dtype).view(-1, 1, 1), noise[:, None].to(x.dtype))


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each position. Samples and positions are independent.

    Shape: (N, C, *S) -> the same. Source: Ba et al. 2016, arXiv:1607.06450, as in the critic of the iWGAN.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        last = x.movedim(1, -1)
        normed = F.layer_norm(last, (x.shape[1],), self.weight.to(x.dtype), self.bias.to(x.dtype))
        return normed.movedim(-1, 1)


def batch_norm(channels: int, rank: int, keep: float) -> nn.Module:
    """Batch norm over (N, C, *S) with S of `rank` dimensions; `keep`: decay of the running statistics."""
    return (nn.BatchNorm2d if rank == 2 else nn.BatchNorm1d)(channels, momentum=1 - keep)


def norm(kind: str, channels: int, rank: int, keep: float) -> nn.Module:
    """The norm layer of a config value: none, batch or layer."""
    if kind == "none":
        return nn.Identity()
    return batch_norm(channels, rank, keep) if kind == "batch" else ChannelNorm(channels)


def upscale(x: Tensor) -> Tensor:
    """Nearest-neighbor doubling. (N, C, *S) -> (N, C, *2S)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def smooth_up(x: Tensor) -> Tensor:
    """Doubling with the filter [1 3 3 1] / 4 in both directions, zeros outside. (N, C, H, W) -> (N, C, 2H, 2W)."""
    return sums_3x3(upscale(x * (1 / 16)))


def smooth_down(x: Tensor) -> Tensor:
    """Halving with the filter [1 3 3 1] / 8 in both directions, zeros outside. (N, C, H, W) -> (N, C, H/2, W/2)."""
    return downscale(sums_3x3(x)) * (1 / 16)


def sums_3x3(x: Tensor) -> Tensor:
    """Sums over 3x3 blocks with the weights [1 2 1] in both directions, zeros outside. (N, C, H, W) -> the same."""
    return sums_2x2(sums_2x2(x, pad=True), pad=False)


def downscale(x: Tensor, factor: int = 2) -> Tensor:
    """Means over blocks of factor x factor pixels, or of factor values. (N, C, *S) -> (N, C, *S / factor)."""
    pool = F.avg_pool1d if x.ndim == 3 else F.avg_pool2d
    return x if factor == 1 else pool(x, factor)


def initialize(network: nn.Module, seed: int, name: str) -> None:
    """Initialize all equalized weights, and draw fixed noise, from a named random stream of the seed."""
    generator = stream(seed, f"weights/{name}", 0)
    for layer in network.modules():
        if isinstance(layer, EqualizedWeight | Noise):
            layer.draw(generator)
