"""Callbacks of a training run. The training code itself does not print; the command line passes a live table."""

from typing import Protocol

from gancli.config import ResolvedConfig
from gancli.results import DataReport, Forecaster, Tick
from gancli.runs import Run


class Callback(Protocol):
    """Methods that training calls at its events."""

    def data(self, report: DataReport) -> None:
        """Called when the data set is open."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Called during long tasks before training."""

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Called when training starts, or resumes at `images`. forecast() takes seconds; call it only to show it."""

    def step(self, images: int) -> None:
        """Called after every generator step."""

    def tick(self, tick: Tick) -> None:
        """Called after a line was written to the log."""

    def say(self, text: str) -> None:
        """Called with a message for the user."""


class Silent:
    """A callback that does nothing. It is the default in Python."""

    def data(self, report: DataReport) -> None:
        """Do nothing."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Do nothing."""

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Do nothing."""

    def step(self, images: int) -> None:
        """Do nothing."""

    def tick(self, tick: Tick) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""


class PrintProgress(Silent):
    """Prints messages and one line per tick, for notebooks and scripts."""

    def __init__(self) -> None:
        self.total = 0

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Print the run folder and the progress."""
        self.total = config.train.duration
        print(f"{run.path}: {images / 1000:g} of {self.total / 1000:g} kimg", flush=True)

    def tick(self, tick: Tick) -> None:
        """Print the tick and its warnings."""
        print(
            f"{tick.kimg:.1f}/{self.total / 1000:g} kimg  {tick.resolution} px  D loss {tick.critic_loss:.3g}  "
            f"G loss {tick.generator_loss:.3g}  D(real) {tick.d_real:.3g}  D(fake) {tick.d_fake:.3g}  "
            f"std ratio {tick.std_ratio:.2f}  {tick.images_per_s:.0f} img/s",
            flush=True,
        )
        for warning in tick.warnings:
            print(f"warning: {warning}", flush=True)

    def say(self, text: str) -> None:
        """Print a message."""
        print(text, flush=True)
