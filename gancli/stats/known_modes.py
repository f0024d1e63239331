"""Count the modes of the built-in data sets in samples of any kind. x: (N, C, *S), scaled as for the networks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.builtin import CYCLES, GRID, RING, SPREAD
from gancli.media import to_bytes
from gancli.stats import modes
from gancli.stats.modes import UNRECOGNIZED, ModeCoverage, counted

Floats = NDArray[np.float64]

NEAR = 3.0  # a point within so many standard deviations of a center belongs to its mode; exp(-9 / 2) = 1.1% do not
PURE = 0.6  # share of a signal's power that must be near its peak; for reals it is at least 0.75
AROUND = 2.5  # cycles; half-width of the band around the peak


def mode_counter(source: str, center: float, scale: float) -> Callable[[Tensor], ModeCoverage | None]:
    """A function that counts the modes of a built-in data set in samples; it returns None for any other source."""
    count = COUNTERS.get(source)
    return lambda x: count(x, center, scale) if count else None


def _shapes(x: Tensor, center: float, scale: float) -> ModeCoverage | None:
    return modes.count_modes(to_bytes(x)) if x.shape[1] == 3 else None  # modes are defined by color


def _ring(x: Tensor, center: float, scale: float) -> ModeCoverage:
    return of_points(in_units(x, center, scale), RING, SPREAD["ring8"])


def _grid(x: Tensor, center: float, scale: float) -> ModeCoverage:
    return of_points(in_units(x, center, scale), GRID, SPREAD["grid25"])


def _signals(x: Tensor, center: float, scale: float) -> ModeCoverage:
    return counted(frequencies(in_units(x, center, scale)), len(CYCLES))


COUNTERS: dict[str, Callable[[Tensor, float, float], ModeCoverage | None]] = {
    "builtin:shapes": _shapes,
    "builtin:ring8": _ring,
    "builtin:grid25": _grid,
    "builtin:signals": _signals,
}


def in_units(x: Tensor, center: float, scale: float) -> Floats:
    """Samples in the units of the data, as float64."""
    return x.detach().cpu().numpy().astype(np.float64) * scale + center


def of_points(points: Floats, centers: Floats, spread: float) -> ModeCoverage:
    """Assign points to the nearest center if it is within three standard deviations ("high-quality" points).

    points (N, D), centers (K, D). `spread` of the result: standard deviation within a mode over that of the data; for
    a perfect sampler 0.974, since points farther out are not counted. Protocol: Srivastava et al. 2017 (VEEGAN).
    """
    apart = points[:, None] - centers[None]  # (N, K, D)
    distance = np.sqrt((apart**2).sum(-1))
    nearest = distance.argmin(1)
    own = distance.min(1) <= NEAR * spread
    found = np.where(own, nearest, UNRECOGNIZED)
    inside = apart[np.arange(len(points)), nearest][own]
    ratio = float(np.sqrt((inside**2).mean()) / spread) if len(inside) else float("nan")
    return counted(found, len(centers), ratio)


def frequencies(signals: Floats) -> NDArray[np.int64]:
    """Index of the frequency of each signal, or UNRECOGNIZED. (N, C, L) -> (N,).

    The frequency is the power-weighted mean around the spectral peak, if most of the power is there.
    """
    power = (np.abs(np.fft.rfft(signals, axis=2)) ** 2).sum(1)[:, 1:]  # (N, F), without the mean
    at = np.arange(1, power.shape[1] + 1)
    peak = at[power.argmax(1)][:, None]
    around = np.where(np.abs(at[None] - peak) <= AROUND, power, 0.0)
    total, held = np.maximum(power.sum(1), 1e-12), np.maximum(around.sum(1), 1e-12)
    center = (around * at).sum(1) / held
    nearest = np.abs(center[:, None] - np.array(CYCLES)).argmin(1)
    certain = (held / total > PURE) & (np.abs(center - np.array(CYCLES)[nearest]) < 0.75)
    return np.where(certain, nearest, UNRECOGNIZED)
