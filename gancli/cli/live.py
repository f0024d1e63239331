"""Progress output of training: a live table on a terminal, otherwise one key=value or JSON line per tick."""

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gancli import process, signals
from gancli.cli import show, tables
from gancli.errors import UsageError
from gancli.results import (
    COLLAPSED_RATIO,
    LOW_RATIO,
    DataReport,
    Forecast,
    Forecaster,
    StageForecast,
    Tick,
    TrainReport,
    plain,
)

if TYPE_CHECKING:
    from gancli.config import ResolvedConfig
    from gancli.runs import Run

ROWS = 12  # number of ticks shown
WIDE, USUAL = 116, 78  # terminal widths that have room for all columns, and for the usual ones
COLUMNS = {  # of the table, and the least width of the terminal that shows it
    "kimg": 0, "px": 0, "alpha": USUAL, "batch": USUAL, "D loss": 0, "G loss": 0, "D(real)": USUAL, "D(fake)": USUAL,
    "penalty": USUAL, "gap": WIDE, "std real": WIDE, "std fake": WIDE, "std ratio": 0, "feat ratio": WIDE,
    "img/s": USUAL,
}  # fmt: skip
REDRAW = 0.5  # redraws per second
STOPPING = "stopping and saving after this step; Ctrl-C again ends at once, without saving"


@contextmanager
def watcher(log_format: str = "auto", neighbors: process.Neighbors | None = None) -> Iterator["Lines | LiveTable"]:
    """The callback for the log format, closed when training ends. Raises UsageError for an unknown format.

    neighbors: adapts the number of threads during training.
    """
    if log_format not in ("auto", "plain", "jsonl"):
        raise UsageError(f"unknown log format {log_format!r}", where="--log-format", hint="use auto, plain or jsonl")
    live = log_format == "auto" and sys.stderr.isatty() and show.voice.progress and not show.voice.quiet
    callback = LiveTable() if live else Lines(as_json=log_format == "jsonl")
    callback.neighbors = neighbors
    try:
        yield callback
    finally:
        callback.close()


class Teller:
    """Base class of the callbacks: a progress bar while the data is scanned, the result of the scan, and messages."""

    def __init__(self) -> None:
        self.neighbors: process.Neighbors | None = None  # adapts the number of threads
        self._stack = ExitStack()
        self._progress = self._stack.enter_context(show.progress())

    def data(self, report: DataReport) -> None:
        """Show the result of the scan."""
        self._stack.close()
        show.data_report(report)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Update the progress bar."""
        self._progress(what, done, total)

    def step(self, images: int) -> None:
        """Use fewer threads while other processes use the cores."""
        if self.neighbors is None:
            return
        import torch

        now = torch.get_num_threads()
        threads = self.neighbors.threads(now)
        if threads != now:
            torch.set_num_threads(threads)
            count = "1 thread" if threads == 1 else f"{threads} threads"
            why = "other processes use the cores" if threads < now else "cores are idle again"
            self.say(f"{count} from {images / 1000:g} kimg on: {why}; --threads fixes the number")

    def say(self, text: str) -> None:
        """Print a message."""
        show.say(text)

    def close(self) -> None:
        """Remove the progress bar and stop redrawing the table."""
        self._stack.close()


class Lines(Teller):
    """One line per tick, for pipes and log files."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def start(self, run: "Run", config: "ResolvedConfig", images: int, forecast: Forecaster | None) -> None:
        """Print the run folder and, for a new run, its estimated cost."""
        quiet = show.voice.quiet or images > 0
        announce(run, config, images, None if forecast is None or quiet else forecast())

    def tick(self, tick: Tick) -> None:
        """Print the tick as one line."""
        if not show.voice.quiet:
            show.line(show.json_text(plain(tick)) if self.as_json else key_values(tick))


def key_values(tick: Tick) -> str:
    """A tick as key=value pairs, followed by its quoted warnings."""
    numbers = {key: value for key, value in plain(tick).items() if isinstance(value, int | float)}
    pairs = [f"{key}={value}" if isinstance(value, int) else f"{key}={value:.6g}" for key, value in numbers.items()]
    return " ".join(pairs + [f"warning={show.json_text(str(w))}" for w in tick.warnings])


def announce(run: "Run", config: "ResolvedConfig", images: int, expected: Forecast | None) -> None:
    """Print the run folder and, for a new run, its estimated cost and advice."""
    if images > 0:
        return
    show.say(f"run: {run.path} ({config.preset}, seed {config.train.seed})")
    if expected is None:
        return
    cost = (
        f"{expected.duration / 1000:g} kimg, about {tables.duration(expected.seconds)} on {expected.device} (estimate)"
    )
    show.say(f"{cost}; checkpoints and data cache take up to {expected.disk_mib:,.0f} MiB")
    for advice in (*expected.advice, *busy()):
        show.say(f"note: {advice}")


def busy() -> list[str]:
    """A note if other processes use the machine, which makes the estimate unreliable."""
    load, cores = os.getloadavg()[0], process.cores()
    if load < 0.75 * cores:
        return []
    on = "1 core" if cores == 1 else f"{cores} cores"
    return [f"this machine is busy (load {load:.1f} on {on}), so the estimate is rough"]


