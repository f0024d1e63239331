"""Reads a .pt file once, and repacks what was checked, so that torch sees nothing else.

A zip file may hold two archives: one that is found from its end backwards, and one at the offset that its last record
states. Different readers then load different content. So the parts of the file must follow one another without gaps,
and torch gets a new archive in memory, written from the entries that were checked.
"""

import io
import os
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from gancli import files, safe_pickle
from gancli.safe_pickle import Refused

ENTRY = re.compile(
    r"(?P<top>[^/]+)/(data\.pkl|data/(?P<key>\d+)|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id)"
)
LOCAL = struct.Struct("<4s5H3I2H")  # local file header of a zip entry
DIRECTORY = 46  # size of an entry of the central directory, without its name and what follows
LOCAL_MAGIC, DESCRIPTOR_MAGIC = b"PK\3\4", b"PK\7\x08"
HAS_DESCRIPTOR, ENCRYPTED, UTF_8 = 8, 1, 1 << 11  # bits of the flags
DESCRIPTORS = (16, 24)  # sizes of a data descriptor in bytes: usual, zip64
END, END_64 = 22, 56 + 20  # size of the end record, and of the two records of zip64 before it
SHARE_OF_MEMORY = 0.4  # largest file, as a share of the memory of the machine: it is held twice while it is loaded


def repacked(path: Path) -> io.BytesIO:
    """A checked copy of the file in memory. Raises Refused, or OSError if the file cannot be read."""
    with files.opened(path) as file:
        _check_file(file)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
                _check_entries(infos)
                _check_layout(file, archive, infos)
                return _copy(archive, infos)
        except zipfile.BadZipFile as error:
            damaged = "a checksum does not match: the file is damaged" if "CRC" in str(error) else None
            raise Refused(damaged or "it is truncated or damaged") from error
        except (EOFError, ValueError, NotImplementedError, KeyError, struct.error, OverflowError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused("it is truncated or damaged") from error


def _check_file(file: BinaryIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > SHARE_OF_MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise Refused(f"its {size:,} bytes are too many for the memory of this machine")
    if file.read(2) != b"PK":
        raise Refused("it is not in the zip format that torch writes since version 1.6")


def _check_entries(infos: Sequence[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in infos]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        raise Refused("it is TorchScript, which is not accepted because it contains code")
    if len(set(names)) != len(names):
        raise Refused("two entries have the same name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ENCRYPTED for info in infos):
        raise Refused("an entry is compressed or encrypted")
    found = [ENTRY.fullmatch(name) for name in names]
    tops = {match["top"] if match else "" for match in found}
    if "" in tops or len(tops) != 1 or f"{tops.pop()}/data.pkl" not in names:
        raise Refused("its entries are not those that torch writes")


def _check_layout(file: BinaryIO, archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Entries, central directory and end record follow one another, from the first byte to the last."""
    position = 0
    for info in infos:
        if info.header_offset != position:
            raise Refused("there are bytes between its entries")
        position = _end_of(file, info)
    size = file.seek(0, os.SEEK_END)
    directory = sum(DIRECTORY + len(_name(info)) + len(info.extra) + len(info.comment) for info in infos)
    if archive.start_dir != position or archive.comment or size - position - directory not in (END, END + END_64):
        raise Refused("there are bytes before or after its directory")


def _name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF_8 else "cp437")


def _end_of(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """The position after an entry, whose local header must agree with the central directory."""
    file.seek(info.header_offset)
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(file.read(LOCAL.size))
    name = file.read(name_length)
    described = bool(flags & HAS_DESCRIPTOR)
    stated = described or (crc, packed, size) == (info.CRC, info.compress_size, info.file_size) or size == 0xFFFFFFFF
    wanted = (LOCAL_MAGIC, info.flag_bits, info.compress_type, _name(info))
    if (magic, flags, method, name) != wanted or not stated or info.compress_size != info.file_size:
        raise Refused("the two headers of an entry differ")
    end: int = info.header_offset + LOCAL.size + name_length + extra_length + info.compress_size
    if not described:
        return end
    file.seek(end)
    return end + _descriptor_size(file.read(max(DESCRIPTORS)), info)


def _descriptor_size(data: bytes, info: zipfile.ZipInfo) -> int:
    for size, numbers in zip(DESCRIPTORS, ("<4sIII", "<4sIQQ"), strict=True):
        wanted = (DESCRIPTOR_MAGIC, info.CRC, info.compress_size, info.file_size)
        if len(data) >= size and struct.unpack(numbers, data[:size]) == wanted:
            return size
    raise Refused("the two headers of an entry differ")


def _copy(archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> io.BytesIO:
    """A new archive with the same entries; reading an entry compares its checksum."""
    sizes = {
        match["key"]: info.file_size for info in infos if (match := ENTRY.fullmatch(info.filename)) and match["key"]
    }
    names = next(info for info in infos if info.filename.endswith("/data.pkl"))
    if names.file_size > safe_pickle.MAX_BYTES:
        raise Refused(f"its data.pkl has {names.file_size:,} bytes, which is too many")
    safe_pickle.check(archive.read(names), sizes)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as new:
        for info in infos:
            new.writestr(info.filename, archive.read(info))
    whole.seek(0)
    return whole
