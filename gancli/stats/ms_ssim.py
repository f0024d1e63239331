"""Multi-scale structural similarity of image pairs. Detects near-total collapse within a class, and little else."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gancli.stats import order
from gancli.stats.remembered import remembered
from gancli.stats.separable import filtered

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
K1, K2, RANGE = 0.01, 0.03, 255.0
WINDOW, SIGMA = 11, 1.5
LEAST = 16  # px; below this the coarsest level would be empty
CHUNK = 16  # pairs at once: more do not fit into the caches


@remembered
def pair_similarity(x: Tensor) -> float:
    """Mean `ms_ssim` over disjoint pairs of one set of images. (N, C, H, W) in [-1, 1] -> number up to 1.

    High if images repeat. The pairing depends only on the content of the images. Sources: Odena et al. 2016,
    arXiv:1610.09585; Karras et al. 2017, arXiv:1710.10196, with 10,000 pairs.
    """
    x = x[torch.from_numpy(np.argsort(order.keys(x)))]
    half = len(x) // 2
    first, second = (x[i : 2 * half : 2].split(CHUNK) for i in range(2))
    return float(torch.cat([ms_ssim(a, b) for a, b in zip(first, second, strict=True)]).mean())


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM of each pair of images. (N, C, H, W) in [-1, 1] twice -> (N,).

    An 11 x 11 Gaussian window with sigma 1.5, no padding, smaller where a level is smaller; five levels by
    2 x 2 means; K1 = 0.01, K2 = 0.03. A level whose mean contrast is negative counts as 0. Source: Wang et al. 2003.
    """
    a, b = (side.double().add(1).mul(RANGE / 2) for side in (a, b))
    product = a.new_ones(len(a))
    for level, weight in enumerate(WEIGHTS):
        similarity, contrast = _ssim(a, b)
        last = level == len(WEIGHTS) - 1
        product = product * (similarity if last else contrast).clamp(min=0) ** weight
        if not last:
            a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    return product


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over positions and channels of SSIM and of its contrast-structure term. (N,) each."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    contrast = (2 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def _blurred(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    size = min(WINDOW, height, width)
    return filtered(x, _window(height, size), _window(width, size))


@cache
def _window(length: int, size: int) -> Tensor:
    """A Gaussian at each position where it fits. (length - size + 1, length), float64."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(at**2) / (2 * (SIGMA * size / WINDOW) ** 2))
    whole = torch.zeros(length - size + 1, length, dtype=torch.float64)
    whole.as_strided((len(whole), size), (length + 1, 1)).copy_(weights / weights.sum())
    return whole
