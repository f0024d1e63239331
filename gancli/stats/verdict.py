"""The verdict: one word with its evidence, computed from the figures of the panel. A pure function.

The meaning of each word was fixed before any limit was calibrated. `collapsed`: at most 10% of the modes remain, or
of the unique samples that an independent draw of the data would have. `low-diversity`: at most 60%. `memorizing`: the
samples are nearer to the training set than unseen reals are. `washed-out`: reduced contrast and spread. `artifacts`:
texture, colors or content that differ from the data. `diverged`: nothing resembles the data, or values are not finite.
The limits were calibrated on one draw of the labeled sets of benchmarks/verdicts.py and tested on other draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from gancli.health import Figure
from gancli.stats.figures import FIGURES
from gancli.stats.modes import ModeCoverage

MIN_SAMPLES = 64  # per side; below it the verdict is `undecided`
CONFIDENT_SAMPLES = 250  # per side; below it the confidence is always low
COLLAPSED_SHARE, LOW_SHARE = 0.1, 0.6  # fraction of the known modes that is covered
FLATTEST = 0.35  # batch std ratio / contrast ratio below which samples repeat rather than being washed out
MIN_RECOGNIZED = 0.3  # fraction of recognizable samples below which the mode count measures image quality instead


@dataclass(frozen=True)
class Limits:
    """Calibrated limits. Ratios and fractions are relative to their baselines; spectra are in powers of ten."""

    collapsed_spread: float = 0.3  # batch std ratio
    collapsed_unique: float = 0.13  # unique fraction
    low_unique: float = 0.78  # unique fraction
    collapsed_overlap: float = 0.46  # cluster overlap, and coverage with colors matched
    narrow: float = 0.65  # effective rank ratio below which low cluster overlap is a collapse
    low_overlap: float = 0.88  # cluster overlap, colors matched
    thin: float = 0.89  # coverage, colors matched, where precision is above `sharp`
    sharp: float = 0.95  # precision above which samples look like the data
    copied: float = 0.28  # fraction of samples nearer to the training set than 95% of unseen reals
    beside: float = 0.55  # distance to the training set, over that of unseen reals
    pale: float = 0.85  # batch std ratio of washed-out samples
    flat: float = 0.92  # contrast ratio of washed-out samples
    deep: float = 0.65  # batch std ratio below which low contrast is not explained by blur
    full: float = 0.75  # effective rank ratio above which washed-out samples keep the variety of the data
    fine: float = 0.3  # spectrum, fine half
    spike: float = 1.0  # spectrum, highest spike
    grain: float = 5.0  # gray levels
    colors: float = 0.14  # color distance over the standard deviation of the reals
    precise: float = 0.6  # precision
    alike: float = 0.78  # precision below which a missing cluster is replaced by artifacts rather than dropped
    covered: float = 0.3  # coverage, colors matched
    lost: float = 0.03  # coverage and precision
    noise: float = 1.25  # batch std ratio


LIMITS = Limits()


@dataclass(frozen=True)
class Verdict:
    """The verdict, its confidence, and the evidence for it."""

    word: str  # one of health.WORDS
    confidence: str  # high or low
    evidence: tuple[str, ...]  # one sentence each


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

    def relative(self, key: str, default: float = 1.0) -> float:
        """The value of the figure divided by its baseline."""
        figure = self.figure(key)
        return default if figure is None or figure.baseline <= 0 else figure.value / figure.baseline

    def excess(self, key: str) -> float:
        """The value of the figure minus its baseline."""
        figure = self.figure(key)
        return 0.0 if figure is None else figure.value - figure.baseline

    def colors(self) -> float:
        """Largest color distance of a channel: minus its baseline, over the standard deviation of the reals."""
        variances = self.parts("channel_variance_distance")
        apart = [0.0]
        for part, figure in (self.parts("color_distance") | self.parts("value_distance")).items():
            spread = sqrt(max(variances[part].real or 0.0, 1e-12))
            apart.append((figure.value - figure.baseline) / 127.5 / spread)
        return max(apart)


def decide(figures: Sequence[Figure], samples: int, known: ModeCoverage | None, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a panel. samples: per side. known: the mode count of the samples, if the modes are known."""
    if samples < MIN_SAMPLES:
        return Verdict("undecided", "low", (f"{samples} samples per side are too few; {MIN_SAMPLES} are needed",))
    found = _decided(figures, samples, known, limits)
    if samples >= CONFIDENT_SAMPLES or found.word == "undecided":
        return found
    few = f"rough estimates: {samples} samples per side, {CONFIDENT_SAMPLES} or more are better"
    return replace(found, evidence=(*found.evidence, few))


