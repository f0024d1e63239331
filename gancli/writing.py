"""Samples to files: a folder of PNGs, a grid, .npy or .zip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

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
    """What is written: pictures with their names, and for signals and points the numbers themselves."""

    pictures: Iterable[Pictures]  # (H, W, C) each, perhaps drawn as they are asked for
    names: Sequence[str]
    values: NDArray[np.float32] | None = None  # (N, C, L) or (N, D), in the units of the data


def encode(samples: Samples, form: str, columns: int | None = None) -> bytes:
    """Samples as one file's bytes. Raises UsageError for a form that is not known."""
    buffer = BytesIO()
    if form == "png":
        return media.png(media.grid(np.stack(list(samples.pictures)), columns))
    if form == "npy":
        np.save(buffer, np.stack(list(samples.pictures)) if samples.values is None else samples.values)
    elif form == "zip":
        with ZipFile(buffer, "w", ZIP_STORED) as archive:
            for name, pixels in zip(samples.names, samples.pictures, strict=True):
                archive.writestr(f"{name}.png", media.png(pixels))
            if samples.values is not None:
                archive.writestr("samples.npy", encode(samples, "npy"))
    else:
        raise UsageError(f"cannot write pictures as {form!r}", where="--format", hint=f"use {', '.join(FORMS)}")
    return buffer.getvalue()


def write_samples(out: Path, form: str, samples: Samples, columns: int | None) -> tuple[Path, ...]:
    """Write samples into a folder (form ""), or as one file of that form. Raises StorageError."""
    if form:
        data = encode(samples, form, columns)
        files.replace(out, lambda temporary: temporary.write_bytes(data), needed=len(data))
        return (out,)
    written = []
    for name, pixels in zip(samples.names, samples.pictures, strict=True):
        written.append(out / f"{name}.png")
        written[-1].write_bytes(media.png(pixels))
    if samples.values is not None:
        written.append(out / "samples.npy")
        written[-1].write_bytes(encode(samples, "npy"))
    return tuple(written)


def target(out: Path, forms: Sequence[str]) -> str:
    """What an output name means: "" for a folder, which is made, else its form. Checked before anything is drawn.

    Raises UsageError for a form that is not known, CannotCreate where the folder is missing.
    """
    form = "" if out.is_dir() else out.suffix[1:].lower()
    if form and form not in forms:
        hint = f"end it in .{', .'.join(forms)}, or give a folder"
        raise UsageError(f"cannot write {form!r}", where=printable(str(out)), hint=hint)
    if form and not out.parent.is_dir():
        what = f"no folder {printable(str(out.parent))!r}"
        raise CannotCreate(what, where=printable(str(out)), hint="make the folder first")
    if not form:
        make_folder(out)
    return form


def make_folder(path: Path) -> None:
    """Make the folder of an output. Raises CannotCreate."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot make the folder: {error.strerror}"
        raise CannotCreate(what, where=printable(str(path)), hint="give another place") from error


def default_folder(opened: Opened) -> Path:
    """`<run>-<kimg>-samples`, in the folder we are in."""
    place = opened.path.resolve().parent
    run = place.parent if place.name == "checkpoints" else place
    name = run.name if (run / "config.yaml").is_file() else opened.path.stem
    return Path(f"{name}-{opened.images // 1000:06d}-samples")
