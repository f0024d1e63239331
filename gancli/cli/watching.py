"""inspect-stats --watch: the live table of a run that another process is training."""

import math
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from gancli import runs, signals
from gancli.cli import show
from gancli.cli.live import watcher
from gancli.errors import InputMissing
from gancli.results import Tick, Warned, plain, printable
from gancli.runs import Run

SECONDS = 1.0  # polling interval of the log
KNOWN = {field.name for field in fields(Tick)}


def follow(target: str | None, outdir: Path, *, as_json: bool) -> None:
    """Show all ticks of the run, and new ones until training ends. Raises InputMissing."""
    run = Run(Path(target)) if target is not None else _newest(outdir)
    if not run.config_file.exists():
        raise InputMissing("not a run folder", where=printable(str(target)), hint="`gancli runs` lists the run folders")
    config = run.config()
    if damage := run.damage():
        show.say(damage)
    if as_json:
        for row in _rows(run):
            show.out(show.json_text(plain(row)) + "\n")
        return
    with watcher() as callback:
        callback.start(run, config, 0, None)
        for row in _rows(run):
            tick = tick_of(row)
            callback.tick(tick)
            if math.isfinite(tick.images):
                callback.step(int(tick.images))
    show.say(f"no process is training {run.path}; to evaluate it: gancli inspect-stats {run.path}")


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the lines of the log, and new ones while a process is training the run."""
    seen = 0
    while True:
        alive, ticks = runs.is_locked(run), run.stats()
        yield from ticks[seen:]
        seen = len(ticks)
        if not alive:
            return
        signals.poll()
        time.sleep(SECONDS)


def _newest(outdir: Path) -> Run:
    """The run with the newest log. Raises InputMissing."""
    found = [run for run in runs.all_runs(outdir) if run.stats_file.exists()]
    if not found:
        raise InputMissing("no run yet", where=printable(str(outdir)), hint="train one: gancli train")
    return max(found, key=lambda run: run.stats_file.stat().st_mtime_ns)


def tick_of(row: dict[str, Any]) -> Tick:
    """A line of the log as a Tick. null becomes NaN, and unknown keys are ignored."""
    values: dict[str, Any] = {k: float("nan") if value is None else value for k, value in row.items() if k in KNOWN}
    return Tick(**values | {"warnings": tuple(Warned(**warning) for warning in row["warnings"])})
