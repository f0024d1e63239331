"""Start several workers on this machine, with torch's elastic launcher. On several machines, torchrun does it."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gancli import process, signals
from gancli.errors import Interrupted, UsageError, WorkerLost

ALL_GPUS = "gpu"
GRACE = 600  # seconds that workers have to finish a step and to save, after a signal


def number_of(processes: str) -> int:
    """The number of workers from "4" or "gpu". Raises UsageError."""
    if processes == ALL_GPUS:
        if not (count := torch.cuda.device_count()):
            raise UsageError("there is no GPU", where="--processes gpu", hint="use a number of processes")
        return count
    if not (processes.isdecimal() and 1 <= int(processes) <= 1024):
        raise UsageError(f"{processes!r} is not a number of processes", where="--processes", hint="use 4, or gpu")
    return int(processes)


def run(count: int, words: Sequence[str], folder: Path) -> int:
    """Run `gancli` with these arguments in `count` workers. Returns the exit code of the first one.

    folder: for notes of the first worker and logs; the same when workers are started again. Signals are passed on:
    those to stop to all workers, SIGUSR1 to the first one. Raises Interrupted once they have ended; WorkerLost if one
    of them was killed.
    """
    logging.disable()  # torch's launcher reports what gancli says itself
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, process.cores() // count)))
    os.environ[process.NOTES] = str(folder)
    stopping = [number.name for number in signals.STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,  # it would also restart after errors that happen again
        shutdown_timeout=GRACE,
        signals_to_handle=",".join([*stopping, "SIGQUIT"]),
    )
    try:
        with signals.immediate(), passing_on(folder / process.FIRST_WORKER):
            elastic_launch(config, sys.executable)("-m", "gancli", *words)
    except SignalException as stop:
        raise Interrupted(stop.sigval) from None
    except ChildFailedError as error:
        return exit_code(error.failures)
    return 0


@contextmanager
def passing_on(first: Path) -> Iterator[None]:
    """Context manager: send SIGUSR1 to the process whose number is in the file `first`, once it is there.

    Ctrl-Z is ignored: workers whose launcher does not answer would end.
    """

    def pass_on(signum: int, frame: FrameType | None) -> None:
        with suppress(OSError, ValueError):
            os.kill(int(first.read_text()), signum)

    before = signal.signal(signal.SIGUSR1, pass_on), signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGTSTP, before[1])


def exit_code(failures: Mapping[int, ProcessFailure]) -> int:
    """The exit code of the first worker, or of the one that failed first.

    Once a worker has failed, the launcher stops the others. Raises WorkerLost if one was killed, Interrupted if all of
    them have been stopped.
    """
    for rank, failure in sorted(failures.items()):
        if failure.exitcode < 0 and -failure.exitcode not in signals.STOPPING:
            what = f"worker {rank} was ended by signal {-failure.exitcode}"
            hint = "to resume from the last checkpoint, run the same command, or give --max-restarts"
            raise WorkerLost(what, where=f"process {failure.pid}", hint=hint)
    failed = {rank: failure for rank, failure in failures.items() if failure.exitcode > 0}
    if not failed:
        raise Interrupted(-min(failure.exitcode for failure in failures.values()))
    causes = {rank: failure for rank, failure in failed.items() if failure.exitcode != WorkerLost.exit_code}
    failed = causes or failed  # the others have lost the connection
    return (failed.get(0) or min(failed.values(), key=lambda failure: failure.timestamp)).exitcode
