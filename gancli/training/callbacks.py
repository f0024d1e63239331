"""What a training tells whoever watches. Nothing in training prints; cli passes a live table."""

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
    """A watcher that shows nothing: the default of the Python API."""

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
