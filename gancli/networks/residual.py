"""Residual networks without normalization, as in R3GAN: a generator and a critic of mirrored structure.

Each stage has residual blocks of a narrow, a wide grouped and a narrow convolution, and changes the resolution with a
smooth filter. The layers to and from RGB compute in float32 whatever the precision, as in `progressive`.

Source: Huang et al. 2024, arXiv:2501.05441, sections 4 and B.
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from gancli.activations import SLOPE, leaky_relu
from gancli.config.networks import ResidualConfig
from gancli.networks import base
from gancli.networks.layers import Conv, Dense, EqualizedWeight, WeightInit, smooth_down, smooth_up
from gancli.networks.output import Moments, Shape

FIRST = 4  # px; size of the first stage
EXPANSION = 2  # channels of the grouped convolution over those of the stage
PLAIN = WeightInit(equalized=False)


class Block(nn.Module):
    """x + W3 a(W2 a(W1 x)): 1x1 to twice the channels, grouped 3x3, 1x1 back. W3 is zero at first.

    depth: number of blocks of the whole network. W1 and W2 are initialized smaller the more there are (Fixup, Zhang et
    al. 2019, arXiv:1901.09321). Shape: (N, C, H, W) -> the same.
    """

    def __init__(self, channels: int, group_width: int, depth: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        gain = math.sqrt(2 / (1 + SLOPE**2)) * depth**-0.25
        self.widen = Conv(channels, wide, 1, gain, init=PLAIN)
        self.grouped = Conv(wide, wide, 3, gain, groups=wide // group_width, init=PLAIN)
        self.narrow = Conv(wide, channels, 1, 0.0, bias=False, init=PLAIN)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        added: Tensor = x + self.narrow(leaky_relu(self.grouped(leaky_relu(self.widen(x)))))
        return added


def blocks_of(config: ResidualConfig, channels: int) -> nn.Sequential:
    """The residual blocks of one stage."""
    depth = config.blocks * len(config.channels)
    return nn.Sequential(*(Block(channels, config.group_width, depth) for _ in range(config.blocks)))


def pointwise(c_in: int, c_out: int) -> nn.Module:
    """A 1x1 convolution without bias, where the number of channels changes."""
    return nn.Identity() if c_in == c_out else Conv(c_in, c_out, 1, 1.0, bias=False, init=PLAIN)


class Basis(EqualizedWeight):
    """One learned 4 x 4 map per channel, times a linear function of the latent. (N, z_dim) -> (N, C, 4, 4)."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__(channels, FIRST, FIRST, gain=1.0, init=WeightInit(equalized=False, std=1.0))
        self.linear = Dense(latent, channels, 1.0, bias=False, init=PLAIN)

    def forward(self, z: Tensor) -> Tensor:
        """(N, z_dim) -> (N, C, 4, 4)."""
        maps: Tensor = self.linear(z)[:, :, None, None] * self.scaled(z.dtype)
        return maps


class Generator(base.Generator):
    """A learned 4 x 4 basis, then residual blocks at each size. Shape: (N, z_dim) -> (N, C, H, W)."""

    def __init__(self, config: ResidualConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        widths = config.channels
        self.basis = Basis(self.latent, widths[0])
        self.blocks = nn.ModuleList(blocks_of(config, width) for width in widths)
        self.changes = nn.ModuleList(pointwise(a, b) for a, b in pairwise(widths))
        self.to_rgb = Conv(widths[-1], shape[0], 1, 1.0, bias=False, init=PLAIN)

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, H, W)."""
        h = self.blocks[0](self.basis(z).contiguous(memory_format=torch.channels_last))
        for change, blocks in zip(self.changes, list(self.blocks)[1:], strict=True):
            h = blocks(smooth_up(change(h)))
        return cast(Tensor, self.to_rgb(h.float()))


class Critic(base.Critic):
    """Residual blocks at each size down to 4 px, a sum over the positions of each channel, and a dense layer.

    Shape: (N, C, H, W) -> (N,).
    """

    def __init__(self, config: ResidualConfig, shape: Shape) -> None:
        super().__init__(config, config.channels[0])
        widths = config.channels[::-1]
        self.from_rgb = Conv(shape[0], widths[0], 1, 1.0, bias=False, init=PLAIN)
        self.blocks = nn.ModuleList(blocks_of(config, width) for width in widths)
        self.changes = nn.ModuleList(pointwise(a, b) for a, b in pairwise(widths))
        self.pool = EqualizedWeight(widths[-1] + self.extra_channels, FIRST, FIRST, gain=1.0, init=PLAIN)
        self.score = Dense(widths[-1] + self.extra_channels, 1, 1.0, bias=False, init=PLAIN)

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, C, H, W) -> (N, C_0, 4, 4)."""
        h = self.from_rgb(x.contiguous(memory_format=torch.channels_last)).to(self.compute_dtype)
        for blocks, change in zip(self.blocks, self.changes, strict=False):
            h = change(smooth_down(blocks(h)))
        return cast(Tensor, self.blocks[-1](h))

    def head(self, h: Tensor) -> Tensor:
        """(N, C_0 + extra, 4, 4) -> (N, 1)."""
        return cast(Tensor, self.score((h * self.pool.scaled(h.dtype)).sum(dim=(2, 3))))
