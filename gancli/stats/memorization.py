"""Detect copies of the training set: the distance of each sample to its nearest training sample."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gancli.seeds import permutation
from gancli.stats import neighbors
from gancli.stats.remembered import remembered

SIDE, COARSE = 32, 8  # px; images are compared at SIDE, and candidates are searched for at COARSE
CANDIDATES = 8  # training samples per fake that are compared at full precision
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
QUANTILE = 0.05  # of the distances of unseen reals, below which a fake counts as near
MOST_UNSEEN = 1_000  # training samples used in place of unseen reals, at most
FLAT = 8.0  # gray levels; images of lower contrast are not amplified
CHUNK = 64


@dataclass(frozen=True)
class Memorization:
    """Distances of fakes to the training set, and distances of unseen reals for comparison."""

    distance: Tensor  # (N,) from each fake to its nearest training sample
    row: Tensor  # (N,) index of that training sample
    mirrored: Tensor  # (N,) bool: whether the mirror image of the fake is nearest
    unseen: Tensor  # (M,) the same distance for samples that were not trained on, without duplicates

    @property
    def ratio(self) -> float:
        """Median distance of the fakes over that of unseen reals. About 1 without memorization, toward 0 for copies."""
        return float(self.distance.median() / self.unseen.median().clamp(min=1e-12))

    @property
    def share(self) -> float:
        """Share of the fakes nearer than 95% of the unseen reals. 0.05 is expected without memorization."""
        return float((self.distance < self.unseen.quantile(QUANTILE)).double().mean())


def compare(fakes: Tensor, train: Tensor, unseen: Tensor | None) -> Memorization:
    """Find the nearest training sample of each fake, both as returned by `small`: (N, C, *s), (M, C, *s).

    For images the comparison ignores mirroring, shifts by one pixel, brightness, contrast and tint. unseen: reals that
    were not trained on; None: up to 1,000 training samples, each compared with the others.
    """
    distance, row, mirrored = _nearest(fakes, train, _coarse(train))
    away = _away(train) if unseen is None else _away(train, unseen)
    return Memorization(distance, row, mirrored, neighbors.apart(away))


@remembered
def _away(train: Tensor, unseen: Tensor | None = None) -> Tensor:
    """Distances of unseen reals, or of training samples to the others. (M,)."""
    if unseen is not None:
        return _nearest(unseen, train, _coarse(train))[0]
    rows = permutation(0, 0, len(train))[:MOST_UNSEEN]
    return _nearest(train[rows], train, _coarse(train), itself=rows)[0]


def small(x: Tensor) -> Tensor:
    """Images downscaled by area averaging to at most 32 px, as bytes; other kinds unchanged. (N, C, *S)."""
    if x.ndim != 4:
        return x.float()
    if max(x.shape[2:]) > SIDE:
        x = adaptive_avg_pool2d(x.float(), (min(SIDE, x.shape[2]), min(SIDE, x.shape[3])))
    return x.add(1).mul(127.5).round().clamp(0, 255).byte()


@remembered
def _coarse(x: Tensor) -> Tensor:
    """Low-resolution features for the candidate search. (N, F) float32."""
    if x.ndim != 4:
        return x.flatten(1)
    return torch.cat([adaptive_avg_pool2d(normalized(part), COARSE).flatten(1) for part in x.split(1_024)])


def normalized(x: Tensor) -> Tensor:
    """Images with zero mean per channel, divided by the standard deviation over all channels.

    The divisor is at least FLAT, so that noise in flat images is not amplified. (..., C, H, W) bytes -> float32.
    """
    x = x.float()
    x = x - x.mean((-2, -1), keepdim=True)
    return x / x.square().mean((-3, -2, -1), keepdim=True).sqrt().clamp(min=FLAT)


def _nearest(x: Tensor, train: Tensor, coarse: Tensor, itself: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Distance, row and mirror flag of the nearest training sample. itself: rows of the samples, to be excluded."""
    parts = []
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        own = None if itself is None else itself[start : start + CHUNK]
        parts.append(_nearest_of(part, train, coarse, own))
    distance, row, mirrored = (torch.cat(column) for column in zip(*parts, strict=True))
    return distance, row, mirrored


def _nearest_of(x: Tensor, train: Tensor, coarse: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    sides = [x] if x.ndim != 4 else [x, x.flip(3)]
    found = [_one_way(side, train, coarse, own) for side in sides]
    distances = torch.stack([distance for distance, _ in found])
    nearest = distances.argmin(0)
    rows = torch.stack([row for _, row in found]).gather(0, nearest[None])[0]
    return distances.min(0).values, rows, nearest == 1


def _one_way(x: Tensor, train: Tensor, coarse: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
    apart = torch.cdist(_coarse(x), coarse)
    if own is not None:
        apart[torch.arange(len(x)), own] = torch.inf
    near = apart.topk(min(CANDIDATES, len(train) - (own is not None)), dim=1, largest=False).indices  # (N, K)
    exact = _aligned(x, train[near])
    best = exact.argmin(1, keepdim=True)
    return exact.gather(1, best)[:, 0], near.gather(1, best)[:, 0]


def _aligned(x: Tensor, among: Tensor) -> Tensor:
    """RMS difference of normalized images, minimum over nine shifts. (N, C, *s), (N, K, C, *s) -> (N, K)."""
    if x.ndim != 4:
        return (among - x[:, None]).square().flatten(2).mean(2).sqrt()
    x, among = normalized(x), normalized(among)
    h, w = x.shape[2:]
    middle = among[..., 1 : h - 1, 1 : w - 1]
    moved = [x[:, None, :, 1 + a : h - 1 + a, 1 + b : w - 1 + b] for a, b in SHIFTS]
    return torch.stack([(middle - m).square().flatten(2).mean(2) for m in moved]).min(0).values.sqrt()
