"""Progressive networks: a generator and a critic of mirrored structure that grow from 4 px.

Source: Karras et al. 2018, arXiv:1710.10196. All layers of the final network exist from the start;
`stage` and `alpha` select the part that is used. The layers to and from RGB compute in float32 whatever the precision:
bfloat16 has 8 bits for a value near white, and samples were measurably worse.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from gancli.activations import leaky_pixel_norm, leaky_relu, pixel_norm
from gancli.config.networks import ProgressiveConfig
from gancli.networks import base
from gancli.networks.layers import Conv, Dense, Noise, Resample, WeightInit, downscale, upscale
from gancli.networks.output import Moments, Shape


class Generator(base.Generator):
    """Latents to images: a 4x4 base, doubled at each stage; each stage has its own to_rgb layer.

    Shape: (N, z_dim) -> (N, C, height, width) of the stage.
    """

    def __init__(self, config: ProgressiveConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        self.base, image_channels = config.base, shape[0]
        self.normalize_z, self.pixel_norm = config.normalize_z, config.pixel_norm
        width, init, smooth = config.width_of, WeightInit(config.equalized_lr), config.upsampling == "bilinear"
        area = self.base[0] * self.base[1]
        # sqrt(2) / 4, not sqrt(2): the exception of the paper for the first layer
        self.dense = Dense(self.latent, width(0) * area, math.sqrt(2) / 4, init=init)
        self.first = Conv(width(0), width(0), 3, init=init)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    Conv(width(s - 1), width(s), 3, resample="up", smooth=smooth, init=init),
                    Conv(width(s), width(s), 3, init=init),
                ]
            )
            for s in range(1, self.stages)
        )
        self.noise = nn.ModuleList(
            Noise(width(s), self.latent, size) for s, size in enumerate(config.sizes(shape)) if s and config.noise
        )
        bias = not self.output.normalizes
        self.to_rgb = nn.ModuleList(
            Conv(width(s), image_channels, 1, 1.0, bias=bias, init=init) for s in range(self.stages)
        )

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, H, W). rgb = (1 - alpha) upscale(to_rgb_old(h)) + alpha to_rgb_new(block(h))."""
        stage = self.stages - 1 if stage is None else stage
        z = pixel_norm(z) if self.normalize_z else z
        h = self._base(z)
        for s in range(1, stage):
            h = self._block(h, z, s)
        if stage == 0:
            return cast(Tensor, self.to_rgb[0](h.float()))
        new = self.to_rgb[stage](self._block(h, z, stage).float())
        if alpha >= 1:
            return cast(Tensor, new)
        return torch.lerp(upscale(self.to_rgb[stage - 1](h.float())), new, alpha)

    def _base(self, z: Tensor) -> Tensor:
        h = self.dense(z).unflatten(1, (-1, *self.base))  # (N, C, h0, w0)
        h = self._activate(h.contiguous(memory_format=torch.channels_last))
        return self._activate(self.first(h))

    def _block(self, h: Tensor, z: Tensor, stage: int) -> Tensor:
        conv_up, conv = self.blocks[stage - 1].children()
        h = conv_up(h)
        h = self._activate(self.noise[stage - 1](h, z) if self.noise else h)  # before the convolution, which colors it
        return self._activate(conv(h))

    def _activate(self, x: Tensor) -> Tensor:
        return leaky_pixel_norm(x) if self.pixel_norm else leaky_relu(x)


class Critic(base.Critic):
    """Images to scores: mirrors the generator, with minibatch std before the last convolution.

    With residual_critic, a linear path leads past each block: Karras et al. 2020, arXiv:1912.04958, section 4.1.

    Shape: (N, C, height, width) of the stage -> (N,). The score is linear.
    """

    def __init__(self, config: ProgressiveConfig, shape: Shape) -> None:
        super().__init__(config, config.width_of(0))
        self.fused_down, image_channels = config.fused_down, shape[0]
        width, init = config.width_of, WeightInit(config.equalized_lr)
        down: Resample = "down" if config.fused_down else "keep"
        self.from_rgb = nn.ModuleList(Conv(image_channels, width(s), 1, init=init) for s in range(self.stages))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    Conv(width(s), width(s), 3, init=init),
                    Conv(width(s), width(s - 1), 3, resample=down, init=init),
                ]
            )
            for s in range(1, self.stages)
        )
        self.shortcuts = nn.ModuleList(
            Conv(width(s), width(s - 1), 1, 1.0, bias=False, init=init)
            for s in range(1, self.stages)
            if config.residual_critic
        )
        self.last = Conv(width(0) + self.extra_channels, width(0), 3, init=init)
        self.dense = Dense(width(0) * config.base[0] * config.base[1], width(0), init=init)
        self.score = Dense(width(0), 1, 1.0, init=init)

    def head(self, h: Tensor) -> Tensor:
        """A convolution, a dense layer, the score. (N, C_0 + extra, h0, w0) -> (N, 1)."""
        h = leaky_relu(self.last(h)).contiguous().flatten(1)
        return cast(Tensor, self.score(leaky_relu(self.dense(h))))

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Features before minibatch std. (N, C, H, W) -> (N, C_0, h0, w0)."""
        stage = self.stages - 1 if stage is None else stage
        x = x.contiguous(memory_format=torch.channels_last)
        h = leaky_relu(self.from_rgb[stage](x).to(self.compute_dtype))
        for s in range(stage, 0, -1):
            h = self._block(h, s)
            if s == stage and alpha < 1:
                h = torch.lerp(leaky_relu(self.from_rgb[s - 1](downscale(x)).to(self.compute_dtype)), h, alpha)
        return h

    def _block(self, h: Tensor, stage: int) -> Tensor:
        conv, conv_down = self.blocks[stage - 1].children()
        deep = leaky_relu(conv_down(leaky_relu(conv(h))))
        deep = deep if self.fused_down else downscale(deep)
        if not self.shortcuts:
            return deep
        past: Tensor = self.shortcuts[stage - 1](downscale(h))
        return (deep + past) * math.sqrt(0.5)
