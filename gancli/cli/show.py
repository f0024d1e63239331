"""Output of results as tables or JSON. Only this module writes to standard output and standard error.

Texts can come from files of other people: names of files and presets, stories, warnings, verdicts. Whatever is
written here has its control, bidirectional and other invisible characters escaped, so that no text can move the
cursor, set the title of a terminal or hide what it says. The only escape sequences are those of rich.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
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
    printable,
)

REJECTED_SHOWN = 10
UNDECODABLE = "".join(map(chr, range(0xDC80, 0xDD00)))  # bytes of file names that are not UTF-8, as Python reads them


@dataclass
class Voice:
    """How much is printed. Set by -q, -v and --no-progress."""

    quiet: bool = False
    verbosity: int = 0
    progress: bool = True


voice = Voice()


def visible(text: str, keep: str = "\n") -> str:
    """Escape the characters that are not visible, except spaces of all widths and those in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) == "Zs" else printable(c) for c in text)


def one_line(text: str) -> str:
    """The same with newlines escaped, so that a name cannot begin a line of its own."""
    return visible(text, keep="")


class Clean(Console):
    """A console that escapes what is not printable in all text. Styles and cursor movements are those of rich."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, with clean text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


class _Stderr(Clean):
    """Standard error. Training continues if its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Discard all further output; rich would end the process."""
        silence(sys.stderr)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; training continues, and the exit code stays, if standard error is a file on a full disk."""
        try:
            super().print(*objects, **options)
        except OSError:
            silence(sys.stderr)


def stderr() -> Console:
    """The console for everything but results."""
    return _Stderr(stderr=True, highlight=False, soft_wrap=True)


def line(text: str) -> None:
    """Print one line to standard error without wrapping, for scripts."""
    try:
        sys.stderr.write(one_line(text) + "\n")
        sys.stderr.flush()
    except OSError:  # training continues if the log goes to a closed pipe or a full disk
        silence(sys.stderr)


def say(text: str, console: Console | None = None) -> None:
    """Print a message of one line to standard error. Markup in the text is not interpreted.

    console: the one of a live display, if there is one, which is then drawn again below the message.
    """
    if not voice.quiet:
        (console or stderr()).print(Text(one_line(text)))


def out(data: str | bytes) -> None:
    """Write text, cleaned, or bytes to standard output.

    Raises PipeClosed, or StorageError if it is a file on a full disk.
    """
    try:
        target = sys.stdout.buffer
        sys.stdout.flush()
        rest = memoryview(visible(data).encode() if isinstance(data, str) else data)
        while rest:  # with PYTHONUNBUFFERED, a call may write only a part
            rest = rest[target.write(rest) :]
        target.flush()
    except BrokenPipeError as error:
        raise PipeClosed from error
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror}", where="standard output", hint="free some space"
        ) from error


def json_text(values: Any) -> str:
    """JSON on one line. Letters are readable; characters that are not printable are \\u escapes."""
    text = json.dumps(values, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def as_json(result: Any) -> str:
    """One JSON object with schema_version. A list becomes the key "items"."""
    values = plain(result)
    body = {"items": values} if isinstance(values, list) else values
    return json_text({"schema_version": SCHEMA_VERSION, **body}) + "\n"


def error(problem: GancliError, *, json_wanted: bool) -> None:
    """Print an error to standard error, as text or JSON."""
    if json_wanted:
        body = {
            "code": problem.exit_code,
            "message": problem.what,
            "where": problem.where,
            "hint": problem.hint,
        }
        line(json_text({"schema_version": SCHEMA_VERSION, "error": body}))
        return
    what, where, hint = map(one_line, (problem.what, problem.where, problem.hint))
    stderr().print(Text.assemble(("error:", "bold red"), f" {what}\n  where: {where}\n  hint:  {hint}"))


def result(value: Any, *, json_wanted: bool, everything: bool = False) -> None:
    """Print a result to standard output as JSON, a path or a table."""
    if json_wanted:
        out(as_json(value))
        return
    match value:
        case TrainReport():
            _path_out(value.checkpoint)
        case SampleReport() | PageReport():
            _path_out(value.path)
        case Health():
            _table_out(*tables.health_panel(value, _width(), everything=everything))
        case Ablation():
            notes = (*(f"note: {note}" for note in value.notes), f"page: {value.page}")
            _table_out(tables.ablation_table(value), *(Text(one_line(note)) for note in notes))
        case Forecast():
            _table_out(*tables.forecast_table(value))
        case Doctor():
            _table_out(tables.doctor_table(value))
        case DataReport():
            _table_out(tables.data_table(value, most=None if voice.verbosity else REJECTED_SHOWN))
        case _:
            _table_out(tables.runs_table(value))


def _table_out(*parts: Any) -> None:
    """Print rich renderables to standard output. If it is not a terminal, without color and not truncated."""
    buffer = StringIO()
    console = Clean(file=buffer, force_terminal=sys.stdout.isatty(), width=_width(), highlight=False)
    for part in parts:
        console.print(part)
    out(buffer.getvalue().encode())  # as bytes, because the styles are escape sequences


def _path_out(path: Path) -> None:
    """Print a path on one line. In a pipe, names that are not UTF-8 keep their bytes, so that scripts find the file."""
    text = visible(str(path), keep="" if sys.stdout.isatty() else UNDECODABLE)
    out(f"{text}\n".encode(errors="surrogateescape"))


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
            tasks[what] = bar.add_task(escape(one_line(what)), total=total)
        bar.update(tasks[what], completed=done, total=total)

    return report


def be_silent() -> None:
    """Print nothing but errors, as every worker but the first."""
    voice.quiet, voice.progress = True, False
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the end of the process)


def silence(stream: TextIO) -> None:
    """Redirect a closed stream to the null device, so that later writes and the final flush do not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_stdout(path: str | Path | None) -> bool:
    """Whether an output path is `-`."""
    return str(path) == "-"
