"""Fixed random features for comparing samples without a trained network. The same on every machine and run.

Random convolutions rank generators much like trained networks do (Lee et al. 2022, arXiv:2208.09218; Naeem et al.
2020, arXiv:2002.09797, recommend them for data unlike ImageNet), and there is nothing to download.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from gancli.seeds import stream

WIDTHS = (3, 64, 128, 256)  # channels before and after each of three 4 x 4 convolutions of stride 2
CHUNK = 64
LEAST = 8  # px; smaller images are upscaled by an integer factor
STEADY = 0.05  # times the median standard deviation of the features: the least divisor when standardizing


@torch.no_grad()
def of_samples(x: Tensor, kind: str) -> Tensor:
    """Features of samples, one row each: (N, C, *S) -> (N, 512) for images, all values (N, C * S) otherwise.

    Images: three orthogonal strided convolutions, each with a leaky ReLU, then the mean and standard deviation of each
    channel over positions. Gray images are repeated to three channels; alpha is ignored. float64.
    """
    if kind != "image":
        return x.double().flatten(1)
    weights = [_orthogonal(c_out, c_in) for c_in, c_out in pairwise(WIDTHS)]
    return torch.cat([_convolved(part, weights) for part in x.float().split(CHUNK)]).double()


def _convolved(x: Tensor, weights: list[Tensor]) -> Tensor:
    h = x[:, :3].expand(-1, 3, -1, -1)
    factor = -(-LEAST // min(h.shape[2:]))  # rounded up
    h = h.repeat_interleave(factor, 2).repeat_interleave(factor, 3) if factor > 1 else h
    for weight in weights:
        h = leaky_relu(conv2d(h, weight, stride=2, padding=1), 0.2)
    flat = h.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], dim=1)


def _orthogonal(c_out: int, c_in: int) -> Tensor:
    """A weight with orthogonal rows or columns, scaled to preserve the scale of activations. (c_out, c_in, 4, 4)."""
    rows, columns = c_out, c_in * 16
    draw = torch.randn(max(rows, columns), min(rows, columns), generator=stream(0, f"features/{c_out}", 0))
    basis: Tensor = torch.linalg.qr(draw.double())[0]
    oriented = basis if rows >= columns else basis.T
    return (oriented * math.sqrt(2 * max(1.0, rows / columns))).float().reshape(c_out, c_in, 4, 4)


def standardized(features: Tensor, reals: Tensor) -> Tensor:
    """Features minus the mean of the reals, over their standard deviation. (N, F), (M, F) -> (N, F).

    Features that hardly vary in the reals, such as the padding of signals, are not amplified.
    """
    std = reals.std(0, correction=0)
    return (features - reals.mean(0)) / std.clamp(min=max(STEADY * float(std.median()), 1e-6))
