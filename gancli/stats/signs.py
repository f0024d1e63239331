"""The signs of the verdict: what a figure says about a set of samples, from 0 (a perfect generator) to 1, in words.

Each sign is computed from one figure and its baseline. Its strength is one half at its limit, and grows with a power of
the value, from the square up, so that what is far below the limit does not add up: a small generator is a little off in
everything. Which signs speak for which verdict is in `verdict`, and how much in verdict_weights.json. The file is long
because the table of signs is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, log2, log10, sqrt

from gancli.health import Figure, with_fixed
from gancli.stats.figures import FIGURES
from gancli.stats.likeness import ENOUGH

TINY, LARGEST = 1e-9, 1e9
OF_MODES = ("place", "angle")  # traces of augmentation that a lack of modes leaves, too


class Panel:
    """Look up figures by key, as values or relative to their baselines. Raises KeyError for a key not in FIGURES."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.found: dict[str, list[Figure]] = {key: [] for key in FIGURES}
        for figure in figures:
            self.found[figure.key].append(figure)

    def parts(self, key: str) -> dict[str, Figure]:
        """The entries of a figure that is reported per part (such as per channel), by part."""
        return {figure.part: figure for figure in self.found[key]}

    def figure(self, key: str) -> Figure | None:
        """The figure of that key; None if it was not computed for these samples."""
        return next(iter(self.found[key]), None)

    def value(self, key: str, default: float = 0.0) -> float:
        """The value of the figure, not relative to its baseline."""
        figure = self.figure(key)
        return default if figure is None else figure.value

    def baseline(self, key: str) -> float:
        """The baseline of the figure; 0 if it was not computed."""
        figure = self.figure(key)
        return 0.0 if figure is None else figure.baseline

    def relative(self, key: str) -> float:
        """The value of the figure divided by its baseline; 1 if it was not computed."""
        figure = self.figure(key)
        return 1.0 if figure is None or figure.baseline <= 0 else figure.value / figure.baseline

    def fixed(self, key: str) -> str:
        """The key of this figure with fixed features, which is the figure itself if no others were used.

        To the trained network every sample of a small generator looks unlike every real: it knows the texture that the
        generator leaves. Such a figure is at its limit, and says no more.
        """
        return with_fixed(key) if self.figure(with_fixed(key)) else key

    def excess(self, key: str) -> float:
        """The value of the figure minus its baseline."""
        return self.value(key) - self.baseline(key)

    def sides(self, key: str) -> tuple[float, float]:
        """The quantity on the fakes and on the reals; both 0 if it was not computed."""
        figure = self.figure(key)
        known = figure is not None and figure.fake is not None and figure.real is not None
        return (figure.fake, figure.real) if known else (0.0, 0.0)  # type: ignore[union-attr, return-value]

    def colors(self) -> float:
        """Largest color distance of a channel: minus its baseline, over the standard deviation of the reals."""
        variances = self.parts("channel_variance_distance")
        apart = [0.0]
        for part, figure in (self.parts("color_distance") | self.parts("value_distance")).items():
            spread = sqrt(max(variances[part].real or 0.0, 1e-12))
            apart.append((figure.value - figure.baseline) / 127.5 / spread)
        return max(apart)


@dataclass(frozen=True)
class Sign:
    """One sign. Its value is 0 or more."""

    key: str
    figure: str  # key in FIGURES
    value: Callable[[Panel], float]
    limit: float  # value at which the strength is one half
    text: Callable[[Panel], str]  # the evidence: figure, value and baseline
    power: int = 2  # 4: hardly anything below the limit

    def strength(self, panel: Panel) -> float:
        """0 to 1; 0 if the figure was not computed, or is not finite."""
        value = self.value(panel)
        if not isfinite(value) or value <= 0:
            return 0.0
        ratio = min(value / self.limit, LARGEST) ** self.power
        return ratio / (1 + ratio)


def halvings(key: str) -> Callable[[Panel], float]:
    """How often the figure is halved, compared with its baseline."""
    return lambda p: -log2(max(p.relative(key), TINY))


def doublings(key: str) -> Callable[[Panel], float]:
    """How often the figure is doubled, compared with its baseline."""
    return lambda p: log2(max(p.relative(key), TINY))


def lost(key: str) -> Callable[[Panel], float]:
    """The share of its baseline that the figure has lost."""
    return lambda p: 1 - p.relative(key)


def gained(key: str) -> Callable[[Panel], float]:
    """The share of what its baseline leaves, up to 1, that the figure has gained."""
    return lambda p: p.excess(key) / max(1 - p.baseline(key), TINY)


def _missing(p: Panel) -> float:
    return min(max(gained("missing_share")(p), 0.0), 1.0)


