"""Fit the weights of the verdict, and test them on the sources that were left out. For verdicts.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gancli.health import Figure, with_fixed
from gancli.stats.figures import FIGURES
from gancli.stats.signs import KEYS, Panel
from gancli.stats.verdict import AGAINST, FOR, Model, strengths

Row = Mapping[str, Any]
WORDS = ("healthy", *FOR)
PENALTY = 1e-4  # of the squared weights
HEALTHY = 3.0  # an accused healthy set counts as much as so many other errors
STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # probabilities at which the reliability may change
IN_A_STEP = 30  # verdicts, at least


@dataclass(frozen=True)
class Sets:
    """Labeled sets as tensors."""

    rows: Sequence[Row]
    signs: Tensor  # (N, S) strengths
    words: Tensor  # (N,) index in WORDS; -1: not scored
    sources: np.ndarray  # (N,)

    @property
    def networks(self) -> np.ndarray:
        """(N,) Which sets are samples of a trained network. Their labels are opinions: nothing is fitted to them."""
        return np.array([row["case"].startswith("run ") for row in self.rows])

    def part(self, chosen: np.ndarray) -> "Sets":
        """Some of the sets."""
        rows = [row for row, one in zip(self.rows, chosen, strict=True) if one]
        mask = torch.from_numpy(chosen)
        return Sets(rows, self.signs[mask], self.words[mask], self.sources[chosen])


def figures_of(row: Row, *, trained: bool) -> list[Figure]:
    """The panel of a set: with trained features, these replace the fixed ones where there are any, but for some."""
    fixed, other = ([Figure(k, k, *rest, part=part) for k, part, *rest in row[kind]] for kind in ("fixed", "trained"))
    replaced = {figure.key for figure in other}
    if not trained:
        return fixed
    both = [replace(figure, key=with_fixed(figure.key)) for figure in fixed if with_fixed(figure.key) in FIGURES]
    return [figure for figure in fixed if figure.key not in replaced] + other + both


def sets_of(rows: Sequence[Row], *, trained: bool) -> Sets:
    """All sets; with trained features, those of images."""
    rows = [row for row in rows if row["trained"] or not trained]
    found = [strengths(Panel(figures_of(row, trained=trained))) for row in rows]
    signs = torch.tensor([[strength[key] for key in KEYS] for strength in found], dtype=torch.float64)
    words = torch.tensor([WORDS.index(row["word"]) if row["word"] else -1 for row in rows])
    return Sets(rows, signs, words, np.array([row["source"] for row in rows]))


def fitted(sets: Sets) -> Model:
    """The weights under which the labels are most likely: for signs at least 0, against signs at most 0.

    Of sets that were made from real data; the trained networks are a test.
    """
    sets = sets.part((sets.words.numpy() >= 0) & ~sets.networks)
    shape = (len(WORDS) - 1, len(KEYS))
    up, down = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
    for place, word in enumerate(FOR):
        up[place, [KEYS.index(key) for key in FOR[word].split()]] = 1
        down[place, [KEYS.index(key) for key in AGAINST[word].split()]] = 1
    a, b = (torch.full(shape, start, dtype=torch.float64, requires_grad=True) for start in (0.7, 0.5))
    bias = torch.zeros(len(FOR), dtype=torch.float64, requires_grad=True)
    importance = torch.where(sets.words == 0, HEALTHY, 1.0).double()
    optimizer = torch.optim.LBFGS([a, b, bias], max_iter=1_000, line_search_fn="strong_wolfe")

    def weights() -> Tensor:
        return up * a.square() - down * b.square()

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = torch.cat([torch.zeros(len(sets.words), 1), sets.signs @ weights().T + bias], dim=1)
        wrong = (cross_entropy(scores, sets.words, reduction="none") * importance).sum() / importance.sum()
        total = wrong + PENALTY * weights().square().sum() / len(WORDS)
        total.backward()
        return total

    optimizer.step(loss)
    found = weights().detach().round(decimals=2)
    kept = {word: {key: float(w) for key, w in zip(KEYS, found[i], strict=True) if w} for i, word in enumerate(FOR)}
    return Model({word: round(float(bias[i].detach()), 2) for i, word in enumerate(FOR)}, kept, [])


def chances_of(model: Model, sets: Sets) -> np.ndarray:
    """(N, words) probabilities."""
    named = [dict(zip(KEYS, row, strict=True)) for row in sets.signs.tolist()]
    return np.array([[found[word] for word in WORDS] for found in map(model.probabilities, named)])


def left_out(sets: Sets) -> np.ndarray:
    """(N, words) probabilities of each set by the model that was fitted to the other sources."""
    found = np.zeros((len(sets.rows), len(WORDS)))
    for source in np.unique(sets.sources):
        own = sets.sources == source
        found[own] = chances_of(fitted(sets.part(~own)), sets.part(own))
    return found


def reliability(sure: np.ndarray, right: np.ndarray) -> list[tuple[float, float]]:
    """(probability from which, share that was right): steps with enough verdicts each, made to ascend."""
    steps: list[list[float]] = []  # first probability, verdicts, right ones
    for low, high in zip(STEPS, (*STEPS[1:], 1.1), strict=True):
        inside = (sure >= low) & (sure < high)
        if steps and steps[-1][1] < IN_A_STEP:
            steps[-1][1] += inside.sum()
            steps[-1][2] += right[inside].sum()
        else:
            steps.append([low, inside.sum(), right[inside].sum()])
    while True:  # pool neighbors that descend
        falls = [i for i in range(1, len(steps)) if steps[i][2] * steps[i - 1][1] < steps[i - 1][2] * steps[i][1]]
        if not falls:
            return [(low, round(float(good / max(count, 1)), 4)) for low, count, good in steps]
        _, count, good = steps.pop(falls[0])
        steps[falls[0] - 1][1] += count
        steps[falls[0] - 1][2] += good


def wilson(right: int, count: int) -> tuple[float, float]:
    """95% interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(float(middle - reach), 0.0), min(float(middle + reach), 1.0)
