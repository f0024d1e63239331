"""Curves from the logs of runs: smoothing and summary numbers. Steps are generator steps."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancli.errors import UsageError
from gancli.results import AblationRow, Spread
from gancli.runs import Run
from gancli.stats.figures import FIGURES
from gancli.ticks import NUMBERS

Floats = NDArray[np.float64]

LAST = 0.1  # share of a curve that is averaged for its final value
KEYS = tuple(name for name in NUMBERS if name not in ("images", "kimg"))
VERDICT = "verdict"  # not a number, but a row of the table
OF_A_NETWORK = ("fid", "kid")  # keys of the health panel that need --features


class Curve(NamedTuple):
    """One quantity of one run over time."""

    steps: Floats  # (T,) generator steps
    values: Floats  # (T,) NaN where the log has null


def curve(ticks: Sequence[Mapping[str, Any]], key: str, until: int) -> Curve:
    """A key of `stats.jsonl` up to the first tick at `until` images or later: the last batch may exceed a duration."""
    ends = next((number + 1 for number, tick in enumerate(ticks) if tick["images"] >= until), len(ticks))
    kept = ticks[:ends]
    values = [np.nan if tick.get(key) is None else float(tick[key]) for tick in kept]
    return Curve(np.array([float(tick["generator_steps"]) for tick in kept]), np.array(values))


def of_row(row: AblationRow, key: str) -> list[Curve]:
    """The curves of a quantity, one per run of a variant."""
    pairs = zip(row.runs, row.durations, strict=True)
    return [curve(Run(path).stats(), key, until) for path, until in pairs]


def running(wanted: Curve, window: int, by: str = "mean") -> Floats:
    """The running mean or median over the ticks within window / 2 steps on either side. (T,)."""
    reduce = np.nanmean if by == "mean" else np.nanmedian
    low = np.searchsorted(wanted.steps, wanted.steps - window / 2)
    high = np.searchsorted(wanted.steps, wanted.steps + window / 2, side="right")
    parts = [wanted.values[a:b] for a, b in zip(low, high, strict=True)]
    return np.array([reduce(part) if np.isfinite(part).any() else np.nan for part in parts])


def measures(wanted: Curve, window: int, between: tuple[int, int] | None) -> dict[str, float]:
    """Summary of a curve.

    last: mean of the last tenth. peak, peak at: the value of the running median that is largest in magnitude, and
    its step. between: mean over the steps `between`.
    """
    if not np.isfinite(wanted.values).any():
        return {}
    tail = wanted.values[-max(1, round(len(wanted.values) * LAST)) :]
    smooth = running(wanted, window, "median")
    top = int(np.nanargmax(np.abs(smooth)))
    found = {"last": _mean(tail), "peak": float(smooth[top]), "peak at": float(wanted.steps[top])}
    if between is not None:
        inside = (wanted.steps >= between[0]) & (wanted.steps <= between[1])
        found["between"] = _mean(wanted.values[inside])
    return found


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def over_seeds(found: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Mean and standard deviation (n - 1) of each measure over seeds; the deviation of one seed is 0."""
    names = [name for name in (found[0] if found else {}) if all(name in one for one in found)]
    values = {name: np.array([one[name] for one in found]) for name in names}
    return {n: Spread(float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else 0.0) for n, v in values.items()}


def sorted_keys(keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split into (keys of stats.jsonl, other ones: VERDICT, metrics of inspect-stats). Raises UsageError."""
    known = [*KEYS, VERDICT, *FIGURES]
    for key in keys:
        if key in OF_A_NETWORK:
            hint = "use kernel_distance, or gancli inspect-stats --features"
            raise UsageError(f"ablate does not compute {key}", where="--show", hint=hint)
        if key not in known:
            close = get_close_matches(key, known, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else "see docs/log.md and docs/figures.md for the keys"
            raise UsageError(f"{key!r} is neither a log key nor a metric of inspect-stats", where="--show", hint=hint)
    return tuple(k for k in keys if k in KEYS), tuple(k for k in keys if k not in KEYS)
