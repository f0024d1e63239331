"""Histograms of channel values, and the distance between two of them."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gancli.stats.remembered import remembered

Levels = NDArray[np.int64]  # (C, 256) counts

BINS = 16


@remembered
def levels(x: Tensor) -> Levels:
    """Histogram of each channel over 256 equal levels of [-1, 1]. (N, C, *S) -> (C, 256)."""
    steps = x.detach().float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num().byte().cpu()
    channels = steps.movedim(1, 0).flatten(1).numpy()
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


def shares(counts: NDArray[np.int64], bins: int = BINS) -> tuple[float, ...]:
    """The histogram of one channel in equal bins, normalized. (256,) -> `bins` numbers that sum to 1."""
    binned = counts.reshape(bins, -1).sum(1)
    return tuple(float(c) for c in binned / binned.sum())


def wasserstein(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """1-D Wasserstein distance between two channels' levels, in levels: the area between their CDFs. (256,) twice."""
    cdf_a, cdf_b = (counts.cumsum() / counts.sum() for counts in (a, b))
    return float(np.abs(cdf_a - cdf_b)[:-1].sum())


def levels_distance(a: Levels, b: Levels) -> float:
    """Mean over channels of `wasserstein`. (C, 256) twice -> 0 to 255."""
    return float(np.mean([wasserstein(x, y) for x, y in zip(a, b, strict=True)]))
