"""Atomic file writes: a file is replaced completely, or not at all. The same for new folders. And careful reading."""

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path

from gancli.errors import CannotCreate, GancliError, StorageError
from gancli.results import printable

CANNOT_CREATE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
TEMPORARY = ".gancli.tmp-"  # in the names of temporary files, before the process number; no other program writes it
IDLE_SECONDS = 600  # age at which a temporary file is removed whose process has ended
STALE_SECONDS = 86_400  # age at which a temporary file is removed even if its process seems to be alive
LONGEST_NAME = 200  # bytes of a file name that is kept in the name of its temporary file


def replace(path: Path, fill: Callable[[Path], object], needed: int, *, durable: bool = True) -> None:
    """Write a temporary file next to `path`, sync it to disk, then rename it to `path`.

    needed: bytes that must be free. durable: whether to wait for the disk; otherwise the file may be empty after a
    power failure. Raises CannotCreate if the file cannot be created there, else StorageError with the path and the
    number of bytes.
    """
    temporary = _temporary(path)
    try:
        if shutil.disk_usage(path.parent).free < needed:
            raise OSError(errno.ENOSPC, "the disk is full")
        fill(temporary)
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError with varying text on a full disk
        raise _translated(error, path, needed) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _temporary(path: Path, word: str = "") -> Path:
    """A hidden name beside the path; that of a long name is its hash, because names may have at most 255 bytes."""
    name = os.fsencode(path.name)
    stem = path.name if len(name) <= LONGEST_NAME else blake2b(name, digest_size=16).hexdigest()
    return path.with_name(f".{stem}{word}{TEMPORARY}{os.getpid()}")


def _translated(error: Exception, path: Path, needed: int) -> GancliError:
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in CANNOT_CREATE:
        return CannotCreate(f"cannot write there: {reason}", where=printable(str(path)), hint="use another path")
    hint = "free some space, then run the same command again"
    return StorageError(f"cannot write {needed:,} bytes: {reason}", where=printable(str(path)), hint=hint)


def replace_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file atomically. Raises as `replace`."""
    replace(path, lambda temporary: temporary.write_bytes(data), len(data), durable=durable)


def replace_text(path: Path, text: str) -> None:
    """Write a text file atomically. Raises as `replace`."""
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def append_text(path: Path, text: str) -> None:
    """Append to a text file, which is created if it is missing. Not synced to disk. Raises as `replace`."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise _translated(error, path, len(data)) from error


def link(source: Path, name: Path) -> None:
    """Make `name` a hard link to `source`, or a copy if hard links are not supported. Raises as `replace`."""

    def fill(temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

    replace(name, fill, needed=0)


def make_folder(path: Path, hint: str = "use another path") -> None:
    """Create a folder and its parents, unless they exist. Raises CannotCreate, or StorageError if the disk is full."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (*CANNOT_CREATE, errno.EEXIST):
            what = f"cannot create the folder: {error.strerror}"
            raise CannotCreate(what, where=printable(str(path)), hint=hint) from error
        raise _translated(error, path, 0) from error


def create_folder(path: Path, texts: Mapping[str, str]) -> None:
    """Create a folder that contains text files from the moment it exists. An empty folder is adopted.

    Raises FileExistsError if there is something else at `path`, CannotCreate, or StorageError.
    """
    temporary = _temporary(path, f"-{secrets.token_hex(4)}")  # process numbers of two machines can be equal
    try:
        _create(temporary, path, texts)
    except OSError as error:
        if error.errno in EXISTS and path.exists():
            raise FileExistsError(error.errno, "it exists already", str(path)) from error
        raise _translated(error, path, needed=sum(map(len, texts.values()))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _create(temporary: Path, path: Path, texts: Mapping[str, str]) -> None:
    temporary.mkdir()
    for name, text in texts.items():
        (temporary / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        _sync(temporary / name)
    _sync(temporary)
    if path.is_dir():
        sweep(path, idle=0)
    os.rename(temporary, path)
    _sync(path.parent)


def sweep(folder: Path, idle: float = IDLE_SECONDS) -> None:
    """Remove the temporary files and folders that killed processes left in a folder.

    idle: age in seconds from which one is removed whose process has ended: a newer one may be of another machine. 0 if
    a lock excludes that.
    """
    for path in folder.glob(f".*{TEMPORARY}*"):
        pid = path.name.rpartition(TEMPORARY)[2]
        with suppress(OSError):
            age = time.time() - path.lstat().st_mtime
            if pid.isdecimal() and age >= (idle if _has_ended(int(pid)) else STALE_SECONDS):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _has_ended(pid: int) -> bool:
    """Whether no process of this machine has this number, or only this one: in a container, numbers are used again."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # a process of another user
        return False
    return False


class NotRegular(OSError):
    """A folder, pipe or device in place of a file."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading. Raises NotRegular for any other, without waiting for a pipe, or OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotRegular(errno.EINVAL, "not a regular file", str(path))
        yield file


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk. Raises as `replace`."""
    try:
        _sync(path)
    except OSError as error:
        raise _translated(error, path, path.stat().st_size) from error


def _sync(path: Path) -> None:
    """Of a file or folder. Raises OSError, which does not name it. Some network file systems cannot sync a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(handle)
