"""Files that one process at a time may hold. Who holds one can be seen without taking it.

A holder has two locks on the file: flock, which also keeps threads of one process apart, and a record lock, whose
presence `os.lockf(..., F_TEST)` tells without locking anything. Both end with the process, however it ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAUSE = 0.05  # seconds between two tries of one that waits

_mine: set[Path] = set()  # held by this process: its own record locks do not show in a test


class Taken(Exception):
    """Another process, or another thread, holds the file."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"held by process {pid}")
        self.pid = pid


@contextmanager
def held(path: Path, while_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the file, which is made where it is missing and says the holder's pid.

    while_waiting: wait for it, and call this now and then; it may raise. Raises Taken where nobody waits.
    """
    with path.open("a+") as file:
        while not _take(file.fileno()):
            if while_waiting is None:
                file.seek(0)
                raise Taken(file.read().strip() or "?")
            while_waiting()
            time.sleep(PAUSE)
        with suppress(OSError):  # a file system without record locks: the holder cannot be seen, only met
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        _mine.add(path.resolve())
        try:
            yield
        finally:
            _mine.discard(path.resolve())


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Does a living process hold the file? Looking takes no lock, so it is in nobody's way."""
    if path.resolve() in _mine:  # to close the file would also end the record lock of this process
        return True
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        os.lockf(descriptor, os.F_TEST, 0)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
