"""Statistics of nearest neighbours between two sets of features."""

import torch
from torch import Tensor

K = 5  # neighbours


def coverage(reals: Tensor, fakes: Tensor, k: int = K) -> float:
    """The share of the reals with a fake nearer than their own k-th real neighbour. (N, F), (M, F) -> 0 to 1.

    A real that nothing resembles lies in a part of the data that the generator leaves out. Between two equal sets
    of one distribution it is expected to be 1 - 2^-k = .97. Source: Naeem et al. 2020, arXiv:2002.09797.
    """
    k = min(k, len(reals) - 1)
    among = torch.cdist(reals, reals)
    radius = among.kthvalue(k + 1, dim=1).values  # the nearest is the sample itself
    return float((torch.cdist(reals, fakes).min(dim=1).values <= radius).double().mean())
