"""What stands in for modes where none are known: the parts into which k-means divides the reals."""

import numpy as np
import torch
from torch import Tensor

ROUNDS = 25
MEMBERS = 25  # reals that a part should have on average
MOST = 40  # parts
LEAST = 0.25  # of its share, below which a part is left


def centers(reals: Tensor, count: int | None = None) -> Tensor:
    """k-means of the reals from k-means++ with a fixed seed. (N, F) -> (K, F), K = N / 25, at most 40."""
    count = count or max(2, min(MOST, len(reals) // MEMBERS))
    found = _spread(reals, count)
    for _ in range(ROUNDS):
        nearest = torch.cdist(reals, found).argmin(1)
        members = torch.bincount(nearest, minlength=count)[:, None]
        means = torch.zeros_like(found).index_add_(0, nearest, reals) / members.clamp(min=1)
        found = torch.where(members > 0, means, found)  # a part that lost all its members stays where it was
    return found


def _spread(reals: Tensor, count: int) -> Tensor:
    """Arthur and Vassilvitskii 2007: each next center is drawn with the squared distance to those there are."""
    draw = np.random.RandomState(0)
    chosen = [int(draw.randint(len(reals)))]
    distance = torch.cdist(reals, reals[chosen]).square()[:, 0]
    while len(chosen) < count:
        reach = distance.cumsum(0)
        at = torch.searchsorted(reach, torch.tensor([draw.rand() * float(reach[-1])], dtype=reach.dtype))
        chosen.append(min(int(at), len(reals) - 1))
        distance = torch.minimum(distance, torch.cdist(reals, reals[chosen[-1:]]).square()[:, 0])
    return reals[chosen]


def overlap(parts: Tensor, reals: Tensor, fakes: Tensor) -> float:
    """The share that two sets have in common when counted by parts: sum of min(p, q). 1 where they agree, 0 to 1.

    Leaving out a part of the data takes its share away; a fake of poor quality still counts for the part it is
    nearest to. After Richardson and Weiss 2018, arXiv:1805.12462.
    """
    p, q = (_shares(parts, side) for side in (reals, fakes))
    return float(torch.minimum(p, q).sum())


def _shares(parts: Tensor, x: Tensor) -> Tensor:
    nearest = torch.cdist(x, parts).argmin(1)
    return torch.bincount(nearest, minlength=len(parts)).double() / len(x)


def kept(parts: Tensor, reals: Tensor, fakes: Tensor, least: float = LEAST) -> float:
    """The share of the reals that lie in parts which the fakes have not all but left. 0 to 1; about 1 is honest.

    A part is left where the fakes' share of it is less than `least` of the reals'.
    """
    p, q = (_shares(parts, side) for side in (reals, fakes))
    return float(p[q >= least * p].sum())
