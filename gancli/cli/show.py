"""Output of results as tables or JSON. Only this module writes to standard output."""

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
    """How much is printed. Set by -q, -v and --no-progress."""

    quiet: bool = False
    verbosity: int = 0
    progress: bool = True


voice = Voice()


class _Stderr(Console):
    """Standard error. Training continues if its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Discard all further output; rich would end the process."""
        silence(sys.stderr)


def stderr() -> Console:
    """The console for everything but results."""
    return _Stderr(stderr=True, highlight=False, soft_wrap=True)


def line(text: str) -> None:
    """Print one line to standard error without wrapping, for scripts."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:  # training continues if the log goes to a closed pipe or a full disk
        silence(sys.stderr)


def say(text: str) -> None:
    """Print a message to standard error. Markup in the text is not interpreted."""
    if not voice.quiet:
        stderr().print(Text(text))


def out(data: str | bytes) -> None:
    """Write to standard output. Raises PipeClosed, or StorageError if it is a file on a full disk."""
    try:
        target = sys.stdout.buffer
        sys.stdout.flush()
        rest = memoryview(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
        while rest:  # with PYTHONUNBUFFERED, a call may write only a part
            rest = rest[target.write(rest) :]
        target.flush()
    except BrokenPipeError as error:
        raise PipeClosed from error
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror}", where="standard output", hint="free some space"
        ) from error


def as_json(result: Any) -> str:
    """One JSON object with schema_version. A list becomes the key "items"."""
    values = plain(result)
    body = {"items": values} if isinstance(values, list) else values
    return json.dumps({"schema_version": SCHEMA_VERSION, **body}, ensure_ascii=False) + "\n"


def error(problem: GancliError, *, json_wanted: bool) -> None:
    """Print an error to standard error, as text or JSON."""
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
    """Print a result to standard output as JSON, a path or a table."""
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
    """Print rich renderables to standard output. If it is not a terminal, without color and not truncated."""
    buffer = StringIO()
    console = Console(file=buffer, force_terminal=sys.stdout.isatty(), width=_width(), highlight=False)
    for part in parts:
        console.print(part)
    out(buffer.getvalue())


def _width() -> int:
    return Console().width if sys.stdout.isatty() else 120


def data_report(report: DataReport) -> None:
    """Print the result of scanning the data set."""
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
        say(f"  and {len(report.rejected) - len(shown)} more, listed in rejected.jsonl")
    for advice in report.advice:
        say(f"  note: {advice}")


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


@contextmanager
def progress() -> Any:
    """Yield a Progress that shows a bar on a terminal and nothing otherwise."""
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
    """Redirect a closed stream to the null device, so that later writes and the final flush do not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_stdout(path: str | Path | None) -> bool:
    """Whether an output path is `-`."""
    return str(path) == "-"
