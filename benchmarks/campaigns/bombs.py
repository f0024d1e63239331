"""Small files that claim, or unpack to, far more than they are: refused in time, within a memory limit."""

# ruff: noqa: TID251  (hostile checkpoints are written with torch)

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from PIL import Image

from campaigns import harness
from campaigns.harness import Progress, Row
from campaigns.payload_files import zip_of

MEMORY = 3 << 30  # bytes of address space, beyond those of torch
SECONDS, MOST_MIB = 30.0, 2_500  # limits of one command
BAD_DATA, BAD_CONFIG = 65, 78
OVER, UNDER = (9_000, 9_000), (7_999, 7_999)  # pixels, beyond the limit of one picture and within it
BLOCK = bytes(1 << 24)


def picture(mode: str, size: tuple[int, int], form: str = "PNG", **options: Any) -> Callable[[Path], None]:
    """A maker of a folder with one picture of a single color."""

    def make(path: Path) -> None:
        path.mkdir()
        Image.new(mode, size).save(path / f"bomb.{form.lower()}", form, **options)

    return make


def claim(path: Path) -> None:
    """A PNG of a few bytes whose header says 2^31 - 1 pixels each way."""
    path.mkdir()
    header = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (path / "claim.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + b"\0\0\0\0IEND\xaeB`\x82")


def text_chunk(path: Path) -> None:
    """A PNG with a compressed text of 1 GiB."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    packer, good = zlib.compressobj(9), buffer.getvalue()
    chunk = b"zTXtComment\0\0" + b"".join(packer.compress(BLOCK) for _ in range(64)) + packer.flush()
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.mkdir()
    (path / "text.png").write_bytes(good[:33] + whole + good[33:])


def fill(file: IO[bytes], mib: int) -> None:
    """Write zeros."""
    for _ in range(mib // 16):
        file.write(BLOCK)


def zip_bomb(path: Path) -> None:
    """A picture of 2 GiB of zeros in a zip of 2 MB."""
    with packed(path) as archive, archive.open("a.png", "w", force_zip64=True) as file:
        fill(file, 2048)


def packed(path: Path) -> zipfile.ZipFile:
    """A new zip file that compresses fast."""
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)


def lying_zip(path: Path) -> None:
    """The same, but the directory says 100 bytes."""
    zip_bomb(path)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(data)


def npz(path: Path) -> None:
    """An array of 4 GiB of zeros."""
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1048576, 64, 64, 1), }"
    head += b" " * (117 - len(head)) + b"\n"
    with packed(path) as archive, archive.open("images.npy", "w", force_zip64=True) as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
        fill(file, 4096)


def npy(head: bytes) -> Callable[[Path], None]:
    """A maker of an array file with this header and no values."""
    return binary(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(head)) + head)


def idx(path: Path) -> None:
    """A gzip of 4 MB with an idx of 4 GiB."""
    with gzip.open(path, "wb", 1) as file:
        file.write(struct.pack(">HBB3i", 0, 8, 3, 1 << 20, 64, 64))
        fill(file, 4096)


def header(name: str, size: int, kind: bytes) -> bytes:
    """A header of a tar."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(path: Path) -> None:
    """A gzip whose tar begins with a header of 4 GiB."""
    with gzip.open(path, "wb", 1) as file:
        file.write(header("x", 4 << 30, b"x"))
        fill(file, 4096)


def long_links(path: Path) -> None:
    """A tar with 5,000 long names in a row, each of the next."""
    links = (header("././@LongLink", 1, b"L") + b"a" + bytes(511)) * 5_000
    path.write_bytes(links + header("a.png", 0, b"0") + bytes(1024))


def stride_0(count: int, like: Path) -> Callable[[Path], None]:
    """A maker of a checkpoint in which a tensor repeats one value."""

    def make(path: Path) -> None:
        values = torch.load(like, weights_only=True)
        memory = next(iter(values["optimizers"]["D"].values()))
        memory["step"] = torch.zeros(1).expand(count)
        torch.save(values, path)

    return make


def huge_storage(path: Path) -> None:
    """A storage that claims 2^40 values, but has none."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + long1(1 << 40)
    shape = long1(1 << 40) + b"\x85" + b"K\x01\x85"
    rest = b"tQK\x00" + shape + b"\x89ccollections\nOrderedDict\n)RtR"
    pickled(b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest)(path)


def long1(value: int) -> bytes:
    """An integer in a pickle."""
    return b"\x8a\x06" + value.to_bytes(6, "little")


def compressed(like: Path) -> Callable[[Path], None]:
    """A maker of a checkpoint with an entry of 2 GiB of zeros, compressed to 2 MB."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(like) as source, packed(path) as new:
            for name in source.namelist():
                if not name.endswith("/data/0"):
                    new.writestr(name, source.read(name))
                    continue
                with new.open(name, "w", force_zip64=True) as file:
                    fill(file, 2048)

    return make


def text(content: str) -> Callable[[Path], None]:
    """A maker of a text file."""
    return binary(content.encode())


def binary(content: bytes) -> Callable[[Path], None]:
    """A maker of a file."""

    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def pickled(content: bytes) -> Callable[[Path], None]:
    """A maker of a checkpoint with this pickle."""
    return binary(zip_of(b"\x80\x02" + content + b"."))


def bombs(like: Path) -> dict[str, Callable[[Path], None]]:
    """File name -> a function that makes it. like: a good checkpoint."""
    return {
        **{f"over {mode.replace(';', '')}": picture(mode, OVER) for mode in ("1", "L", "P", "RGB", "LA", "I;16")},
        "over gif": picture("P", OVER, "GIF"),
        "over tiff": picture("1", OVER, "TIFF", compression="group4"),
        "over jpeg": picture("L", OVER, "JPEG"),
        **{f"under {mode.replace(';', '')}": picture(mode, UNDER) for mode in ("1", "P", "RGB", "LA", "I;16")},
        "claim": claim,
        "text chunk": text_chunk,
        "zip.zip": zip_bomb,
        "lying.zip": lying_zip,
        "array.npz": npz,
        "shape.npy": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4), }\n"),
        "nested.npy": npy(b"(" * 9_000 + b"\n"),
        "idx.gz": idx,
        "pax.tar.gz": pax,
        "long links.tar": long_links,
        "stride 6e9.pt": stride_0(6 * 10**9, like),
        "stride 1e12.pt": stride_0(10**12, like),
        "storage.pt": huge_storage,
        "compressed.pt": compressed(like),
        "huge int.pt": pickled(b"\x8b" + struct.pack("<i", 10**7) + b"\x7f" * 10**7),
        "deep lists.pt": pickled(b"]" * 10**6 + b"a" * (10**6 - 1)),
        "deep tuples.pt": pickled(b"K\x00" + b"\x85" * 10**6),
        "doubling.pt": pickled(b"]" + b"q\x00h\x00\x86" * 64),
        "nested.yaml": text("network: " + "[" * 100_000),
        "keys.yaml": text("".join(f"k{i}: 1\n" for i in range(20_000))),
        "int.yaml": text("train: {seed: " + "9" * 200_000 + "}\n"),
        "aliases.yaml": text("a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(99))),
        "large.yaml": text("# x\n" * 10**7),
    }


def words_for(name: str, path: Path, out: Path) -> list[object]:
    """The command that reads such a file."""
    usual = ["--threads", 1, "--quiet"]
    if name.endswith(".pt"):
        return ["sample", path, "-o", out, *usual]
    if name.endswith(".yaml"):
        return ["train", "builtin:shapes", "--preset", path, "--dry-run", *usual]
    return ["train", path, "--outdir", out, "--kimg", 0.004, "--batch", 1, *usual]  # one picture is enough


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` random bombs, or with 0 all of them. Pictures within the limit may be trained on."""
    row, memory = Row("9", "bombs"), address_space() + MEMORY
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    preset = harness.write_preset(work / "p.yaml", harness.make_pictures(work / "data", 24), {"growth": {"stable": 8}})
    harness.must(harness.train(preset, work / "r"), work / "o")
    makers = bombs(work / "r/x/last.pt")
    chosen = random.Random(seed).sample(sorted(makers), count) if count else list(makers)
    peak, longest = (0.0, ""), (0.0, "")
    for number, name in enumerate(chosen):
        path = work / name
        makers[name](path)
        ended = harness.run(words_for(name, path, work / f"out-{number}"), work / "o", memory=memory, limit=2 * SECONDS)
        problems = ended.problems(*codes(name))
        problems += [f"took {ended.seconds:.0f} s"] if ended.seconds > SECONDS else []
        problems += [f"used {ended.peak_mib:,.0f} MiB"] if ended.peak_mib > MOST_MIB else []
        row.case(name, problems)
        peak, longest = max(peak, (ended.peak_mib, name)), max(longest, (ended.seconds, name))
        progress(number + 1)
    row.worst = f"peak {peak[0]:,.0f} MiB ({peak[1]}), {longest[0]:.1f} s ({longest[1]})"
    return row


def codes(name: str) -> tuple[int, ...]:
    """The exit codes that are right for a bomb."""
    if name.startswith(("under", "text chunk")):
        return (0, BAD_DATA)
    return (BAD_CONFIG,) if name.endswith(".yaml") else (BAD_DATA,)


def address_space() -> int:
    """Bytes of address space of this process; without /proc a guess."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if file.exists() else 1 << 40
