"""Statistics of nearest neighbors between sets of features. Pure functions; Euclidean distances in float64."""

import torch
from torch import Tensor

K, SHARE = 5, 0.01  # neighbors: at least so many, or this share of the set, so that balls keep their size as N grows
ROWS = 1_024  # of a matrix of distances at once, so that a long training set fits into memory


def nearest_other(x: Tensor, k: int = 1) -> Tensor:
    """The distance of every sample to its k-th nearest other one. (N, F) -> (N,)."""
    k = min(k, len(x) - 1)
    return torch.cat([torch.cdist(part, x).kthvalue(k + 1, dim=1).values for part in x.split(ROWS)])


def usual(count: int) -> int:
    """k for a set of so many: 5 as in the sources, or one in a hundred of a larger set."""
    return max(K, round(SHARE * count))


def nearest_in(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """How far every sample is from the nearest of another set, and its row there. (N, F), (M, F) -> (N,) twice."""
    found = [torch.cdist(part, among).min(dim=1) for part in x.split(ROWS)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def apart(distances: Tensor) -> Tensor:
    """Those that are no twins': above a thousandth of the median; all, where there are none. (N,) -> (M,)."""
    far = distances[distances > 1e-3 * distances.median()]
    return far if len(far) else distances


def coverage(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """The share of the reals with a fake nearer than their own k-th real neighbor. (N, F), (M, F) -> 0 to 1.

    A real that nothing resembles lies in a part of the data that the generator leaves out. Between two equal sets
    of one distribution it is expected to be 1 - 2^-k = .97. Source: Naeem et al. 2020, arXiv:2002.09797.
    """
    radius = nearest_other(reals, k or usual(len(reals)))
    return float((nearest_in(reals, fakes)[0] <= radius).double().mean())


def density(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """How many reals' balls a fake lies in, over k: 1 for equal distributions. (N, F), (M, F) -> 0 and more.

    It rises where fakes are blurred or pale: they crowd where the reals are thick. Source: arXiv:2002.09797.
    """
    k = k or usual(len(reals))
    radius = nearest_other(reals, k)
    inside = [(torch.cdist(part, reals) <= radius).double().sum(1) for part in fakes.split(ROWS)]
    return float(torch.cat(inside).mean()) / k


def precision(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """The share of the fakes inside the ball of some real, whose radius is its k-th neighbor's distance. 0 to 1.

    It rises where fakes are blurred or pale. Source: Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    radius = nearest_other(reals, k or usual(len(reals)))
    inside = [(torch.cdist(part, reals) <= radius).any(1) for part in fakes.split(ROWS)]
    return float(torch.cat(inside).double().mean())


def recall(reals: Tensor, fakes: Tensor, k: int | None = None) -> float:
    """The share of the reals inside the ball of some fake: `precision` with the sides swapped. 0 to 1."""
    return precision(fakes, reals, k)


def two_sample(reals: Tensor, fakes: Tensor) -> tuple[float, float]:
    """How often the nearest other sample of both sets together is of one's own side: (of reals, of fakes).

    One half each where the two cannot be told apart; 1 where they can, or the fakes are few and repeated; toward 0
    where the fakes are copies of these reals. Equal N. Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545; its
    two sides: Xu et al. 2018, arXiv:1806.07755.
    """
    real_side = _won(nearest_other(reals), nearest_in(reals, fakes)[0])
    return float(real_side), float(_won(nearest_other(fakes), nearest_in(fakes, reals)[0]))


def _won(own: Tensor, other: Tensor) -> Tensor:
    """A tie counts for one half."""
    return ((own < other).double() + 0.5 * (own == other).double()).mean()


def distinct_share(x: Tensor, reals: Tensor, near: float = 0.5) -> float:
    """How many of the samples are left where each cluster of near-copies counts as one. (N, F), (M, F) -> 1/N to 1.

    Two samples are near-copies where they lie closer than `near` times the distance at which the closest twentieth
    of the reals has its nearest other real, twins aside. Chains count as one cluster (connected components).
    """
    limit = near * float(apart(nearest_other(reals)).quantile(0.05))
    pairs = torch.cat([torch.stack([i + start, j]) for start, i, j in _close(x, limit)], dim=1)
    return _components(len(x), pairs) / len(x)


def _close(x: Tensor, limit: float) -> list[tuple[int, Tensor, Tensor]]:
    """Where a later sample lies within the limit of an earlier one: (start of the rows, i - start, j)."""
    found = []
    for start in range(0, len(x), ROWS):
        near = torch.cdist(x[start : start + ROWS], x[start:]) <= limit
        i, j = torch.where(near.triu())
        found.append((start, i, j + start))
    return found


def _components(count: int, pairs: Tensor) -> int:
    """Connected components of a graph by its edges: every node takes the least label around it until none changes."""
    label = torch.arange(count)
    while True:
        least = label.scatter_reduce(0, pairs[0], label[pairs[1]], "amin")
        least = least.scatter_reduce(0, pairs[1], least[pairs[0]], "amin")
        least = least[least]
        if torch.equal(least, label):
            return len(label.unique())
        label = least
