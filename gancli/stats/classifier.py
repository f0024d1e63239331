"""A classifier two-sample test: how well a classifier tells fakes from reals, and which samples it finds.

Where a generator leaves out a part of the data, the reals there look like no fake; where it makes something else, the
fakes there look like no real. A classifier that is trained on one part of the samples and tested on the others sees
both, in all features together, which nearest neighbors do not if there are few samples.

Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545, with a kernel ridge classifier.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gancli.stats.remembered import remembered

FOLDS = 5
RIDGE = 1.0  # regularization: much, so that few samples of many features are not overfitted
MOST = 1_000  # fakes, at most, and twice as many reals: the cost grows with the third power
EXTREME = 0.1  # share of the other side with scores at least as extreme that a sample out of place has, at most


@dataclass(frozen=True)
class Scores:
    """Scores of samples by a classifier that was not trained on them: high for reals, low for fakes."""

    reals: Tensor  # (N,)
    fakes: Tensor  # (M,)

    @cached_property
    def auc(self) -> float:
        """Probability that a real has a higher score than a fake. 0.5: indistinguishable, 1: all are told apart."""
        both = torch.cat([self.reals, self.fakes])
        values, rank = both.unique(return_inverse=True)
        count = torch.bincount(rank, minlength=len(values)).double()
        middle = count.cumsum(0) - (count - 1) / 2  # mean rank of equal scores, from 1
        n, m = len(self.reals), len(self.fakes)
        return float((middle[rank[:n]].sum() - n * (n + 1) / 2) / (n * m))

    @cached_property
    def missing(self) -> Tensor:
        """Which reals have a higher score than nine in ten fakes: the samples lack what they show. (N,) bool."""
        return self.reals > self.fakes.quantile(1 - EXTREME)

    @cached_property
    def foreign(self) -> Tensor:
        """Which fakes have a lower score than nine in ten reals: the data lacks what they show. (M,) bool."""
        return self.fakes < self.reals.quantile(EXTREME)


@remembered
def scores(reals: Tensor, fakes: Tensor) -> Scores:
    """Cross-validated scores of all samples, up to MOST fakes and twice as many reals. (N, F), (M, F), standardized.

    A Gaussian kernel whose width is the median distance; both sides weigh the same. Deterministic; neither the order of
    the samples that are used nor the batch size matters.
    """
    reals, fakes = reals[: 2 * MOST], fakes[:MOST]
    x = torch.cat([reals, fakes]).double()
    kernel = torch.cdist(x, x).square_()
    kernel = kernel.div_(-kernel.median().clamp(min=1e-12)).exp_()
    side = torch.ones(len(x), dtype=x.dtype)
    side[len(reals) :] = -1
    weight = torch.where(side > 0, len(x) / (2 * len(reals)), len(x) / (2 * len(fakes)))
    folds = torch.cat([_folds(reals), _folds(fakes)])
    kernel.diagonal().add_(RIDGE / weight)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
    dual, found = inverse @ side, side.clone()
    for fold in range(FOLDS):  # the error of the fit to the other folds, without fitting it: see the test
        test = folds == fold
        found[test] -= torch.linalg.solve(inverse[test][:, test], dual[test])
    return Scores(found[: len(reals)], found[len(reals) :])


def _folds(x: Tensor) -> Tensor:
    """A fold for each sample, by the rank of its values in a fixed direction, so that the order does not matter."""
    direction = torch.linspace(-1, 1, x.shape[1], dtype=torch.float64).cos()
    rank = (x.double() @ direction).argsort(stable=True).argsort(stable=True)
    return rank % FOLDS
