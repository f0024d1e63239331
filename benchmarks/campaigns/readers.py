"""The kinds of files that gancli reads: good originals, and how each kind is opened."""

import gzip
import io
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import gancli
from campaigns import harness
from gancli import checkpoint, folders, runs
from gancli import config as configs
from gancli.config import overrides, presets
from gancli.data import Shape, images, open_dataset
from gancli.networks import build

SHAPE = Shape(16, 16, None, "crop")
FORMATS: dict[str, list[dict[str, Any]]] = {
    "PNG": [{}, {"optimize": True}],
    "JPEG": [{}, {"progressive": True}],
    "WEBP": [{}, {"lossless": True}],
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}],
    "GIF": [{}],
    "BMP": [{}],
}
SETS = (
    "train.lr=0.002", "network.channels=[8, 8, 4, 4]", "growth.at={8: {fade: 16}}", "train.seed=3", "loss.r1=1e-1",
    "network.minibatch_std=null", "data.source=builtin:shapes", "optimizer.betas=[0.0, 0.99]", "train.epochs=2",
)  # fmt: skip
Read = Callable[[bytes, str, Path], object]
Finish = Callable[[bytes, str, random.Random], bytes]


def as_it_is(data: bytes, name: str, draw: random.Random) -> bytes:
    """No change after the damage."""
    return data


@dataclass(frozen=True)
class Kind:
    """Good files of one kind, how to open one, and what the originals contain."""

    name: str
    originals: list[tuple[str, bytes]]
    read: Read  # data, name, a folder to work in -> something that tells contents apart
    exact: bool = False  # whether a damaged file must not open with other content
    edits: bool = False  # whether it is a zip of torch, which the edits understand
    finish: Finish = as_it_is
    wanted: dict[str, object] = field(default_factory=dict)


def kinds(work: Path) -> list[Kind]:
    """All kinds, with their originals."""
    data = harness.make_pictures(work / "data", 24)
    changes = {"growth": {"fade": 16, "stable": 16}, "train.sample_every": 0, "train.tick_every": 16}
    preset = harness.write_preset(work / "p.yaml", data, changes)
    harness.must(harness.train(preset, work / "r"), work / "o")
    run = work / "r/x"
    shutil.copytree(work / "cache", work / "good-cache")
    cached = next((work / "cache").glob("*/meta.json")).parent
    yaml_files = [p for folder in folders.PRESETS for p in sorted(folder.glob("*.yaml"))]
    samples = [*archives(work), *arrays()]
    found = [
        Kind("checkpoint", read_files([run / "last.pt"]), read_checkpoint, exact=True, edits=True),
        Kind("preset", read_files([preset, *yaml_files]), read_preset, finish=with_absurd_value),
        Kind("set", [(f"{i}.txt", text.encode()) for i, text in enumerate(SETS)], read_set),
        Kind("image", pictures(), read_image, finish=with_png_checksums),
        Kind("archive", archives(work), read_dataset),
        Kind("array", arrays(), read_dataset),
        Kind("samples", samples, samples_reader(work / "reals", samples)),
        Kind("run", read_files([run / "stats.jsonl", run / "config.yaml"]), run_reader(run)),
        Kind("cache", read_files([cached / "meta.json", cached / "values.bin"]), cache_reader(work, data)),
    ]
    for kind in found:
        folder = harness.new_folder(work / "good")
        kind.wanted.update({name: kind.read(data, name, folder) for name, data in kind.originals})
    return found


def read_files(paths: list[Path]) -> list[tuple[str, bytes]]:
    """Names and contents."""
    return [(path.name, path.read_bytes()) for path in paths]


def read_checkpoint(data: bytes, name: str, folder: Path) -> object:
    """As sampling and resuming do: read it, and fill the networks."""
    path = folder / name
    path.write_bytes(data)
    opened = checkpoint.read(path)
    pair = build(opened.config, torch.device("cpu"))
    for part, network in (("ema", pair.G), ("D", pair.D)):
        if part in opened.weights:
            checkpoint.fill(network, opened.weights[part], path)
    return harness.digest(path), opened.config.model_dump_json(), opened.seconds, opened.version


def read_preset(data: bytes, name: str, folder: Path) -> object:
    """As `presets show` and a dry run do, without training."""
    path = folder / name
    path.write_bytes(data)
    return configs.as_text(configs.load(str(path)))


def read_set(data: bytes, name: str, folder: Path) -> object:
    """As --set does."""
    text = data.decode(errors="surrogateescape")
    return configs.as_text(configs.load("quickstart", overrides.parse([text])))


def read_image(data: bytes, name: str, folder: Path) -> object:
    """As the scan does, which takes any exception as a file that it cannot use."""
    try:
        return images.decode(data, SHAPE).pixels.tobytes()
    except Exception:
        return "refused"


def read_dataset(data: bytes, name: str, folder: Path) -> object:
    """As training does."""
    path = folder / name
    path.write_bytes(data)
    found = open_dataset(str(path), SHAPE)
    return found.kind, found.values.shape, blake2b(found.values.tobytes()).hexdigest()


