"""Decode a source into a folder: `values.bin`, `meta.json`, `rejected.jsonl`.

Files that cannot be decoded are skipped and reported; a bad image never stops a run.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gancli import files, signals
from gancli.data import images, stored
from gancli.data.arrays import Samples
from gancli.data.budget import READING, Budget
from gancli.data.images import Decoded, Shape
from gancli.data.parallel import in_order
from gancli.data.sources import Entry, Files
from gancli.errors import DataError
from gancli.results import Progress, Rejected, printable

CHUNK = 128  # rows converted between two checks of the stop flag
TOGETHER, TOGETHER_BYTES = 16, 1 << 20  # images decoded by one thread before it passes them on: number, bytes
DECODING = 1 << 30  # bytes used by all images that are decoded at once
LARGEST, SMALLEST = 1e30, 1e-30  # of the absolute values of signals and points; float32 overflows beyond


@dataclass
class Found:
    """Intermediate results of a scan."""

    kind: str
    hashes: list[str] = field(default_factory=list)  # one per sample, of its cached bytes
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (height, width) in the source
    rejected: list[Rejected] = field(default_factory=list)
    largest: float = 0.0  # largest absolute value of signals and points
    channels: int = 1  # of images: 1 until the first color image, unless data.channels is set


def scan_files(source: Files, shape: Shape, folder: Path, progress: Progress) -> None:
    """Decode image files into `folder`. Raises DataError if none can be used."""
    found = Found("image", rejected=list(source.rejected), channels=shape.channels or 1)
    path = folder / "values.bin"
    with warnings.catch_warnings(), path.open("w+b", buffering=TOGETHER_BYTES) as out:
        warnings.simplefilter("ignore")  # Pillow warns about metadata; decoding errors are raised
        for done, (entry, outcome) in enumerate(_decoded(source.entries, shape), 1):
            progress("decoding", done, len(source.entries))
            if isinstance(outcome, Exception):
                found.rejected.append(rejection(entry, outcome))
                continue
            if shape.channels is None and found.channels == 1 and not outcome.gray:
                _convert_to_color(found, out, shape)
            _take(found, outcome, out)
    if not found.hashes:
        raise nothing_usable(source, found.rejected)
    _finish(folder, found, (shape.height, shape.width, found.channels), "uint8", source.ignored.total())


def _decoded(entries: Sequence[Entry], shape: Shape) -> Iterator[tuple[Entry, Decoded | Exception]]:
    """Decode in threads, within a budget of memory: small images side by side, the largest one at a time."""
    reading, decoding = Budget(READING), Budget(DECODING)

    def attempt(entry: Entry) -> Decoded | Exception:
        try:
            with reading.share(entry.nbytes):
                image = images.opened(entry.read())
                with decoding.share(images.working_bytes(image)):
                    return images.decoded(image, shape)
        except Exception as error:  # Pillow raises many types; each means that this file cannot be used
            return error

    nbytes = shape.height * shape.width * (shape.channels or 3)
    outcomes = in_order(attempt, entries, together=min(TOGETHER, TOGETHER_BYTES // nbytes))
    return zip(entries, outcomes, strict=True)


def _take(found: Found, picture: Decoded, out: BinaryIO) -> None:
    data = np.ascontiguousarray(picture.pixels[..., : found.channels]).tobytes()
    out.write(data)
    found.hashes.append(_hash(data))
    found.sizes.append(picture.source_size)


def _convert_to_color(found: Found, out: BinaryIO, shape: Shape) -> None:
    """At the first color image: expand the gray images before it to three channels, in place, last row first."""
    size, found.channels = shape.height * shape.width, 3
    for row in reversed(range(len(found.hashes))):
        out.seek(row * size)
        data = np.repeat(np.frombuffer(out.read(size), np.uint8), 3).tobytes()
        out.seek(row * size * 3)
        out.write(data)
        found.hashes[row] = _hash(data)
    out.seek(len(found.hashes) * size * 3)


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()


def rejection(entry: Entry, error: Exception) -> Rejected:
    """Why a file cannot be used, on one line."""
    return Rejected(printable(entry.name), _why(error))


def _why(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__


def nothing_usable(source: Files, rejected: Sequence[Rejected]) -> DataError:
    """The error for a source without a usable image."""
    others = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in source.ignored.most_common(5))
    if rejected:
        what = f"none of {len(rejected)} image files can be used; the first: {rejected[0].name}: {rejected[0].reason}"
    else:
        what = f"no images found, only other files: {others}" if others else "no images found: it is empty"
    return DataError(
        what,
        where=printable(source.name),
        hint=f"give a folder or zip with {', '.join(images.SUFFIXES)} files",
    )


def nbytes_of(samples: Samples, shape: Shape) -> int:
    """Size in bytes of the cached samples of an array."""
    if samples.kind != "image":
        return samples.values.nbytes
    count, *_, channels = samples.values.shape
    return int(count * shape.height * shape.width * (shape.channels or channels))


def scan_array(samples: Samples, shape: Shape, folder: Path, where: str, progress: Progress) -> None:
    """Convert the samples of an array and write them into `folder`. Raises DataError."""
    found = Found(samples.kind)
    with (folder / "values.bin").open("wb") as out:
        for row, value in enumerate(samples.values):
            if row % CHUNK == 0:
                signals.poll()
                progress("converting", row, len(samples.values))
            _take_row(found, row, value, shape, out)
    if not found.hashes:
        what = f"no sample can be used; the first: {found.rejected[0].name}: {found.rejected[0].reason}"
        raise DataError(what, where=printable(where), hint="remove NaN and infinite values, and scale huge ones")
    if 0 < found.largest < SMALLEST:
        what = f"no value is larger than {found.largest:.2g}: too small to compute with"
        raise DataError(what, where=printable(where), hint="multiply the values by a constant")
    first = images.from_array(samples.values[0], shape) if samples.kind == "image" else samples.values[0]
    _finish(folder, found, first.shape, str(first.dtype), ignored=0)


def _take_row(found: Found, row: int, value: NDArray[Any], shape: Shape, out: BinaryIO) -> None:
    if found.kind != "image":
        largest = float(np.abs(value).max())
        if not largest <= LARGEST:
            reason = f"values beyond {LARGEST:g}" if np.isfinite(largest) else "not finite"
            found.rejected.append(Rejected(f"row {row}", reason))
            return
        found.largest = max(found.largest, largest)
    else:
        found.sizes.append((value.shape[0], value.shape[1]))
        value = images.from_array(value, shape)
    data = np.ascontiguousarray(value).tobytes()
    out.write(data)
    found.hashes.append(_hash(data))


def _finish(folder: Path, found: Found, shape: tuple[int, ...], dtype: str, ignored: int) -> None:
    write_rejected(folder / "rejected.jsonl", found.rejected)
    areas = sorted(set(found.sizes), key=lambda size: size[0] * size[1])
    meta = {
        "kind": found.kind,
        "shape": shape,
        "dtype": dtype,
        "hashes": tuple(found.hashes),
        "smallest": areas[0] if areas else None,
        "largest": areas[-1] if areas else None,
        "enlarged": sum(h < shape[0] or w < shape[1] for h, w in found.sizes) if found.kind == "image" else 0,
        "ignored": ignored,
        "rejected": tuple(found.rejected),
    }
    stored.write(folder, meta)


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write the rejected files, one JSON object per line: {"name", "reason"}."""
    files.replace_text(path, "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejected))
