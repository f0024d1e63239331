"""Callbacks of a training run. Nothing in training prints; the command line passes a live table."""

from typing import Protocol

from gancli.config import ResolvedConfig
from gancli.results import DataReport, Forecaster, Tick
from gancli.runs import Run


class Callback(Protocol):
    """Told of everything that happens, as it happens."""

    def data(self, report: DataReport) -> None:
        """The data set is open."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """A long task before training has come this far."""

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Training begins, or goes on from `images`. A fresh run can be forecast, which takes seconds: ask if shown."""

    def step(self, images: int) -> None:
        """One generator step is done."""

    def tick(self, tick: Tick) -> None:
        """A line was written to the log."""

    def say(self, text: str) -> None:
        """Something a person should read once."""


class Silent:
    """Shows nothing: the default in Python."""

    def data(self, report: DataReport) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Nothing."""

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Nothing."""

    def step(self, images: int) -> None:
        """Nothing."""

    def tick(self, tick: Tick) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class PrintProgress(Silent):
    """Prints messages, and a line at every tick: for notebooks and scripts."""

    def __init__(self) -> None:
        self.total = 0

    def start(self, run: Run, config: ResolvedConfig, images: int, forecast: Forecaster | None) -> None:
        """Where the run is, and how far it has come."""
        self.total = config.train.duration
        print(f"{run.path}: {images / 1000:g} of {self.total / 1000:g} kimg", flush=True)

    def tick(self, tick: Tick) -> None:
        """One line, and its warnings."""
        print(
            f"{tick.kimg:.1f}/{self.total / 1000:g} kimg  {tick.resolution} px  D loss {tick.critic_loss:.3g}  "
            f"G loss {tick.generator_loss:.3g}  D(real) {tick.d_real:.3g}  D(fake) {tick.d_fake:.3g}  "
            f"std ratio {tick.std_ratio:.2f}  {tick.images_per_s:.0f} img/s",
            flush=True,
        )
        for warning in tick.warnings:
            print(f"warning: {warning}", flush=True)

    def say(self, text: str) -> None:
        """A message."""
        print(text, flush=True)