def announce_end(report: TrainReport) -> None:
    """Print how training ended, where its output is, and what to run next."""
    kimg, run = f"{report.images / 1000:g} kimg", report.run
    if report.state == "interrupted":
        show.say(f"saved at {kimg} in {run}; to continue: gancli resume {run}")
        return
    if report.state == "already finished":
        return
    show.say(f"{report.state} at {kimg}: images in {run / 'samples'}, checkpoint {report.checkpoint}")
    show.say(f"next: gancli inspect-stats {run}; gancli report {run}; gancli sample {run}")


def seconds_left(stages: Sequence[StageForecast], images: int, speed: float) -> float | None:
    """Estimated time for the remaining images, from the cost of each stage. speed: current images per second."""
    ahead, now, start = 0.0, 0.0, 0
    for stage in stages:
        count = stage.fade + stage.stable
        if count and stage.seconds:
            cost = stage.seconds / count
            ahead += cost * max(0, start + count - max(start, images))
            now = cost if start <= images < start + count or not now else now
        start += count
    return ahead / now / speed if now and speed > 0 else None


class LiveTable(Teller):
    """A live table of the last ticks, with a progress bar, a sparkline and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: list[Tick] = []
        self.warnings: list[str] = []
        self.stages: tuple[StageForecast, ...] = ()
        self.images = self.total = self.began_at = 0
        self.began = time.monotonic()
        self.console = show.stderr()

    def say(self, text: str) -> None:
        """Print a message above the table."""
        show.say(text, self.console)

    def start(self, run: "Run", config: "ResolvedConfig", images: int, forecast: Forecaster | None) -> None:
        """Print the run folder and the estimated cost, then open the table in place of the progress bar."""
        self._stack.close()
        expected = None if forecast is None else forecast()
        announce(run, config, images, expected)
        self.stages = () if expected is None else expected.stages
        self.images = self.began_at = images
        self.total = config.train.duration
        self.began = time.monotonic()
        self.console.soft_wrap = False
        live = Live(console=self.console, get_renderable=self.render, refresh_per_second=REDRAW)
        self._stack.enter_context(live)

    def step(self, images: int) -> None:
        """Update the number of images for the next redraw."""
        super().step(images)
        self.images = images

    def tick(self, tick: Tick) -> None:
        """Add a row."""
        self.ticks.append(tick)
        self.warnings += [f"{tick.kimg:g} kimg: {warning}" for warning in tick.warnings]

    def render(self) -> Group:
        """The progress bar, the table, the sparkline and the warnings."""
        sparkline = tables.sparkline([t.critic_loss for t in self.ticks], 60)
        warnings = [Text(f"warning: {show.one_line(w)}", style="bold yellow") for w in self.warnings[-4:]]
        stopping = [Text(STOPPING, style="bold")] if signals.stop_requested() else []
        loss = Text(f"critic loss  {sparkline}", style="cyan")
        return Group(self._bar(), self._table(), loss, *warnings, *stopping)

    def _bar(self) -> Table:
        """Progress, time left and memory."""
        speed = (self.images - self.began_at) / max(1e-9, time.monotonic() - self.began)
        current = self.ticks[-1].images_per_s if self.ticks else speed
        left = seconds_left(self.stages, self.images, current)
        if left is None and current > 0:
            left = (self.total - self.images) / current
        memory = f"{self.ticks[-1].memory_mib:,.0f} MiB" if self.ticks else ""
        row = Table.grid(padding=(0, 2))
        row.add_row(
            ProgressBar(total=max(1, self.total), completed=self.images, width=24),
            f"{self.images / 1000:.1f}/{self.total / 1000:g} kimg",
            f"{tables.duration(left)} left",
            memory,
        )
        return row

    def _table(self) -> Table:
        width = show.stderr().width
        names = [name for name, least in COLUMNS.items() if width >= least]
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for tick in self.ticks[-ROWS:]:
            cells = _cells(tick)
            table.add_row(*(cells[name] for name in names))
        return table


def _cells(tick: Tick) -> dict[str, Any]:
    """The cells of one row, by column."""
    losses = (tick.critic_loss, tick.generator_loss, tick.d_real, tick.d_fake, tick.penalty, tick.score_gap)
    names = ("D loss", "G loss", "D(real)", "D(fake)", "penalty", "gap")
    return {
        "kimg": _fixed(tick.kimg, 1),
        "px": str(tick.resolution),
        "alpha": _fixed(tick.alpha, 2),
        "batch": str(tick.batch),
        **{name: f"{value:.3g}" for name, value in zip(names, losses, strict=True)},
        "std real": _fixed(tick.std_real, 3),
        "std fake": _fixed(tick.std_fake, 3),
        "std ratio": _ratio(tick.std_ratio),
        "feat ratio": _ratio(tick.feature_std_ratio),
        "img/s": _fixed(tick.images_per_s, 0),
    }


def _fixed(value: float, digits: int) -> str:
    """A number with fixed digits; a huge one, as in a damaged log, with an exponent; a dash for one that is unknown."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _ratio(value: float) -> Text:
    return Text(
        _fixed(value, 2), style="red" if value < COLLAPSED_RATIO else "yellow" if value < LOW_RATIO else "green"
    )
