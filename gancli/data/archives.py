"""Members of zip and tar files. What their headers claim is checked while reading."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, cast

from gancli import signals
from gancli.errors import DataError
from gancli.results import printable

Kind = Literal["zip", "tar", "packed", "other"]

MAX_FILE_BYTES = 256_000_000  # of one image file
MAX_MEMBERS = 5_000_000
MAX_HEADER_BYTES, MAX_HEADER_READS = 1 << 20, 64  # of one tar member: with long names, extended attributes
BLOCK = tarfile.BLOCKSIZE
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
PACKED = (b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # bzip2, xz and Zstandard
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile expands the others without a limit


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    nbytes: int  # as claimed by the archive
    read: Callable[[], bytes]
    refusal: str | None  # why it must not be read


def kind_of(path: Path) -> Kind:
    """What a file is, by content. "packed": a compressed tar, or a file compressed by something other than gzip."""
    with path.open("rb") as file:
        head = file.read(BLOCK)
    if _starts_tar(head):
        return "tar"
    if head.startswith(PACKED) or (head.startswith(GZIP) and _starts_tar(_unpacked_head(path))):
        return "packed"
    return "zip" if zipfile.is_zipfile(path) else "other"


def _starts_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")  # checks the checksum
    except tarfile.HeaderError:
        return False
    return True


def _unpacked_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(BLOCK)
    except (OSError, EOFError, zlib.error):  # damaged; reading it as an array reports this
        return b""


def refusal_of_size(nbytes: int) -> str | None:
    """Why a file of this size is not read; None if it is."""
    return f"{nbytes:,} bytes are too many for one image" if nbytes > MAX_FILE_BYTES else None


def zip_members(path: Path) -> list[Member]:
    """The files in a zip. Raises DataError."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damaged; the errors of zipfile have no common base class
        raise DataError(f"not a readable zip: {error}", where=printable(str(path)), hint="create it again") from error
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]  # is_dir fails without a name
    _check_count(len(infos), path)
    return [Member(i.filename, i.file_size, partial(_inflated, archive, i), _zip_refusal(i)) for i in infos]


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The content of a member. Never expands more than the claimed size: `ZipFile.read` would."""
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise ValueError("its size differs from that in the zip directory")
    return data


def _zip_refusal(info: zipfile.ZipInfo) -> str | None:
    if ".." in PurePosixPath(info.filename).parts or PurePosixPath(info.filename).is_absolute():
        return "its path points outside the zip"
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in PLAIN_METHODS:
        return "compressed by a method other than deflate"
    return refusal_of_size(info.file_size)


def tar_members(path: Path) -> list[Member]:
    """The files in an uncompressed tar, which allows random access. Raises DataError."""
    try:
        infos = [info for info in _tar_infos(path) if not info.isdir()]
    except (tarfile.TarError, OSError, ValueError, MemoryError, RecursionError) as error:
        raise DataError(
            f"not a complete tar: {error or type(error).__name__}",
            where=printable(str(path)),
            hint="create it again; unpack it first if it is compressed",
        ) from error
    return [Member(i.name, i.size, partial(_slice, path, i.offset_data, i.size), _tar_refusal(i)) for i in infos]


def _tar_infos(path: Path) -> Iterator[tarfile.TarInfo]:
    with path.open("rb") as file:
        headers = _Headers(file)
        archive: Any = tarfile.TarFile(fileobj=cast(BinaryIO, headers))
        count = 0
        while (info := archive.next()) is not None:
            signals.poll()
            archive.members.clear()  # each holds a copy of all global headers
            info.pax_headers = {}
            count += 1
            _check_count(count, path)
            headers.start_member()
            yield info
        if any(headers.last):  # tarfile takes a damaged header for the end
            raise ValueError(f"the header at byte {file.tell() - len(headers.last):,} is damaged")


class _Headers:
    """The header blocks of a tar as a file, for tarfile, which believes the sizes in them.

    Reading is limited per member, and only goes forward. Raises ValueError otherwise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last = b""  # the block read last
        self.start_member()

    def start_member(self) -> None:
        self._bytes, self._reads = MAX_HEADER_BYTES, MAX_HEADER_READS

    def read(self, size: int) -> bytes:
        self._bytes, self._reads = self._bytes - size, self._reads - 1
        if size < 0 or self._bytes < 0 or self._reads < 0:
            raise ValueError(f"the headers of the member at byte {self._file.tell():,} are too long")
        self.last = self._file.read(size)
        return self.last

    def seek(self, position: int) -> None:
        if position < self._file.tell() - 1:  # tarfile reads the last byte of a member before the next header
            raise ValueError(f"the header before byte {self._file.tell():,} points backward")
        self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _tar_refusal(info: tarfile.TarInfo) -> str | None:
    if not info.isreg() or info.issparse():
        return "not a regular file"
    return refusal_of_size(info.size)


def _slice(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(max(0, size))


def _check_count(count: int, path: Path) -> None:
    if count > MAX_MEMBERS:
        what = f"more than {MAX_MEMBERS:,} files in one archive"
        raise DataError(what, where=printable(str(path)), hint="unpack it, and give the folder")
