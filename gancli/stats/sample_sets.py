"""The sample sets that inspect_stats compares: fakes, two halves of the reals, and the training set."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli import checkpoint, latents, signals
from gancli.critic_view import CriticView
from gancli.data import Dataset, fade, scaled, to_unit
from gancli.data.labels import Labels
from gancli.growth import Phase
from gancli.networks import build
from gancli.networks.base import statistics_kept
from gancli.networks.feature_extractors import FeatureExtractor, pretrained_file
from gancli.networks.layers import downscale
from gancli.results import Progress, silent
from gancli.sampling import Generator
from gancli.seeds import permutation
from gancli.stats import memorization
from gancli.stats.classes import ClassLabels
from gancli.stats.comparison import Features, Reference
from gancli.stats.remembered import remembered

MAX_HEIGHT = 128  # px; larger images are downscaled by 2x2 means to at most this height
FIRST_SEED = 1_000_000  # first seed of the evaluated samples, far from the seeds that users sample by hand
FEWEST_UNSEEN = 20  # with fewer held-out samples, training samples are compared with one another instead
MOST_TRAINED = 60_000  # at most so many training samples are searched for copies
CHUNK = 32  # samples at once


@dataclass(frozen=True)
class Reals:
    """A data set at the size, scale and fade of the samples that it is compared with."""

    dataset: Dataset
    phase: Phase | None = None  # growth phase of the evaluated generator; None: full size
    center: float = 0.0
    scale: float = 1.0
    trained: bool = True  # whether the generator was trained on this data set
    labels: Labels | None = None  # classes of the samples of the data set
    extractor: FeatureExtractor | None = None  # trained features

    @property
    def kind(self) -> str:
        """image, signal or points."""
        return self.dataset.kind

    def halves(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers of two disjoint sets of reals. (count,) each."""
        rows = permutation(0, 0, len(self.dataset.values)).numpy()
        return rows[:count], rows[count : 2 * count]

    def both(self, count: int) -> list[int]:
        """Row numbers of the reals of both halves."""
        return [int(row) for half in self.halves(count) for row in half]

    def reference(self, count: int, *, quick: bool, progress: Progress) -> tuple[Reference, NDArray[np.int64] | None]:
        """The reference for fakes, and the rows of the training set if copies are searched for."""
        halves, found = self.halves(count), self.labels
        labels = ClassLabels(found.names, *(torch.from_numpy(found.rows[half]) for half in halves)) if found else None
        reals, others = (self.shown(half) for half in halves)
        if quick or not self.trained:
            return Reference(reals, others, self.kind, labels=labels, extractor=self.extractor), None
        rows, train, unseen = self.training_set(progress)
        return Reference(reals, others, self.kind, train, unseen, labels, self.extractor), rows

    def shown(self, rows: NDArray[np.int64]) -> Tensor:
        """Samples by row number, at the size and alpha of the phase. (len(rows), C, *S)."""
        return torch.cat([self._part(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)])

    def training_set(self, progress: Progress = silent) -> tuple[NDArray[np.int64], Tensor, Tensor | None]:
        """Training row numbers, the downscaled training samples, and downscaled held-out ones if there are enough."""
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


def of_generator(
    generator: Generator,
    dataset: Dataset,
    *,
    trained: bool,
    labels: Labels | None = None,
    extractor: FeatureExtractor | None = None,
) -> Reals:
    """The reals at the size and alpha of a generator."""
    samples = generator.checkpoint.config.samples
    return Reals(dataset, generator.phase, samples.center, samples.scale, trained, labels, extractor)


def prepared(x: Tensor, kind: str) -> Tensor:
    """Images rounded to whole gray levels and downscaled to at most MAX_HEIGHT. Other kinds are unchanged."""
    if kind != "image":
        return x
    while x.shape[2] > MAX_HEIGHT and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        x = downscale(x)
    return x.add(1).mul(127.5).round().clamp(0, 255).div(127.5).sub(1)


def generated(generator: Generator, others: Tensor, progress: Progress) -> Tensor:
    """Fakes from seeds FIRST_SEED on; for super-resolution, the other half of the reals downscaled and enlarged."""
    if generator.network.enlarges:
        z = downscale(others, generator.network.enlarges)
    else:
        z = latents.from_seeds(range(FIRST_SEED, FIRST_SEED + len(others)), generator.prior)
    return torch.cat([prepared(x, generator.kind) for x in generator.draw(z, progress)])


def critic_features(generator: Generator) -> Features | None:
    """A function that returns critic features of samples; None if there is no critic or it cannot process them.

    Features of the same tensor are computed once.
    """
    opened, phase = generator.checkpoint, generator.phase
    if generator.network.enlarges or phase.height > MAX_HEIGHT or "D" not in opened.weights:
        return None
    if opened.config.network.uses_pretrained and pretrained_file() is None:
        return None
    critic = build(opened.config).D
    checkpoint.fill(critic, opened.weights["D"], opened.path)
    view = CriticView(critic.eval(), phase)

    @remembered
    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        with statistics_kept(critic):
            return torch.cat([view.features(part) for part in x.split(CHUNK)])

    return features
