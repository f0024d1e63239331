"""What is compared: samples, two halves of the reals, and the training set. Features are taken once."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from gancli.stats import clusters, copies, random_features
from gancli.stats.copies import Copies

COLOURS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


@dataclass(frozen=True)
class Reference:
    """Two disjoint halves of the reals, (N, C, *S) each, in [-1, 1] as a viewer has them; and the training set."""

    reals: Tensor
    others: Tensor
    kind: str = "image"
    train: Tensor | None = None  # (M, C, *s) as copies.small makes them: all that was trained on
    unseen: Tensor | None = None  # the same of reals that were not trained on; None: there are none

    @property
    def names(self) -> tuple[str, ...]:
        """What the channels are called: colours, channels of a signal, axes of points."""
        word = {"signal": "channel", "points": "axis"}.get(self.kind)
        count = self.reals.shape[1]
        return COLOURS[count] if word is None else tuple(f"{word} {i + 1}" for i in range(count))

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """Of reals and others, standardised by the reals. (N, F) each, float64."""
        return self.standardised(self._raw), self.features_of(self.others)

    @cached_property
    def others_matched(self) -> Tensor:
        """Features of the others, colours and contrast matched as the fakes' are."""
        return self.features_of(matched(self.others, self.reals))

    @cached_property
    def parts(self) -> Tensor:
        """The centres of the parts into which the reals fall. (K, F)."""
        return clusters.centres(self.features[0])

    def features_of(self, x: Tensor) -> Tensor:
        """Standardised features of any samples. (N, F)."""
        return self.standardised(random_features.of_samples(x, self.kind))

    def standardised(self, rows: Tensor) -> Tensor:
        """Features with the mean 0 and the deviation 1 of the reals'."""
        return random_features.standardised(rows, self._raw)

    @cached_property
    def _raw(self) -> Tensor:
        return random_features.of_samples(self.reals, self.kind)


@dataclass(frozen=True)
class Sides:
    """Fakes, (N, C, *S) as the reals, beside a reference of equal N."""

    fakes: Tensor
    reference: Reference

    @property
    def each(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fakes, reals, others."""
        return self.fakes, self.reference.reals, self.reference.others

    @property
    def kind(self) -> str:
        """image, signal or points."""
        return self.reference.kind

    @cached_property
    def features(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of fakes, reals and others. (N, F) each, float64."""
        return self.reference.features_of(self.fakes), *self.reference.features

    @cached_property
    def matched(self) -> tuple[Tensor, Tensor]:
        """Of fakes and others after their channels were given the reals' mean and deviation.

        What is left when colours and contrast are set aside: the pictures themselves.
        """
        if self.kind == "points":  # their place is all that they have
            return self.features[0], self.features[2]
        return self.reference.features_of(matched(self.fakes, self.reference.reals)), self.reference.others_matched

    @cached_property
    def copies(self) -> Copies | None:
        """The fakes beside the training set; None where that is not at hand, or holds nothing but twins."""
        reference = self.reference
        if reference.train is None or len(reference.train) < 2:
            return None
        found = copies.compare(copies.small(self.fakes), reference.train, reference.unseen)
        return found if found.unseen.median() > 0 else None


def matched(x: Tensor, reals: Tensor) -> Tensor:
    """Every channel with the mean and the deviation of the reals', over samples and positions. (N, C, *S)."""
    axes = (0, *range(2, x.ndim))
    mean, std = x.mean(axes, keepdim=True), x.std(axes, keepdim=True, correction=0)
    mean_r, std_r = reals.mean(axes, keepdim=True), reals.std(axes, keepdim=True, correction=0)
    return (x - mean) * (std_r / std.clamp(min=1e-6)) + mean_r
