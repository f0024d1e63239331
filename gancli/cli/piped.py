"""`-`: samples from standard input, stored in a temporary file."""

import gzip
import select
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from gancli import signals
from gancli.errors import DataError, UsageError

GZIP = b"\x1f\x8b"
BLOCK, WAIT = 1 << 20, 0.2  # block size in bytes; waiting time in seconds


@contextmanager
def spooled(target: str | None) -> Iterator[str | None]:
    """The target itself, or for `-` a temporary file with the content of standard input; gzip is decompressed.

    Raises UsageError if standard input is a terminal, DataError if it is empty.
    """
    if target != "-":
        yield target
        return
    if sys.stdin.isatty():
        raise UsageError(
            "standard input is a terminal", where="-", hint="tar c fakes | gancli inspect-stats - --against photos/"
        )
    with tempfile.TemporaryDirectory(prefix="gancli-") as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            _receive(cast(BufferedReader, sys.stdin.buffer), file)
        yield str(_unpacked(path))


def _receive(source: BufferedReader, target: BinaryIO) -> None:
    """Copy the whole stream, and check regularly for signals, even while no data arrives."""
    block = b"."
    while block:
        while not _ready(source):
            signals.poll()
        signals.poll()
        block = source.read1(BLOCK)
        target.write(block)


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
        with gzip.open(path) as packed, plain.open("wb") as file:
            while block := packed.read(BLOCK):
                signals.poll()
                file.write(block)
    except (OSError, EOFError, zlib.error) as error:
        what = f"the gzip data on standard input is damaged: {error}"
        raise DataError(what, where="-", hint="compress it again") from error
    return plain
