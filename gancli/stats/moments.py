"""Means and variances of samples, per channel and per value."""

import torch
from torch import Tensor

from gancli.stats.remembered import remembered


@remembered
def channel_moments(x: Tensor) -> list[tuple[float, float]]:
    """(mean, biased variance) of each channel, in float64. (N, C, *S) -> C pairs."""
    channels = x.movedim(1, 0).flatten(1)
    return [(float(c.mean()), float(c.var(correction=0))) for c in (channel.double() for channel in channels)]


@remembered
def moment_distance(fakes: Tensor, reals: Tensor) -> tuple[float, float]:
    """Mean over values of |mean_N f - mean_N r| and |var_N f - var_N r|, in float64.

    The quantity that moment stabilization minimizes. (N, C, *S), (M, C, *S) -> two numbers.
    """
    (mean_f, var_f), (mean_r, var_r) = (_moments(side) for side in (fakes, reals))
    return float((mean_f - mean_r).abs().mean()), float((var_f - var_r).abs().mean())


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.double(), 0, correction=0)
    return mean, variance
