"""Kernel inception distance on any features: unbiased, so that its floor is 0 at any N."""

from torch import Tensor


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / F + 1)^3. (N, F), (M, F) -> about 0 and more.

    All pairs are used, no random subsets, so neither order nor batch size matters. It may be a little below 0.
    Source: Binkowski et al. 2018 (KID), arXiv:1801.01401.
    """
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def among(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(among(a) + among(b) - 2 * kernel(a, b).mean())
