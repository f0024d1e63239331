"""Random damage and random edits, as functions of a random generator.

Damage changes bytes without knowing the format: it must be noticed. An edit writes a well-formed zip file with other
content and fresh checksums: nothing can notice it, but it must not do harm.
"""

# ruff: noqa: TID251  (edited checkpoints are written with torch, not with gancli)

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch

Mutator = Callable[[bytearray, random.Random], bytes]
NASTY_BYTES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\0\0\xff\xff")
NASTY_VALUES: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: -1, lambda: 0, lambda: 1 << 62, lambda: 10**400, lambda: float("nan"),
    lambda: float("inf"), lambda: "", lambda: "\x1b]0;title\x07", lambda: "x" * 100_000, lambda: [], lambda: {},
    lambda: [[]] * 50, lambda: {"a": 1}, lambda: torch.zeros(3), lambda: torch.zeros(()), lambda: torch.tensor([1, 2]),
    lambda: torch.zeros(1).expand(10**9), lambda: torch.full((2,), float("nan")), lambda: torch.zeros(0),
)  # fmt: skip


def flip_bit(b: bytearray, draw: random.Random) -> bytes:
    """One bit."""
    b[draw.randrange(len(b))] ^= 1 << draw.randrange(8)
    return bytes(b)


def flip_bits(b: bytearray, draw: random.Random) -> bytes:
    """Two to forty bits."""
    for _ in range(draw.randrange(2, 40)):
        b[draw.randrange(len(b))] ^= 1 << draw.randrange(8)
    return bytes(b)


