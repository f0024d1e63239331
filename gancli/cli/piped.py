"""`-`: samples from standard input, stored in a temporary file."""

import gzip
import select
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import cast

from gancli import signals
from gancli.errors import DataError, StorageError, UsageError
from gancli.results import printable

GZIP = b"\x1f\x8b"
BLOCK, WAIT = 1 << 20, 0.2  # block size in bytes; waiting time in seconds
MARGIN = 1 << 30  # bytes of disk that are left free


@contextmanager
def spooled(target: str | None) -> Iterator[str | None]:
    """The target itself, or for `-` a temporary file with the content of standard input; gzip is decompressed.

    Raises UsageError if standard input is a terminal, DataError if it is empty or damaged, StorageError if the disk for
    temporary files is too small.
    """
    if target != "-":
        yield target
        return
    if sys.stdin.isatty():
        raise UsageError(
            "standard input is a terminal", where="-", hint="tar c fakes | gancli inspect-stats - --against photos/"
        )
    with _temporary_folder() as folder:
        path = folder / "stdin"
        with path.open("wb") as file:
            for block in _received(cast(BufferedReader, sys.stdin.buffer)):
                _write(file, block)
        path = _unpacked(path)
        try:
            yield str(path)
        except (UsageError, DataError) as error:
            where = error.where.replace(str(path), "stdin")
            raise type(error)(error.what, where=where, hint=error.hint) from error


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="gancli-")
    except OSError as error:
        raise _no_space(tempfile.gettempdir(), error.strerror or str(error)) from error
    with folder as path:
        yield Path(path)


def _received(source: BufferedReader) -> Iterator[bytes]:
    """The blocks of a stream. Signals are checked regularly, even while no data arrives. Raises DataError."""
    block = b"."
    while block:
        while not _ready(source):
            signals.poll()
        signals.poll()
        try:
            block = source.read1(BLOCK)
        except OSError as error:
            what = f"cannot read standard input: {error.strerror}"
            raise DataError(what, where="-", hint="pipe a tar or zip of images") from error
        yield block


def _write(file: BufferedWriter, block: bytes) -> None:
    """Write a block, and leave MARGIN free on the disk: what is piped in may be a bomb. Raises StorageError."""
    folder = str(Path(file.name).parent)
    if shutil.disk_usage(folder).free < MARGIN + len(block):
        raise _no_space(folder, f"less than {MARGIN:,} bytes would be left free after {file.tell():,} bytes")
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise _no_space(folder, error.strerror or str(error)) from error


def _no_space(folder: str, reason: str) -> StorageError:
    hint = "free some space, or set TMPDIR to a folder on another disk"
    return StorageError(f"cannot store standard input: {reason}", where=printable(folder), hint=hint)


def _ready(source: BufferedReader) -> bool:
    try:
        return bool(select.select([source.fileno()], [], [], WAIT)[0])
    except (OSError, ValueError):  # not a pipe, but an object that does not support select
        return True


def _unpacked(path: Path) -> Path:
    if path.stat().st_size == 0:
        raise DataError("standard input is empty", where="-", hint="pipe a tar or zip of images")
    with path.open("rb") as file:
        if file.read(2) != GZIP:
            return path
    plain = path.with_name("stdin.tar")
    try:
        with plain.open("wb") as file, gzip.open(path) as packed:
            while block := packed.read(BLOCK):
                signals.poll()
                _write(file, block)
    except (OSError, EOFError, zlib.error) as error:
        what = f"the gzip data on standard input is damaged: {error}"
        raise DataError(what, where="-", hint="compress it again") from error
    return plain
