"""Kernel inception distance on any features. It is unbiased: its expected baseline is 0 at any N."""

from torch import Tensor

ROWS = 1_024  # rows of the kernel matrix computed at once


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / F + 1)^3. (N, F), (M, F) -> about 0 or more.

    All pairs are used, no random subsets, so neither order nor batch size matters. It can be slightly below 0.
    Source: Binkowski et al. 2018 (KID), arXiv:1801.01401.
    """
    a, b = a.double(), b.double()

    def total(x: Tensor, y: Tensor) -> float:
        return sum(float(((part @ y.T / y.shape[1] + 1) ** 3).sum()) for part in x.split(ROWS))

    def among(x: Tensor) -> float:
        itself = float(((x.square().sum(1) / x.shape[1] + 1) ** 3).sum())
        return (total(x, x) - itself) / (len(x) * (len(x) - 1))

    return among(a) + among(b) - 2 * total(a, b) / (len(a) * len(b))
