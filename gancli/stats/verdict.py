"""The verdict: one word, with its evidence. A pure function of the panel.

The words follow one rule, fixed before anything was measured: `collapsed`, at most a tenth of the modes, or of the
distinct samples that an honest set would have, is left; `low-diversity`, at most six tenths. `memorizing`: samples
lie nearer to the training set than unseen reals do. `washed-out`: values pulled together. `artifacts`: another
texture, other colors, or other things than the data's. `diverged`: nothing of the data is left, or it is not finite.
The limits were chosen on one draw of the labeled sets of benchmarks/verdicts.py and tested on others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from gancli.health import Figure
from gancli.stats.figures import FIGURES
from gancli.stats.modes import ModeCoverage

ENOUGH = 64  # samples of each side
SURE = 250  # from which a verdict may be called sure
COLLAPSED_SHARE, LOW_SHARE = 0.1, 0.6  # of the known modes
FLATTEST = 0.35  # batch std ratio over contrast ratio below which samples are not pale but the same
ENOUGH_RECOGNIZED = 0.3  # share below which counting modes says more of the pictures' quality


@dataclass(frozen=True)
class Limits:
    """What was calibrated. Shares and ratios are relative to their baselines; spectra in powers of ten."""

    collapsed_spread: float = 0.3  # batch std ratio
    collapsed_distinct: float = 0.13
    low_distinct: float = 0.78
    collapsed_parts: float = 0.46  # cluster overlap
    narrow: float = 0.65  # effective rank ratio of what has lost most of its modes
    low_parts: float = 0.88  # cluster overlap, colors matched
    thin: float = 0.89  # coverage, colors matched, of samples that are precise
    sharp: float = 0.95  # precision from which samples are called so
    copied: float = 0.28  # share nearer than 95 % of unseen reals
    beside: float = 0.55  # distance to the training set
    pale: float = 0.85  # batch std ratio
    flat: float = 0.92  # contrast ratio
    deep: float = 0.65  # batch std ratio below which paleness is no blur
    full: float = 0.75  # effective rank ratio of what is pale and yet whole
    fine: float = 0.3  # spectrum, fine half
    spike: float = 1.0
    grain: float = 5.0  # gray levels
    colors: float = 0.14  # color distance over the deviation of the reals
    precise: float = 0.6
    alike: float = 0.78  # precision below which a missing part is no lost mode, but something else in its place
    covered: float = 0.3
    lost: float = 0.03  # coverage and precision
    noise: float = 1.25  # batch std ratio


LIMITS = Limits()


@dataclass(frozen=True)
class Verdict:
    """A word, how sure it is, and why."""

    word: str
    confidence: str  # high or low
    evidence: tuple[str, ...]


class Panel:
    """The figures by key, relative to their baselines. A key that is not in FIGURES raises KeyError."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.found: dict[str, list[Figure]] = {key: [] for key in FIGURES}
        for figure in figures:
            self.found[figure.key].append(figure)

    def parts(self, key: str) -> dict[str, Figure]:
        """A figure of several parts, such as channels, by part."""
        return {figure.part: figure for figure in self.found[key]}

    def figure(self, key: str) -> Figure | None:
        """The one figure of that key; None where these samples have none."""
        return next(iter(self.found[key]), None)

    def value(self, key: str, default: float = 0.0) -> float:
        """The figure itself."""
        figure = self.figure(key)
        return default if figure is None else figure.value

    def share(self, key: str, default: float = 1.0) -> float:
        """The figure over its baseline."""
        figure = self.figure(key)
        return default if figure is None or figure.baseline <= 0 else figure.value / figure.baseline

    def excess(self, key: str) -> float:
        """How far the figure lies above its baseline."""
        figure = self.figure(key)
        return 0.0 if figure is None else figure.value - figure.baseline

    def colors(self) -> float:
        """The largest distance of a channel's values, less its baseline, over the deviation of the reals'."""
        variances = self.parts("channel_variance_distance")
        apart = [0.0]
        for part, figure in (self.parts("color_distance") | self.parts("value_distance")).items():
            spread = sqrt(max(variances[part].real or 0.0, 1e-12))
            apart.append((figure.value - figure.baseline) / 127.5 / spread)
        return max(apart)


