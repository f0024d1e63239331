"""Sliced Wasserstein distance of image patches on each level of a Laplacian pyramid: fine to coarse texture.

Definition: Karras et al. 2017, arXiv:1710.10196, section 5, as in their implementation: a 5 x 5 binomial kernel with
reflect padding, down to 16 px; 128 patches of 7 x 7 per image; each set of patches normalized by its own mean and
standard deviation per channel; 4 x 128 random directions; mean distance of the sorted projections, times 1,000.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, pad

from gancli import signals
from gancli.stats import order
from gancli.stats.separable import filtered

PATCHES, PATCH = 128, 7  # patches per image; side of a patch in px
REPEATS, DIRECTIONS = 4, 128
LEAST = 16  # px; height of the coarsest level, and of the smallest image supported
CHUNK, BATCH = 32, 128  # directions projected at once; images blurred at once
CELLS = 1 << 14  # of the histogram of a projection
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # of splitmix64: shifts and factors
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)

Floats = NDArray[np.float32]


def sliced_wasserstein(sets: Sequence[Tensor], reals: Tensor) -> list[dict[int, float]]:
    """For each set: {height of the level in px: distance to the reals times 1,000}. (N, C, H, W) each, equal N.

    The baseline falls as 1/sqrt(N): never compare values at different N. The positions of the patches depend only on
    the content of the image, so the order of the images does not matter.
    """
    found: list[dict[int, float]] = [{} for _ in sets]
    for level in zip(patches_of(reals), *(patches_of(x) for x in sets), strict=True):
        (height, patches), *others = level
        for distances, value in zip(found, distance([patches for _, patches in others], patches), strict=True):
            distances[height] = value
    return found


def patches_of(x: Tensor) -> Iterator[tuple[int, Floats]]:
    """For each level: its height, and the normalized patches of all images. (N, C, H, W) -> (N * 128, C * 49)."""
    seeds = order.keys(x)
    for level in pyramid(x.float()):
        yield level.shape[2], normalized(_cut(level, seeds), x.shape[1])


def pyramid(x: Tensor) -> list[Tensor]:
    """Laplacian pyramid: the detail of each level, and the smallest image. (N, C, H, W) -> levels, largest first."""
    parts = [_levels(part) for part in x.split(BATCH)]
    return [torch.cat(level) for level in zip(*parts, strict=True)]


def _levels(x: Tensor) -> list[Tensor]:
    levels = [x]
    while min(levels[-1].shape[2:]) >= 2 * LEAST:
        h, w = levels[-1].shape[2:]
        smaller = filtered(levels[-1], _down(h), _down(w))
        levels[-1] = levels[-1] - filtered(smaller, _up(h), _up(w))
        levels.append(smaller)
    return levels


@cache
def _down(length: int) -> Tensor:
    """Blur, then leave out every second position. (length / 2 rounded up, length)."""
    return _blur(length)[::2]


@cache
def _up(length: int) -> Tensor:
    """Insert zeros, then blur with twice the weight. (length, length / 2 rounded up)."""
    even = length + length % 2
    return 2 * _blur(even)[:length, ::2]


def _blur(length: int) -> Tensor:
    """The binomial kernel at each position, reflected at the borders. (length, length)."""
    impulses = pad(torch.eye(length)[:, None], (2, 2), mode="reflect")
    return conv1d(impulses, torch.tensor(BINOMIAL)[None, None])[:, 0].T


def _cut(level: Tensor, seeds: NDArray[np.uint64]) -> Floats:
    """128 patches of each image at positions sampled from its seed. (N, C, H, W) -> (N * 128, C * 49)."""
    n, _, h, w = level.shape
    windows = np.lib.stride_tricks.sliding_window_view(level.numpy(), (PATCH, PATCH), axis=(2, 3))
    down, right = places(seeds, h, w)
    patches: Floats = windows[np.arange(n)[:, None], :, down, right]
    return patches.reshape(n * PATCHES, -1)


def places(seeds: NDArray[np.uint64], height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the patches of images, by seed: rows and columns of the upper left corners. (N,) -> (N, 128) twice.

    Uniform, and the same on every machine: numbers from splitmix64 (Steele et al. 2014).
    """
    x = seeds[:, None] + GOLDEN * np.arange(2 * PATCHES * height, 2 * PATCHES * (height + 1), dtype=np.uint64)
    for shift, factor in MIXING:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x = (x ^ (x >> np.uint64(31))) >> np.uint64(32)
    down, right = x[:, :PATCHES] % np.uint64(height - PATCH + 1), x[:, PATCHES:] % np.uint64(width - PATCH + 1)
    return down.astype(np.int64), right.astype(np.int64)


def normalized(patches: Floats, channels: int) -> Floats:
    """Standardize each channel over all patches, in place. (M, C * 49) -> the same."""
    split = patches.reshape(len(patches), channels, -1)
    split -= split.mean((0, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    variance = [np.einsum("mp,mp->", part, part, dtype=np.float64) / part.size for part in split.swapaxes(0, 1)]
    split /= np.sqrt(np.maximum(variance, 1e-16)).astype(np.float32)[:, None]
    return patches


def directions(length: int) -> Floats:
    """512 fixed random unit vectors. (length, 512)."""
    drawn = np.random.RandomState(0).randn(length, REPEATS * DIRECTIONS)
    unit: Floats = (drawn / np.linalg.norm(drawn, axis=0)).astype(np.float32)
    return unit


def distance(sets: Sequence[Floats], reals: Floats) -> list[float]:
    """For each set: mean |sort(a v) - sort(b v)| over 512 directions v, times 1,000. (M, F) each.

    Without sorting: it is the area between the two cumulative histograms, here of CELLS cells, to 1e-5 of its value
    unless a patch is far from all others. NaN if a value is not finite.
    """
    longest = float(np.max([np.einsum("mf,mf->m", side, side).max() for side in (reals, *sets)])) ** 0.5
    if not np.isfinite(longest):
        return [math.nan] * len(sets)
    cell = max(2 * longest / (CELLS - 2), 1e-30)
    ways = directions(reals.shape[1]).T / np.float32(cell)
    parts = [ways[start : start + CHUNK] for start in range(0, len(ways), CHUNK)]

    def apart(part: Floats) -> list[float]:
        signals.poll()
        right, *left = (_histograms(part @ side.T) for side in (reals, *sets))
        return [float(np.abs(np.cumsum(side - right, axis=1)).sum() * cell / right.sum()) for side in left]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy releases the GIL
        found = np.array(list(pool.map(apart, parts)))
    return [float(value) for value in 1000 * found.mean(0)]


def _histograms(values: Floats) -> NDArray[np.int64]:
    """Number of values in each cell, by row. (R, M) in cells from the middle, overwritten -> (R, CELLS)."""
    rows = len(values)
    values += CELLS * np.arange(0.5, rows, dtype=np.float32)[:, None]
    return np.bincount(values.astype(np.int64).ravel(), minlength=CELLS * rows).reshape(rows, CELLS)
