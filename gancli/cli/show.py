"""The one place that makes tables and JSON of results, and the one place that writes to standard output."""

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from gancli.cli import tables
from gancli.errors import GancliError, PipeClosed, StorageError
from gancli.health import Health
from gancli.results import (
    SCHEMA_VERSION,
    Ablation,
    DataReport,
    Doctor,
    Forecast,
    PageReport,
    Progress,
    SampleReport,
    TrainReport,
    plain,
)

REJECTED_SHOWN = 10


@dataclass
class Voice:
    """How much is said; set by -q, -v and --no-progress."""

    quiet: bool = False
    verbosity: int = 0
    progress: bool = True


voice = Voice()


class _Stderr(Console):
    """Standard error, whose reader may go away while training goes on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more; rich would end the process."""
        silence(sys.stderr)


def stderr() -> Console:
    """Where everything but the result goes."""
    return _Stderr(stderr=True, highlight=False, soft_wrap=True)


def line(text: str) -> None:
    """One line on standard error as it is, never wrapped: for scripts."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:  # a closed pipe or a full disk behind the log is no reason to lose the run
        silence(sys.stderr)


def say(text: str) -> None:
    """One line for a person. The text is never read as markup."""
    if not voice.quiet:
        stderr().print(Text(text))


def out(data: str | bytes) -> None:
    """Write to standard output. Raises PipeClosed, or StorageError where it is a full disk."""
    try:
        target = sys.stdout.buffer
        sys.stdout.flush()
        rest = memoryview(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
        while rest:  # unbuffered, as PYTHONUNBUFFERED makes it, a write may be a part
            rest = rest[target.write(rest) :]
        target.flush()
    except BrokenPipeError as error:
        raise PipeClosed from error
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror}", where="standard output", hint="free some space"
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
            "hint": problem.hint,
        }
        sys.stderr.write(json.dumps({"schema_version": SCHEMA_VERSION, "error": body}, ensure_ascii=False) + "\n")
        return
    stderr().print(f"[bold red]error:[/] {escape(str(problem))}")


def result(value: Any, *, json_wanted: bool, everything: bool = False) -> None:
    """A result on standard output: JSON, a path, or a table."""
    if json_wanted:
        out(as_json(value))
        return
    match value:
        case TrainReport():
            out(f"{value.checkpoint}\n")
        case SampleReport() | PageReport():
            out(f"{value.path}\n")
        case Health():
            _table_out(*tables.health_panel(value, _width(), everything=everything))
        case Ablation():
            _table_out(tables.ablation_table(value), *(f"note: {note}" for note in value.notes), f"page: {value.page}")
        case Forecast():
            _table_out(*tables.forecast_table(value))
        case Doctor():
            _table_out(tables.doctor_table(value))
        case _:
            _table_out(tables.runs_table(value))


def _table_out(*parts: Any) -> None:
    """Rich renderables on standard output; off a terminal without color and never cut."""
    buffer = StringIO()
    console = Console(file=buffer, force_terminal=sys.stdout.isatty(), width=_width(), highlight=False)
    for part in parts:
        console.print(part)
    out(buffer.getvalue())


def _width() -> int:
    return Console().width if sys.stdout.isatty() else 120


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


def silence(stream: TextIO) -> None:
    """After a closed pipe: let what is still to come, the interpreter's last flush too, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_stdout(path: str | Path | None) -> bool:
    """`-o -`."""
    return str(path) == "-"
