"""Has the generator copied its training set? Samples beside the training samples that lie nearest to them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gancli.seeds import permutation
from gancli.stats import neighbors

SIDE, COARSE = 32, 8  # px at which pictures are compared, and at which candidates are looked for
CANDIDATES = 8
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
QUANTILE = 0.05
MOST_UNSEEN = 1_000
FLAT = 8.0  # gray levels
CHUNK = 64


@dataclass(frozen=True)
class Memorization:
    """How near samples lie to a training set, and how near samples lie that were never trained on."""

    distance: Tensor  # (N,) of every fake to its nearest training sample
    row: Tensor  # (N,) which one
    mirrored: Tensor  # (N,) bool: is it the mirror image that is near?
    unseen: Tensor  # (M,) the same distance of samples that were not trained on, twins aside

    @property
    def ratio(self) -> float:
        """Median distance of the fakes over that of unseen reals: about 1; toward 0 where they are copies."""
        return float(self.distance.median() / self.unseen.median().clamp(min=1e-12))

    @property
    def share(self) -> float:
        """The share of the fakes that lie nearer than all but a twentieth of the unseen reals: .05 is honest."""
        return float((self.distance < self.unseen.quantile(QUANTILE)).double().mean())


def compare(fakes: Tensor, train: Tensor, unseen: Tensor | None) -> Memorization:
    """The nearest training sample of every fake, as `small` makes them: (N, C, *s), (M, C, *s).

    Pictures may be mirrored, moved by a pixel, of another brightness, contrast or tint. unseen: reals that were not
    trained on; None: up to 1,000 of the training samples, each among the others.
    """
    coarse = _coarse(train)
    distance, row, mirrored = _nearest(fakes, train, coarse)
    if unseen is not None:
        away = _nearest(unseen, train, coarse)[0]
    else:
        rows = permutation(0, 0, len(train))[:MOST_UNSEEN]
        away = _nearest(train[rows], train, coarse, itself=rows)[0]
    return Memorization(distance, row, mirrored, neighbors.apart(away))


def small(x: Tensor) -> Tensor:
    """Pictures brought to at most 32 px by means of areas, as bytes; signals and points as they are. (N, C, *S)."""
    if x.ndim != 4:
        return x.float()
    if max(x.shape[2:]) > SIDE:
        x = adaptive_avg_pool2d(x.float(), (min(SIDE, x.shape[2]), min(SIDE, x.shape[3])))
    return x.add(1).mul(127.5).round().clamp(0, 255).byte()


def _coarse(x: Tensor) -> Tensor:
    """What candidates are looked for by. (N, F) float32."""
    if x.ndim != 4:
        return x.flatten(1)
    return torch.cat([adaptive_avg_pool2d(plain(part), COARSE).flatten(1) for part in x.split(1_024)])


def plain(x: Tensor) -> Tensor:
    """Pictures without brightness, tint and contrast: every channel of each less its mean, over their common deviation.

    A flat picture stays flat: its grain is not made more of. (..., C, H, W) bytes -> float32.
    """
    x = x.float()
    x = x - x.mean((-2, -1), keepdim=True)
    return x / x.square().mean((-3, -2, -1), keepdim=True).sqrt().clamp(min=FLAT)


def _nearest(x: Tensor, train: Tensor, coarse: Tensor, itself: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Distance, row and mirroredness of the nearest training sample. `itself`: the rows that the samples are."""
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
    """Root mean squared difference of plain pictures, the least of nine moves. (N, C, *s), (N, K, C, *s) -> (N, K)."""
    if x.ndim != 4:
        return (among - x[:, None]).square().flatten(2).mean(2).sqrt()
    x, among = plain(x), plain(among)
    h, w = x.shape[2:]
    middle = among[..., 1 : h - 1, 1 : w - 1]
    moved = [x[:, None, :, 1 + a : h - 1 + a, 1 + b : w - 1 + b] for a, b in SHIFTS]
    return torch.stack([(middle - m).square().flatten(2).mean(2) for m in moved]).min(0).values.sqrt()
