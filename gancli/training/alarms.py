"""What in the log should worry a person, in plain words. Pure functions of ticks.

The thresholds were chosen on healthy and collapsing runs of the quickstart preset. A healthy run reads a
ratio of .34 to .46 at the end of 4 px, which is why collapse is not judged before the second resolution is stable.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from gancli.errors import UsageError
from gancli.growth import Schedule
from gancli.results import COLLAPSED_RATIO, LOW_RATIO, Tick, plain

PENALTY_FACTOR = 50.0  # times the run's own median penalty
SATURATION = 0.5  # share of generated values at -1 or 1, where the reals have less than half of that
WARM_UP = 0.1  # share of a run of one resolution before its spread is judged

FEW_KINDS = 0.15  # nearest other sample of the average, over the reals' distance: samples repeat one another
OVERFITTING = 0.6  # median of the last measured ticks
MEASURED = 5  # ticks whose median tells; one is noise
DEAD = 1e-3  # change of the fakes since the last tick, over the reals' deviation
DEAD_TICKS = 3

STOP_WORDS = {
    "collapsed": "collapsed",
    "collapse": "collapsed",
    "low-diversity": "low-diversity",
    "diverged": "diverged",
    "overfitting": "overfitting",
    "dead": "dead",
}  # of --stop-on: names of alarms
BY_TICK_METRICS = {"collapsed", "overfitting"}  # alarms that also rest on what a checkup measures

Row = Mapping[str, Any]
Sign = Callable[[Row], bool]


@dataclass(frozen=True)
class Alarm:
    """What is wrong, and since when."""

    text: str
    began: int  # images


def stop_names(words: Iterable[str]) -> frozenset[str]:
    """The names of alarms for the words of --stop-on. Raises UsageError."""
    for word in words:
        if word not in STOP_WORDS:
            raise UsageError(f"unknown word {word!r}", where="--stop-on", hint=f"use {', '.join(STOP_WORDS)}")
    return frozenset(STOP_WORDS[word] for word in words)


def unsaid(raised: Mapping[str, Alarm], history: Iterable[Row]) -> dict[str, Alarm]:
    """The alarms that this run has not given before: each is given once."""
    said = {warning["name"] for row in history for warning in row["warnings"]}
    return {name: alarm for name, alarm in raised.items() if name not in said}


def kept_checkpoints(history: Iterable[Row]) -> set[str]:
    """The names of the checkpoints from before an alarm, which no warning that was given may lose."""
    return {warning["checkpoint"] for row in history for warning in row["warnings"]} - {None}


def may_judge(schedule: Schedule, images: int, duration: int) -> bool:
    """Is the second resolution stable by now, or does the run start later? With one resolution: is it warm?"""
    segments = schedule.segments
    if len(segments) == 1:
        return images > WARM_UP * duration
    begin = next((s.start for s in segments if s.stage >= 1 and not s.fading), segments[-1].start)
    return images > begin


def raised(tick: Tick, history: Sequence[Row], *, judged: bool) -> dict[str, Alarm]:
    """The alarms that this tick rings, by name. `judged`: may the spread be judged yet? See `may_judge`."""
    rows = [*history, plain(tick)]
    found: dict[str, Alarm] = {}
    if not all(math.isfinite(v) for v in (tick.critic_loss, tick.generator_loss, tick.std_fake)):
        found["diverged"] = Alarm(
            "a loss or a picture is not finite; training will stop at the next checkpoint", tick.images
        )
    if judged:
        found |= _spread_alarms(tick, rows)
    if _penalty_explodes(tick, history):
        text = f"the penalty is {tick.penalty:.3g}, far above what it was: the critic has become steep"
        found["penalty"] = Alarm(text, tick.images)
    if tick.saturation > SATURATION and tick.saturation > 2 * tick.saturation_real:
        text = f"{tick.saturation:.0%} of the generated values lie at the ends of the range"
        found["saturation"] = Alarm(text, tick.images)
    measured = [row for row in rows if row.get("overfitting") is not None]
    if (known := overfitted(measured)) > OVERFITTING:
        text = f"the critic tells the training set from held-out samples ({known:.2f} of its gap to the fakes)"
        found["overfitting"] = Alarm(text, began(measured, lambda row: bool(row["overfitting"] > OVERFITTING / 2)))
    if len(rows) >= DEAD_TICKS and all(dead(row) for row in rows[-DEAD_TICKS:]):
        found["dead"] = Alarm("its samples no longer change", began(rows, dead))
    return found


def _spread_alarms(tick: Tick, rows: Sequence[Row]) -> dict[str, Alarm]:
    """Collapse and low diversity: two ticks in a row, so that one odd batch does not cry."""
    if twice(rows, collapsed):
        few = "it draws few pictures over and over"
        whose = "fakes" if _below(tick.std_ratio, COLLAPSED_RATIO) else "averaged generator's fakes"
        ratio = tick.std_ratio if whose == "fakes" else _last(rows, "ema_std_ratio")
        return {
            "collapsed": Alarm(
                f"the {whose} differ {ratio:.2f} times as much as the reals: {few}", began(rows, collapsed)
            )
        }
    looked_at = [row for row in rows if row.get("ema_nearest_ratio") is not None]
    if twice(looked_at, repeating):
        far = f"{_last(rows, 'ema_nearest_ratio'):.2f} times as far to the nearest other sample"
        return {"collapsed": Alarm(f"the averaged generator repeats itself: {far}", began(looked_at, repeating))}
    if twice(rows, narrow):
        text = f"the fakes differ {tick.std_ratio:.2f} times as much as the reals"
        return {"low-diversity": Alarm(text, began(rows, narrow))}
    return {}


def twice(rows: Sequence[Row], sign: Sign) -> bool:
    """Does it hold now and at the tick before?"""
    return len(rows) >= 2 and all(sign(row) for row in rows[-2:])


def began(rows: Sequence[Row], sign: Sign) -> int:
    """The images of the first of the ticks in a row, up to now, at which it holds."""
    first = rows[-1]
    for row in reversed(rows):
        if not sign(row):
            break
        first = row
    return int(first["images"])


def collapsed(row: Row) -> bool:
    """Hardly any spread, of the raw weights or of the average."""
    return _below(row["std_ratio"], COLLAPSED_RATIO) or _below(row.get("ema_std_ratio"), COLLAPSED_RATIO)


def repeating(row: Row) -> bool:
    """The average's samples have a twin."""
    return _below(row.get("ema_nearest_ratio"), FEW_KINDS)


def narrow(row: Row) -> bool:
    """Little spread at full alpha: a new path is narrower while it fades in."""
    return _below(row["std_ratio"], LOW_RATIO) and bool(row["alpha"] >= 1)


def dead(row: Row) -> bool:
    """The same latents give the same samples as before."""
    return _below(row.get("change"), DEAD)


def overfitted(rows: Sequence[Row]) -> float:
    """Median of the last measured values of `overfitting`, since one may be an outlier; NaN while there are too few."""
    found = [float(row["overfitting"]) for row in rows[-MEASURED:]]
    return median(found) if len(found) == MEASURED else math.nan


def _last(rows: Sequence[Row], key: str) -> float:
    """The last measured value."""
    return next((float(row[key]) for row in reversed(rows) if row.get(key) is not None), math.nan)


def _below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _penalty_explodes(tick: Tick, history: Sequence[Row]) -> bool:
    before = sorted(row["penalty"] for row in history if row["penalty"] is not None)
    return len(before) >= 5 and tick.penalty > 1 and tick.penalty > PENALTY_FACTOR * before[len(before) // 2]
