"""What a cache folder holds, and whether it is what was written: `meta.json`, `values.bin`, `verified`.

`meta.json` contains a digest of itself and of each block of `values.bin`. Every start checks 64 MB of `values.bin`:
the first and the last block, and in between others than the start before. It checks the whole file if its size, times
or inode are not those in `verified`, which is written after a check. A cache that differs in anything is not used.
"""

import errno
import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gancli import files, signals
from gancli.data.images import Shape
from gancli.errors import CannotCreate, StorageError
from gancli.results import Progress, Rejected, printable

IN_MEMORY = 256 << 20  # bytes; sets of at most this size are read into memory, larger ones mapped
BLOCK = 4 << 20  # bytes of values.bin under one digest
CHECKED_EACH_START = 16  # blocks, if the file has not changed: the first, the last, and the next in turn
MAX_META_BYTES = 1 << 30  # 50 million samples

Count = Annotated[int, Field(ge=0, le=10**12)]
Side = Annotated[int, Field(ge=1, le=10**9)]
Size = tuple[Side, Side]
Block = bytes | memoryview


class Meta(BaseModel):
    """The facts about the samples in a cache folder. Each is checked, or at least limited, before it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["image", "signal", "points"]
    shape: Annotated[tuple[Side, ...], Field(min_length=1, max_length=3)]  # of one sample
    dtype: Literal["uint8", "float32"]
    hashes: Annotated[tuple[Annotated[str, Field(pattern=r"\A[0-9a-f]{16}\z")], ...], Field(min_length=1)]
    blocks: tuple[Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")], ...]  # digests of values.bin
    smallest: Size | None  # (height, width) of the smallest source image
    largest: Size | None
    enlarged: Count
    ignored: Count
    rejected: tuple[Rejected, ...]
    seal: str = ""  # digest of the other fields

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        image = self.kind == "image"
        rank = {"image": 3, "signal": 2, "points": 1}[self.kind]
        fits = len(self.shape) == rank and self.dtype == ("uint8" if image else "float32")
        if not fits or (image and self.shape[2] not in (1, 3, 4)):
            raise ValueError("the shape or type is not that of such samples")
        if self.enlarged > len(self.hashes) or any(image == (size is None) for size in (self.smallest, self.largest)):
            raise ValueError("the sizes of the source images are not possible")
        if len(self.blocks) != -(-self.nbytes // BLOCK):
            raise ValueError("the number of blocks does not fit")
        if any(printable(text) != text for r in self.rejected for text in (r.name, r.reason)):
            raise ValueError("a rejected file has unprintable characters")
        return self

    @property
    def nbytes(self) -> int:
        """Size of values.bin in bytes."""
        return len(self.hashes) * math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def sealed(self) -> Self:
        """The same with its digest."""
        return self.model_copy(update={"seal": self._digest()})

    def is_for(self, shape: Shape) -> bool:
        """Whether it is unchanged since it was sealed, and about samples of this shape."""
        height, width, channels = self.shape if self.kind == "image" else (shape.height, shape.width, shape.channels)
        fits = (height, width) == (shape.height, shape.width) and shape.channels in (None, channels)
        return fits and self.seal == self._digest()

    def _digest(self) -> str:
        return _hash(self.model_dump_json(exclude={"seal"}).encode())


@dataclass(frozen=True)
class Stored:
    """The content of a cache folder."""

    meta: Meta
    values: NDArray[Any]  # (N, ...), read-only


def write(folder: Path, meta: dict[str, Any]) -> None:
    """Complete a folder with a finished values.bin. meta: the fields of `Meta` but the digests. Raises OSError."""
    with (folder / "values.bin").open("rb") as file:
        blocks = []
        while data := file.read(BLOCK):
            signals.poll()
            blocks.append(_hash(data))
        _write_verified(folder, file.fileno(), 0)
    whole = Meta(**meta, blocks=tuple(blocks)).sealed()
    (folder / "meta.json").write_text(whole.model_dump_json(), encoding="utf-8")


def read_meta(folder: Path, shape: Shape) -> Meta | None:
    """The metadata of a complete cache folder; None if it is missing or damaged. The values are not read."""
    try:
        meta = Meta.model_validate_json(small_file(folder / "meta.json", MAX_META_BYTES))
        size = (folder / "values.bin").stat().st_size
        return meta if size == meta.nbytes and meta.is_for(shape) else None
    except (OSError, ValueError, MemoryError):
        return None


def read(folder: Path, shape: Shape, progress: Progress) -> Stored | None:
    """The samples and their metadata; None if anything is missing or damaged."""
    meta = read_meta(folder, shape)
    if meta is None:
        return None
    try:
        values = _values(folder, meta, progress)
    except OSError:
        return None
    return None if values is None else Stored(meta, values)


def _values(folder: Path, meta: Meta, progress: Progress) -> NDArray[Any] | None:
    """The samples of values.bin, checked. None if they are not those that were written.

    In memory up to IN_MEMORY, so that cutting the file short cannot end the process, as it does with a map (SIGBUS).
    """
    shape = (len(meta.hashes), *meta.shape)
    with files.opened(folder / "values.bin") as file:
        descriptor = file.fileno()
        if meta.nbytes > IN_MEMORY:
            whole = _check(folder, descriptor, meta, lambda i: os.pread(descriptor, BLOCK, i * BLOCK), progress)
            return np.memmap(file, meta.dtype, "r", shape=shape) if whole else None
        room = bytearray(meta.nbytes)
        if file.readinto(room) != meta.nbytes:
            return None
        data = memoryview(room).toreadonly()
        whole = _check(folder, descriptor, meta, lambda i: data[i * BLOCK : (i + 1) * BLOCK], progress)
        return np.frombuffer(data, meta.dtype).reshape(shape) if whole else None


def _check(folder: Path, descriptor: int, meta: Meta, block: Callable[[int], Block], progress: Progress) -> bool:
    """Whether values.bin is what was written: all of it if it may have changed, else the blocks whose turn it is."""
    count = len(meta.blocks)
    stamp, start = _read_verified(folder)
    if count <= CHECKED_EACH_START or stamp != _stamp(descriptor):
        which, following = list(range(count)), 0
    else:
        turn = [(start + i) % count for i in range(CHECKED_EACH_START - 2)]
        which, following = sorted({0, count - 1, *turn}), (start + len(turn)) % count
    if not _intact(meta, which, block, progress):
        return False
    if count > CHECKED_EACH_START:
        _write_verified(folder, descriptor, following)
    return True


def _intact(meta: Meta, which: Sequence[int], block: Callable[[int], Block], progress: Progress) -> bool:
    """Whether these blocks have their digests. blake2b: about 150 ms per 100 MB."""
    for done, i in enumerate(which):
        signals.poll()
        progress("checking", done, len(which))
        if _hash(block(i)) != meta.blocks[i]:
            return False
    return True


def check_length(values: NDArray[Any]) -> None:
    """Raise StorageError if the file of mapped samples was cut short: reading beyond its end would end the process."""
    if not isinstance(values, np.memmap) or values.filename is None:
        return
    with suppress(OSError):  # removed; the map still holds it
        if os.stat(values.filename).st_size < values.nbytes:
            what = "the data cache was cut short while it was in use"
            raise StorageError(what, where=printable(str(values.filename)), hint="run the same command again")


def small_file(path: Path, most: int) -> bytes:
    """The content of a regular file of at most this many bytes. Raises OSError for any other."""
    with files.opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, "the file is too large")
    return data


def _stamp(descriptor: int) -> str:
    s = os.fstat(descriptor)
    return f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"


def _read_verified(folder: Path) -> tuple[str, int]:
    """The stamp of values.bin when all of it was checked, and the block to check next."""
    with suppress(OSError, UnicodeDecodeError):
        text = small_file(folder / "verified", 200).decode()
        if found := re.fullmatch(r"(\d+ \d+ \d+ \d+) (\d{1,12})", text):
            return found[1], int(found[2])
    return "", 0


def _write_verified(folder: Path, descriptor: int, following: int) -> None:
    with suppress(CannotCreate, StorageError):  # a cache that cannot be written is checked whole each time
        files.replace_text(folder / "verified", f"{_stamp(descriptor)} {following}")


def _hash(data: Block) -> str:
    return blake2b(data, digest_size=16).hexdigest()
