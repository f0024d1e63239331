"""Colour histograms, and the distance between two of them."""

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

BINS = 16


def shares(values: NDArray[np.uint8], bins: int = BINS) -> tuple[float, ...]:
    """Shares of grey levels 0..255 in equal bins. Any shape -> bins numbers that add up to 1."""
    counts = np.bincount(values.ravel(), minlength=256).reshape(bins, -1).sum(1)
    return tuple(float(c) for c in counts / counts.sum())


def wasserstein(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """1-D Wasserstein distance between two sets of grey levels, in grey levels: the area between their CDFs."""
    cdf_a, cdf_b = (np.bincount(x.ravel(), minlength=256).cumsum() / x.size for x in (a, b))
    return float(np.abs(cdf_a - cdf_b)[:-1].sum())
