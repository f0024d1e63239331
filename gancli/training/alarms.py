"""What in the log should worry a person, in plain words. Pure functions of ticks; each alarm is raised once.

The thresholds were chosen on healthy and collapsing runs of the quickstart preset. A healthy run reads a
ratio of .34 to .46 at the end of 4 px, which is why collapse is not judged before the second resolution is stable.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gancli.results import Tick

COLLAPSE_RATIO = 0.3  # batch std of fakes / reals, over 64 samples
LOW_RATIO = 0.6  # at full resolution
PENALTY_FACTOR = 50.0  # times the run's own median penalty
SATURATION = 0.5  # share of generated values at -1 or 1

Row = Mapping[str, Any]


def alarms(tick: Tick, history: Sequence[Row], *, judged: bool) -> tuple[str, ...]:
    """The warnings that this tick raises for the first time. `judged`: is the second resolution stable by now?"""
    raised = [text for name, text in _raised(tick, history, judged=judged) if not _said(name, history)]
    return tuple(raised)


def _said(name: str, history: Iterable[Row]) -> bool:
    return any(warning.startswith(name) for row in history for warning in row["warnings"])


def _raised(tick: Tick, history: Sequence[Row], *, judged: bool) -> list[tuple[str, str]]:
    found = {}
    ratio = f"the fakes differ {tick.std_ratio:.2f} times as much as the reals"
    # two ticks in a row, so that one odd batch does not cry
    ratios = [tick.std_ratio, history[-1]["std_ratio"] or 0.0] if history and judged else [math.inf]
    if not all(math.isfinite(v) for v in (tick.critic_loss, tick.generator_loss, tick.std_fake)):
        found["non-finite"] = "a loss or a picture is not finite; training will stop at the next checkpoint"
    if max(ratios) < COLLAPSE_RATIO:
        found["collapse"] = f"{ratio}: the generator draws few pictures over and over"
    elif max(ratios) < LOW_RATIO and tick.alpha >= 1 and history[-1]["alpha"] >= 1:
        found["low diversity"] = ratio
    if _penalty_explodes(tick, history):
        found["penalty"] = f"the penalty is {tick.penalty:.3g}, far above what it was: the critic has become steep"
    if tick.saturation > SATURATION:
        found["saturation"] = f"{tick.saturation:.0%} of the generated values lie at the ends of the range"
    return [(name, f"{name}: {text}") for name, text in found.items()]


def _penalty_explodes(tick: Tick, history: Sequence[Row]) -> bool:
    before = sorted(row["penalty"] for row in history if row["penalty"] is not None)
    return len(before) >= 5 and tick.penalty > 1 and tick.penalty > PENALTY_FACTOR * before[len(before) // 2]
