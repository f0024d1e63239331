"""The inputs of all figures: fakes, two halves of the reals, and the training set. Derived values are cached."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from gancli.networks.feature_extractors import FeatureExtractor
from gancli.stats import (
    classes,
    classifier,
    clusters,
    feature_cache,
    fixed_features,
    memorization,
    moments,
    neighbors,
    spectrum,
)
from gancli.stats.classes import ClassCoverage, ClassLabels
from gancli.stats.classifier import Scores
from gancli.stats.histograms import Levels, levels
from gancli.stats.likeness import Scale
from gancli.stats.memorization import Memorization
from gancli.stats.modes import ModeCoverage

COLORS = {1: ("gray",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}

Sides = tuple[Tensor, Tensor, Tensor]  # fakes, reals, other reals (the second half)
Features = Callable[[Tensor], Tensor]  # (N, C, *S) -> (N, ...)
Count = Callable[[Tensor], ModeCoverage | None]  # counts the known modes in samples


def unknown(x: Tensor) -> ModeCoverage | None:
    """The mode counter of a data set whose modes are not known."""
    return None


@dataclass(frozen=True)
class Reference:
    """Two disjoint halves of the reals, (N, C, *S) each, in [-1, 1] and quantized as in files; and the training set."""

    reals: Tensor
    others: Tensor
    kind: str = "image"
    train: Tensor | None = None  # the training set as returned by memorization.small, (M, C, *s)
    unseen: Tensor | None = None  # held-out reals in the same form; None if there are none
    labels: ClassLabels | None = None  # of both halves
    extractor: FeatureExtractor | None = None  # trained features of images; None: the fixed ones

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels: colors, channels of a signal, axes of points."""
        word = {"signal": "channel", "points": "axis"}.get(self.kind)
        count = self.reals.shape[1]
        return COLORS[count] if word is None else tuple(f"{word} {i + 1}" for i in range(count))

    @cached_property
    def scale(self) -> Scale:
        """Distances of the data from itself at lower resolutions, by the features of the content; see `likeness`."""
        return Scale(self.others, self.space.reals, self.space.of)

    @cached_property
    def space(self) -> "FeatureSpace":
        """The features that stand for the content of samples: trained ones if there are any, else the fixed ones."""
        if self.extractor is None or self.kind != "image":
            return self.fixed_space
        return FeatureSpace(kept(self.extractor), self.reals, self.others)

    @cached_property
    def fixed_space(self) -> "FeatureSpace":
        """Fixed features, which need no trained network."""
        extract: Features = partial(fixed_features.of_samples, kind=self.kind)
        if self.kind == "image":
            extract = partial(feature_cache.features, extract=extract, name="fixed")
        return FeatureSpace(extract, self.reals, self.others)

    @cached_property
    def matched_space(self) -> "FeatureSpace":
        """Features for samples whose colors are matched: fixed ones for images, the values themselves otherwise."""
        if self.kind != "signal":
            return self.fixed_space
        return FeatureSpace(lambda x: x.double().flatten(1), self.reals, self.others)

    @cached_property
    def others_matched(self) -> Tensor:
        """Features of the others after matching their colors and contrast to the reals, as for the fakes."""
        return self.matched_space.of(matched(self.others, self.reals))


class FeatureSpace:
    """One kind of features of two halves of the reals and of other samples, standardized by the first half."""

    def __init__(self, extract: Features, reals: Tensor, others: Tensor) -> None:
        self._extract, self._raw = extract, extract(reals)
        self.reals, self.others = fixed_features.standardized(self._raw, self._raw), self.of(others)

    def of(self, x: Tensor) -> Tensor:
        """Standardized features of samples. (N, C, *S) -> (N, F), float64."""
        return fixed_features.standardized(self._extract(x), self._raw)

    @cached_property
    def clusters(self) -> Tensor:
        """Centers of the clusters of the reals. (K, F)."""
        return clusters.centers(self.reals)