def judge(figures: Sequence[Figure], samples: int, known: ModeCoverage | None, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a panel. known: how the samples spread over the modes, where these are known."""
    if samples < ENOUGH:
        return Verdict("undecided", "low", (f"{samples} samples a side are too few; {ENOUGH} are needed",))
    panel = Panel(figures)
    spread = panel.figure("batch_std_ratio")
    if spread is None or not spread.baseline > 0:
        return Verdict("undecided", "low", ("the reals do not differ from one another",))
    counted = known is not None and known.recognized >= ENOUGH_RECOGNIZED
    found = list(_known(known) if counted and known else ()) + list(_found(panel, limits, counted=counted))
    if not found:
        return _healthy(panel, samples, known)
    word = found[0][0]
    evidence = tuple(text for name, text, _ in found if name == word)
    others = [name for name, _, _ in found if name != word]
    if others:
        evidence += (f"also: {', '.join(dict.fromkeys(others))}",)
    sure = samples >= SURE and any(name == word and clear for name, _, clear in found)
    return Verdict(word, "high" if sure else "low", evidence)


Sign = tuple[str, str, bool]  # the word, why, and is it far beyond its limit?


def _known(known: ModeCoverage) -> Iterator[Sign]:
    left = known.covered / known.modes
    text = f"{known.covered} of {known.modes} known modes are covered"
    if left <= COLLAPSED_SHARE:
        yield "collapsed", text, True
    elif left <= LOW_SHARE:
        yield "low-diversity", text, True


def _found(panel: Panel, limits: Limits, *, counted: bool) -> Iterator[Sign]:
    """Every sign of trouble, the gravest first."""
    yield from _diverged(panel, limits)
    yield from _repeated(panel, limits)
    if not counted:
        yield from _few_parts(panel, limits)
    yield from _copied(panel, limits)
    deep = panel.share("batch_std_ratio") < limits.deep  # blur takes contrast too, but never so much
    for signs in (_pale, _texture) if deep else (_texture, _pale):
        yield from signs(panel, limits)
    yield from _other(panel, limits)
    yield from _fewer(panel, limits, counted=counted)
    yield from _colors(panel, limits)


def _diverged(panel: Panel, limits: Limits) -> Iterator[Sign]:
    nothing = panel.share("coverage") < limits.lost and panel.share("precision") < limits.lost
    if nothing and panel.share("batch_std_ratio") > limits.noise:
        yield "diverged", "no sample resembles the data, and they differ more than the data does: noise", True


def _repeated(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.share("batch_std_ratio"), panel.share("contrast_ratio")
    flat = panel.figure("contrast_ratio") is not None and contrast <= 2 * spread
    if spread < limits.collapsed_spread and not flat and not is_pale(panel, limits):
        text = f"the fakes differ {spread:.2f} times as much from one another as the reals do"
        yield "collapsed", text, spread < limits.collapsed_spread / 2
    distinct = panel.share("unique_fraction")
    if distinct < limits.collapsed_distinct:
        yield "collapsed", _distinct(distinct), distinct < limits.collapsed_distinct / 2


def _copied(panel: Panel, limits: Limits) -> Iterator[Sign]:
    share, distance = panel.value("train_nearer_fraction"), panel.value("train_distance_ratio", 1.0)
    if share > limits.copied:
        text = f"{share:.0%} of the samples lie nearer to a training sample than 95 % of unseen reals do"
        yield "memorizing", text, share > limits.copied + 0.1
    if distance < limits.beside:
        text = f"samples lie {distance:.2f} times as far from the training set as unseen reals do"
        yield "memorizing", text, distance < limits.beside - 0.1


def _texture(panel: Panel, limits: Limits) -> Iterator[Sign]:
    fine, spike = panel.excess("spectrum_fine"), panel.excess("spectrum_spike")
    if abs(fine) > limits.fine:
        what = "too little fine detail: blur" if fine < 0 else "too much fine detail: noise"
        yield "artifacts", f"{what} ({10**fine:.2g} times the power)", abs(fine) > 1.5 * limits.fine
    if spike > limits.spike:
        text = f"a spike in the spectrum, {10**spike:.2g} times the reals': a grid"
        yield "artifacts", text, spike > 1.5 * limits.spike
    grain = panel.figure("grain")
    if grain is not None and grain.fake is not None and grain.real is not None:
        more = grain.fake - grain.real
        if more > limits.grain:
            text = f"grain of {grain.fake:.1f} gray levels in flat areas, where the data has {grain.real:.1f}"
            yield "artifacts", text, more > 1.5 * limits.grain


def _pale(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.share("batch_std_ratio"), panel.share("contrast_ratio")
    if is_pale(panel, limits):
        yield "washed-out", f"spread {spread:.2f} and contrast {contrast:.2f} of the reals'", spread < limits.pale - 0.1


def is_pale(panel: Panel, limits: Limits) -> bool:
    """Less spread and less contrast, and yet all there: every part of the data, or as many directions and near it."""
    spread, contrast = panel.share("batch_std_ratio"), panel.share("contrast_ratio")
    if not (FLATTEST * contrast < spread < limits.pale and contrast < limits.flat):
        return False
    near = panel.share("precision") > limits.sharp or max(spread, contrast) < limits.deep
    every_way = near and panel.share("effective_rank_ratio") > limits.full
    return every_way or panel.share("cluster_overlap_color_matched") > limits.low_parts


def _few_parts(panel: Panel, limits: Limits) -> Iterator[Sign]:
    """A tenth of the modes: little in common with the data, whose colors are not to blame."""
    shared, covered = panel.share("cluster_overlap"), panel.share("coverage_color_matched")
    alike = panel.share("precision") > limits.alike and panel.share("effective_rank_ratio", 0.0) < limits.narrow
    if max(shared, covered) < limits.collapsed_parts and alike and not is_pale(panel, limits):
        yield "collapsed", _parts(shared), max(shared, covered) < limits.collapsed_parts - 0.1


def _other(panel: Panel, limits: Limits) -> Iterator[Sign]:
    precise, covered = panel.share("precision"), panel.share("coverage_color_matched")
    replaced = precise < limits.alike and panel.share("cluster_overlap_color_matched") < limits.low_parts
    if precise < limits.precise or covered < limits.covered or replaced:
        text = f"{precise:.0%} of the samples look like the data, {covered:.0%} of the data has one nearby"
        yield "artifacts", text, min(precise / limits.precise, covered / limits.covered) < 0.6


def _fewer(panel: Panel, limits: Limits, *, counted: bool) -> Iterator[Sign]:
    distinct, shared = panel.share("unique_fraction"), panel.share("cluster_overlap_color_matched")
    if limits.collapsed_distinct <= distinct < limits.low_distinct:
        yield "low-diversity", _distinct(distinct), distinct < limits.low_distinct - 0.15
    if counted or is_pale(panel, limits):
        return
    if shared < limits.low_parts:
        yield "low-diversity", _parts(shared), shared < limits.low_parts - 0.1
    covered = panel.share("coverage_color_matched")
    if covered < limits.thin and panel.share("precision") > limits.sharp:
        text = f"the samples look like the data, but only {covered:.0%} of it has one nearby"
        yield "low-diversity", text, covered < limits.thin - 0.15


def _colors(panel: Panel, limits: Limits) -> Iterator[Sign]:
    colors = panel.colors()
    if colors > limits.colors:
        text = f"other values: a channel lies {colors:.2f} deviations away from the data's"
        yield "artifacts", text, colors > 1.5 * limits.colors


def _distinct(share: float) -> str:
    return f"{share:.0%} of them are left when near-copies of one another count once"


def _parts(share: float) -> str:
    return f"counted by parts of the data, both sides have {share:.0%} of what two halves of the data have in common"


def _healthy(panel: Panel, samples: int, known: ModeCoverage | None) -> Verdict:
    spread = f"the fakes differ {panel.share('batch_std_ratio'):.2f} times as much from one another as the reals do"
    near = f"{panel.value('coverage'):.0%} of the data has a sample nearby, by random features"
    evidence = [spread, near]
    if known is not None and known.recognized >= ENOUGH_RECOGNIZED:
        evidence.insert(0, f"{known.covered} of {known.modes} known modes are covered")
    elif known is not None:
        few = f"only {known.recognized:.0%} of the samples are recognizable, too few to count modes"
        return Verdict("undecided", "low", (*evidence, few))
    return Verdict("healthy", "high" if samples >= SURE else "low", tuple(evidence))