def _foreign(p: Panel) -> float:
    """Without as many samples as are repeats of others: many equal samples look unlike the data."""
    return min(max(gained("foreign_share")(p) - max(lost("unique_fraction")(p), 0.0), 0.0), 1.0)


def _absent(p: Panel) -> float:
    """What is missing, unless all samples look unlike the data: then all of the data looks unlike the samples."""
    return _missing(p) * (1 - _foreign(p))


def _only_missing(p: Panel) -> float:
    return max(_missing(p) - _foreign(p), 0.0) * (1 - _foreign(p))


def _told(p: Panel) -> float:
    return gained("classifier_auc")(p) * (1 - _foreign(p)) ** 2


def _only_foreign(p: Panel) -> float:
    return _foreign(p) * (1 - _missing(p))


def _bare(p: Panel) -> float:
    return lost(p.fixed("coverage"))(p)


def _imprecise(p: Panel) -> float:
    return lost(p.fixed("precision"))(p)


def _pale(p: Panel) -> float:
    return min(halvings("batch_std_ratio")(p), halvings("contrast_ratio")(p)) if p.figure("contrast_ratio") else 0.0


def _same(p: Panel) -> float:
    """Halvings of the spread that lower contrast does not explain."""
    return halvings("batch_std_ratio")(p) - (halvings("contrast_ratio")(p) if p.figure("contrast_ratio") else 0.0)


def _fewer(p: Panel) -> float:
    """Powers of ten by which the unique samples are fewer."""
    return -log10(max(p.relative("unique_fraction"), TINY))


def _traces(p: Panel) -> list[tuple[float, Figure]]:
    """What each certain trace of augmentation exceeds its baseline by, the most first."""
    certain = [figure for part, figure in p.parts("leak").items() if part not in OF_MODES]
    return sorted(((figure.value - figure.baseline, figure) for figure in certain), key=lambda pair: -pair[0])


def _leaked(p: Panel) -> float:
    return next((excess for excess, _ in _traces(p)), 0.0)


def _white(p: Panel) -> float:
    """How far the roughness is from that of the reals toward that of white noise."""
    fake, real = p.sides("roughness")
    return (fake - real) / max(1 - real, 0.05)


def _smooth(p: Panel) -> float:
    fake, real = p.sides("roughness")
    return (real - fake) / max(real, 0.02)


def _times(key: str, what: str) -> Callable[[Panel], str]:
    return lambda p: f"{what} is {p.value(key):.2f} times that of the reals"


def _share(key: str, what: str) -> Callable[[Panel], str]:
    """`what` has a place for the share."""
    return lambda p: f"{what.format(f'{p.value(key):.0%}')} (baseline {p.baseline(key):.0%})"


SPREAD = _times("batch_std_ratio", "batch std of the samples")
NEAREST = _times("nearest_distance_ratio", "distance to the nearest other sample")
MISSING = _share("missing_share", "{} of the data looks unlike the samples")
NEARBY = "{} of the data has a sample nearby"
UNCOVERED = _share("coverage", NEARBY)
UNIQUE = _share("unique_fraction", "{} of the samples are unique; near-duplicates count once")
COVERED_MATCHED = _share("coverage_color_matched", "{} of the data has a sample nearby if colors are matched")


def _both(p: Panel) -> str:
    if p.figure("contrast_ratio") is None:
        return SPREAD(p)
    spread, contrast = p.value("batch_std_ratio"), p.value("contrast_ratio")
    return f"batch std is {spread:.2f} and contrast {contrast:.2f} times that of the reals"


def _roughness(p: Panel) -> str:
    fake, real = p.sides("roughness")
    return f"roughness is {fake / max(real, 1e-3):.2g} times that of the reals"


def _factor(powers: float) -> str:
    """10 to a power in two or three digits, without an exponent."""
    value = 10**powers
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def _fine(p: Panel) -> str:
    return f"fine detail has {_factor(p.excess('spectrum_fine'))} times the power of the reals"


def _spectrum(p: Panel) -> str:
    value, baseline = p.value("spectrum_distance"), p.baseline("spectrum_distance")
    return f"the spectrum differs by {value:.2f}; between two halves of the data it is {baseline:.2f}"


def _spike(p: Panel) -> str:
    return f"a narrow peak of the spectrum has {_factor(p.excess('spectrum_spike'))} times the power of the reals"


def _tint(p: Panel) -> str:
    return f"colors or values are off: a channel differs from the data by {p.colors():.2f} standard deviations"


def _covered(p: Panel) -> str:
    return _share(p.fixed("coverage"), NEARBY)(p)


def _precise(p: Panel) -> str:
    return _share(p.fixed("precision"), "{} of the samples have a real nearby")(p)