@dataclass(frozen=True)
class Comparison:
    """Fakes, (N, C, *S), and a reference of equal N. Every figure is computed from it."""

    fakes: Tensor
    reference: Reference
    critic: Features | None = None  # features of the run's critic, if it has one
    network: FeatureExtractor | None = None  # the user's feature network
    count_modes: Count = unknown

    @property
    def each(self) -> Sides:
        """Fakes, reals, others."""
        return self.fakes, self.reference.reals, self.reference.others

    @property
    def kind(self) -> str:
        """image, signal or points."""
        return self.reference.kind

    @property
    def trained(self) -> bool:
        """Whether content is compared by trained features."""
        return self.reference.extractor is not None and self.kind == "image"

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.reference.names

    @cached_property
    def features(self) -> Sides:
        """Features of fakes, reals and others: trained ones if there are any. (N, F) each, float64."""
        space = self.reference.space
        return space.of(self.fakes), space.reals, space.others

    @cached_property
    def fixed(self) -> Sides:
        """Fixed features of fakes, reals and others. (N, F) each, float64."""
        space = self.reference.fixed_space
        return self.features if space is self.reference.space else (space.of(self.fakes), space.reals, space.others)

    @cached_property
    def matched(self) -> Sides:
        """Features without training, after matching the mean and standard deviation of each channel to the reals.

        They do not depend on differences of color and contrast.
        """
        if self.kind == "points":  # matching would remove all information
            return self.fixed
        space = self.reference.matched_space
        return space.of(matched(self.fakes, self.reference.reals)), space.reals, self.reference.others_matched

    @cached_property
    def classified(self) -> tuple[Scores, Scores]:
        """Scores of a classifier of reals (both halves) and fakes, and of one of the two halves of the reals."""
        f, r, o = self.features
        return classifier.scores(torch.cat([r, o]), f), classifier.scores(r, o)

    @cached_property
    def classes(self) -> tuple[ClassCoverage, ClassCoverage] | None:
        """The classes in the fakes, and in the others by the labels of the first half; None without labels."""
        labels, (f, r, o) = self.reference.labels, self.features
        if labels is None:
            return None
        fakes = classes.coverage(f, torch.cat([r, o]), torch.cat([labels.reals, labels.others]), labels.names)
        others = classes.coverage(o, r, labels.reals, labels.names)
        return None if fakes is None or others is None else (fakes, others)

    @cached_property
    def critic_features(self) -> Sides | None:
        """Features of the run's critic, for each side."""
        return None if self.critic is None else _of_each(self.critic, self.each)

    @cached_property
    def network_features(self) -> Sides | None:
        """Features of the user's network; images only. (N, F) each."""
        if self.network is None or self.kind != "image":
            return None
        return _of_each(kept(self.network), self.each)

    @cached_property
    def nn_accuracy(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """1-NN accuracies (on reals, on fakes), and the same with the others in place of the fakes."""
        f, r, o = self.features
        return neighbors.nn_accuracy(r, f), neighbors.nn_accuracy(r, o)

    @cached_property
    def memorization(self) -> Memorization | None:
        """Distances of the fakes to the training set; None if it is not available or contains only duplicates."""
        reference = self.reference
        if reference.train is None or len(reference.train) < 2:
            return None
        found = memorization.compare(memorization.small(self.fakes), reference.train, reference.unseen)
        return found if found.unseen.median() > 0 else None

    @cached_property
    def spectra(self) -> tuple[Tensor, Sides]:
        """Frequencies, and the spectra of fakes, reals and others in powers of ten. (bins,) each."""
        found = [spectrum.power_spectrum(x) for x in self.each]
        fakes, reals, others = (spectrum.log_power(power, like=found[1][1]) for _, power in found)
        return found[0][0], (fakes, reals, others)

    @cached_property
    def levels(self) -> tuple[Levels, Levels, Levels]:
        """Histogram of each channel over 256 levels, for each side."""
        fakes, reals, others = (levels(x) for x in self.each)
        return fakes, reals, others

    @cached_property
    def channel_moments(self) -> list[list[tuple[float, float]]]:
        """(mean, variance) of each channel, for each side."""
        return [moments.channel_moments(x) for x in self.each]

    @cached_property
    def moment_distances(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Mean difference to the reals of per-value (means, variances): for the fakes, for the others."""
        fakes, reals, others = self.each
        return moments.moment_distance(fakes, reals), moments.moment_distance(others, reals)

    @cached_property
    def modes(self) -> tuple[ModeCoverage, ModeCoverage] | None:
        """Mode counts of fakes and others, if the modes are known."""
        fakes, others = self.count_modes(self.fakes), self.count_modes(self.reference.others)
        return None if fakes is None or others is None else (fakes, others)


def kept(network: FeatureExtractor) -> Features:
    """The features of a network, which are kept in the data cache."""
    name = f"{network.name} {network.digest} {network.device}"
    return partial(feature_cache.features, extract=network, name=name)


def _of_each(features: Features, sides: Sides) -> Sides:
    fakes, reals, others = (features(x) for x in sides)
    return fakes, reals, others


@torch.no_grad()
def matched(x: Tensor, reals: Tensor) -> Tensor:
    """Match each channel's mean and standard deviation, over samples and positions, to the reals. (N, C, *S)."""
    axes = (0, *range(2, x.ndim))
    mean, std = x.mean(axes, keepdim=True), x.std(axes, keepdim=True, correction=0)
    mean_r, std_r = reals.mean(axes, keepdim=True), reals.std(axes, keepdim=True, correction=0)
    return (x - mean) * (std_r / std.clamp(min=1e-6)) + mean_r
