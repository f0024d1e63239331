"""The values and baselines of all figures, computed from one comparison. Pure functions, listed in `figures`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from gancli.stats import histograms, kernel, leak, likeness, ms_ssim, neighbors, rank, sliced_wasserstein, spectrum
from gancli.stats.batch_std import batch_std, channel_std, saturation
from gancli.stats.comparison import Comparison, Sides
from gancli.stats.modes import ModeCoverage
from gancli.stats.remembered import remembered

FINE = 0.25  # cycles per pixel; frequencies from here up are the fine half of the spectrum
MIDDLE = 0.1  # cycles per pixel; spikes are searched for from here up


class Measured(NamedTuple):
    """The value of one figure, or of one part of it, with its baseline."""

    value: float  # fakes compared with reals
    baseline: float  # one half of the reals compared with the other: the value for a perfect generator
    fake: float | None = None  # the quantity on the fakes alone, if the value is a ratio or a difference
    real: float | None = None  # the same on the reals
    part: str = ""  # channel, pyramid level or network, if the figure has several


Compute = Callable[[Comparison], Iterable[Measured]]  # empty if it cannot be computed


def ratio(each: Iterable[float], part: str = "") -> Measured:
    """fake / real as the value and other / real as the baseline. each: the quantity on fakes, reals, other reals."""
    fake, real, other = each
    base = max(real, 1e-12)
    return Measured(fake / base, other / base, fake, real, part)


def ratio_of(quantity: Callable[[Tensor], float]) -> Compute:
    """The ratio of a quantity on the fakes to the same on the reals."""
    quantity = remembered(quantity)
    return lambda c: [ratio(quantity(x) for x in c.each)]


def on(sides: Callable[[Comparison], Sides | None], statistic: Callable[[Tensor, Tensor], float]) -> Compute:
    """A statistic of two sets of features; its arguments are (reals, fakes)."""
    statistic = remembered(statistic)

    def compute(c: Comparison) -> list[Measured]:
        found = sides(c)
        if found is None:
            return []
        fakes, reals, others = found
        return [Measured(statistic(reals, fakes), statistic(reals, others))]

    return compute


def content(c: Comparison) -> Sides:
    """Features of each side: trained ones if there are any, else fixed ones."""
    return c.features


def fixed(c: Comparison) -> Sides | None:
    """Fixed features of each side, if the content has trained ones."""
    return c.fixed if c.trained else None


def color_matched(c: Comparison) -> Sides:
    """Untrained features of each side after matching colors and contrast."""
    return c.matched


def channel_std_ratio(c: Comparison) -> list[Measured]:
    """The batch std ratio of each channel, if there are several."""
    if len(c.channels) < 2:
        return []
    each = zip(c.channels, *(channel_std(x) for x in c.each), strict=True)
    return [ratio(values, name) for name, *values in each]


def critic_feature_std_ratio(c: Comparison) -> list[Measured]:
    """The batch std ratio of the critic's features."""
    return [] if c.critic_features is None else [ratio(batch_std(x) for x in c.critic_features)]


def effective_rank_ratio(c: Comparison) -> list[Measured]:
    """The ratio of the effective ranks of the features."""
    return [ratio(rank.effective_rank(x) for x in c.features)]


def unique_fraction(c: Comparison) -> list[Measured]:
    """See `neighbors.unique_fraction`; with colors and contrast matched. Trained features see more repetition.

    They do not see that an image moved by a pixel; the fixed ones see noise in it less.
    """
    spaces = [c.matched, *([c.features] if c.trained else [])]
    each = [[neighbors.unique_fraction(x, reals) for x in (fakes, others)] for fakes, reals, others in spaces]
    value, baseline = (min(found) for found in zip(*each, strict=True))
    return [Measured(value, baseline)]


