"""From one comparison to the numbers of a figure, beside its baseline. Pure functions, listed in `figures`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from gancli.stats import histograms, ms_ssim, neighbors, rank, sliced_wasserstein, spectrum
from gancli.stats.batch_std import batch_std, channel_std, saturation
from gancli.stats.comparison import Comparison, Sides
from gancli.stats.modes import ModeCoverage

FINE = 0.25  # cycles a pixel from which the spectrum is called fine
MIDDLE = 0.1  # from which a spike in it is looked for


class Measured(NamedTuple):
    """What one figure, or one part of it, came out as."""

    value: float  # fakes against reals
    baseline: float  # one half of the reals against the other: what a perfect generator would get
    fake: float | None = None  # the quantity itself, where the value is a ratio or a distance of two
    real: float | None = None
    part: str = ""  # a channel, a level, a network


Compute = Callable[[Comparison], Iterable[Measured]]  # nothing where it cannot be computed


def ratio(each: Iterable[float], part: str = "") -> Measured:
    """fake / real beside other / real, of a quantity of each side."""
    fake, real, other = each
    base = max(real, 1e-12)
    return Measured(fake / base, other / base, fake, real, part)


def ratio_of(quantity: Callable[[Tensor], float]) -> Compute:
    """A quantity of the fakes over that of the reals."""
    return lambda c: [ratio(quantity(x) for x in c.each)]


def on(sides: Callable[[Comparison], Sides | None], statistic: Callable[[Tensor, Tensor], float]) -> Compute:
    """A statistic of two sets of features, reals first."""

    def compute(c: Comparison) -> list[Measured]:
        found = sides(c)
        if found is None:
            return []
        fakes, reals, others = found
        return [Measured(statistic(reals, fakes), statistic(reals, others))]

    return compute


def features(c: Comparison) -> Sides:
    """Random features."""
    return c.features


def color_matched(c: Comparison) -> Sides:
    """Random features when colors and contrast are set aside."""
    return c.matched


def channel_std_ratio(c: Comparison) -> list[Measured]:
    """The ratio of every channel, where there are several."""
    if len(c.channels) < 2:
        return []
    each = zip(c.channels, *(channel_std(x) for x in c.each), strict=True)
    return [ratio(values, name) for name, *values in each]


def critic_feature_std_ratio(c: Comparison) -> list[Measured]:
    """Of what the run's own critic sees."""
    return [] if c.critic_features is None else [ratio(batch_std(x) for x in c.critic_features)]


def effective_rank_ratio(c: Comparison) -> list[Measured]:
    """Of the random features."""
    return [ratio(rank.effective_rank(x) for x in c.features)]


def unique_fraction(c: Comparison) -> list[Measured]:
    """See `neighbors.distinct_share`; colors set aside."""
    fakes, reals, others = c.matched
    return [Measured(neighbors.distinct_share(fakes, reals), neighbors.distinct_share(others, reals))]


def in_clusters(sides: Callable[[Comparison], Sides], count: Callable[[Tensor, Tensor, Tensor], float]) -> Compute:
    """A count of both sides by the clusters of the reals."""

    def compute(c: Comparison) -> list[Measured]:
        fakes, reals, others = sides(c)
        value, baseline = (count(c.reference.clusters, reals, x) for x in (fakes, others))
        return [Measured(value, baseline)]

    return compute


def nn_accuracy(side: int) -> Compute:
    """Of reals (0) or fakes (1)."""
    return lambda c: [Measured(c.nn_accuracy[0][side], c.nn_accuracy[1][side])]


def train_distance(c: Comparison) -> list[Measured]:
    """See `Memorization.ratio`."""
    return [] if c.memorization is None else [Measured(c.memorization.ratio, 1.0)]


def train_nearer(c: Comparison) -> list[Measured]:
    """See `Memorization.share`."""
    return [] if c.memorization is None else [Measured(c.memorization.share, 0.05)]


def by_network(statistic: Callable[[Tensor, Tensor], float]) -> Compute:
    """A distance of two sets of the user's network's features."""

    def compute(c: Comparison) -> list[Measured]:
        if c.network is None or c.network_features is None:
            return []
        fakes, reals, others = c.network_features
        return [Measured(statistic(fakes, reals), statistic(others, reals), part=c.network.name)]

    return compute


