"""k-means clusters of the reals, used in place of modes where none are known."""

import numpy as np
import torch
from torch import Tensor

ROUNDS = 25  # iterations of k-means
MEMBERS = 25  # average number of reals per cluster
MOST = 40  # clusters
LEAST = 0.25  # a cluster is covered if the fakes have at least this fraction of the reals' share of it


def centers(reals: Tensor, count: int | None = None) -> Tensor:
    """k-means of the reals from k-means++ with a fixed seed. (N, F) -> (K, F), K = N / 25, at most 40."""
    count = count or max(2, min(MOST, len(reals) // MEMBERS))
    found = _kmeans_plus_plus(reals, count)
    for _ in range(ROUNDS):
        nearest = torch.cdist(reals, found).argmin(1)
        members = torch.bincount(nearest, minlength=count)[:, None]
        means = torch.zeros_like(found).index_add_(0, nearest, reals) / members.clamp(min=1)
        found = torch.where(members > 0, means, found)  # an empty cluster keeps its center
    return found


def _kmeans_plus_plus(reals: Tensor, count: int) -> Tensor:
    """Initial centers by k-means++ (Arthur and Vassilvitskii 2007): sampled by squared distance to the chosen ones."""
    draw = np.random.RandomState(0)
    chosen = [int(draw.randint(len(reals)))]
    distance = torch.cdist(reals, reals[chosen]).square()[:, 0]
    while len(chosen) < count:
        reach = distance.cumsum(0)
        at = torch.searchsorted(reach, torch.tensor([draw.rand() * float(reach[-1])], dtype=reach.dtype))
        chosen.append(min(int(at), len(reals) - 1))
        distance = torch.minimum(distance, torch.cdist(reals, reals[chosen[-1:]]).square()[:, 0])
    return reals[chosen]


def overlap(clusters: Tensor, reals: Tensor, fakes: Tensor) -> float:
    """Overlap of the histograms p, q of two sets over the clusters: sum of min(p, q). 0 to 1; 1 if they are equal.

    A missing cluster lowers it by its share; a fake of poor quality still counts for its nearest cluster. After
    Richardson and Weiss 2018, arXiv:1805.12462.
    """
    p, q = (_shares(clusters, side) for side in (reals, fakes))
    return float(torch.minimum(p, q).sum())


def _shares(clusters: Tensor, x: Tensor) -> Tensor:
    nearest = torch.cdist(x, clusters).argmin(1)
    return torch.bincount(nearest, minlength=len(clusters)).double() / len(x)


def coverage(clusters: Tensor, reals: Tensor, fakes: Tensor, least: float = LEAST) -> float:
    """Share of the reals in clusters that the fakes cover. 0 to 1; about 1 for an independent draw of the data.

    A cluster is covered if the fakes' share of it is at least `least` times that of the reals.
    """
    p, q = (_shares(clusters, side) for side in (reals, fakes))
    return float(p[q >= least * p].sum())