def in_clusters(sides: Callable[[Comparison], Sides], count: Callable[[Tensor, Tensor, Tensor], float]) -> Compute:
    """A statistic of both sides' histograms over the clusters of the reals."""
    count = remembered(count)

    def compute(c: Comparison) -> list[Measured]:
        fakes, reals, others = sides(c)
        space = c.reference.space if sides is content else c.reference.matched_space
        value, baseline = (count(space.clusters, reals, x) for x in (fakes, others))
        return [Measured(value, baseline)]

    return compute


def classifier_auc(c: Comparison) -> list[Measured]:
    """See `Scores.auc`."""
    found, base = c.classified
    return [Measured(found.auc, base.auc)]


def missing_share(c: Comparison) -> list[Measured]:
    """See `Scores.missing`."""
    found, base = c.classified
    return [Measured(float(found.missing.double().mean()), float(base.missing.double().mean()))]


def foreign_share(c: Comparison) -> list[Measured]:
    """See `Scores.foreign`."""
    found, base = c.classified
    return [Measured(float(found.foreign.double().mean()), float(base.foreign.double().mean()))]


def nearest_distance(c: Comparison) -> list[Measured]:
    """The ratio of the median distances to the nearest other sample of the same side."""
    return [ratio(float(neighbors.nearest_other(x).median()) for x in c.fixed)]


def nn_accuracy(side: int) -> Compute:
    """1-NN accuracy on the reals (side 0) or the fakes (side 1)."""
    return lambda c: [Measured(c.nn_accuracy[0][side], c.nn_accuracy[1][side])]


def train_distance(c: Comparison) -> list[Measured]:
    """See `Memorization.ratio`."""
    return [] if c.memorization is None else [Measured(c.memorization.ratio, 1.0)]


def train_nearer(c: Comparison) -> list[Measured]:
    """See `Memorization.share`."""
    return [] if c.memorization is None else [Measured(c.memorization.share, 0.05)]


def on_network_features(statistic: Callable[[Tensor, Tensor], float]) -> Compute:
    """A distance between two sets of features of the user's network."""

    def compute(c: Comparison) -> list[Measured]:
        if c.network is None or c.network_features is None:
            return []
        fakes, reals, others = c.network_features
        return [Measured(statistic(fakes, reals), statistic(others, reals), part=c.network.name)]

    return compute


def texture_by_level(c: Comparison) -> list[Measured]:
    """Sliced Wasserstein distance per pyramid level; empty if the images are too small."""
    if min(c.fakes.shape[2:]) < sliced_wasserstein.LEAST:
        return []
    value, baseline = sliced_wasserstein.sliced_wasserstein([c.fakes, c.reference.others], c.reference.reals)
    return [Measured(value[height], baseline[height], part=f"{height} px") for height in value]


def spectrum_of(quantity: Callable[[Tensor, Tensor], Tensor], *, shape: bool = False) -> Compute:
    """A quantity of (frequencies, difference of two log spectra). shape: normalize each spectrum by its total power."""

    def compute(c: Comparison) -> list[Measured]:
        frequency, lines = c.spectra
        if len(frequency) == 0:  # signals of one value
            return []
        fake, real, other = (spectrum.shape(line) if shape else line for line in lines)
        return [Measured(float(quantity(frequency, fake - real)), float(quantity(frequency, other - real)))]

    return compute


def mean_size(frequency: Tensor, difference: Tensor) -> Tensor:
    """Mean absolute difference of two log spectra."""
    return difference.abs().mean()


def fine(frequency: Tensor, difference: Tensor) -> Tensor:
    """Mean difference of two log spectra over the fine half."""
    return difference[frequency >= FINE].mean()


def spike(frequency: Tensor, difference: Tensor) -> Tensor:
    """The highest value of a difference of log spectra, above the median of its fine half."""
    return (difference - difference[frequency >= FINE].median())[frequency >= MIDDLE].max()


def roughness(c: Comparison) -> list[Measured]:
    """See `spectrum.roughness`."""
    fake, real, other = (spectrum.roughness(x) for x in c.each)
    return [Measured(fake - real, other - real, fake, real)]


