"""Means and variances of pictures, channel by channel and pixel by pixel."""

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]


def channel_moments(pictures: Pictures) -> list[tuple[float, float]]:
    """(mean, biased variance) of each channel in [-1, 1] units. (N, H, W, C) -> C pairs."""
    x = pictures / 127.5 - 1
    return [(float(x[..., c].mean()), float(x[..., c].var())) for c in range(x.shape[3])]


def pixel_moment_distance(fakes: Pictures, reals: Pictures) -> tuple[float, float]:
    """Mean over pixels and channels of |mean_N f - mean_N r| and |var_N f - var_N r|, in [-1, 1] units.

    The quantity that moment stabilisation pulls to zero. (N, H, W, C), (M, H, W, C) -> two numbers.
    """
    f, r = fakes / 127.5 - 1, reals / 127.5 - 1
    return float(np.abs(f.mean(0) - r.mean(0)).mean()), float(np.abs(f.var(0) - r.var(0)).mean())
