"""Lock files. Whether a lock is held can be tested without acquiring it.

A holder has two locks on the file: flock, which also excludes other threads of the same process, and a record lock,
which `os.lockf(..., F_TEST)` can test without locking. The system releases both when the process ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from gancli.errors import StorageError
from gancli.results import printable

PAUSE = 0.05  # seconds between two attempts while waiting

_mine: set[Path] = set()  # held by this process: F_TEST does not report the record locks of the same process


class Taken(Exception):
    """Another process or thread holds the lock."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"held by process {pid}")
        self.pid = pid


@contextmanager
def held(path: Path, while_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock within a `with` block. The file is created if missing and contains the pid of the holder.

    while_waiting: wait for the lock and call this periodically; it may raise. Raises Taken if it is None, StorageError
    if the file cannot be written or locked.
    """
    with _opened(path) as file:
        while not _take(file.fileno(), path):
            if while_waiting is None:
                file.seek(0)
                raise Taken(file.read().decode(errors="replace").strip() or "?")
            while_waiting()
            time.sleep(PAUSE)
        with suppress(OSError):  # a file system without record locks: is_held cannot see this holder
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_pid(file, path)
        _mine.add(path.resolve())
        try:
            yield
        finally:
            _mine.discard(path.resolve())


def _opened(path: Path) -> FileIO:
    """Without a buffer: closing the file would write what a full disk refused once more, and raise without the path."""
    try:
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write_pid(file: FileIO, path: Path) -> None:
    try:
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    what = f"cannot write {len(str(os.getpid()))} bytes: {error.strerror}"
    return StorageError(what, where=printable(str(path)), hint="free some space, or make the folder writable")


def _take(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        hint = "this file system has no locks: give another --outdir or GANCLI_CACHE_DIR"
        raise StorageError(f"cannot lock: {error.strerror}", where=printable(str(path)), hint=hint) from error
    return True


def is_held(path: Path) -> bool:
    """Whether a running process holds the lock. Testing does not acquire it."""
    if path.resolve() in _mine:  # closing the file would also release the record lock of this process
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
