"""The verdict: one word, with its evidence. A pure function of the panel.

The words follow one rule, fixed before anything was measured: `collapsed`, at most a tenth of the modes, or of the
distinct samples that an honest set would have, is left; `low diversity`, at most six tenths. `memorising`: samples
lie nearer to the training set than unseen reals do. `washed out`: values pulled together. `artefacts`: another
texture, other colours, or other things than the data's. `diverged`: nothing of the data is left, or it is not finite.
The limits were chosen on one half of the labelled sets of benchmarks/verdicts.py and tested on the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from gancli.health import Figure
from gancli.results import COLLAPSED_RATIO, LOW_RATIO
from gancli.stats.modes import Coverage

ENOUGH = 64  # samples of each side
SURE = 250  # from which a verdict may be called sure
COLLAPSED_SHARE, LOW_SHARE = 0.1, 0.6  # of the known modes
ENOUGH_RECOGNISED = 0.3  # share below which counting modes says more of the pictures' quality


@dataclass(frozen=True)
class Limits:
    """What was calibrated. Shares and ratios are relative to their floors; spectra in powers of ten."""

    collapsed_spread: float = 0.3  # batch std ratio
    collapsed_distinct: float = 0.14
    low_distinct: float = 0.78
    collapsed_parts: float = 0.2
    low_parts: float = 0.8
    copied: float = 0.33  # share nearer than 95 % of unseen reals
    pale: float = 0.85  # batch std ratio and contrast ratio
    fine: float = 0.4  # spectrum, fine half
    spike: float = 0.9
    colours: float = 0.12  # colour distance over the deviation of the reals
    precise: float = 0.4
    covered: float = 0.3
    lost: float = 0.02  # coverage and precision


LIMITS = Limits()


@dataclass(frozen=True)
class Verdict:
    """A word, how sure it is, and why."""

    word: str
    confidence: str  # high or low
    evidence: tuple[str, ...]


class Panel:
    """The figures by name, relative to their floors."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.by_name = {figure.name: figure for figure in figures}

    def value(self, name: str, default: float = 0.0) -> float:
        """The figure itself."""
        return self.by_name[name].value if name in self.by_name else default

    def share(self, name: str, default: float = 1.0) -> float:
        """The figure over its floor."""
        figure = self.by_name.get(name)
        return default if figure is None else figure.value / max(figure.floor, 1e-12)

    def excess(self, name: str) -> float:
        """How far the figure lies above its floor."""
        figure = self.by_name.get(name)
        return 0.0 if figure is None else figure.value - figure.floor

    def colours(self) -> float:
        """Mean over channels of the distance of the values, over the deviation of the reals' values; less its floor."""
        apart = []
        for name, figure in self.by_name.items():
            kind, _, channel = name.partition(", ")
            if kind in ("colour distance", "value distance"):
                spread = sqrt(max(self.by_name[f"variance, {channel}"].real or 0.0, 1e-12))
                apart.append((figure.value - figure.floor) / 127.5 / spread)
        return sum(apart) / max(1, len(apart))


