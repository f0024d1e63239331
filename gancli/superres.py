"""Super-resolution: enlarge image files with a checkpoint whose generator takes images."""

from collections.abc import Sequence
from pathlib import Path

import torch

from gancli import devices, files, media, signals
from gancli.data.feed import to_unit
from gancli.data.images import as_it_is
from gancli.errors import DataError, InputMissing, UsageError
from gancli.results import Progress, SampleReport, printable, silent
from gancli.sampling import Generator
from gancli.writing import default_folder, target

MOST_PIXELS = 250_000  # limit for one input; enlarging it by 4 takes about 1 GB of memory


@devices.uses_threads
def enlarge(
    ckpt: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    raw: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = silent,
) -> SampleReport:
    """Enlarge image files of any size. out: a folder, or a .png for a single image; default: as in `sample`.

    Raises InputMissing, DataError for a file that is not an image, CheckpointError, UsageError, CannotCreate.
    """
    generator = Generator.load(ckpt, raw=raw, device=device)
    if not generator.network.enlarges:
        hint = "leave out --input, or train superres-4x"
        raise UsageError("this network generates from latents and takes no images", where="--input", hint=hint)
    place = Path(out) if out is not None else default_folder(generator.checkpoint)
    form = target(place, ("png",))
    if form and len(inputs) > 1:
        raise UsageError(f"cannot write {len(inputs)} images to one file", where="-o", hint="give a folder")
    written: list[Path] = []
    for number, source in enumerate(inputs):
        signals.poll()
        progress("enlarging", number, len(inputs))
        large = _enlarged(generator, Path(source))
        written.append(place if form else _free(place, f"{Path(source).stem}-{generator.network.enlarges}x", written))
        files.replace_bytes(written[-1], media.png(large), durable=False)
    return SampleReport(place, tuple(written), len(written), large.shape[0], large.shape[1])


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """A file name that is unique in this call, so that photo.png and photo.jpg do not overwrite each other."""
    names = (folder / f"{stem}{'' if number == 0 else f'-{number + 1}'}.png" for number in range(len(taken) + 1))
    return next(name for name in names if name not in taken)


@torch.inference_mode()
def _enlarged(generator: Generator, source: Path) -> media.Pictures:
    """Enlarge one file. -> (H, W, C) uint8."""
    where = printable(str(source))
    if not source.is_file():
        raise InputMissing("no such file", where=where, hint="give an image file")
    try:
        small = as_it_is(source.read_bytes(), generator.checkpoint.config.samples.shape[0])
    except Exception as error:  # Pillow raises many types of exceptions
        raise DataError("not a readable image", where=where, hint="save it as PNG") from error
    if small.shape[0] * small.shape[1] > MOST_PIXELS:
        size = f"{small.shape[1]} x {small.shape[0]}"
        what = f"the image is too large: {size} pixels"
        raise DataError(what, where=where, hint=f"use an image of at most {MOST_PIXELS:,} pixels")
    x = to_unit(small[None].copy()).to(generator.device)
    pixels: media.Pictures = media.to_bytes(generator.network(x))[0]
    return pixels
