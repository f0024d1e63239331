"""`-`: samples from a pipe, kept in a file of their own while they are looked at."""

import gzip
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gancli.errors import DataError, UsageError

GZIP = b"\x1f\x8b"


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
            "nothing is piped in", where="-", mend="tar c fakes | gancli inspect-stats - --against photos/"
        )
    with tempfile.TemporaryDirectory(prefix="gancli-") as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        yield str(_unpacked(path))


def _unpacked(path: Path) -> Path:
    if path.stat().st_size == 0:
        raise DataError("the pipe is empty", where="-", mend="pipe a tar or zip of pictures")
    with path.open("rb") as file:
        if file.read(2) != GZIP:
            return path
    plain = path.with_name("stdin.tar")
    try:
        with gzip.open(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (OSError, EOFError) as error:
        raise DataError(f"the gzip in the pipe is damaged: {error}", where="-", mend="pack it again") from error
    return plain
