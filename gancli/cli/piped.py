"""`-`: samples from a pipe, kept in a file of their own while they are looked at."""

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
BLOCK, WAIT = 1 << 20, 0.2  # bytes; seconds


@contextmanager
def spooled(target: str | None) -> Iterator[str | None]:
    """The target itself; for `-` a file with what comes through the pipe, a .tar.gz unpacked to a tar.

    Raises UsageError at a terminal, DataError where nothing comes.
    """
    if target != "-":
        yield target
        return
    if sys.stdin.isatty():
        raise UsageError(
            "nothing is piped in", where="-", hint="tar c fakes | gancli inspect-stats - --against photos/"
        )
    with tempfile.TemporaryDirectory(prefix="gancli-") as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            _receive(cast(BufferedReader, sys.stdin.buffer), file)
        yield str(_unpacked(path))


def _receive(source: BufferedReader, target: BinaryIO) -> None:
    """All of it, with a look at the stop flag now and then, also while nothing comes."""
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
    except (OSError, ValueError):  # no pipe: a file of its own kind
        return True


def _unpacked(path: Path) -> Path:
    if path.stat().st_size == 0:
        raise DataError("the pipe is empty", where="-", hint="pipe a tar or zip of pictures")
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
        raise DataError(f"the gzip in the pipe is damaged: {error}", where="-", hint="pack it again") from error
    return plain