def _decided(figures: Sequence[Figure], samples: int, known: ModeCoverage | None, limits: Limits) -> Verdict:
    panel = Panel(figures)
    spread = panel.figure("batch_std_ratio")
    if spread is None or not spread.baseline > 0:
        return Verdict("undecided", "low", ("the reals are all identical",))
    counted = known is not None and known.recognized >= MIN_RECOGNIZED
    found = list(_known(known) if counted and known else ()) + list(_found(panel, limits, counted=counted))
    if not found:
        return _healthy(panel, samples, known)
    word = found[0][0]
    evidence = tuple(text for name, text, _ in found if name == word)
    others = [name for name, _, _ in found if name != word]
    if others:
        evidence += (f"also: {', '.join(dict.fromkeys(others))}",)
    sure = samples >= CONFIDENT_SAMPLES and any(name == word and clear for name, _, clear in found)
    return Verdict(word, "high" if sure else "low", evidence)


Sign = tuple[str, str, bool]  # verdict, evidence, whether the figure is far beyond its limit


def _known(known: ModeCoverage) -> Iterator[Sign]:
    left = known.covered / known.modes
    text = f"{known.covered} of {known.modes} known modes are covered"
    if left <= COLLAPSED_SHARE:
        yield "collapsed", text, True
    elif left <= LOW_SHARE:
        yield "low-diversity", text, True


def _found(panel: Panel, limits: Limits, *, counted: bool) -> Iterator[Sign]:
    """Every sign of a problem, the most severe first."""
    yield from _diverged(panel, limits)
    yield from _repeated(panel, limits)
    if not counted:
        yield from _low_overlap(panel, limits)
    yield from _copied(panel, limits)
    deep = panel.relative("batch_std_ratio") < limits.deep  # blur also lowers contrast, but not this much
    for signs in (_washed_out, _texture) if deep else (_texture, _washed_out):
        yield from signs(panel, limits)
    yield from _other_content(panel, limits)
    yield from _low_diversity(panel, limits, counted=counted)
    yield from _colors(panel, limits)


def _diverged(panel: Panel, limits: Limits) -> Iterator[Sign]:
    nothing = panel.relative("coverage") < limits.lost and panel.relative("precision") < limits.lost
    if nothing and panel.relative("batch_std_ratio") > limits.noise:
        yield (
            "diverged",
            "no sample resembles the data, and batch std is above that of the reals: the samples look like noise",
            True,
        )


