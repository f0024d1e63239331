"""The sets that inspect_stats compares: fakes, two halves of the reals, the training set, all as a viewer has them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli import checkpoint, latents, signals
from gancli.critic_view import CriticView
from gancli.data import Dataset, fade, scaled, to_unit
from gancli.growth import Phase
from gancli.networks import build
from gancli.networks.base import statistics_kept
from gancli.networks.layers import downscale
from gancli.results import Progress, silent
from gancli.sampling import Generator
from gancli.seeds import permutation
from gancli.stats import memorization
from gancli.stats.comparison import Features, Reference

MAX_HEIGHT = 128  # larger pictures are judged after 2x2 means down to this height
FIRST_SEED = 1_000_000  # of the judged samples: not those that people look at
FEWEST_UNSEEN = 20  # held-out samples below which the training samples are compared with one another instead
MOST_TRAINED = 60_000  # training samples among which copies are looked for
CHUNK = 64


@dataclass(frozen=True)
class Reals:
    """A data set as a generator, or a set of files, would show it."""

    dataset: Dataset
    phase: Phase | None = None  # of the generator that is judged; None: at full size
    center: float = 0.0
    scale: float = 1.0
    trained: bool = True  # is this what the generator was trained on?

    @property
    def kind(self) -> str:
        """image, signal or points."""
        return self.dataset.kind

    def halves(self, count: int) -> tuple[Tensor, Tensor]:
        """Two disjoint sets of reals. (count, C, *S) each."""
        rows = permutation(0, 0, len(self.dataset.values)).numpy()
        return self.shown(rows[:count]), self.shown(rows[count : 2 * count])

    def reference(self, count: int, *, quick: bool, progress: Progress) -> tuple[Reference, NDArray[np.int64] | None]:
        """What fakes are compared with; and where copies are looked for, the rows of the training set."""
        halves = self.halves(count)
        if quick or not self.trained:
            return Reference(*halves, self.kind), None
        rows, train, unseen = self.training_set(progress)
        return Reference(*halves, self.kind, train, unseen), rows

    def shown(self, rows: NDArray[np.int64]) -> Tensor:
        """Samples by their rows, at the phase's size and alpha. (len(rows), C, *S)."""
        return torch.cat([self._part(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)])

    def training_set(self, progress: Progress = silent) -> tuple[NDArray[np.int64], Tensor, Tensor | None]:
        """The rows that were trained on, those samples small, and small held-out ones if there are enough."""
        rows, held = self.dataset.train_rows, np.flatnonzero(self.dataset.held_out)
        if len(rows) > MOST_TRAINED:
            rows = np.sort(rows[permutation(0, 0, len(rows)).numpy()[:MOST_TRAINED]])
        parts = []
        for start in range(0, len(rows), CHUNK):
            signals.poll()
            progress("reading the training set", start, len(rows))
            parts.append(memorization.small(self._part(rows[start : start + CHUNK])))
        unseen = memorization.small(self.shown(held)) if len(held) >= FEWEST_UNSEEN else None
        return rows, torch.cat(parts), unseen

    def _part(self, rows: NDArray[np.int64]) -> Tensor:
        values = np.asarray(self.dataset.values[rows])
        if self.kind != "image":
            return scaled(values, self.center, self.scale)
        phase = self.phase
        if phase is None:
            return prepared(to_unit(values), self.kind)
        x = to_unit(values, self.dataset.values.shape[1] // phase.height)
        return prepared(fade(x, phase.alpha) if phase.fading else x, self.kind)


def of_generator(generator: Generator, dataset: Dataset, *, trained: bool) -> Reals:
    """The reals as they look at the size and alpha of a generator."""
    samples = generator.checkpoint.config.samples
    return Reals(dataset, generator.phase, samples.center, samples.scale, trained)


def prepared(x: Tensor, kind: str) -> Tensor:
    """Pictures as a viewer has them: in whole gray levels, at most MAX_HEIGHT high. Others as they are."""
    if kind != "image":
        return x
    while x.shape[2] > MAX_HEIGHT and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        x = downscale(x)
    return x.add(1).mul(127.5).round().clamp(0, 255).div(127.5).sub(1)


def generated(generator: Generator, others: Tensor, progress: Progress) -> Tensor:
    """Fakes of latents that nobody has looked at, or the other half of the reals made small and enlarged again."""
    if generator.network.enlarges:
        z = downscale(others, generator.network.enlarges)
    else:
        z = latents.from_seeds(range(FIRST_SEED, FIRST_SEED + len(others)), generator.prior)
    return torch.cat([prepared(x, generator.kind) for x in generator.draw(z, progress)])


def critic_features(generator: Generator) -> Features | None:
    """What the run's own critic sees of samples; None where it cannot take them, or is not there."""
    opened, phase = generator.checkpoint, generator.phase
    if generator.network.enlarges or phase.height > MAX_HEIGHT or "D" not in opened.weights:
        return None
    critic = build(opened.config).D
    checkpoint.fill(critic, opened.weights["D"], opened.path)
    view = CriticView(critic.eval(), phase)

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        with statistics_kept(critic):
            return torch.cat([view.features(part) for part in x.split(CHUNK)])

    return features
