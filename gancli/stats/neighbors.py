"""Nearest-neighbor statistics of sets of features. Pure functions; Euclidean distances in float64."""

import torch
from torch import Tensor

from gancli.stats.remembered import remembered

K, SHARE = 5, 0.01  # k is max(K, SHARE * N), so that the radius of the balls does not shrink as N grows
ROWS = 1_024  # rows of the distance matrix computed at once, to limit memory


@remembered
def nearest_other(x: Tensor, k: int = 1) -> Tensor:
    """Distance of each sample to its k-th nearest neighbor in the same set. (N, F) -> (N,)."""
    k = min(k, len(x) - 1)
    return torch.cat([torch.cdist(part, x).kthvalue(k + 1, dim=1).values for part in x.split(ROWS)])


def default_k(count: int) -> int:
    """k for a set of `count` samples: 5 as in the papers, or 1% of a larger set."""
    return max(K, round(SHARE * count))


@remembered
def nearest_in(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each sample to the nearest one of another set, and its row there. (N, F), (M, F) -> (N,) twice."""
    found = [torch.cdist(part, among).min(dim=1) for part in x.split(ROWS)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def apart(distances: Tensor) -> Tensor:
    """Distances above 1/1000 of the median; all of them if none is. (N,) -> (M,)."""
    far = distances[distances > 1e-3 * distances.median()]
    return far if len(far) else distances


def coverage(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """Share of the reals with a fake nearer than their k-th nearest real. (N, F), (M, F) -> 0 to 1.

    Reals without one are in a part of the data that the generator misses. For two sets of equal size from one
    distribution the expected value is 1 - 2^-k = 0.97. Source: Naeem et al. 2020, arXiv:2002.09797.
    """
    radius = nearest_other(reals, k or default_k(len(reals)))
    return float((nearest_in(reals, fakes)[0] <= radius).double().mean())


def density(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """Number of reals' k-NN balls that contain a fake, over k. 1 for equal distributions. (N, F), (M, F) -> 0 or more.

    Blurred or low-contrast fakes raise it: they concentrate where the reals are dense. Source: arXiv:2002.09797.
    """
    k = k or default_k(len(reals))
    return float(_balls_around(fakes, reals, k).double().mean()) / k


def precision(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """Share of the fakes inside the k-NN ball of some real. 0 to 1.

    Blurred or low-contrast fakes raise it. Source: Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    return float((_balls_around(fakes, reals, k or default_k(len(reals))) > 0).double().mean())


@remembered
def _balls_around(x: Tensor, reals: Tensor, k: int) -> Tensor:
    """Number of reals whose k-NN ball contains each sample. (N, F), (M, F) -> (N,)."""
    radius = nearest_other(reals, k)
    return torch.cat([(torch.cdist(part, reals) <= radius).sum(1) for part in x.split(ROWS)])


def recall(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """Share of the reals inside the k-NN ball of some fake: `precision` with the sides swapped. 0 to 1."""
    return precision(fakes, reals, k)


def nn_accuracy(reals: Tensor, fakes: Tensor) -> tuple[float, float]:
    """Accuracy of a leave-one-out 1-NN classifier of reals and fakes: (on reals, on fakes).

    0.5 each if the sets are indistinguishable; 1 if they can be separated, or (on fakes) if the fakes repeat; toward 0
    if the fakes are copies of these reals. Equal N. Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545; the
    two accuracies: Xu et al. 2018, arXiv:1806.07755.
    """
    real_side = _win_rate(nearest_other(reals), nearest_in(reals, fakes)[0])
    return float(real_side), float(_win_rate(nearest_other(fakes), nearest_in(fakes, reals)[0]))


def _win_rate(own: Tensor, other: Tensor) -> Tensor:
    """Share of the samples whose own side is nearer; a tie counts as one half."""
    return ((own < other).double() + 0.5 * (own == other).double()).mean()


def unique_fraction(x: Tensor, reals: Tensor, near: float = 0.8) -> float:
    """Fraction of unique samples: each group of near-duplicates counts once. (N, F), (M, F) -> 1/N to 1.

    Two samples are near-duplicates if they are closer than `near` times the 5% quantile of the reals' nearest-neighbor
    distances (exact duplicates excluded). Groups are the connected components of this relation.
    """
    limit = near * float(apart(nearest_other(reals)).quantile(0.05))
    pairs = torch.cat([torch.stack([i + start, j]) for start, i, j in _near_pairs(x, limit)], dim=1)
    return _components(len(x), pairs) / len(x)


def _near_pairs(x: Tensor, limit: float) -> list[tuple[int, Tensor, Tensor]]:
    """Pairs i <= j of samples within the limit, in blocks of rows: (start of the block, i - start, j)."""
    found = []
    for start in range(0, len(x), ROWS):
        near = torch.cdist(x[start : start + ROWS], x[start:]) <= limit
        i, j = torch.where(near.triu())
        found.append((start, i, j + start))
    return found


def _components(count: int, pairs: Tensor) -> int:
    """Number of connected components of a graph, by propagating the smallest label until nothing changes."""
    label = torch.arange(count)
    while True:
        least = label.scatter_reduce(0, pairs[0], label[pairs[1]], "amin")
        least = least.scatter_reduce(0, pairs[1], least[pairs[0]], "amin")
        least = least[least]
        if torch.equal(least, label):
            return len(label.unique())
        label = least
