"""The panel: every figure of a set of fakes beside the same figure between two halves of the reals.

Here are the numbers; what they mean, and which are good, stands in meanings.py.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from gancli.health import Figure, Histogram, Spectrum
from gancli.results import Progress, silent
from gancli.stats import (
    clusters,
    histograms,
    kernel,
    moments,
    ms_ssim,
    neighbours,
    rank,
    sliced_wasserstein,
    spectrum,
)
from gancli.stats.batch_std import batch_std, channel_std, inner_std, saturation
from gancli.stats.histograms import levels
from gancli.stats.meanings import explained
from gancli.stats.modes import Coverage
from gancli.stats.sides import Sides

FINE = 0.25  # cycles a pixel from which the spectrum is called fine
MIDDLE = 0.1  # from which a spike in it is looked for


def panel(sides: Sides, *, quick: bool = False, progress: Progress = silent) -> tuple[Figure, ...]:
    """The figures that any samples have, explained and marked. quick: without the slower ones."""
    parts: list[Callable[[Sides], list[Figure]]] = [_spread, _parts, _neighbours, copy_figures, _distance, _values]
    if sides.kind != "points":
        parts.append(_spectra)
    if sides.kind == "image":
        parts += [_grain] if quick else [_grain, _similarity, _sliced]
    figures: list[Figure] = []
    for done, part in enumerate(parts):
        progress("comparing", done, len(parts))
        figures += part(sides)
    progress("comparing", len(parts), len(parts))
    return tuple(explained(figure) for figure in figures)


def ratio(name: str, fake: float, real: float, other: float) -> Figure:
    """fake / real beside other / real."""
    base = max(real, 1e-12)
    return Figure(name, fake / base, other / base, fake, real)


def _spread(s: Sides) -> list[Figure]:
    figures = [ratio("batch std ratio", *(batch_std(x) for x in s.each))]
    if len(s.reference.names) > 1:
        channels = zip(s.reference.names, *(channel_std(x) for x in s.each), strict=True)
        figures += [ratio(f"batch std ratio, {name}", *values) for name, *values in channels]
    if s.kind != "points":
        figures.append(ratio("contrast ratio", *(inner_std(x) for x in s.each)))
    return [*figures, ratio("effective rank ratio", *(rank.effective_rank(f) for f in s.features))]


def _parts(s: Sides) -> list[Figure]:
    (f, r, o), (f_matched, o_matched), parts = s.features, s.matched, s.reference.parts
    overlap = partial(clusters.overlap, parts, r)
    return [
        Figure("distinct share", neighbours.distinct_share(f_matched, r), neighbours.distinct_share(o_matched, r)),
        Figure("parts kept", clusters.kept(parts, r, f_matched), clusters.kept(parts, r, o_matched)),
        Figure("parts overlap", overlap(f), overlap(o)),
        Figure("parts overlap, colours matched", overlap(f_matched), overlap(o_matched)),
    ]


def _neighbours(s: Sides) -> list[Figure]:
    (f, r, o), (f_matched, o_matched) = s.features, s.matched
    own, own_floor = neighbours.two_sample(r, f), neighbours.two_sample(r, o)
    return [
        Figure("coverage", neighbours.coverage(r, f), neighbours.coverage(r, o)),
        Figure("coverage, colours matched", neighbours.coverage(r, f_matched), neighbours.coverage(r, o_matched)),
        Figure("recall", neighbours.recall(r, f), neighbours.recall(r, o)),
        Figure("precision", neighbours.precision(r, f), neighbours.precision(r, o)),
        Figure("density", neighbours.density(r, f), neighbours.density(r, o)),
        Figure("1-NN accuracy, reals", own[0], own_floor[0]),
        Figure("1-NN accuracy, fakes", own[1], own_floor[1]),
    ]


def _distance(s: Sides) -> list[Figure]:
    f, r, o = s.features
    return [Figure("kernel distance", kernel.kernel_distance(f, r), kernel.kernel_distance(o, r))]


def copy_figures(s: Sides) -> list[Figure]:
    """How near the fakes lie to the training set; empty where that is not at hand."""
    if s.copies is None:
        return []
    return [
        Figure("distance to the training set", s.copies.ratio, 1.0),
        Figure("share nearer than unseen reals", s.copies.share, 0.05),
    ]


def spectrum_of(s: Sides) -> Spectrum:
    """The spectra of both sides, for curves."""
    frequency, (fake, real, _) = spectrum_lines(s)
    return Spectrum(*(tuple(round(float(v), 4) for v in x) for x in (frequency, real, fake)))


def spectrum_lines(s: Sides) -> tuple[Tensor, list[Tensor]]:
    """Frequencies, and the spectra of fakes, reals and others in powers of ten. (bins,) each."""
    found = [spectrum.power_spectrum(x) for x in s.each]
    return found[0][0], [spectrum.decades(power) for _, power in found]


def _spectra(s: Sides) -> list[Figure]:
    frequency, lines = spectrum_lines(s)
    fine, middle = frequency >= FINE, frequency >= MIDDLE

    def figure(name: str, lines: Sequence[Tensor], of: Callable[[Tensor], Tensor]) -> Figure:
        fake, real, other = lines
        return Figure(name, float(of(fake - real)), float(of(other - real)))

    shapes = [spectrum.shape(line) for line in lines]
    return [
        figure("spectrum, mean distance", lines, lambda x: x.abs().mean()),
        figure("spectrum, fine half", shapes, lambda x: x[fine].mean()),
        figure("spectrum, highest spike", lines, lambda x: (x - x[fine].median())[middle].max()),
    ]


def _grain(s: Sides) -> list[Figure]:
    fake, real, other = (127.5 * spectrum.grain(x) for x in s.each)
    return [Figure("grain", abs(fake - real), abs(other - real), fake, real)]


def _similarity(s: Sides) -> list[Figure]:
    if min(s.fakes.shape[2:]) < ms_ssim.LEAST:
        return []
    fake, real, other = (ms_ssim.pair_similarity(x) for x in s.each)
    return [Figure("MS-SSIM of pairs", fake, other, fake, real)]


def _sliced(s: Sides) -> list[Figure]:
    if min(s.fakes.shape[2:]) < sliced_wasserstein.LEAST:
        return []
    value, floor = sliced_wasserstein.sliced_wasserstein([s.fakes, s.reference.others], s.reference.reals)
    return [Figure(f"sliced Wasserstein, {height} px", value[height], floor[height]) for height in value]


def _values(s: Sides) -> list[Figure]:
    figures, what = [], "colour distance" if s.kind == "image" else "value distance"
    f, r, o = (moments.channel_moments(x) for x in s.each)
    levels_f, levels_r, levels_o = (levels(x) for x in s.each)
    for c, name in enumerate(s.reference.names):
        apart, floor = (histograms.wasserstein(side[c], levels_r[c]) for side in (levels_f, levels_o))
        figures += [
            Figure(f"mean, {name}", abs(f[c][0] - r[c][0]), abs(o[c][0] - r[c][0]), f[c][0], r[c][0]),
            Figure(f"variance, {name}", abs(f[c][1] - r[c][1]), abs(o[c][1] - r[c][1]), f[c][1], r[c][1]),
            Figure(f"{what}, {name}", apart, floor),
        ]
    fakes, reals, others = s.each
    (mean_f, var_f), (mean_o, var_o) = (moments.moment_distance(x, reals) for x in (fakes, others))
    figures += [Figure("pixel means", mean_f, mean_o), Figure("pixel variances", var_f, var_o)]
    return [*figures, Figure("saturation", saturation(fakes), saturation(others), saturation(fakes), saturation(reals))]


def mode_figures(f: Coverage, o: Coverage) -> tuple[Figure, ...]:
    """The figures of a set whose modes are known: of the fakes and of as many reals."""
    figures = [
        Figure("known modes covered", f.covered, o.covered, f.covered, f.modes),
        Figure("recognisable share", f.recognised, o.recognised),
        Figure("reverse KL", f.reverse_kl, o.reverse_kl),
    ]
    if f.spread is not None and o.spread is not None:
        figures.append(Figure("spread inside a mode", f.spread, o.spread))
    return tuple(explained(figure) for figure in figures)


def channel_histograms(sides: Sides) -> tuple[Histogram, ...]:
    """Per channel, the shares of the values of both sides in 16 bins of [-1, 1]."""
    fakes, reals, _ = sides.each
    each = zip(sides.reference.names, levels(reals), levels(fakes), strict=True)
    return tuple(Histogram(name, histograms.shares(real), histograms.shares(fake)) for name, real, fake in each)


def value_of(figures: Sequence[Figure], name: str) -> Figure | None:
    """The figure of that name, if the panel has it."""
    return next((figure for figure in figures if figure.name == name), None)
