"""What in the log should worry a person, in plain words. Pure functions of ticks.

The thresholds were chosen on healthy and collapsing runs of the quickstart preset. A healthy run reads a
ratio of .34 to .46 at the end of 4 px, which is why collapse is not judged before the second resolution is stable.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gancli.growth import Schedule
from gancli.results import COLLAPSED_RATIO, LOW_RATIO, Tick

PENALTY_FACTOR = 50.0  # times the run's own median penalty
SATURATION = 0.5  # share of generated values at -1 or 1, where the reals have less than half of that
WARM_UP = 0.1  # share of a run of one resolution before its spread is judged

Row = Mapping[str, Any]


def unsaid(raised: Mapping[str, str], history: Iterable[Row]) -> tuple[str, ...]:
    """The alarms that this run has not given before, as warnings: "name: text"."""
    said = {warning.partition(":")[0] for row in history for warning in row["warnings"]}
    return tuple(f"{name}: {text}" for name, text in raised.items() if name not in said)


def may_judge(schedule: Schedule, images: int, duration: int) -> bool:
    """Is the second resolution stable by now, or does the run start later? With one resolution: is it warm?"""
    segments = schedule.segments
    if len(segments) == 1:
        return images > WARM_UP * duration
    begin = next((s.start for s in segments if s.stage >= 1 and not s.fading), segments[-1].start)
    return images > begin


def raised(tick: Tick, history: Sequence[Row], *, judged: bool) -> dict[str, str]:
    """The alarms that this tick rings, by name. `judged`: may the spread be judged yet? See `may_judge`."""
    found = {}
    ratio = f"the fakes differ {tick.std_ratio:.2f} times as much as the reals"
    # two ticks in a row, so that one odd batch does not cry
    ratios = [tick.std_ratio, history[-1]["std_ratio"] or 0.0] if history and judged else [math.inf]
    if not all(math.isfinite(v) for v in (tick.critic_loss, tick.generator_loss, tick.std_fake)):
        found["non-finite"] = "a loss or a picture is not finite; training will stop at the next checkpoint"
    if max(ratios) < COLLAPSED_RATIO:
        found["collapse"] = f"{ratio}: the generator draws few pictures over and over"
    elif max(ratios) < LOW_RATIO and tick.alpha >= 1 and history[-1]["alpha"] >= 1:
        found["low diversity"] = ratio
    if _penalty_explodes(tick, history):
        found["penalty"] = f"the penalty is {tick.penalty:.3g}, far above what it was: the critic has become steep"
    if tick.saturation > SATURATION and tick.saturation > 2 * tick.saturation_real:
        found["saturation"] = f"{tick.saturation:.0%} of the generated values lie at the ends of the range"
    return found


def _penalty_explodes(tick: Tick, history: Sequence[Row]) -> bool:
    before = sorted(row["penalty"] for row in history if row["penalty"] is not None)
    return len(before) >= 5 and tick.penalty > 1 and tick.penalty > PENALTY_FACTOR * before[len(before) // 2]
