"""Power spectra of images and signals. Blur lowers high frequencies; upsampling artifacts add spikes."""

import math

import torch
from torch import Tensor

from gancli.stats.remembered import remembered

RELATIVE = 1e-4  # times the mean power: lower power is clipped to it; low enough to keep the effects of blur and noise


@remembered
def power_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Azimuthally averaged power of the Fourier transform. (N, C, *S) -> (bins,) cycles per sample, (bins,) power.

    Averaged over samples and channels, without the zero frequency. A bin is one frequency step of the longest side. For
    images the bins go up to sqrt(1/2), the corner of the plane, where a checkerboard is; many implementations stop at
    1/2. float64. Source: Durall et al. 2020, arXiv:2003.01826.
    """
    space = x.shape[2:]
    axes = tuple(range(2, x.ndim))
    total = torch.zeros(space, dtype=torch.float64)
    for part in x.split(64):
        total += _power(part, axes)
    total /= len(x) * x.shape[1] * math.prod(space)
    radius = _radius(space)
    bins = (radius * max(space)).round().long().flatten()
    count = torch.bincount(bins)
    power = torch.bincount(bins, weights=total.flatten()) / count.clamp(min=1)
    frequency = torch.bincount(bins, weights=radius.flatten()) / count.clamp(min=1)
    there = count > 0
    there[0] = False  # the zero frequency
    return frequency[there], power[there]


def _power(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    power: Tensor = torch.fft.fftn(x.double(), dim=axes).abs().square().sum((0, 1))
    return power


def _radius(space: torch.Size) -> Tensor:
    squares = torch.zeros(space, dtype=torch.float64)
    for axis, size in enumerate(space):
        shape = [1] * len(space)
        shape[axis] = size
        squares = squares + torch.fft.fftfreq(size, dtype=torch.float64).square().view(shape)
    return squares.sqrt()


def log_power(power: Tensor, like: Tensor) -> Tensor:
    """Logarithm to base 10 of the power, clipped from below at RELATIVE times the mean power of `like`.

    Differences between powers that are nearly 0 are not meaningful. (bins,), (bins,) -> (bins,).
    """
    return power.clamp(min=max(RELATIVE * float(like.mean()), 1e-30)).log10()


def shape(line: Tensor) -> Tensor:
    """A log10 spectrum normalized to total power 1, so that contrast does not change it. (bins,) -> (bins,)."""
    return line - torch.logsumexp(line * math.log(10), 0) / math.log(10)


@remembered
def grain(x: Tensor) -> float:
    """Standard deviation of the white noise in images. (N, C, H, W) -> units of x.

    Median absolute diagonal difference of 2 x 2 blocks, over 0.6745. The median ignores edges, which are rare. Source:
    Donoho and Johnstone 1994, with the Haar wavelet.
    """
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :h, :w]
    diagonal = (x[..., ::2, ::2] - x[..., 1::2, ::2] - x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2
    return float(diagonal.abs().flatten().median()) / 0.6745


@remembered
def roughness(x: Tensor) -> float:
    """1 minus the correlation of adjacent values within samples: 1 for white noise, near 0 for photographs.

    (N, C, *S) -> 0 to 2; contrast and color do not change it. The mean squared difference of neighbors along each axis
    over twice the variance within a sample and channel.
    """
    inside = x.float().flatten(2).var(2, correction=0).mean()
    steps = [x.float().diff(dim=axis).square().mean() for axis in range(2, x.ndim) if x.shape[axis] > 1]
    return float(torch.stack(steps).mean() / (2 * inside).clamp(min=1e-12)) if steps else 0.0
