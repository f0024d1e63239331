"""Convolutional networks of a fixed size for images and 1-D signals, specified layer by layer.

Presets of this family: the iWGAN of Mullery & Whelan, the 128 px networks and the signal critic of the minibatch-std
source, and convolutional moment GANs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gancli.config.family import Family
from gancli.config.networks import ConvConfig, ConvCritic, ConvLayer, ConvSide
from gancli.errors import ConfigError
from gancli.networks import base
from gancli.networks.layers import ACTIVATIONS, Conv, Dense, WeightInit, downscale, norm
from gancli.networks.output import Moments, Shape


class LayerSettings:
    """Initialization and width of the layers: equalized, He or `init_std`, and the width multiplier."""

    def __init__(self, config: Family) -> None:
        self.equalized = config.equalized_lr
        self.std: float | None = getattr(config, "init_std", None)
        self.width: float = getattr(config, "width", 1.0)

    def channels(self, full: int) -> int:
        """Channels of a layer after the width multiplier."""
        return max(1, round(full * self.width))

    def init(self, full_in: int = 1, own_in: int = 1) -> WeightInit:
        """For a layer with `full_in` inputs at width 1 and `own_in` inputs at this width."""
        return WeightInit(self.equalized, self.std, full_in / own_in)


class Block(nn.Module):
    """Convolution, norm and activation in either order, optional 2x mean pooling. (N, C_in, *S) -> (N, C_out, *S')."""

    def __init__(self, convolution: Conv, side: ConvSide, layer: ConvLayer, keep: float) -> None:
        super().__init__()
        rank = convolution.weight.ndim - 2
        self.convolution = convolution
        self.norm = norm(side.norm, convolution.weight.shape[0], rank, keep)
        self.activation, self.norm_first = ACTIVATIONS[side.activation], side.norm_first
        self.halve = layer.resample == "down"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, *S) -> (N, C_out, *S')."""
        h = self.convolution(x)
        h = self.activation(self.norm(h)) if self.norm_first else self.norm(self.activation(h))
        return downscale(h) if self.halve else h


def chain(
    layers: Sequence[ConvLayer],
    side: ConvSide,
    settings: LayerSettings,
    full_in: int,
    own_in: int,
    rank: int,
    keep: float,
) -> tuple[nn.Sequential, int, int]:
    """The blocks of a list of layers, and the output channels: at width 1, and at the configured width."""
    blocks = []
    for layer in layers:
        full_out, own_out = layer.channels, settings.channels(layer.channels)
        convolution = Conv(
            own_in, own_out, layer.kernel, rank=rank, stride=layer.stride, padding=layer.padding,
            resample="up" if layer.resample == "up" else "keep",
            bias=not (side.norm == "batch" and side.norm_first), init=settings.init(full_in, own_in),
        )  # fmt: skip
        blocks.append(Block(convolution, side, layer, keep))
        full_in, own_in = full_out, own_out
    return nn.Sequential(*blocks), full_in, own_in


def sizes_after(layers: Sequence[ConvLayer], space: Sequence[int], key: str) -> list[int]:
    """Spatial size after the layers of a config key. Raises ConfigError if it becomes 0."""
    sizes = list(space)
    for number, layer in enumerate(layers):
        doubled = [size * (2 if layer.resample == "up" else 1) for size in sizes]
        lost = 1 if layer.padding == "same" else layer.kernel
        sizes = [(size - lost) // layer.stride + 1 for size in doubled]
        sizes = [size // (2 if layer.resample == "down" else 1) for size in sizes]
        if min(sizes) < 1:
            small = " x ".join(map(str, space))
            hint = "use larger samples, or fewer layers that reduce the size"
            raise ConfigError(f"an input of {small} is too small", where=f"{key}.{number}", hint=hint)
    return sizes


class Generator(base.Generator):
    """A dense layer to a small base, the configured layers, and a final convolution to the channels of the samples.

    The base size is the sample size halved for each `up` layer, rounded up; the output is center-cropped, so
    any size is possible. Shape: (N, z_dim) -> (N, C, *S).
    """

    def __init__(self, config: ConvConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        side, settings, (channels, *self.space) = config.generator, LayerSettings(config), shape
        ups, rank = sum(layer.resample == "up" for layer in side.layers), len(self.space)
        self.base = [math.ceil(size / 2**ups) for size in self.space]
        reached = sizes_after(side.layers, self.base, "network.generator.layers")
        if any(got < size for got, size in zip(reached, self.space, strict=True)):
            what = f"the generator's layers produce size {reached}, but the samples have size {self.space}"
            hint = "use stride 1 and padding: same in the generator"
            raise ConfigError(what, where="network.generator.layers", hint=hint)
        full, own = side.dense, settings.channels(side.dense)
        self.dense = Dense(config.z_dim, own * math.prod(self.base), init=settings.init())
        self.norm = norm(side.norm, own * math.prod(self.base), 0, config.bn_decay)  # of the dense layer, per feature
        self.activation, self.norm_first = ACTIVATIONS[side.activation], side.norm_first
        self.layers, full, own = chain(side.layers, side, settings, full, own, rank, config.bn_decay)
        self.last = Conv(
            own, channels, side.last_kernel, 1.0, rank=rank, bias=not self.output.normalizes,
            init=settings.init(full, own),
        )  # fmt: skip

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, *S)."""
        h: Tensor = self.dense(z)
        h = self.activation(self.norm(h)) if self.norm_first else self.norm(self.activation(h))
        h = h.unflatten(1, (-1, *self.base))
        h = h.contiguous(memory_format=torch.channels_last) if h.ndim == 4 else h
        h = self.last(self.layers(h))
        for dim, size in enumerate(self.space, start=2):
            h = h.narrow(dim, (h.shape[dim] - size) // 2, size)
        return h


class Critic(base.Critic):
    """Layers, optional minibatch std, more layers, dense layers, score. Shape: (N, C, *S) -> (N,)."""

    def __init__(self, config: Family, shape: Shape, side: ConvCritic) -> None:
        settings, (channels, *space) = LayerSettings(config), shape
        super().__init__(config, settings.channels(side.layers[-1].channels) if side.layers else channels)
        rank, keep = len(space), config.bn_decay
        self.layers, full, own = chain(side.layers, side, settings, channels, channels, rank, keep)
        extra = self.extra_channels
        self.last, full, own = chain(side.last, side, settings, full + extra, own + extra, rank, keep)
        reached = sizes_after(side.layers, space, "network.critic.layers")
        area = math.prod(sizes_after(side.last, reached, "network.critic.last"))
        full, own = full * area, own * area
        hidden = []
        for width in side.dense:
            hidden += [Dense(own, settings.channels(width), init=settings.init(full, own)), nn.ReLU()]
            full, own = width, settings.channels(width)
        self.dense = nn.Sequential(*hidden)
        self.score = Dense(own, 1, 1.0, init=settings.init(full, own))
        self.squash = torch.tanh if side.score == "tanh" else nn.Identity()

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (N, F, *S')."""
        x = x.to(self.compute_dtype)
        h: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)
        return h

    def head(self, h: Tensor) -> Tensor:
        """(N, F + extra, *S') -> (N, 1)."""
        h = self.dense(self.last(h).contiguous().flatten(1))
        score: Tensor = self.squash(self.score(h))
        return score