def equivalent_resolution(c: Comparison) -> list[Measured]:
    """See `likeness`. By trained features only, which tell what a picture shows."""
    if not c.trained:
        return []
    fakes, reals, _ = c.features
    found = likeness.equivalent(kernel.kernel_distance(fakes, reals), c.reference.scale)
    return [Measured(found, float(c.fakes.shape[2]))]


def leaked(c: Comparison) -> list[Measured]:
    """See `leak.shares`; one part per trace."""
    reals = c.reference.reals
    found, base = leak.shares(c.fakes, reals), leak.shares(c.reference.others, reals)
    return [Measured(share, base[trace], part=trace) for trace, share in found.items()]


def grain_distance(c: Comparison) -> list[Measured]:
    """Difference of the noise standard deviations in flat areas, in gray levels."""
    fake, real, other = (127.5 * spectrum.grain(x) for x in c.each)
    return [Measured(abs(fake - real), abs(other - real), fake, real)]


def pair_similarity(c: Comparison) -> list[Measured]:
    """Mean MS-SSIM of pairs within each side; empty if the images are too small."""
    if min(c.fakes.shape[2:]) < ms_ssim.LEAST:
        return []
    fake, real, other = (ms_ssim.pair_similarity(x) for x in c.each)
    return [Measured(fake, other, fake, real)]


def channel_moment(which: int) -> Compute:
    """Difference of the means (0) or variances (1) of each channel."""

    def compute(c: Comparison) -> Iterator[Measured]:
        for i, name in enumerate(c.channels):
            fake, real, other = (side[i][which] for side in c.channel_moments)
            yield Measured(abs(fake - real), abs(other - real), fake, real, name)

    return compute


def level_distance(c: Comparison) -> Iterator[Measured]:
    """1-D Wasserstein distance of the values of each channel, in gray levels."""
    for i, name in enumerate(c.channels):
        fake, real, other = (side[i] for side in c.levels)
        yield Measured(histograms.wasserstein(fake, real), histograms.wasserstein(other, real), part=name)


def value_moment(which: int) -> Compute:
    """Mean difference of the per-value means (0) or variances (1)."""
    return lambda c: [Measured(c.moment_distances[0][which], c.moment_distances[1][which])]


def saturated(c: Comparison) -> list[Measured]:
    """Share of values at the limits of the range."""
    fake, real, other = (saturation(x) for x in c.each)
    return [Measured(fake, other, fake, real)]


def modes_covered(c: Comparison) -> list[Measured]:
    """Number of modes with at least three samples."""
    return [Measured(f.covered, o.covered, f.covered, f.modes) for f, o in _modes(c)]


def recognized(c: Comparison) -> list[Measured]:
    """Share of the samples that are assigned to a mode with certainty."""
    return [Measured(f.recognized, o.recognized) for f, o in _modes(c)]


def reverse_kl(c: Comparison) -> list[Measured]:
    """KL divergence of the mode frequencies to uniform, in nats."""
    return [Measured(f.reverse_kl, o.reverse_kl) for f, o in _modes(c)]


def classes_covered(c: Comparison) -> list[Measured]:
    """Number of classes that are not missing, of those that can be recognized."""
    if c.classes is None:
        return []
    (fake, other), judged = c.classes, c.classes[0].judged
    covered = judged - len(fake.missing)
    return [Measured(covered, judged - len(other.missing), covered, judged)]


def class_overlap(c: Comparison) -> list[Measured]:
    """Overlap of the class histograms."""
    return [] if c.classes is None else [Measured(c.classes[0].overlap, c.classes[1].overlap)]


def mode_std_ratio(c: Comparison) -> list[Measured]:
    """Standard deviation within a mode over that of the data, for sets of points."""
    return [Measured(f.spread, o.spread) for f, o in _modes(c) if f.spread is not None and o.spread is not None]


def _modes(c: Comparison) -> Sequence[tuple[ModeCoverage, ModeCoverage]]:
    return () if c.modes is None else (c.modes,)