def texture_by_level(c: Comparison) -> list[Measured]:
    """Level by level of the pyramid; nothing where the pictures are too small."""
    if min(c.fakes.shape[2:]) < sliced_wasserstein.LEAST:
        return []
    value, baseline = sliced_wasserstein.sliced_wasserstein([c.fakes, c.reference.others], c.reference.reals)
    return [Measured(value[height], baseline[height], part=f"{height} px") for height in value]


def spectrum_of(quantity: Callable[[Tensor, Tensor], Tensor], *, shape: bool = False) -> Compute:
    """A quantity of (frequencies, difference of two spectra). shape: of spectra without their level."""

    def compute(c: Comparison) -> list[Measured]:
        frequency, lines = c.spectra
        fake, real, other = (spectrum.shape(line) if shape else line for line in lines)
        return [Measured(float(quantity(frequency, fake - real)), float(quantity(frequency, other - real)))]

    return compute


def size(frequency: Tensor, difference: Tensor) -> Tensor:
    """Mean size of a difference of spectra."""
    return difference.abs().mean()


def fine(frequency: Tensor, difference: Tensor) -> Tensor:
    """Mean of the fine half of a difference of spectra."""
    return difference[frequency >= FINE].mean()


def spike(frequency: Tensor, difference: Tensor) -> Tensor:
    """How far the highest line of a difference of spectra stands out."""
    return (difference - difference[frequency >= FINE].median())[frequency >= MIDDLE].max()


def grain_distance(c: Comparison) -> list[Measured]:
    """Of the deviations of the noise in flat areas, in gray levels."""
    fake, real, other = (127.5 * spectrum.grain(x) for x in c.each)
    return [Measured(abs(fake - real), abs(other - real), fake, real)]


def pair_similarity(c: Comparison) -> list[Measured]:
    """Of pairs of one side; nothing where the pictures are too small."""
    if min(c.fakes.shape[2:]) < ms_ssim.LEAST:
        return []
    fake, real, other = (ms_ssim.pair_similarity(x) for x in c.each)
    return [Measured(fake, other, fake, real)]


def channel_moment(which: int) -> Compute:
    """The distance of the means (0) or variances (1) of every channel."""

    def compute(c: Comparison) -> Iterator[Measured]:
        for i, name in enumerate(c.channels):
            fake, real, other = (side[i][which] for side in c.channel_moments)
            yield Measured(abs(fake - real), abs(other - real), fake, real, name)

    return compute


def level_distance(c: Comparison) -> Iterator[Measured]:
    """1-D Wasserstein distance of the values of every channel, in gray levels."""
    for i, name in enumerate(c.channels):
        fake, real, other = (side[i] for side in c.levels)
        yield Measured(histograms.wasserstein(fake, real), histograms.wasserstein(other, real), part=name)


def value_moment(which: int) -> Compute:
    """The distance of means (0) or variances (1), value by value."""
    return lambda c: [Measured(c.moment_distances[0][which], c.moment_distances[1][which])]


def saturated(c: Comparison) -> list[Measured]:
    """Share of values at the ends of the range."""
    fake, real, other = (saturation(x) for x in c.each)
    return [Measured(fake, other, fake, real)]


def modes_covered(c: Comparison) -> list[Measured]:
    """Modes with three samples or more."""
    return [Measured(f.covered, o.covered, f.covered, f.modes) for f, o in _modes(c)]


def recognized(c: Comparison) -> list[Measured]:
    """Share of the samples that are of one mode beyond doubt."""
    return [Measured(f.recognized, o.recognized) for f, o in _modes(c)]


def reverse_kl(c: Comparison) -> list[Measured]:
    """KL of the modes' shares to uniform, in nats."""
    return [Measured(f.reverse_kl, o.reverse_kl) for f, o in _modes(c)]


def mode_std_ratio(c: Comparison) -> list[Measured]:
    """Deviation inside a mode over the data's own, where the modes are points."""
    return [Measured(f.spread, o.spread) for f, o in _modes(c) if f.spread is not None and o.spread is not None]


def _modes(c: Comparison) -> Sequence[tuple[ModeCoverage, ModeCoverage]]:
    return () if c.modes is None else (c.modes,)
