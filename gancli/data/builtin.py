"""The built-in data sets: generated from a fixed seed, never downloaded."""

from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from gancli.data import shapes
from gancli.data.arrays import Samples
from gancli.errors import InputMissing

VERSION = 1  # increase when the samples of a set change; it is part of the cache key and the fingerprint

CYCLES = (2, 4, 6, 8, 10, 12)  # frequencies of the bursts, in cycles per signal
POINTS, SIGNALS, LENGTH = 100_000, 3_000, 300  # number of points; number of signals and their length
SPREAD = {"ring8": 0.01, "grid25": 0.05}  # standard deviation of each mode

NAMES = ("shapes", "ring8", "grid25", "signals")
RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
GRID = np.stack(np.meshgrid(np.arange(-4, 5, 2), np.arange(-4, 5, 2)), axis=2).reshape(25, 2).astype(float)


def known(name: str) -> str:
    """The name, if it is a built-in data set. Raises InputMissing with the closest name."""
    if name in NAMES:
        return name
    close = get_close_matches(name, NAMES, n=1) or [", builtin:".join(NAMES)]
    raise InputMissing(f"no built-in data set {name!r}", where="DATA", hint=f"use builtin:{close[0]}")


def draw(name: str, size: int) -> Samples:
    """The samples of a built-in data set. size: height of images in px; ignored for other kinds."""
    if name == "shapes":
        return Samples("image", shapes.draw(size)[0])
    if name == "signals":
        return Samples("signal", _signals())
    return Samples("points", _points(RING if name == "ring8" else GRID, SPREAD[name]))


def nbytes(name: str, size: int) -> int:
    """Size in bytes of the samples returned by `draw`."""
    if name == "shapes":
        return shapes.COUNT * size * size * 3
    return SIGNALS * 3 * LENGTH * 4 if name == "signals" else POINTS * 2 * 4


def _points(centers: NDArray[np.float64], spread: float, count: int = POINTS) -> NDArray[np.float32]:
    """A mixture of Gaussians with equal weights. (count, 2). Source: the mixtures of PacGAN, arXiv:1712.04086."""
    rng = np.random.RandomState(0)
    which = rng.permutation(np.arange(count) % len(centers))
    points: NDArray[np.float32] = (centers[which] + rng.normal(0, spread, (count, 2))).astype(np.float32)
    return points


def _signals(count: int = SIGNALS, length: int = LENGTH) -> NDArray[np.float32]:
    """Bursts of one of six frequencies with a Gaussian envelope, phase-shifted per axis. (count, 3, length)."""
    rng = np.random.RandomState(0)
    cycles = np.array(CYCLES)[rng.permutation(np.arange(count) % len(CYCLES))][:, None, None]
    t = np.linspace(0, 1, length)[None, None, :]
    middle = rng.uniform(0.35, 0.65, (count, 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1)) + np.arange(3)[None, :, None] * 2 * np.pi / 3
    bell = np.exp(-0.5 * ((t - middle) / 0.18) ** 2)
    burst = bell * np.sin(2 * np.pi * cycles * t + phase) * rng.uniform(0.7, 1.0, (count, 1, 1))
    noisy: NDArray[np.float32] = (burst + rng.normal(0, 0.02, burst.shape)).astype(np.float32)
    return noisy
