"""Real batches as a function of position: which samples, at which size and fade."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.config import ResolvedConfig
from gancli.data import stored
from gancli.data.cache import Dataset
from gancli.growth import Phase
from gancli.latents import Prior, from_seeds
from gancli.networks.layers import downscale, upscale
from gancli.seeds import permutation, stream


def whole(batch: Tensor) -> Tensor:
    """All samples of a batch."""
    return batch


class Feed:
    """The training samples of a data set, shuffled by a seed.

    Epoch e has the order permutation(seed, e). A batch may cross the end of an epoch, so that each
    sample is shown exactly once per epoch.
    """

    def __init__(self, dataset: Dataset, config: ResolvedConfig) -> None:
        self.values = dataset.values
        self.rows = torch.from_numpy(dataset.train_rows)
        self.held_out = torch.from_numpy(np.flatnonzero(dataset.held_out))
        self.seed, self.mirror = config.train.seed, config.data.mirror
        self.full_height = config.full_height
        self.kind, self.prior = dataset.kind, Prior.of(config.network)
        self.enlarges = config.network.enlarges
        self.affine = None if dataset.kind == "image" else (config.samples.center, config.samples.scale)
        self._order = lru_cache(maxsize=2)(lambda epoch: permutation(self.seed, epoch, len(self.rows)))

    def rows_at(self, images: int, count: int) -> Tensor:
        """Row numbers of `count` samples, starting at position `images`. Shape (count,), int64."""
        size = len(self.rows)
        parts = []
        while count > 0:
            epoch, start = divmod(images, size)
            parts.append(self._order(epoch)[start : start + count])
            images, count = images + len(parts[-1]), count - len(parts[-1])
        return self.rows[torch.cat(parts)]

    def batch_at(self, images: int, phase: Phase, part: Callable[[Tensor], Tensor] = whole) -> Tensor:
        """The real batch of a critic step, at the size and fade of the phase. (N, C, *S) float32 in [-1, 1].

        part: the samples of the batch that are wanted, given one value for each of them.
        """
        x = self._at_height(part(self.rows_at(images, phase.batch_size)), phase.height)
        if self.mirror:
            flip = part(torch.rand(phase.batch_size, generator=stream(self.seed, "mirror", images))) < 0.5
            x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
        return fade(x, phase.alpha) if phase.fading else x

    def sample(self, count: int, phase: Phase, position: int, name: str = "tick") -> Tensor:
        """Training samples, sampled with replacement from a named random stream. As `batch_at`, without mirroring."""
        rows = self.rows[torch.randint(len(self.rows), (count,), generator=stream(self.seed, name, position))]
        x = self._at_height(rows, phase.height)
        return fade(x, phase.alpha) if phase.fading else x

    def unseen(self, count: int, phase: Phase, position: int) -> Tensor | None:
        """Held-out samples, sampled with replacement; None if there are none."""
        if len(self.held_out) == 0:
            return None
        draw = torch.randint(len(self.held_out), (count,), generator=stream(self.seed, "held out", position))
        x = self._at_height(self.held_out[draw], phase.height)
        return fade(x, phase.alpha) if phase.fading else x

    def first(self, count: int) -> Tensor:
        """The first samples of epoch 0, at full size, not mirrored. (count, C, *S) in [-1, 1]."""
        return self._at_height(self.rows_at(0, count), self.full_height)

    def inputs(self, count: int, phase: Phase) -> Tensor:
        """Fixed generator inputs for sample sheets: the latents of seeds 0, 1, ..., (count, z_dim).

        For super-resolution: the first reals of epoch 0, downscaled, (count, C, H', W').
        """
        if not self.enlarges:
            return from_seeds(range(count), self.prior)
        return downscale(self._at_height(self.rows_at(0, count), phase.height), self.enlarges)

    def _at_height(self, rows: Tensor, height: int) -> Tensor:
        stored.check_length(self.values)
        values = np.asarray(self.values[rows.numpy()])
        if self.affine is not None:
            return scaled(values, *self.affine)
        return to_unit(values, self.full_height // height)


def to_unit(pictures: NDArray[np.uint8], factor: int = 1) -> Tensor:
    """uint8 images to [-1, 1], downscaled by 2x2 means. (N, H, W, C) -> (N, C, H / factor, W / factor)."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()  # channels-last memory format, fastest for convolutions
    return downscale(x, factor).div_(127.5).sub_(1)


def units(dataset: Dataset) -> tuple[float, float]:
    """Center and scale of signals and points: the middle of the range of the training samples, and half of it.

    Images, which need neither: (0, 1).
    """
    if dataset.kind == "image":
        return 0.0, 1.0
    ranges = [(float(some.min()), float(some.max())) for some in dataset.train_chunks()]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (low + high) / 2, (high - low) / 2 or 1.0


def scaled(values: NDArray[np.float32], center: float, scale: float) -> Tensor:
    """Signals or points scaled for the networks: (value - center) / scale. (N, ...) -> the same."""
    return torch.from_numpy(values).sub(center).div_(scale)


def fade(x: Tensor, alpha: float) -> Tensor:
    """Reals during a fade: x = alpha x + (1 - alpha) upscale(downscale(x)). (N, C, H, W) -> the same."""
    return torch.lerp(upscale(downscale(x)), x, alpha)