def _distance(p: Panel) -> str:
    value, baseline = p.value(p.fixed("kernel_distance")), p.baseline(p.fixed("kernel_distance"))
    return f"kernel distance is {value:.1f}; between two halves of the data it is {baseline:.1f}"


def _unlike(p: Panel) -> float:
    """Halvings of the resolution, from 32 px on, which a person needs to recognize a picture."""
    figure = p.figure("equivalent_resolution")
    return 0.0 if figure is None else log2(max(min(figure.baseline, ENOUGH) / max(figure.value, TINY), TINY))


def likeness(p: Panel) -> str:
    """How far the samples are from the data: a sentence."""
    value, full = p.value("equivalent_resolution"), p.baseline("equivalent_resolution")
    return f"the samples differ from the data as much as the data downscaled to {value:.0f} of {full:.0f} px does"


def pairs(p: Panel) -> str:
    """How well a classifier tells the samples from the reals: a sentence."""
    value, baseline = p.value("classifier_auc"), p.baseline("classifier_auc")
    return f"a classifier ranks {value:.0%} of the pairs of a real and a sample correctly (baseline {baseline:.0%})"


def _trace(p: Panel) -> str:
    _, trace = _traces(p)[0]
    return f"{trace.value:.0%} of the samples have {trace.part} that the data lacks: traces of augmentation"


def _copied(p: Panel) -> str:
    share = f"{p.value('train_nearer_fraction'):.0%}"
    return f"{share} of the samples are nearer to a training sample than 95% of unseen reals are"


SIGNS = (
    Sign("same", "batch_std_ratio", _same, 2.0, SPREAD, 8),
    Sign("flat", "batch_std_ratio", halvings("batch_std_ratio"), 0.5, _both),
    Sign("loud", "batch_std_ratio", doublings("batch_std_ratio"), 0.4, SPREAD),
    Sign("pale", "contrast_ratio", _pale, 0.3, _both),
    Sign("few", "unique_fraction", _fewer, 0.93, UNIQUE, 16),
    Sign("repeated", "unique_fraction", lost("unique_fraction"), 0.2, UNIQUE),
    Sign("close", "nearest_distance_ratio", halvings("nearest_distance_ratio"), 1.0, NEAREST),
    Sign("narrow", "effective_rank_ratio", halvings("effective_rank_ratio"), 0.6,
         _times("effective_rank_ratio", "number of directions in which the samples vary")),
    Sign("absent", "missing_share", _absent, 0.8, MISSING, 8),
    Sign("missing", "missing_share", _only_missing, 0.15, MISSING),
    Sign("told", "classifier_auc", _told, 0.2, pairs),
    Sign("bare", "coverage", _bare, 0.7, _covered, 4),
    Sign("uncovered", "coverage", lost("coverage"), 0.15, UNCOVERED),
    Sign("uncovered_matched", "coverage_color_matched", lost("coverage_color_matched"), 0.2, COVERED_MATCHED),
    Sign("foreign", "foreign_share", _only_foreign, 0.15,
         _share("foreign_share", "{} of the samples look unlike the data")),
    Sign("alien", "precision", _imprecise, 0.8, _precise, 4),
    Sign("imprecise", "precision", _imprecise, 0.25, _precise, 4),
    Sign("distant", "kernel_distance", lambda p: p.excess(p.fixed("kernel_distance")), 3.0, _distance, 4),
    Sign("unlike", "equivalent_resolution", _unlike, 1.0, likeness, 4),
    Sign("copied", "train_nearer_fraction", gained("train_nearer_fraction"), 0.2, _copied),
    Sign("beside", "train_distance_ratio", halvings("train_distance_ratio"), 0.7,
         _times("train_distance_ratio", "distance to the training set")),
    Sign("blurred", "spectrum_fine", lambda p: -p.excess("spectrum_fine"), 0.3, _fine, 4),
    Sign("fine", "spectrum_fine", lambda p: p.excess("spectrum_fine"), 0.3, _fine, 4),
    Sign("detail", "spectrum_distance", lambda p: p.excess("spectrum_distance"), 0.12, _spectrum, 4),
    Sign("spike", "spectrum_spike", lambda p: p.excess("spectrum_spike"), 0.5, _spike, 4),
    Sign("leaked", "leak", _leaked, 0.1, _trace, 4),
    Sign("white", "roughness", _white, 0.8, _roughness, 8),
    Sign("smooth", "roughness", _smooth, 0.3, _roughness, 4),
    Sign("tinted", "color_distance", Panel.colors, 0.12, _tint, 4),
)  # fmt: skip
KEYS = tuple(sign.key for sign in SIGNS)
