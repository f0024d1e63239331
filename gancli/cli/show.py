"""The one place that makes tables and JSON of results, and the one place that writes to standard output."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gancli.errors import GancliError, PipeClosed, StorageError
from gancli.results import (
    SCHEMA_VERSION,
    DataReport,
    Doctor,
    Figure,
    Forecast,
    Health,
    Histogram,
    Progress,
    RunSummary,
    SampleReport,
    TrainReport,
    plain,
)

BLOCKS = " ▁▂▃▄▅▆▇█"
COLOURS = {"healthy": "green", "low diversity": "yellow", "collapsed": "red", "undecided": "cyan"}
REJECTED_SHOWN = 10


@dataclass
class Voice:
    """How much is said; set by -q, -v and --no-progress."""

    quiet: bool = False
    verbosity: int = 0
    progress: bool = True


voice = Voice()


def stderr() -> Console:
    """Where everything but the result goes."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for a person. The text is never read as markup."""
    if not voice.quiet:
        stderr().print(Text(text))


def out(data: str | bytes) -> None:
    """Write to standard output. Raises PipeClosed, or StorageError where it is a full disk."""
    try:
        target = sys.stdout.buffer
        sys.stdout.flush()
        target.write(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
        target.flush()
    except BrokenPipeError as error:
        raise PipeClosed from error
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror}", where="standard output", mend="free some space"
        ) from error


def as_json(result: Any) -> str:
    """One JSON object with schema_version; lists stand under "items"."""
    values = plain(result)
    body = {"items": values} if isinstance(values, list) else values
    return json.dumps({"schema_version": SCHEMA_VERSION, **body}, ensure_ascii=False) + "\n"


def error(problem: GancliError, *, json_wanted: bool) -> None:
    """An error for a person, or as JSON, on standard error."""
    if json_wanted:
        body = {
            "code": problem.exit_code,
            "message": problem.what,
            "where": problem.where,
            "hint": problem.mend,
        }
        sys.stderr.write(json.dumps({"schema_version": SCHEMA_VERSION, "error": body}, ensure_ascii=False) + "\n")
        return
    stderr().print(f"[bold red]error:[/] {escape(str(problem))}")


def result(value: Any, *, json_wanted: bool) -> None:
    """A result on standard output: JSON, a path, or a table."""
    if json_wanted:
        out(as_json(value))
        return
    match value:
        case TrainReport():
            out(f"{value.checkpoint}\n")
        case SampleReport():
            out(f"{value.path}\n")
        case Health():
            _table_out(*_health(value))
        case Forecast():
            _table_out(*_forecast(value))
        case Doctor():
            _table_out(_doctor(value))
        case _:
            _table_out(_runs(value))


def _table_out(*parts: Any) -> None:
    """Rich renderables on standard output; off a terminal without colour and never cut."""
    tty = sys.stdout.isatty()
    width = Console().width if tty else 120
    buffer = StringIO()
    console = Console(file=buffer, force_terminal=tty, width=width, highlight=False)
    for part in parts:
        console.print(part)
    out(buffer.getvalue())