def samples_reader(reals: Path, originals: list[tuple[str, bytes]]) -> Read:
    """Opens a file of samples, as inspect-stats does; the reals are its original."""
    reals.mkdir()
    for original, content in originals:
        (reals / original).write_bytes(content)

    def read(data: bytes, name: str, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        health = gancli.inspect_stats(str(path), str(reals / name), samples=4, quick=True)
        return health.verdict, health.samples

    return read


def run_reader(run: Path) -> Read:
    """Opens a run folder with one damaged file, as `runs` and a resume do."""

    def read(data: bytes, name: str, folder: Path) -> object:
        shutil.copytree(run, folder / "run", dirs_exist_ok=True)
        (folder / "run" / name).write_bytes(data)
        found = runs.Run(folder / "run")
        summary = runs.summary(found)
        return summary.kimg, summary.state, found.stats(), configs.as_text(found.config())

    return read


def cache_reader(work: Path, data: Path) -> Read:
    """Opens a data set whose cache has one damaged file."""

    def read(damaged: bytes, name: str, folder: Path) -> object:
        cache = work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(work / "good-cache", cache)
        next(cache.glob(f"*/{name}")).write_bytes(damaged)
        found = open_dataset(str(data), SHAPE, held_out=0.0)
        return found.values.shape, found.report.count, blake2b(found.values.tobytes()).hexdigest()

    return read


def with_absurd_value(data: bytes, name: str, draw: random.Random) -> bytes:
    """Half of the damaged presets have an absurd value in one line instead."""
    if draw.random() < 0.5:
        return data
    absurd = ("-1", "0", "1e400", ".nan", "null", "[]", "{}", "'\\e[31m'", "9" * 5_000, "*a", "!!python/name:os.system")
    text = Path(presets.find("quickstart")).read_text()
    lines = text.splitlines()
    index = draw.choice([i for i, line in enumerate(lines) if ": " in line and not line.startswith("#")])
    lines[index] = f"{lines[index].partition(':')[0]}: {draw.choice(absurd)}"
    return "\n".join(lines).encode()


def with_png_checksums(data: bytes, name: str, draw: random.Random) -> bytes:
    """Mostly repair the checksums of a PNG, so that the damage reaches the decoder."""
    if not name.endswith(".png") or draw.random() < 0.3:
        return data
    out, i = bytearray(data[:8]), 8
    while i + 8 <= len(data):
        (size,) = struct.unpack(">I", data[i : i + 4])
        if i + 12 + size > len(data):
            break
        out += data[i : i + 8 + size] + struct.pack(">I", zlib.crc32(data[i + 4 : i + 8 + size]))
        i += 12 + size
    return bytes(out)


def pictures() -> list[tuple[str, bytes]]:
    """A picture in every format and mode that Pillow writes."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    picture, found = Image.fromarray(coarse).resize((48, 40)), []
    for form, options in FORMATS.items():
        for mode in ("RGB", "L", "P", "RGBA", "1", "CMYK", "LA", "I;16"):
            gray = picture.convert("L")
            turned = (
                Image.fromarray(np.asarray(gray).astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
            )
            for i, option in enumerate(options):
                buffer = io.BytesIO()
                try:
                    turned.save(buffer, form, **option)
                except (OSError, ValueError, KeyError):  # a mode that this format does not have
                    continue
                found.append((f"{mode.replace(';', '')}-{i}.{form.lower()}", buffer.getvalue()))
    return found


def archives(work: Path) -> list[tuple[str, bytes]]:
    """A zip and a tar of pictures."""
    folder = harness.make_pictures(work / "packed", 8)
    stored, packed, tar = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for buffer, compression in ((stored, 0), (packed, 8)):
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
    with tarfile.open(fileobj=tar, mode="w") as archive_:
        archive_.add(folder, "pictures")
    return [("stored.zip", stored.getvalue()), ("packed.zip", packed.getvalue()), ("pictures.tar", tar.getvalue())]


def arrays() -> list[tuple[str, bytes]]:
    """Array files of all formats and kinds."""
    draw, found = np.random.default_rng(0), []
    pixels = draw.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    points, signals = draw.normal(size=(30, 2)).astype("f4"), draw.normal(size=(20, 2, 16)).astype("f4")
    for name, values in (("pixels", pixels), ("points", points), ("signals", signals)):
        buffer, packed = io.BytesIO(), io.BytesIO()
        np.save(buffer, values)
        np.savez(packed, images=values)
        found += [(f"{name}.npy", buffer.getvalue()), (f"{name}.npz", packed.getvalue())]
    gray = pixels[..., 0]
    idx = struct.pack(">HBB3i", 0, 8, 3, *gray.shape) + gray.tobytes()
    return [*found, ("gray-idx3-ubyte", idx), ("gray-idx3-ubyte.gz", gzip.compress(idx))]