def judge(figures: Sequence[Figure], samples: int, known: Coverage | None, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a panel. known: how the samples spread over the modes, where these are known."""
    if samples < ENOUGH:
        return Verdict("undecided", "low", (f"{samples} samples a side are too few; {ENOUGH} are needed",))
    panel = Panel(figures)
    if not panel.by_name["batch std ratio"].floor > 0:
        return Verdict("undecided", "low", ("the reals do not differ from one another",))
    counted = known is not None and known.recognised >= ENOUGH_RECOGNISED
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


def by_spread(ratio: float) -> str:
    """A word by the batch std ratio of one tick alone: for lists of runs. `inspect-stats` looks closer."""
    return "collapsed" if ratio < COLLAPSED_RATIO else "low diversity" if ratio < LOW_RATIO else "healthy"


Sign = tuple[str, str, bool]  # the word, why, and is it far beyond its limit?


def _known(known: Coverage) -> Iterator[Sign]:
    left = known.covered / known.modes
    text = f"{known.covered} of {known.modes} known modes are covered"
    if left <= COLLAPSED_SHARE:
        yield "collapsed", text, True
    elif left <= LOW_SHARE:
        yield "low diversity", text, True


def _found(panel: Panel, limits: Limits, *, counted: bool) -> Iterator[Sign]:
    """Every sign of trouble, the gravest first."""
    yield from _diverged(panel, limits)
    yield from _repeated(panel, limits)
    yield from _copied(panel, limits)
    yield from _texture(panel, limits)
    if not counted:
        yield from _parts(panel, limits)
    yield from _pale(panel, limits)
    yield from _other(panel, limits)


def _diverged(panel: Panel, limits: Limits) -> Iterator[Sign]:
    nothing = panel.share("coverage") < limits.lost and panel.share("precision") < limits.lost
    noise = panel.share("batch std ratio") > 1.3
    if nothing and noise:
        yield "diverged", "no sample resembles the data, and they differ more than the data does: noise", True


def _repeated(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.share("batch std ratio"), panel.share("contrast ratio")
    if spread < limits.collapsed_spread and (contrast > 2 * spread or "contrast ratio" not in panel.by_name):
        text = f"the fakes differ {spread:.2f} times as much from one another as the reals do"
        yield "collapsed", text, spread < limits.collapsed_spread / 2
    distinct = panel.share("distinct share")
    text = f"{distinct:.0%} of them are left when near-copies of one another count once"
    if distinct < limits.collapsed_distinct and panel.share("parts kept, colours matched") < 2:
        yield "collapsed", text, distinct < limits.collapsed_distinct / 2
    elif distinct < limits.low_distinct:
        yield "low diversity", text, distinct < limits.low_distinct - 0.15


def _copied(panel: Panel, limits: Limits) -> Iterator[Sign]:
    share = panel.value("share nearer than unseen reals")
    if share > limits.copied:
        text = f"{share:.0%} of the samples lie nearer to a training sample than 95 % of unseen reals do"
        yield "memorising", text, share > limits.copied + 0.15


def _texture(panel: Panel, limits: Limits) -> Iterator[Sign]:
    fine, spike = panel.excess("spectrum, fine half"), panel.excess("spectrum, highest spike")
    if abs(fine) > limits.fine:
        what = "too little fine detail: blur" if fine < 0 else "too much fine detail: noise"
        yield "artefacts", f"{what} ({10**fine:.2g} times the power)", abs(fine) > 1.5 * limits.fine
    if spike > limits.spike:
        yield (
            "artefacts",
            f"a spike in the spectrum, {10**spike:.2g} times the reals': a grid",
            spike > 1.5 * limits.spike,
        )


def _parts(panel: Panel, limits: Limits) -> Iterator[Sign]:
    left = max(panel.share("parts kept"), panel.share("parts kept, colours matched"))
    text = f"only {left:.0%} of the data lies in parts that the fakes have not all but left"
    if left < limits.collapsed_parts:
        yield "collapsed", text, left < limits.collapsed_parts / 2
    elif left < limits.low_parts:
        yield "low diversity", text, left < limits.low_parts - 0.15


def _pale(panel: Panel, limits: Limits) -> Iterator[Sign]:
    spread, contrast = panel.share("batch std ratio"), panel.share("contrast ratio")
    if max(spread, contrast) < limits.pale:
        text = f"spread {spread:.2f} and contrast {contrast:.2f} of the reals'"
        yield "washed out", text, max(spread, contrast) < limits.pale - 0.1


def _other(panel: Panel, limits: Limits) -> Iterator[Sign]:
    colours = panel.colours()
    if colours > limits.colours:
        yield (
            "artefacts",
            f"other values: {colours:.2f} deviations away from the data's",
            colours > 1.5 * limits.colours,
        )
    precise, covered = panel.share("precision"), panel.share("coverage, colours matched")
    if precise < limits.precise or covered < limits.covered:
        text = f"{precise:.0%} of the samples look like the data, {covered:.0%} of the data has one nearby"
        yield "artefacts", text, min(precise / limits.precise, covered / limits.covered) < 0.6


def _healthy(panel: Panel, samples: int, known: Coverage | None) -> Verdict:
    spread = f"the fakes differ {panel.share('batch std ratio'):.2f} times as much from one another as the reals do"
    near = f"{panel.share('coverage'):.0%} of the data has a sample nearby, by random features"
    evidence = [spread, near]
    if known is not None and known.recognised >= ENOUGH_RECOGNISED:
        evidence.insert(0, f"{known.covered} of {known.modes} known modes are covered")
    elif known is not None:
        few = f"only {known.recognised:.0%} of the samples are recognisable, too few to count modes"
        return Verdict("undecided", "low", (*evidence, few))
    return Verdict("healthy", "high" if samples >= SURE else "low", tuple(evidence))
