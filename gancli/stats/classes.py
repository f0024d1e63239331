"""Which classes of labeled data the samples lack: a class histogram by nearest neighbors, corrected for its errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gancli.health import ClassShare

K = 5  # neighbors that vote
ROUNDS = 300  # of the expectation maximization
LEAST = 0.25  # a class is missing if the samples have less than this fraction of the reals' share of it,
SURE = 3.0  # and if the neighbors find it so many standard deviations less often than in the reals
RECOGNIZED, MEMBERS = 0.5, 8  # a class is judged if so many of its reals are recognized, and expected, at least
SMOOTHING = 0.3  # reals added to each row of the confusion matrix, spread as the classes are
ROWS = 1_024


@dataclass(frozen=True)
class ClassLabels:
    """Names of the classes, and the class of each real of both halves; -1: unknown."""

    names: tuple[str, ...]
    reals: Tensor  # (N,)
    others: Tensor  # (N,)


@dataclass(frozen=True)
class ClassCoverage:
    """The classes in a set of samples."""

    shares: tuple[ClassShare, ...]  # most frequent class first

    @property
    def judged(self) -> int:
        """Number of classes that can be recognized."""
        return sum(share.judged for share in self.shares)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the classes that the samples lack."""
        return tuple(share.name for share in self.shares if share.missing)

    @property
    def overlap(self) -> float:
        """Overlap of the class histograms of both sides: 1 if they are equal."""
        return sum(min(share.fake, share.real) for share in self.shares)


def coverage(fakes: Tensor, reals: Tensor, labels: Tensor, names: Sequence[str]) -> ClassCoverage | None:
    """The classes of samples, by labeled reals. (M, F), (N, F), (N,); None if fewer than two classes are judged.

    Each sample gets the class of its nearest neighbors. Because these are often wrong, the shares of the classes are
    those under which the counts are most likely, given how often each class of reals is taken for which other (by
    leaving one out): "adjusted count", Forman 2008, by expectation maximization.
    """
    reals, labels = reals[labels >= 0], labels[labels >= 0]
    prior = torch.bincount(labels, minlength=len(names)).double() / max(len(labels), 1)
    if len(labels) <= K or not len(fakes):
        return None
    taken = _confusion(labels, _voted(reals, reals, labels, itself=True), prior)
    counts = torch.bincount(_voted(fakes, reals, labels), minlength=len(names)).double()
    expected = len(fakes) * (prior @ taken)
    judged = (taken.diagonal() >= RECOGNIZED) & (expected >= MEMBERS)
    found = _shares(counts / counts.sum(), taken)
    missing = judged & (found < LEAST * prior) & (expected - counts > SURE * expected.clamp(min=1).sqrt())
    order = [i for i in prior.argsort(descending=True, stable=True).tolist() if prior[i] > 0]
    shares = tuple(
        ClassShare(names[i], round(float(prior[i]), 4), round(float(found[i]), 4), bool(judged[i]), bool(missing[i]))
        for i in order
    )
    return ClassCoverage(shares) if int(judged.sum()) >= 2 else None


def _voted(x: Tensor, reals: Tensor, labels: Tensor, *, itself: bool = False) -> Tensor:
    """The most frequent class among the K nearest reals; the nearest of these decides a tie. (M, F) -> (M,)."""
    weights = 1 + torch.arange(K, 0, -1) / (K * K)  # together they add less than one vote
    found = []
    for start in range(0, len(x), ROWS):
        distance = torch.cdist(x[start : start + ROWS], reals)
        if itself:
            rows = torch.arange(len(distance))
            distance[rows, start + rows] = torch.inf
        near = labels[distance.topk(K, dim=1, largest=False).indices]
        votes = torch.zeros(len(near), int(labels.max()) + 1).scatter_add_(1, near, weights.expand(len(near), K))
        found.append(votes.argmax(1))
    return torch.cat(found)


def _confusion(labels: Tensor, voted: Tensor, prior: Tensor) -> Tensor:
    """Row c: how often reals of class c are taken for each class. (C, C), rows sum to 1."""
    count = len(prior)
    pairs = torch.bincount(labels * count + voted, minlength=count * count).view(count, count).double()
    pairs = pairs + SMOOTHING * prior
    return pairs / pairs.sum(1, keepdim=True)


def _shares(observed: Tensor, taken: Tensor) -> Tensor:
    """The most likely class shares for a histogram of votes. (C,), (C, C) -> (C,)."""
    shares = torch.full_like(observed, 1 / len(observed))
    for _ in range(ROUNDS):
        joint = shares[:, None] * taken
        shares = (joint / joint.sum(0).clamp(min=1e-300) * observed).sum(1)
    return shares
