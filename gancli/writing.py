"""Write samples to files: a folder of PNGs, a grid, .npy or .zip."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from gancli import files, media
from gancli.checkpoint import Opened
from gancli.errors import CannotCreate, UsageError
from gancli.media import Pictures
from gancli.results import printable

FORMS = ("png", "npy", "zip")


@dataclass(frozen=True)
class Samples:
    """Samples to write: images with names and, for signals and points, the values."""

    pictures: Iterable[Pictures]  # (H, W, C) each, possibly generated lazily
    names: Sequence[str]
    values: NDArray[np.float32] | None = None  # (N, C, L) or (N, D), in the units of the data


def encode(samples: Samples, form: str, columns: int | None = None) -> bytes:
    """Encode samples as one file. Raises UsageError for an unknown format."""
    buffer = BytesIO()
    _encode_to(buffer, samples, form, columns)
    return buffer.getvalue()


def _encode_to(file: BinaryIO, samples: Samples, form: str, columns: int | None) -> None:
    """Encode samples as they are generated; only a grid needs all of them at once."""
    if form == "png":
        file.write(media.png(media.grid(np.stack(list(samples.pictures)), columns)))
    elif form == "npy":
        if samples.values is None:
            _stack_to(file, len(samples.names), iter(samples.pictures))
        else:
            np.save(file, samples.values)
    elif form == "zip":
        with ZipFile(file, "w", ZIP_STORED) as archive:
            for name, pixels in zip(samples.names, samples.pictures, strict=True):
                archive.writestr(ZipInfo(f"{name}.png"), media.png(pixels))  # without the date, which a name gets
            if samples.values is not None:
                archive.writestr(ZipInfo("samples.npy"), encode(samples, "npy"))
    else:
        raise UsageError(f"unknown format {form!r}", where="--format", hint=f"use {', '.join(FORMS)}")


def _stack_to(file: BinaryIO, count: int, pictures: Iterator[Pictures]) -> None:
    """Write `count` pictures as np.save writes their stack."""
    first = next(pictures)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *first.shape)}
    np.lib.format.write_array_header_1_0(file, header)
    for picture in chain([first], pictures):
        file.write(picture.tobytes())


def write_samples(out: Path, form: str, samples: Samples, columns: int | None) -> tuple[Path, ...]:
    """Write samples into a folder (form ""), or as one file in the given format. Raises StorageError."""
    if form:
        pictures = iter(samples.pictures)
        first = next(pictures)
        whole = replace(samples, pictures=chain([first], pictures))

        def fill(temporary: Path) -> None:
            with temporary.open("wb") as file:
                _encode_to(file, whole, form, columns)

        files.replace(out, fill, len(samples.names) * first.nbytes)
        return (out,)
    written = []
    for name, pixels in zip(samples.names, samples.pictures, strict=True):
        written.append(out / f"{name}.png")
        files.replace_bytes(written[-1], media.png(pixels), durable=False)
    if samples.values is not None:
        written.append(out / "samples.npy")
        files.replace_bytes(written[-1], encode(samples, "npy"), durable=False)
    return tuple(written)


def target(out: Path, forms: Sequence[str]) -> str:
    """The format of an output path: "" for a folder, which is created, else the suffix. Called before sampling.

    Raises UsageError for an unknown format, CannotCreate if the parent folder is missing.
    """
    form = "" if out.is_dir() else out.suffix[1:].lower()
    if form and form not in forms:
        hint = f"use .{', .'.join(forms)}, or a folder"
        raise UsageError(f"unknown format {form!r}", where=printable(str(out)), hint=hint)
    if form and not out.parent.is_dir():
        what = f"no folder {printable(str(out.parent))!r}"
        raise CannotCreate(what, where=printable(str(out)), hint="create the folder first")
    if not form:
        files.make_folder(out)
        files.sweep(out, idle=0)
    return form


def default_folder(opened: Opened) -> Path:
    """`<run>-<kimg>-samples` in the current directory, which is created: a dot in its name is no suffix."""
    place = opened.path.resolve().parent
    run = place.parent if place.name == "checkpoints" else place
    name = run.name if (run / "config.yaml").is_file() else opened.path.stem
    folder = Path(f"{name}-{opened.images // 1000:06d}-samples")
    files.make_folder(folder)
    return folder