def _repeated(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.relative("batch_std_ratio"), panel.relative("contrast_ratio")
    flat = panel.figure("contrast_ratio") is not None and contrast <= 2 * spread
    if spread < limits.collapsed_spread and not flat and not is_washed_out(panel, limits):
        text = f"batch std of the fakes is {spread:.2f} times that of the reals"
        yield "collapsed", text, spread < limits.collapsed_spread / 2
    unique = panel.relative("unique_fraction")
    if unique < limits.collapsed_unique:
        yield "collapsed", _unique_text(unique), unique < limits.collapsed_unique / 2


def _copied(panel: Panel, limits: Limits) -> Iterator[Sign]:
    share, distance = panel.value("train_nearer_fraction"), panel.value("train_distance_ratio", 1.0)
    if share > limits.copied:
        text = f"{share:.0%} of the samples are nearer to a training sample than 95% of unseen reals are"
        yield "memorizing", text, share > limits.copied + 0.1
    if distance < limits.beside:
        text = f"distance of the samples to the training set is {distance:.2f} times that of unseen reals"
        yield "memorizing", text, distance < limits.beside - 0.1


def _texture(panel: Panel, limits: Limits) -> Iterator[Sign]:
    fine, spike = panel.excess("spectrum_fine"), panel.excess("spectrum_spike")
    if abs(fine) > limits.fine:
        what = "too little fine detail: blur" if fine < 0 else "too much fine detail: noise"
        yield "artifacts", f"{what} ({10**fine:.2g} times the power of the reals)", abs(fine) > 1.5 * limits.fine
    if spike > limits.spike:
        text = f"a spike in the spectrum, {10**spike:.2g} times that of the reals: a checkerboard or grid"
        yield "artifacts", text, spike > 1.5 * limits.spike
    grain = panel.figure("grain")
    if grain is not None and grain.fake is not None and grain.real is not None:
        more = grain.fake - grain.real
        if more > limits.grain:
            text = f"noise in flat areas is {grain.fake:.1f} gray levels; in the data it is {grain.real:.1f}"
            yield "artifacts", text, more > 1.5 * limits.grain


def _washed_out(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.relative("batch_std_ratio"), panel.relative("contrast_ratio")
    if is_washed_out(panel, limits):
        text = f"batch std is {spread:.2f} and contrast {contrast:.2f} times that of the reals"
        yield "washed-out", text, spread < limits.pale - 0.1


def is_washed_out(panel: Panel, limits: Limits) -> bool:
    """Lower spread and contrast, but the variety of the data is kept: by cluster overlap, or by rank and precision."""
    spread, contrast = panel.relative("batch_std_ratio"), panel.relative("contrast_ratio")
    if not (FLATTEST * contrast < spread < limits.pale and contrast < limits.flat):
        return False
    near = panel.relative("precision") > limits.sharp or max(spread, contrast) < limits.deep
    full_rank = near and panel.relative("effective_rank_ratio") > limits.full
    return full_rank or panel.relative("cluster_overlap_color_matched") > limits.low_overlap


def _low_overlap(panel: Panel, limits: Limits) -> Iterator[Sign]:
    """About a tenth of the modes: little overlap with the clusters of the data, even with colors matched."""
    shared, covered = panel.relative("cluster_overlap"), panel.relative("coverage_color_matched")
    alike = panel.relative("precision") > limits.alike and panel.relative("effective_rank_ratio", 0.0) < limits.narrow
    if max(shared, covered) < limits.collapsed_overlap and alike and not is_washed_out(panel, limits):
        yield "collapsed", _overlap_text(shared), max(shared, covered) < limits.collapsed_overlap - 0.1


def _other_content(panel: Panel, limits: Limits) -> Iterator[Sign]:
    precise, covered = panel.relative("precision"), panel.relative("coverage_color_matched")
    replaced = precise < limits.alike and panel.relative("cluster_overlap_color_matched") < limits.low_overlap
    if precise < limits.precise or covered < limits.covered or replaced:
        text = f"{precise:.0%} of the samples look like the data, {covered:.0%} of the data has a sample nearby"
        yield "artifacts", text, min(precise / limits.precise, covered / limits.covered) < 0.6


def _low_diversity(panel: Panel, limits: Limits, *, counted: bool) -> Iterator[Sign]:
    unique, shared = panel.relative("unique_fraction"), panel.relative("cluster_overlap_color_matched")
    if limits.collapsed_unique <= unique < limits.low_unique:
        yield "low-diversity", _unique_text(unique), unique < limits.low_unique - 0.15
    if counted or is_washed_out(panel, limits):
        return
    if shared < limits.low_overlap:
        yield "low-diversity", _overlap_text(shared), shared < limits.low_overlap - 0.1
    covered = panel.relative("coverage_color_matched")
    if covered < limits.thin and panel.relative("precision") > limits.sharp:
        text = f"the samples look like the data, but only {covered:.0%} of the data has a sample nearby"
        yield "low-diversity", text, covered < limits.thin - 0.15


def _colors(panel: Panel, limits: Limits) -> Iterator[Sign]:
    colors = panel.colors()
    if colors > limits.colors:
        text = f"colors or values are off: a channel differs from the data by {colors:.2f} standard deviations"
        yield "artifacts", text, colors > 1.5 * limits.colors


def _unique_text(fraction: float) -> str:
    return f"{fraction:.0%} of the samples are unique (near-duplicates count once)"


def _overlap_text(fraction: float) -> str:
    return f"cluster overlap is {fraction:.0%} of that between two halves of the data"


def _healthy(panel: Panel, samples: int, known: ModeCoverage | None) -> Verdict:
    spread = f"batch std of the fakes is {panel.relative('batch_std_ratio'):.2f} times that of the reals"
    near = f"{panel.value('coverage'):.0%} of the data has a sample nearby (coverage, random features)"
    evidence = [spread, near]
    if known is not None and known.recognized >= MIN_RECOGNIZED:
        evidence.insert(0, f"{known.covered} of {known.modes} known modes are covered")
    elif known is not None:
        few = f"only {known.recognized:.0%} of the samples are recognizable, too few to count modes"
        return Verdict("undecided", "low", (*evidence, few))
    return Verdict("healthy", "high" if samples >= CONFIDENT_SAMPLES else "low", tuple(evidence))
