"""Atomic file writes: a file is replaced completely, or not at all."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gancli.errors import CannotCreate, GancliError, StorageError
from gancli.results import printable

CANNOT_CREATE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)


def replace(path: Path, fill: Callable[[Path], object], needed: int = 0) -> None:
    """Write a temporary file next to `path`, sync it to disk, then rename it to `path`.

    needed: bytes that must be free. Raises CannotCreate if the file cannot be created there, else
    StorageError with the path and the number of bytes.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        if shutil.disk_usage(path.parent).free < needed:
            raise OSError(errno.ENOSPC, "the disk is full")
        fill(temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError with varying text on a full disk
        temporary.unlink(missing_ok=True)
        raise _translated(error, path, needed) from error


def _translated(error: Exception, path: Path, needed: int) -> GancliError:
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in CANNOT_CREATE:
        return CannotCreate(f"cannot write there: {reason}", where=printable(str(path)), hint="use another path")
    size = f" {needed:,} bytes" if needed else ""
    hint = "free some space, then run the same command again"
    return StorageError(f"cannot write{size}: {reason}", where=printable(str(path)), hint=hint)


def replace_text(path: Path, text: str) -> None:
    """Write a small text file atomically. Raises as `replace`."""
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


def link(source: Path, name: Path) -> None:
    """Make `name` a hard link to `source`, or a copy if hard links are not supported. Raises as `replace`."""

    def fill(temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

    replace(name, fill)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
