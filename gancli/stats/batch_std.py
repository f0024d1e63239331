"""Batch standard deviation: how much samples differ from one another. The first figure to check for collapse."""

from torch import Tensor

from gancli.stats.remembered import remembered

EDGE = 1 - 1 / 255  # absolute values from here up render as black or white


def batch_std(x: Tensor) -> float:
    """Biased standard deviation over the batch, averaged over values. (N, C, *S) -> number in units of x."""
    return float(x.cpu().double().std(dim=0, correction=0).mean())


@remembered
def channel_std(x: Tensor) -> list[float]:
    """`batch_std` of each channel. (N, C, *S) -> C numbers."""
    spread = (
        x.cpu().double().std(dim=0, correction=0).flatten(1)
        if x.ndim > 2
        else x.cpu().double().std(dim=0, correction=0)[:, None]
    )
    return [float(s) for s in spread.mean(dim=1)]


def saturation(x: Tensor) -> float:
    """Share of the values at or beyond the limits of [-1, 1], to within one gray level."""
    return float((x.abs() >= EDGE).float().mean())


def contrast(x: Tensor) -> float:
    """Biased standard deviation within a sample, averaged over samples and channels. (N, C, *S) -> number."""
    return float(x.cpu().double().flatten(2).std(dim=2, correction=0).mean())
