"""What is compared: samples, two halves of the reals, the training set, and what else is known. Each thing once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gancli.networks.feature_extractors import FeatureExtractor
from gancli.stats import clusters, memorization, moments, neighbors, random_features, spectrum
from gancli.stats.histograms import Levels, levels
from gancli.stats.memorization import Memorization
from gancli.stats.modes import ModeCoverage

COLORS = {1: ("gray",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}

Sides = tuple[Tensor, Tensor, Tensor]  # of fakes, reals, others
Features = Callable[[Tensor], Tensor]  # (N, C, *S) -> (N, ...)
Count = Callable[[Tensor], ModeCoverage | None]  # how samples spread over known modes


def unknown(x: Tensor) -> ModeCoverage | None:
    """The count of modes of a data set whose modes nobody knows."""
    return None


@dataclass(frozen=True)
class Reference:
    """Two disjoint halves of the reals, (N, C, *S) each, in [-1, 1] as a viewer has them; and the training set."""

    reals: Tensor
    others: Tensor
    kind: str = "image"
    train: Tensor | None = None  # (M, C, *s) as memorization.small makes them: all that was trained on
    unseen: Tensor | None = None  # the same of reals that were not trained on; None: there are none

    @property
    def names(self) -> tuple[str, ...]:
        """What the channels are called: colors, channels of a signal, axes of points."""
        word = {"signal": "channel", "points": "axis"}.get(self.kind)
        count = self.reals.shape[1]
        return COLORS[count] if word is None else tuple(f"{word} {i + 1}" for i in range(count))

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """Of reals and others, standardized by the reals. (N, F) each, float64."""
        return self.standardized(self._raw), self.features_of(self.others)

    @cached_property
    def others_matched(self) -> Tensor:
        """Features of the others, colors and contrast matched as the fakes' are."""
        return self.features_of(matched(self.others, self.reals))

    @cached_property
    def clusters(self) -> Tensor:
        """The centers of the clusters into which the reals fall. (K, F)."""
        return clusters.centers(self.features[0])

    def features_of(self, x: Tensor) -> Tensor:
        """Standardized features of any samples. (N, F)."""
        return self.standardized(random_features.of_samples(x, self.kind))

    def standardized(self, rows: Tensor) -> Tensor:
        """Features with the mean 0 and the deviation 1 of the reals'."""
        return random_features.standardised(rows, self._raw)

    @cached_property
    def _raw(self) -> Tensor:
        return random_features.of_samples(self.reals, self.kind)


@dataclass(frozen=True)
class Comparison:
    """Fakes, (N, C, *S) as the reals, beside a reference of equal N: all that a figure is computed from."""

    fakes: Tensor
    reference: Reference
    critic: Features | None = None  # what the run's own critic sees of samples, where there is one
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
    def channels(self) -> tuple[str, ...]:
        """What the channels are called."""
        return self.reference.names

    @cached_property
    def features(self) -> Sides:
        """Of fakes, reals and others. (N, F) each, float64."""
        return self.reference.features_of(self.fakes), *self.reference.features

    @cached_property
    def matched(self) -> Sides:
        """The features of fakes and others after their channels were given the reals' mean and deviation; the reals'.

        What is left when colors and contrast are set aside: the pictures themselves.
        """
        if self.kind == "points":  # their place is all that they have
            return self.features
        fakes = self.reference.features_of(matched(self.fakes, self.reference.reals))
        return fakes, self.features[1], self.reference.others_matched

    @cached_property
    def critic_features(self) -> Sides | None:
        """What the run's own critic sees of each side."""
        return None if self.critic is None else _of_each(self.critic, self.each)

    @cached_property
    def network_features(self) -> Sides | None:
        """Those of the user's network; pictures alone have them. (N, F) each."""
        return None if self.network is None or self.kind != "image" else _of_each(self.network, self.each)

    @cached_property
    def nn_accuracy(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The 1-NN test's two accuracies, of reals and of fakes; the same with the others in the fakes' place."""
        f, r, o = self.features
        return neighbors.two_sample(r, f), neighbors.two_sample(r, o)

    @cached_property
    def memorization(self) -> Memorization | None:
        """The fakes beside the training set; None where that is not at hand, or holds nothing but twins."""
        reference = self.reference
        if reference.train is None or len(reference.train) < 2:
            return None
        found = memorization.compare(memorization.small(self.fakes), reference.train, reference.unseen)
        return found if found.unseen.median() > 0 else None

    @cached_property
    def spectra(self) -> tuple[Tensor, Sides]:
        """Frequencies, and the spectra of fakes, reals and others in powers of ten. (bins,) each."""
        found = [spectrum.power_spectrum(x) for x in self.each]
        fakes, reals, others = (spectrum.decades(power, like=found[1][1]) for _, power in found)
        return found[0][0], (fakes, reals, others)

    @cached_property
    def levels(self) -> tuple[Levels, Levels, Levels]:
        """How often each of 256 levels occurs in each channel, side by side."""
        fakes, reals, others = (levels(x) for x in self.each)
        return fakes, reals, others

    @cached_property
    def channel_moments(self) -> list[list[tuple[float, float]]]:
        """(mean, variance) of each channel, side by side."""
        return [moments.channel_moments(x) for x in self.each]

    @cached_property
    def moment_distances(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of means and of variances, value by value, to the reals: of the fakes, of the others."""
        fakes, reals, others = self.each
        return moments.moment_distance(fakes, reals), moments.moment_distance(others, reals)

    @cached_property
    def modes(self) -> tuple[ModeCoverage, ModeCoverage] | None:
        """How fakes and as many reals spread over the modes, where these are known."""
        fakes, others = self.count_modes(self.fakes), self.count_modes(self.reference.others)
        return None if fakes is None or others is None else (fakes, others)


def _of_each(features: Features, sides: Sides) -> Sides:
    fakes, reals, others = (features(x) for x in sides)
    return fakes, reals, others


@torch.no_grad()
def matched(x: Tensor, reals: Tensor) -> Tensor:
    """Every channel with the mean and the deviation of the reals', over samples and positions. (N, C, *S)."""
    axes = (0, *range(2, x.ndim))
    mean, std = x.mean(axes, keepdim=True), x.std(axes, keepdim=True, correction=0)
    mean_r, std_r = reals.mean(axes, keepdim=True), reals.std(axes, keepdim=True, correction=0)
    return (x - mean) * (std_r / std.clamp(min=1e-6)) + mean_r
