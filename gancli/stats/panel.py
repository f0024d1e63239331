"""The panel: every figure of a set of fakes beside the same figure between two halves of the reals."""

from collections.abc import Sequence

from torch import Tensor

from gancli.results import Figure, Histogram
from gancli.stats import histograms, moments, random_features
from gancli.stats.batch_std import batch_std, channel_std, saturation
from gancli.stats.histograms import levels
from gancli.stats.modes import MIN_HITS, Coverage
from gancli.stats.neighbours import coverage

COLOURS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


def channel_names(kind: str, count: int) -> tuple[str, ...]:
    """What the channels of samples are called: colours, channels of a signal, axes of points."""
    word = {"signal": "channel", "points": "axis"}.get(kind)
    return COLOURS[count] if word is None else tuple(f"{word} {i + 1}" for i in range(count))


def panel(fakes: Tensor, reals: Tensor, others: Tensor, kind: str = "image") -> tuple[Figure, ...]:
    """The figures that any samples have. Fakes and two disjoint halves of the reals, (N, C, *S) each, equal N."""
    names = channel_names(kind, fakes.shape[1])
    sides = (fakes, reals, others)
    parts = [_spread(*sides, names, kind), [_coverage(*sides, kind)], _channels(*sides, names, kind), _values(*sides)]
    return tuple(figure for part in parts for figure in part)


def _spread(f: Tensor, r: Tensor, o: Tensor, names: Sequence[str], kind: str) -> list[Figure]:
    figures = [ratio("batch std ratio", batch_std(f), batch_std(r), batch_std(o), "1 is as varied as the reals")]
    each = zip(names, channel_std(f), channel_std(r), channel_std(o), strict=True)
    figures += [ratio(f"batch std ratio, {name}", a, b, c, "") for name, a, b, c in each if len(names) > 1]
    ends = "share of values at black or white" if kind == "image" else "share of values at the ends of the data's range"
    figures.append(Figure("saturation", saturation(f), saturation(o), note=ends))
    return figures


def _coverage(f: Tensor, r: Tensor, o: Tensor, kind: str) -> Figure:
    """On fixed random features of pictures, on the values themselves of the rest."""
    reals = random_features.of_samples(r, kind)
    fakes, others = (random_features.standardised(random_features.of_samples(x, kind), reals) for x in (f, o))
    reals = random_features.standardised(reals, reals)
    note = "share of the reals with a fake nearby, by random features"
    return Figure("coverage", coverage(reals, fakes), coverage(reals, others), note=note)


def ratio(name: str, fake: float, real: float, other: float, note: str) -> Figure:
    """fake / real beside other / real."""
    base = max(real, 1e-12)
    return Figure(name, fake / base, other / base, fake, real, note)


def _channels(f: Tensor, r: Tensor, o: Tensor, names: Sequence[str], kind: str) -> list[Figure]:
    figures, what = [], "colour distance" if kind == "image" else "value distance"
    unit = "grey levels of 255" if kind == "image" else "255ths of the data's range"
    moments_f, moments_r, moments_o = (moments.channel_moments(side) for side in (f, r, o))
    levels_f, levels_r, levels_o = (levels(side) for side in (f, r, o))
    for c, name in enumerate(names):
        (mean_f, var_f), (mean_r, var_r), (mean_o, var_o) = moments_f[c], moments_r[c], moments_o[c]
        apart, floor = (histograms.wasserstein(side[c], levels_r[c]) for side in (levels_f, levels_o))
        means, variances = "distance of the means", "distance of the variances"
        figures += [
            Figure(f"mean, {name}", abs(mean_f - mean_r), abs(mean_o - mean_r), mean_f, mean_r, means),
            Figure(f"variance, {name}", abs(var_f - var_r), abs(var_o - var_r), var_f, var_r, variances),
            Figure(f"{what}, {name}", apart, floor, note=f"Wasserstein, in {unit}"),
        ]
    return figures


def _values(f: Tensor, r: Tensor, o: Tensor) -> list[Figure]:
    (mean_f, var_f), (mean_o, var_o) = (moments.moment_distance(side, r) for side in (f, o))
    return [
        Figure("pixel means", mean_f, mean_o, note="mean distance, value by value"),
        Figure("pixel variances", var_f, var_o, note="mean distance, value by value"),
    ]


def mode_figures(f: Coverage, o: Coverage) -> tuple[Figure, ...]:
    """The figures of a set whose modes are known: of the fakes and of as many reals."""
    figures = (
        Figure("known modes covered", f.covered, o.covered, note=f"of {f.modes}, {MIN_HITS} samples each or more"),
        Figure("recognisable share", f.recognised, o.recognised, note="of the samples"),
        Figure("reverse KL", f.reverse_kl, o.reverse_kl, note="nats; 0 if every mode is drawn equally often"),
    )
    if f.spread is None or o.spread is None:
        return figures
    return (*figures, Figure("spread inside a mode", f.spread, o.spread, note="over the data's own; below: too narrow"))


def channel_histograms(fakes: Tensor, reals: Tensor, kind: str = "image") -> tuple[Histogram, ...]:
    """Per channel, the shares of the values of both sides in 16 bins of [-1, 1]. (N, C, *S) each."""
    names = channel_names(kind, fakes.shape[1])
    each = zip(names, levels(reals), levels(fakes), strict=True)
    return tuple(Histogram(name, histograms.shares(real), histograms.shares(fake)) for name, real, fake in each)


def value_of(figures: Sequence[Figure], name: str) -> Figure:
    """The figure of that name."""
    return next(figure for figure in figures if figure.name == name)
