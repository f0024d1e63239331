"""--processes: run a command in several worker processes on this machine."""

import sys

import typer

from gancli import process
from gancli.cli import show
from gancli.errors import GancliError, UsageError, WorkerLost, WorkersDisagree


def share(processes: str | None, max_restarts: int) -> None:
    """With --processes, run this command again in so many workers, and exit as they do. In a worker, do nothing.

    Lost workers are all started again, up to `max_restarts` times. Raises Interrupted and WorkerLost.
    """
    if process.world_size() > 1 or (count := number_of(processes)) == 1:
        return
    from gancli import launch

    for restart in range(max_restarts + 1):
        try:
            code = launch.run(count, sys.argv[1:], restart=restart)
        except WorkerLost as lost:
            if restart == max_restarts:
                raise
            show.say(f"{lost.what}: restarting all workers from the last checkpoint ({restart + 1} of {max_restarts})")
            continue
        if code != WorkerLost.exit_code or restart == max_restarts:
            raise typer.Exit(code)


def number_of(processes: str | None) -> int:
    """The number of workers. Raises UsageError."""
    if processes is None:
        return 1
    from gancli import launch

    return launch.number_of(processes)


def speaks(error: Exception) -> bool:
    """Whether this worker prints an error. Those that all workers find are printed by the first one.

    A lost connection is also printed by the first worker of every other machine.
    """
    if process.rank() == 0 or not isinstance(error, GancliError):
        return True
    if isinstance(error, WorkerLost) or error.elsewhere:
        return process.local_rank() == 0
    return not isinstance(error, UsageError | WorkersDisagree)
