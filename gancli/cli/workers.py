"""--processes: run a command in several worker processes on this machine."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from gancli import process, signals
from gancli.cli import show
from gancli.errors import UsageError, WorkerLost, WorkersDisagree

# typer's UsageError, the base class of its errors about arguments
WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]


def share(processes: str | None, max_restarts: int) -> None:
    """With --processes, run this command again in so many workers, and exit as they do. In a worker, do nothing.

    If one is lost, all are started again, up to `max_restarts` times. Raises Interrupted and WorkerLost.
    """
    if process.world_size() > 1 or (count := number_of(processes)) == 1:
        return
    from gancli import launch

    with TemporaryDirectory(prefix="gancli-") as folder:
        for restart in range(1, max_restarts + 2):
            signals.poll()
            why = "a worker was lost"
            try:
                code = launch.run(count, sys.argv[1:], Path(folder))
            except WorkerLost as lost:
                if restart > max_restarts:
                    raise
                code, why = lost.exit_code, lost.what
            if code != WorkerLost.exit_code or restart > max_restarts:
                raise typer.Exit(code)
            show.say(f"{why}: restarting all workers from the last checkpoint ({restart} of {max_restarts})")


def number_of(processes: str | None) -> int:
    """The number of workers. Raises UsageError."""
    if processes is None:
        return 1
    with signals.immediate():  # it imports torch
        from gancli import launch

    return launch.number_of(processes)


def speaks(error: Exception) -> bool:
    """Whether this worker prints an error. Those that all workers find are printed once on each machine."""
    known = isinstance(error, UsageError | WorkersDisagree | WorkerLost | WrongUsage)
    if known or getattr(error, "elsewhere", False):
        return process.local_rank() == 0
    return True


def wait_for_others(error: Exception) -> None:
    """Wait a moment before exiting because of what another worker says: the launcher ends those that still run."""
    if process.world_size() > 1 and (isinstance(error, WorkerLost) or not speaks(error)):
        time.sleep(1)