def set_bytes(b: bytearray, draw: random.Random) -> bytes:
    """Some bytes get extreme values."""
    for _ in range(draw.choice((1, 1, 2, 8, 30))):
        b[draw.randrange(len(b))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(b)


def set_number(b: bytearray, draw: random.Random) -> bytes:
    """Four bytes near the start, where headers are, get an extreme value."""
    i = draw.randrange(min(len(b), 400))
    b[i : i + 4] = draw.choice(NASTY_BYTES)
    return bytes(b)


def truncate(b: bytearray, draw: random.Random) -> bytes:
    """The end is gone."""
    return bytes(b[: draw.randrange(len(b))])


def behead(b: bytearray, draw: random.Random) -> bytes:
    """The start is gone."""
    return bytes(b[draw.randrange(1, len(b)) :])


def cut_out(b: bytearray, draw: random.Random) -> bytes:
    """A part in the middle is gone."""
    i = draw.randrange(len(b))
    return bytes(b[:i] + b[i + draw.randrange(1, 5_000) :])


def zero(b: bytearray, draw: random.Random) -> bytes:
    """A block of zeros, as after a power failure."""
    i, size = draw.randrange(len(b)), draw.choice((16, 512, 4_096))
    b[i : i + size] = bytes(len(b[i : i + size]))
    return bytes(b)


def tail(b: bytearray, draw: random.Random) -> bytes:
    """One byte near the end, where a zip has its directory."""
    b[len(b) - 1 - draw.randrange(min(len(b), 6_000))] = draw.randrange(256)
    return bytes(b)


def append(b: bytearray, draw: random.Random) -> bytes:
    """More bytes at the end."""
    return bytes(b) + draw.randbytes(draw.randrange(1, 3_000))


def insert(b: bytearray, draw: random.Random) -> bytes:
    """More bytes in the middle."""
    i = draw.randrange(len(b))
    b[i:i] = draw.randbytes(draw.randrange(1, 100))
    return bytes(b)


def swap_blocks(b: bytearray, draw: random.Random) -> bytes:
    """Two blocks of up to 64 bytes change places."""
    size = max(1, min(64, len(b) // 4))
    i, j = (draw.randrange(len(b) - size + 1) for _ in "ab")
    b[i : i + size], b[j : j + size] = b[j : j + size], b[i : i + size]
    return bytes(b)


DAMAGE: tuple[Mutator, ...] = (
    flip_bit, flip_bits, set_bytes, set_number, truncate, behead, cut_out, zero, tail, append, insert, swap_blocks
)  # fmt: skip


def entries(blob: bytes | bytearray) -> list[tuple[str, bytes]]:
    """Names and contents of a zip file."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(items: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with these entries."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # about names that occur twice
        for name, data in items:
            archive.writestr(name, data)
    return buffer.getvalue()


def _numbers(items: list[tuple[str, bytes]]) -> list[int]:
    return [i for i, (name, _) in enumerate(items) if "/data/" in name]


def drop_entry(b: bytearray, draw: random.Random) -> bytes:
    """An entry is gone."""
    items = entries(b)
    del items[draw.randrange(len(items))]
    return zipped(items)


def repeat_entry(b: bytearray, draw: random.Random) -> bytes:
    """A name twice: readers may disagree about which one counts."""
    items = entries(b)
    name, data = draw.choice(items)
    return zipped([*items, (name, bytes(byte ^ 0x10 for byte in data))])


def edit_pickle(b: bytearray, draw: random.Random) -> bytes:
    """Some bytes of the pickle."""
    items = entries(b)
    index = next(i for i, (name, _) in enumerate(items) if name.endswith("data.pkl"))
    data = bytearray(items[index][1])
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    items[index] = (items[index][0], bytes(data))
    return zipped(items)


def edit_entry(b: bytearray, draw: random.Random) -> bytes:
    """A byte of some entry."""
    items = entries(b)
    index = draw.randrange(len(items))
    items[index] = (items[index][0], flip_bit(bytearray(items[index][1] or b"x"), draw))
    return zipped(items)


def resize_entry(b: bytearray, draw: random.Random) -> bytes:
    """The numbers of a tensor are cut short, or more than they should be."""
    items = entries(b)
    index = draw.choice(_numbers(items))
    name, data = items[index]
    longer = data + draw.randbytes(draw.randrange(1, 99))
    items[index] = (name, draw.choice((data[: draw.randrange(len(data) + 1)], longer)))
    return zipped(items)


def swap_entries(b: bytearray, draw: random.Random) -> bytes:
    """The numbers of two tensors change places."""
    items = entries(b)
    i, j = draw.sample(_numbers(items), 2)
    items[i], items[j] = (items[i][0], items[j][1]), (items[j][0], items[i][1])
    return zipped(items)


def compress(b: bytearray, draw: random.Random) -> bytes:
    """The same content, compressed."""
    return zipped(entries(b), draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))


def edit_value(b: bytearray, draw: random.Random) -> bytes:
    """A value somewhere in the file becomes something absurd."""
    values = torch.load(io.BytesIO(b), weights_only=True)
    holder = values
    while True:
        key = draw.choice(list(holder))
        if not isinstance(holder[key], dict) or not holder[key] or draw.random() < 0.15:
            break
        holder = holder[key]
    if draw.random() < 0.15:
        holder[draw.choice(("x", "\x1b[31m", ""))] = draw.choice(NASTY_VALUES)()
    else:
        holder[key] = draw.choice(NASTY_VALUES)()
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def two_archives(b: bytearray, draw: random.Random) -> bytes:
    """A reader that trusts the stated offset of the directory sees other weights than one that searches from the end.

    The file: other entries, their directory, the good entries, the good directory, and one end record.
    """
    items = entries(b)
    index = draw.choice(_numbers(items))
    other = [(name, bytes(len(data)) if i == index else data) for i, (name, data) in enumerate(items)]
    (evil, evil_directory, count), (good, good_directory, _) = _split(zipped(other)), _split(zipped(items))
    evil += bytes(max(0, len(good) - len(evil)))
    offset, base = len(evil), len(evil) + len(evil_directory)
    shift = base - (base + len(good) - offset)  # zipfile adds the difference of found and stated offset
    moved, i = bytearray(), 0
    while i < len(good_directory):
        name, extra, comment = struct.unpack("<HHH", good_directory[i + 28 : i + 34])
        (start,) = struct.unpack("<I", good_directory[i + 42 : i + 46])
        end = i + 46 + name + extra + comment
        moved += good_directory[i : i + 42] + struct.pack("<i", start + shift) + good_directory[i + 46 : end]
        i = end
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(moved), offset, 0)
    return evil + evil_directory + good + bytes(moved) + last


def _split(blob: bytes) -> tuple[bytes, bytes, int]:
    """The entries of a zip file, its directory, and their number."""
    end = blob.rfind(b"PK\5\6")
    count, size, offset = struct.unpack("<HII", blob[end + 10 : end + 20])
    return blob[:offset], blob[offset : offset + size], count


EDITS: tuple[Mutator, ...] = (
    drop_entry, edit_pickle, edit_entry, resize_entry, swap_entries, compress, edit_value, edit_value
)  # fmt: skip
TWO_FOLD: tuple[Mutator, ...] = (repeat_entry, two_archives)  # two contents in one file: damage, not an edit
