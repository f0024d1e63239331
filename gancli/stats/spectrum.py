"""The power of pictures and signals by frequency: blur takes from the fine end, upsampling adds spikes to it."""

import math

import torch
from torch import Tensor

RELATIVE = 1e-4  # of the mean power: what is less is nothing; real sets keep the lines that blur and noise change


def power_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Azimuthal mean of the power of the Fourier transform. (N, C, *S) -> (bins,) cycles a sample, (bins,) power.

    Mean over samples and channels, without the line of each sample's own mean. A bin is one line of the longest side; a
    plane's reach to sqrt(1/2), its corner: a checkerboard lies there, beyond the half to which it is often cut.
    float64. Source: Durall et al. 2020, arXiv:2003.01826.
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
    there[0] = False  # the mean
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


def decades(power: Tensor, like: Tensor) -> Tensor:
    """Logarithm to base 10; a line with less than RELATIVE of the mean power of `like` counts as that much.

    Where reals have (almost) nothing, how little it is says nothing. (bins,), (bins,) -> (bins,).
    """
    return power.clamp(min=max(RELATIVE * float(like.mean()), 1e-30)).log10()


def shape(line: Tensor) -> Tensor:
    """A spectrum in powers of ten without its level: contrast does not change it. (bins,) -> (bins,)."""
    return line - torch.logsumexp(line * math.log(10), 0) / math.log(10)


def grain(x: Tensor) -> float:
    """The deviation of white noise that would explain the finest differences of pictures. (N, C, H, W) -> units of x.

    Median size of the diagonal differences of 2 x 2 blocks over .6745: edges are few and do not count, noise is
    everywhere. Source: Donoho and Johnstone 1994, with Haar's wavelet.
    """
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :h, :w]
    diagonal = (x[..., ::2, ::2] - x[..., 1::2, ::2] - x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2
    return float(diagonal.abs().flatten().median()) / 0.6745
