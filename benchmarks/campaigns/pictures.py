"""20 bad pictures of 200: the run trains to its end and names exactly these; --strict exits 65, as do only bad ones."""

import io
import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from campaigns import harness
from campaigns.harness import Progress, Row

GOOD = 180
SHORT = {"growth": {"stable": 8}, "train.sample_every": 0}
UNUSABLE = 65


def encoded(form: str, draw: random.Random) -> bytes:
    """A good picture."""
    pixels = np.frombuffer(draw.randbytes(40 * 40 * 3), np.uint8).reshape(40, 40, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def cut(form: str) -> Callable[[random.Random], bytes]:
    """A maker of pictures that end too early."""

    def make(draw: random.Random) -> bytes:
        data = encoded(form, draw)
        return data[: draw.randrange(len(data) // 4, len(data) // 2)]

    return make


def wrong_checksum(draw: random.Random) -> bytes:
    """A bit of the pixels has changed."""
    data = bytearray(encoded("PNG", draw))
    data[data.index(b"IDAT") + draw.randrange(8, 60)] ^= 1 << draw.randrange(8)
    return bytes(data)


def claims(width: int, height: int) -> Callable[[random.Random], bytes]:
    """A maker of PNGs whose header lies about the size."""

    def make(draw: random.Random) -> bytes:
        data = encoded("PNG", draw)
        header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]

    return make


def other_file(draw: random.Random) -> bytes:
    """A zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", encoded("PNG", draw))
    return buffer.getvalue()


BAD: dict[str, Callable[[random.Random], bytes]] = {
    "cut.png": cut("PNG"),
    "cut.jpg": cut("JPEG"),
    "cut.webp": cut("WEBP"),
    "cut.gif": cut("GIF"),
    "cut.bmp": cut("BMP"),
    "cut.tif": cut("TIFF"),
    "checksum.png": wrong_checksum,
    "empty.png": lambda draw: b"",
    "empty.jpg": lambda draw: b"",
    "text.png": lambda draw: b"not a picture\n" * 9,
    "html.jpg": lambda draw: b"<!doctype html><title>404</title><h1>Not Found</h1>",
    "svg.png": lambda draw: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "noise.png": lambda draw: draw.randbytes(5_000),
    "magic.png": lambda draw: b"\x89PNG\r\n\x1a\n" + draw.randbytes(500),
    "magic.jpg": lambda draw: b"\xff\xd8\xff\xe0" + draw.randbytes(500),
    "zeros.gif": lambda draw: bytes(4_096),
    "bomb.png": claims(60_000, 60_000),
    "wide.png": claims(1 << 30, 1),
    "nothing.png": claims(0, 40),
    "zip.png": other_file,
}


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` rounds with other pictures, each as a folder, as a zip, with --strict, and with only bad ones."""
    row = Row("7", "pictures")
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    for number in range(count):
        draw, folder = random.Random(f"{seed} {number}"), work / f"round-{number}"
        bad = folder_with_bad(folder / "mixed", draw)
        packed = Path(shutil.make_archive(str(folder / "packed"), "zip", folder / "mixed"))
        preset = harness.write_preset(folder / "p.yaml", None, SHORT)
        only = folder / "only"
        only.mkdir()
        for name in bad:
            shutil.copy(folder / "mixed" / name, only / Path(name).name)
        for what, data in (("a folder", folder / "mixed"), ("a zip", packed)):
            row.case(f"{what}, round {number}", mixed(preset, data, bad, folder / what.split()[-1]))
        strict = harness.run(harness.train(preset, folder / "s", folder / "mixed", "--strict"), work / "o")
        row.case(f"--strict, round {number}", strict.problems(UNUSABLE))
        alone = harness.run(harness.train(preset, folder / "a", only), work / "o")
        row.case(f"only bad ones, round {number}", alone.problems(UNUSABLE))
        progress(number + 1)
    row.worst = f"{len(BAD)} bad of {GOOD + len(BAD)} in each round"
    return row


def folder_with_bad(folder: Path, draw: random.Random) -> set[str]:
    """180 good pictures and 20 bad ones, some of them in a folder inside. Returns the names of the bad ones."""
    harness.make_pictures(folder, GOOD, seed=draw.randrange(1 << 30))
    (folder / "inner").mkdir()
    names = set()
    for name, make in BAD.items():
        place = f"{draw.choice(('', 'inner/'))}{draw.randrange(GOOD):04d}-{name}"
        (folder / place).write_bytes(make(draw))
        names.add(place)
    return names


def mixed(preset: Path, data: Path, bad: set[str], outdir: Path) -> list[str]:
    """Train on good and bad ones. Returns the problems."""
    ended = harness.run(harness.train(preset, outdir, data), outdir.parent / "o")
    if problems := ended.problems(0):
        return problems
    lines = (outdir / "x/rejected.jsonl").read_text().splitlines()
    named = [json.loads(line)["name"] for line in lines]
    missing, extra = sorted(bad - set(named)), sorted(set(named) - bad)
    problems = [f"not rejected: {missing}"] if missing else []
    problems += [f"rejected, but good: {extra}"] if extra else []
    return problems + ([] if len(named) == len(set(named)) else ["a name is there twice"])
