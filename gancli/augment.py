"""Augmentation: random changes of color, place and shape of samples before the critic scores them.

Reals and fakes are changed alike, in the critic step and in the generator step. The critic cannot memorize a few
samples, and the generator does not learn the changes as long as each of them leaves out enough samples. All operations
can be differentiated twice, so that penalties reach the samples as they were before. Edges are repeated where an
operation needs values from outside: a frame of gray would be learned.

Sources: Karras et al. 2020, arXiv:2006.06676 (ADA); Zhao et al. 2020, arXiv:2006.10738 (DiffAugment).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from gancli.config.schema import AugmentConfig
from gancli.resampling import interpolate

SHIFT = 1 / 8  # largest translation, as a share of the side
ZOOM = 0.2  # deviation of the power of 2 that scales
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # deviations: added; powers of 2
BOX = 0.5  # side of the box that cutout removes, as a share of the side
NOISE = 0.05  # deviation of the noise; values are in [-1, 1]
WARP = 1 / 16  # largest displacement in time, as a share of the length


@dataclass(frozen=True)
class Augment:
    """The operations of a config, with random numbers from a generator on the CPU. Each call draws new ones."""

    config: AugmentConfig
    p: float  # factor of all probabilities
    draws: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """Augmented samples. Images (N, C, H, W), signals (N, C, L) -> the same."""
        x = self._moved(x)
        if x.ndim == 4:
            return self._noisy(self._cut(self._colored(x)))
        return self._noisy(self._amplified(x))

    def _chosen(self, x: Tensor, probability: float) -> Tensor:
        """Which samples an operation changes. (N,) bool."""
        return self._uniform(len(x)) < probability * self.p

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.draws)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.draws)

    def _moved(self, x: Tensor) -> Tensor:
        """Translation, and for images scale, rotation and flip, or for signals warp, in one interpolation."""
        grid = self._image_grid(x) if x.ndim == 4 else self._signal_grid(x)
        return x if grid is None else interpolate(x, grid.to(x))

    def _image_grid(self, x: Tensor) -> Tensor | None:
        """Where each value comes from. (N, H, W, 2); None if no sample is moved."""
        (n, _, height, width), config = x.shape, self.config
        sides = torch.tensor([width, height])
        flip = self._chosen(x, config.flip / 2)  # half of those that are chosen
        zoom = torch.where(self._chosen(x, config.scale), (-ZOOM * self._normal(n)).exp2(), 1.0)
        angle = torch.where(self._chosen(x, config.rotation), self._uniform(n) * 2 * math.pi, 0.0)
        pixels = ((self._uniform(n, 2) * 2 - 1) * (sides * SHIFT).floor()).round()
        shift = torch.where(self._chosen(x, config.translation)[:, None], pixels * 2 / sides, 0.0)
        if not (flip.any() or (zoom != 1).any() or angle.any() or shift.any()):
            return None
        cos, sin, mirror = angle.cos() * zoom, angle.sin() * zoom, torch.where(flip, -1.0, 1.0)
        across = torch.stack([cos * mirror, -sin * height / width, shift[:, 0]], dim=1)
        down = torch.stack([sin * mirror * width / height, cos, shift[:, 1]], dim=1)
        grid: Tensor = F.affine_grid(torch.stack([across, down], dim=1), [n, 1, height, width], align_corners=False)
        return grid

    def _signal_grid(self, x: Tensor) -> Tensor | None:
        """Where each value comes from. (N, 1, L, 2); None if no sample is moved."""
        n, _, length = x.shape
        shift = ((self._uniform(n, 1) * 2 - 1) * math.floor(length * SHIFT)).round() * 2 / length
        shift = torch.where(self._chosen(x, self.config.translation)[:, None], shift, 0.0)
        bend = (self._uniform(n, 1) * 2 - 1) * 2 * WARP
        bend = torch.where(self._chosen(x, self.config.warp)[:, None], bend, 0.0)
        if not (shift.any() or bend.any()):
            return None
        time = (torch.arange(length) * 2 + 1) / length - 1  # the ends stay where they are
        time = time + shift + bend * (math.pi * time).sin()
        return torch.stack([time, torch.zeros_like(time)], dim=-1)[:, None]

    def _colored(self, x: Tensor) -> Tensor:
        """Brightness, contrast and, of RGB, saturation: M x + b at every pixel. Alpha is kept."""
        n, channels, chosen = len(x), x.shape[1], self._chosen(x, self.config.color)
        brightness, power = BRIGHTNESS * self._normal(n, 1), self._normal(n, 2, 1, 1)
        if not chosen.any():
            return x
        colors = 3 if channels >= 3 else 1
        gray = torch.full((colors, colors), 1 / colors)
        saturated = gray + (torch.eye(colors) - gray) * (SATURATION * power[:, 1]).exp2()
        matrix, offset = torch.eye(channels).repeat(n, 1, 1), torch.zeros(n, channels)
        matrix[chosen, :colors, :colors] = (saturated * (CONTRAST * power[:, 0]).exp2())[chosen]
        offset[chosen, :colors] = brightness[chosen]
        y: Tensor = torch.baddbmm(offset[:, :, None].to(x), matrix.to(x), x.flatten(2)).view(x.shape)
        return y

    def _cut(self, x: Tensor) -> Tensor:
        """Set a box to 0. Its center is anywhere, so that it may reach over the edge."""
        chosen = self._chosen(x, self.config.cutout)
        centers = self._uniform(2, len(x), 1)
        if not chosen.any():
            return x
        down, across = (
            ((torch.arange(side) + 0.5) / side - center).abs() < BOX / 2
            for side, center in zip(x.shape[2:], centers, strict=True)
        )
        removed = chosen[:, None, None] & down[:, :, None] & across[:, None, :]
        kept: Tensor = (~removed)[:, None]
        return x * kept.to(x)

    def _amplified(self, x: Tensor) -> Tensor:
        """Multiply signals by a power of 2."""
        factor = torch.where(self._chosen(x, self.config.scale), (ZOOM * self._normal(len(x))).exp2(), 1.0)
        return x * factor[:, None, None].to(x)

    def _noisy(self, x: Tensor) -> Tensor:
        """Add Gaussian noise."""
        chosen = self._chosen(x, self.config.noise)
        if not chosen.any():
            return x
        noise = NOISE * self._normal(*x.shape) * chosen.view(-1, *(1 for _ in x.shape[1:]))
        return x + noise.to(x)


def strength(config: AugmentConfig, images: int, steered: float = 1.0) -> float:
    """The factor of all probabilities after a number of images. steered: see `steer`; it matters with a target only."""
    ramp = min(1.0, images / config.ramp) if config.ramp else 1.0
    return config.p * ramp * (steered if config.target is not None else 1.0)


def steer(config: AugmentConfig, before: float, overfitting: float, images: int) -> float:
    """Strength after `images` more images: more if the critic overfits by more than the target, otherwise less.

    before: strength so far, 0 to 1. overfitting: as in the log; NaN: unknown. Source: ADA's r_v, section 3.
    """
    if config.target is None or math.isnan(overfitting):
        return before
    change = images / config.steer_images
    return min(1.0, max(0.0, before + math.copysign(change, overfitting - config.target)))