def bars(values: Sequence[float]) -> str:
    """Numbers as a row of blocks, from 0 to the largest."""
    top = max([*values, 1e-12])
    return "".join(BLOCKS[round(max(0.0, v) / top * 8)] for v in values)


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The last `width` numbers as blocks, from the smallest to the largest; a missing one is a blank."""
    shown = list(values)[-width:]
    there = [v for v in shown if v is not None]
    low, high = min(there, default=0.0), max(there, default=1.0)
    span = max(high - low, 1e-12)
    return "".join(" " if v is None else BLOCKS[1 + round((v - low) / span * 7)] for v in shown)


def _health(health: Health) -> list[Any]:
    colour = COLOURS.get(health.verdict, "white")
    head = Text.assemble(
        ("verdict: ", "bold"), (health.verdict, f"bold {colour}"), f"  (confidence {health.confidence})"
    )
    parts: list[Any] = [Text(health.source), head, *(Text(f"  {line}") for line in health.evidence)]
    if health.panel:
        parts.append(_panel(health.panel, f"{health.samples} samples a side, {health.weights} weights"))
    parts += [_histogram(h) for h in health.histograms]
    if health.history:
        parts.append(Text(f"batch std ratio   {sparkline(health.history['std_ratio'])}"))
        parts.append(Text(f"critic loss       {sparkline(health.history['critic_loss'])}"))
        parts += [Text(f"warned at {line}", style="yellow") for line in health.history["warnings"]]
    return parts


def _panel(figures: Sequence[Figure], title: str) -> Table:
    table = Table(title=Text(title), box=None, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("figure", "value", "floor", "fake", "real", ""):
        table.add_column(name, justify="right" if name in ("value", "floor", "fake", "real") else "left")
    for f in figures:
        numbers = [_number(x) for x in (f.value, f.floor, f.fake, f.real)]
        table.add_row(Text(f.name), numbers[0], Text(numbers[1], style="dim"), *numbers[2:], Text(f.note, style="dim"))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _histogram(histogram: Histogram) -> Text:
    return Text.assemble(
        f"{histogram.channel:>6}  real ",
        (bars(histogram.real), "cyan"),
        "   fake ",
        (bars(histogram.fake), "magenta"),
    )


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "?"
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _forecast(forecast: Forecast) -> list[Any]:
    from gancli.config import yaml

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("size", "fade kimg", "stable kimg", "batch", "rate", "time (estimate)"):
        table.add_column(name, justify="right")
    for s in forecast.stages:
        time = duration(s.seconds) + (" timed" if s.timed else " scaled")
        table.add_row(
            f"{s.height}x{s.width}",
            f"{s.fade / 1000:g}",
            f"{s.stable / 1000:g}",
            str(s.batch_size),
            f"{s.lr:g}",
            time,
        )
    total = (
        f"generator {forecast.generator_parameters:,} parameters, critic {forecast.critic_parameters:,}\n"
        f"{forecast.duration / 1000:g} kimg on {forecast.device}: about {duration(forecast.seconds)} (estimate), "
        f"about {forecast.memory_mib:,.0f} MiB of memory and {forecast.disk_mib:,.0f} MiB on disk"
    )
    return [
        Text(yaml.dump(dict(forecast.config))),
        table,
        Text(total),
        *(Text(a, style="yellow") for a in forecast.advice),
    ]


def _doctor(doctor: Doctor) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows = {
        "gancli": doctor.gancli,
        "python": f"{doctor.python} on {doctor.platform}",
        "torch": doctor.torch,
        "device": doctor.device,
        "threads": f"{doctor.threads} of {doctor.cores} cores; bf16 {'fast' if doctor.bf16 else 'slow'} here",
        "memory": f"{doctor.memory_gib:.1f} GiB",
        "cache": str(doctor.cache),
        **doctor.packages,
        **{f"extra {e.name}": f"{e.version or 'not installed'}: {e.adds}" for e in doctor.extras},
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _runs(summaries: Sequence[RunSummary]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "kimg", "state", "std ratio", "verdict", "last warning"):
        table.add_column(name, justify="right" if name in ("kimg", "std ratio") else "left")
    for s in summaries:
        kimg = f"{s.kimg:g}/{s.duration_kimg:g}"
        verdict = Text(s.verdict, style=COLOURS.get(s.verdict, ""))
        table.add_row(Text(s.name), kimg, s.state, _number(s.std_ratio), verdict, Text(s.warning or ""))
    return table


def data_report(report: DataReport) -> None:
    """What the scan found, in a few lines."""
    sizes = ""
    if report.smallest and report.largest:
        sizes = f", {_size(report.smallest)}" + (
            f" to {_size(report.largest)}" if report.largest != report.smallest else ""
        )
    odd = [
        f"{count} {name}"
        for count, name in (
            (report.enlarged, "enlarged"),
            (report.duplicates, "duplicates"),
            (report.ignored, "other files ignored"),
            (len(report.rejected), "rejected"),
        )
        if count
    ]
    shape = "x".join(map(str, report.shape))
    say(f"data: {report.count} samples{sizes}, as {shape}, {report.held_out} held out" + "".join(f", {o}" for o in odd))
    shown = report.rejected if voice.verbosity else report.rejected[:REJECTED_SHOWN]
    for item in shown:
        say(f"  skipped {item.name}: {item.reason}")
    if len(report.rejected) > len(shown):
        say(f"  and {len(report.rejected) - len(shown)} more, all in rejected.jsonl")
    for advice in report.advice:
        say(f"  note: {advice}")


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


@contextmanager
def progress() -> Any:
    """A bar on a terminal, nothing elsewhere; yields a Progress."""
    from gancli.results import silent

    if voice.quiet or not voice.progress or not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import Progress as Bar

    with Bar(console=stderr(), transient=True) as bar:
        yield _reporter(bar)


def _reporter(bar: Any) -> Progress:
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    return report


def silence_stdout() -> None:
    """After a closed pipe: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_stdout(path: str | Path | None) -> bool:
    """`-o -`."""
    return str(path) == "-"
