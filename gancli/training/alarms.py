"""The warnings of a training run, as pure functions of ticks.

The thresholds were chosen on healthy and collapsing runs of the quickstart preset. Healthy runs have a std ratio of
.34 to .46 at the end of 4 px, so collapse is not checked before the second resolution is stable.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

from gancli.errors import UsageError
from gancli.growth import Schedule
from gancli.results import COLLAPSED_RATIO, LOW_RATIO, Tick, plain

PENALTY_FACTOR = 50.0  # multiple of the median penalty of the run
SATURATION = 0.5  # share of generated values at -1 or 1, if the share of the reals is less than half of that
WARM_UP = 0.1  # in a run with one resolution, the share of it before diversity is checked

FEW_KINDS = 0.15  # limit of ema_nearest_ratio; below it, the samples repeat
OVERFITTING = 0.6  # limit for the median of the last measured ticks
MEASURED = 5  # number of ticks in that median; a single value is too noisy
SURE = 4.0  # standard errors by which the gaps of these ticks must differ from 0: a ratio of two noises may be large
DEAD = 1e-3  # limit of `change`
DEAD_TICKS = 3  # number of ticks in a row

STOP_WORDS = {
    "collapsed": "collapsed",
    "collapse": "collapsed",
    "low-diversity": "low-diversity",
    "diverged": "diverged",
    "overfitting": "overfitting",
    "dead": "dead",
}  # values of --stop-on -> names of alarms
BY_TICK_METRICS = {"collapsed", "overfitting"}  # alarms that also use the tick metrics

VERDICTS = ("early", "healthy", "low-diversity", "collapsed", "overfitting", "dead", "diverged")  # of a tick

Row = Mapping[str, Any]
Sign = Callable[[Row], bool]


@dataclass(frozen=True)
class Alarm:
    """A problem, and when it began."""

    text: str  # what was measured and what it means
    began: int  # images


def stop_names(words: Iterable[str]) -> frozenset[str]:
    """The names of the alarms for the values of --stop-on. Raises UsageError."""
    for word in words:
        if word not in STOP_WORDS:
            raise UsageError(
                f"unknown value {word!r}",
                where="--stop-on",
                hint=f"use {', '.join(dict.fromkeys(STOP_WORDS.values()))}",
            )
    return frozenset(STOP_WORDS[word] for word in words)


def unsaid(raised: Mapping[str, Alarm], history: Iterable[Row]) -> dict[str, Alarm]:
    """The alarms that the log does not contain yet. Each alarm is logged once per run."""
    said = {warning["name"] for row in history for warning in row["warnings"]}
    return {name: alarm for name, alarm in raised.items() if name not in said}


def kept_checkpoints(history: Iterable[Row]) -> set[str]:
    """The file names of the checkpoints that the warnings refer to. They must not be deleted."""
    return {warning["checkpoint"] for row in history for warning in row["warnings"]} - {None}


def may_judge(schedule: Schedule, images: int, duration: int) -> bool:
    """Whether diversity is checked at this point of the run.

    That is after the fade of the second resolution (or of the first one of the run, if it starts later), and with a
    single resolution after the warm-up.
    """
    segments = schedule.segments
    if len(segments) == 1:
        return images > WARM_UP * duration
    begin = next((s.start for s in segments if s.stage >= 1 and not s.fading), segments[-1].start)
    return images > begin


def raised(tick: Tick, history: Sequence[Row], *, judged: bool) -> dict[str, Alarm]:
    """The alarms that this tick raises, by name. judged: whether diversity is checked yet, see `may_judge`."""
    rows = [*history, plain(tick)]
    found: dict[str, Alarm] = {}
    if not all(math.isfinite(v) for v in (tick.critic_loss, tick.generator_loss, tick.std_fake)):
        found["diverged"] = Alarm("a loss or a sample is not finite", tick.images)
    if judged:
        found |= _spread_alarms(tick, rows)
    if _penalty_explodes(tick, history):
        text = f"the penalty is {tick.penalty:.3g}, far above its median in this run: the critic's gradients are large"
        found["penalty"] = Alarm(text, tick.images)
    if tick.saturation > SATURATION and tick.saturation > 2 * tick.saturation_real:
        text = f"{tick.saturation:.0%} of the generated values are at the ends of the range (-1 or 1)"
        found["saturation"] = Alarm(text, tick.images)
    measured = [row for row in rows if row.get("overfitting") is not None]
    if (known := overfitted(measured)) > OVERFITTING and beyond_noise(measured):
        text = (
            "the critic overfits: it scores training samples higher than held-out samples, by "
            f"{known:.2f} of the gap between training samples and fakes"
        )
        found["overfitting"] = Alarm(text, began(measured, lambda row: bool(row["overfitting"] > OVERFITTING / 2)))
    if len(rows) >= DEAD_TICKS and all(dead(row) for row in rows[-DEAD_TICKS:]):
        found["dead"] = Alarm("the generated samples no longer change between ticks", began(rows, dead))
    return found


def _spread_alarms(tick: Tick, rows: Sequence[Row]) -> dict[str, Alarm]:
    """Collapse and low diversity. Two ticks in a row are required, because a single batch may be an outlier."""
    if twice(rows, collapsed):
        few = "the generator produces few distinct samples"
        whose = "fakes" if _below(tick.std_ratio, COLLAPSED_RATIO) else "EMA generator's fakes"
        ratio = tick.std_ratio if whose == "fakes" else _last(rows, "ema_std_ratio")
        return {
            "collapsed": Alarm(
                f"batch std of the {whose} is {ratio:.2f} times that of the reals: {few}", began(rows, collapsed)
            )
        }
    looked_at = [row for row in rows if row.get("ema_nearest_ratio") is not None]
    if twice(looked_at, repeating):
        far = f"distance to the nearest other sample is {_last(rows, 'ema_nearest_ratio'):.2f} times that of the reals"
        return {"collapsed": Alarm(f"samples of the EMA generator repeat: {far}", began(looked_at, repeating))}
    if twice(rows, narrow):
        text = f"batch std of the fakes is {tick.std_ratio:.2f} times that of the reals: the fakes are less diverse"
        return {"low-diversity": Alarm(text, began(rows, narrow))}
    return {}


def twice(rows: Sequence[Row], sign: Sign) -> bool:
    """Whether `sign` is true for each of the last two ticks."""
    return len(rows) >= 2 and all(sign(row) for row in rows[-2:])


def began(rows: Sequence[Row], sign: Sign) -> int:
    """The images at the first of the consecutive ticks, up to the last one, for which `sign` is true."""
    first = rows[-1]
    for row in reversed(rows):
        if not sign(row):
            break
        first = row
    return int(first["images"])


def collapsed(row: Row) -> bool:
    """Whether the batch std of the raw or the EMA generator indicates collapse."""
    return _below(row["std_ratio"], COLLAPSED_RATIO) or _below(row.get("ema_std_ratio"), COLLAPSED_RATIO)


def repeating(row: Row) -> bool:
    """Whether the samples of the EMA generator repeat."""
    return _below(row.get("ema_nearest_ratio"), FEW_KINDS)


def narrow(row: Row) -> bool:
    """Whether the batch std is low. Not checked during a fade, when it is lower."""
    return _below(row["std_ratio"], LOW_RATIO) and bool(row["alpha"] >= 1)


def dead(row: Row) -> bool:
    """Whether the samples of the fixed latents are the same as at the tick before."""
    return _below(row.get("change"), DEAD)


def overfitted(rows: Sequence[Row]) -> float:
    """Median of the last measured values of `overfitting`, since one may be an outlier; NaN if there are too few."""
    found = [float(row["overfitting"]) for row in rows[-MEASURED:]]
    return median(found) if len(found) == MEASURED else math.nan


def beyond_noise(rows: Sequence[Row]) -> bool:
    """Whether both gaps of `overfitting` are clear of their own noise over the last measured ticks.

    Near the start the critic scores fakes, training and held-out samples alike, and the ratio of two gaps near 0 may
    have any value. Rows of older logs, without the gap, count as before.
    """
    last = rows[-MEASURED:]
    if any(row.get("held_out_gap") is None for row in last):
        return True
    gaps = [float(row["held_out_gap"]) for row in last]
    fakes = [gap / float(row["overfitting"]) for gap, row in zip(gaps, last, strict=True) if row["overfitting"]]
    return all(len(x) == MEASURED and mean(x) > SURE * stdev(x) / math.sqrt(MEASURED) for x in (gaps, fakes))


def verdict(tick: Tick, history: Sequence[Row], *, judged: bool) -> str:
    """What the signs at this tick say, one of VERDICTS. A warning needs more: two ticks in a row, or the last five."""
    row = plain(tick)
    found = raised(tick, history, judged=judged)
    if "diverged" in found:
        return "diverged"
    if not judged:
        return "early"
    if collapsed(row) or repeating(row):
        return "collapsed"
    if narrow(row):
        return "low-diversity"
    return next((name for name in ("overfitting", "dead") if name in found), "healthy")


def _last(rows: Sequence[Row], key: str) -> float:
    """The last measured value of a key; NaN if there is none."""
    return next((float(row[key]) for row in reversed(rows) if row.get(key) is not None), math.nan)


def _below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _penalty_explodes(tick: Tick, history: Sequence[Row]) -> bool:
    before = sorted(row["penalty"] for row in history if row["penalty"] is not None)
    return len(before) >= 5 and tick.penalty > 1 and tick.penalty > PENALTY_FACTOR * before[len(before) // 2]
