"""Effective rank: the number of directions in which samples vary."""

import torch
from torch import Tensor

from gancli.stats.remembered import remembered


@remembered
def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the normalized singular values of the centered samples. (N, F) -> 1 to min(N, F).

    Source: Roy and Vetterli 2007, EUSIPCO. 1 if the samples do not vary.
    """
    x = x.double().flatten(1)
    values = torch.linalg.eigvalsh(_gram(x - x.mean(0))).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=1e-300)
    return float(torch.special.entr(shares).sum().exp())


def _gram(x: Tensor) -> Tensor:
    return x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
