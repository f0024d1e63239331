"""What samples are compared by where nothing was trained: fixed random features. The same on every machine and run.

Random convolutions rank generators much like trained networks do (Lee et al. 2022, arXiv:2208.09218; Naeem et al.
2020, arXiv:2002.09797, advise them off ImageNet), and nothing has to be fetched.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from gancli.seeds import stream

WIDTHS = (3, 64, 128, 256)  # channels of three convolutions of 4 x 4, stride 2
CHUNK = 64
LEAST = 8  # px: smaller pictures are enlarged by a whole factor
STEADY = 0.05  # of the median deviation of a feature: what varies less is not made more of


@torch.no_grad()
def of_samples(x: Tensor, kind: str) -> Tensor:
    """Features of samples, one row each: (N, C, *S) -> (N, 512) for pictures, all values (N, C * S) for the rest.

    Pictures: three orthogonal strided convolutions, each with a leaky ReLU, then the mean and the deviation of every
    channel over positions. Gray ones stand in all three channels; alpha is left aside. float64.
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
    """Orthogonal rows or columns, scaled so that activations keep their size. (c_out, c_in, 4, 4)."""
    rows, columns = c_out, c_in * 16
    draw = torch.randn(max(rows, columns), min(rows, columns), generator=stream(0, f"features/{c_out}", 0))
    basis: Tensor = torch.linalg.qr(draw.double())[0]
    oriented = basis if rows >= columns else basis.T
    return (oriented * math.sqrt(2 * max(1.0, rows / columns))).float().reshape(c_out, c_in, 4, 4)


def standardised(features: Tensor, reals: Tensor) -> Tensor:
    """Every feature with the mean 0 and the deviation 1 of the reals'. (N, F), (M, F) -> (N, F).

    A feature that hardly varies in the reals, such as the padding of signals, is not blown up.
    """
    std = reals.std(0, correction=0)
    return (features - reals.mean(0)) / std.clamp(min=max(STEADY * float(std.median()), 1e-6))
