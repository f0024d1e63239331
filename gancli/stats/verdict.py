"""The verdict: one word, with its evidence. A pure function of a few figures.

The words follow one rule: `collapsed`, at most a tenth of the modes is left; `low diversity`, at most
six tenths. Known modes are counted; elsewhere the batch-std ratio stands in for them. It sees a total
collapse and washed-out pictures; it is blind to the loss of single modes and to copying the training set.
"""

from dataclasses import dataclass

from gancli.results import COLLAPSED_RATIO, LOW_RATIO
from gancli.stats.modes import Coverage

ENOUGH = 64  # samples of each side
COLLAPSED_SHARE, LOW_SHARE = 0.1, 0.6  # of the known modes
FAR = 0.05  # share of the reals with a fake nearby, over its floor, below which the fakes are something else
NOISE_RATIO = 1.4  # healthy runs stay below 1.1
ENOUGH_RECOGNISED = 0.3  # share below which counting modes says more of the pictures' quality


@dataclass(frozen=True)
class Verdict:
    """A word, how sure it is, and why."""

    word: str
    confidence: str  # high or low
    evidence: tuple[str, ...]


def judge(ratio: float, floor: float, samples: int, coverage: Coverage | None, near: float | None = None) -> Verdict:
    """The verdict on batch std as a ratio to that of the reals, its floor, and the known modes where there are any.

    near: the share of the reals with a fake nearby, over its floor. Where hardly any has one the spread is that of
    something else, and nothing is called healthy.
    """
    if samples < ENOUGH:
        return Verdict("undecided", "low", (f"{samples} samples a side are too few; {ENOUGH} are needed",))
    if not floor > 0:
        return Verdict("undecided", "low", ("the reals do not differ from one another",))
    relative = ratio / floor
    spread = f"the fakes differ {relative:.2f} times as much from one another as the reals do"
    if relative < COLLAPSED_RATIO:
        return Verdict("collapsed", "high", (spread,))
    counted = coverage is not None and coverage.recognised >= ENOUGH_RECOGNISED
    if coverage is None or not counted:
        return _by_spread(relative, spread, coverage, near)
    modes = f"{coverage.covered} of {coverage.modes} known modes are covered"
    left = coverage.covered / coverage.modes
    if left <= COLLAPSED_SHARE:
        return Verdict("collapsed", "high", (modes, spread))
    if left <= LOW_SHARE or relative < LOW_RATIO:
        return Verdict("low diversity", "high", (modes, spread))
    return Verdict("healthy", "high", (modes, spread))


def _by_spread(relative: float, spread: str, coverage: Coverage | None, near: float | None) -> Verdict:
    if relative < LOW_RATIO:
        return Verdict("low diversity", "high", (spread,))
    if coverage is not None:
        few = f"only {coverage.recognised:.0%} of the samples are recognisable, too few to count modes"
        return Verdict("undecided", "low", (spread, few))
    if relative > NOISE_RATIO:
        return Verdict("undecided", "low", (spread, "that much more is noise, not variety"))
    if near is not None and near < FAR:
        return Verdict("undecided", "low", (spread, f"only {near:.0%} of the reals have a fake nearby"))
    blind = "the spread alone does not show the loss of single modes, nor copies of the training set"
    return Verdict("healthy", "low", (spread, blind))
