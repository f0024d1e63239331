"""The Frechet distance between two sets of features; with Inception-v3 features it is FID."""

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in float64. (N, F), (M, F) with N, M >= 2 -> one number.

    The squared Wasserstein-2 distance between normal distributions with the means and (unbiased) covariances of the
    sets. It is biased upward for small N, more so for large F: at N = 1,000 and F = 2,048 two halves of the same data
    are far apart. Compare only distances of equal N.

    Source: Heusel et al. 2017, arXiv:1706.08500; the bias: Chong and Forsyth 2020, arXiv:1911.07023.
    """
    (mean_a, root_a), (mean_b, root_b) = _normal(a), _normal(b)
    # With C = R^T R, tr (C_a C_b)^(1/2) is the sum of singular values of R_a R_b^T. Unlike a matrix square root of
    # C_a C_b, this is accurate for rank-deficient covariances too.
    shared = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * shared
    return max(0.0, float(distance))


def _normal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and a square root R of the covariance, R^T R = C. (N, F) -> R of (min(N, F), F)."""
    n = len(x)
    assert n >= 2, f"a covariance of {n} samples"
    values = x.double()
    mean = values.mean(0)
    return mean, torch.linalg.qr((values - mean) / (n - 1) ** 0.5, mode="r").R
