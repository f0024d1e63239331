"""Features of samples without a trained network: the same on every machine and in every run.

Random convolutions rank generators much like trained networks do (Lee et al. 2022, arXiv:2208.09218; Naeem et al.
2020, arXiv:2002.09797, recommend them for data unlike ImageNet), and there is nothing to download. They do not know
what a class is: see `networks.efficientnet` for features that do.
"""

import math
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, conv2d, leaky_relu

from gancli.seeds import stream

WIDTHS = (3, 64, 128, 256)  # channels before and after each of three 4 x 4 convolutions of stride 2
CHUNK = 16  # images at once: more do not fit into the caches
LEAST = 8  # px; smaller images are upscaled by an integer factor
LAYOUT = 8  # px; the image at this size tells where things are, which the convolutions' means over positions do not
POSITIONS = 64  # values of a signal, at most; longer ones are averaged
WINDOW, TIMES = 32, 8  # of the spectrogram of a signal: values per window, and mean spectra kept over time
FLOOR = 0.1  # added to the magnitudes of the spectrogram; a full-scale sine has WINDOW / 4
STEADY = 0.6  # times the root mean square of the standard deviations of the features: the least divisor


def of_samples(x: Tensor, kind: str) -> Tensor:
    """Features of samples, one row each, in float64: see `of_images` and `of_signals`; for points, their values."""
    if kind == "image":
        return torch.cat([of_images(part) for part in x.float().split(CHUNK)]).double()
    return of_signals(x.double()) if kind == "signal" else x.double().flatten(1)


@torch.no_grad()
def of_images(x: Tensor) -> Tensor:
    """Random convolutions, pooled, and the image at 8 x 8 px. (N, C, H, W) -> (N, 704).

    Three orthogonal strided convolutions, each with a leaky ReLU, then the mean and standard deviation of each channel
    over positions. Gray images are repeated to three channels; alpha is ignored.
    """
    h = x[:, :3].expand(-1, 3, -1, -1)
    factor = -(-LEAST // min(h.shape[2:]))  # rounded up
    h = h.repeat_interleave(factor, 2).repeat_interleave(factor, 3) if factor > 1 else h
    layout = adaptive_avg_pool2d(h, LAYOUT).flatten(1)
    for weight in _weights():
        h = leaky_relu(conv2d(h, weight, stride=2, padding=1), 0.2)
    flat = h.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0), layout], dim=1)


def of_signals(x: Tensor) -> Tensor:
    """The signal at 64 positions or fewer, and its log spectrogram at 8 times. (N, C, L) -> (N, F).

    The values alone compare the phases of a sound, which nobody hears; the spectrogram alone ignores the shape of a
    stroke or of a heart beat.
    """
    length = x.shape[2]
    values = adaptive_avg_pool1d(x, min(POSITIONS, length)).flatten(1)
    window = min(WINDOW, length)
    frames = x.unfold(2, window, max(1, window // 2))  # (N, C, T, window)
    magnitude = torch.fft.rfft(frames * torch.hann_window(window, dtype=x.dtype)).abs()
    log = magnitude.add(FLOOR).log().flatten(0, 1).mT  # (N * C, bins, T)
    spectra = adaptive_avg_pool1d(log, min(TIMES, log.shape[2]))
    return torch.cat([values, spectra.reshape(len(x), -1)], dim=1)


@cache
def _weights() -> list[Tensor]:
    return [_orthogonal(c_out, c_in) for c_in, c_out in pairwise(WIDTHS)]


def _orthogonal(c_out: int, c_in: int) -> Tensor:
    """A weight with orthogonal rows or columns, scaled to preserve the scale of activations. (c_out, c_in, 4, 4)."""
    rows, columns = c_out, c_in * 16
    draw = torch.randn(max(rows, columns), min(rows, columns), generator=stream(0, f"features/{c_out}", 0))
    basis: Tensor = torch.linalg.qr(draw.double())[0]
    oriented = basis if rows >= columns else basis.T
    return (oriented * math.sqrt(2 * max(1.0, rows / columns))).float().reshape(c_out, c_in, 4, 4)


def standardized(features: Tensor, reals: Tensor) -> Tensor:
    """Features minus the mean of the reals, over their standard deviation. (N, F), (M, F) -> (N, F).

    Features that vary less than most in the reals, such as frequencies that signals do not have, are not amplified.
    """
    std = reals.std(0, correction=0)
    return (features - reals.mean(0)) / std.clamp(min=max(STEADY * float(std.square().mean().sqrt()), 1e-6))
