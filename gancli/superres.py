"""From small pictures to large ones: checkpoints whose generator enlarges what it is given."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from gancli import devices, files, media, signals
from gancli.data.feed import to_unit
from gancli.data.images import as_it_is
from gancli.errors import DataError, InputMissing, UsageError
from gancli.results import Progress, SampleReport, printable, silent
from gancli.sampling import Generator
from gancli.writing import default_folder, target

MOST_PIXELS = 250_000  # of one input: enlarged fourfold it takes about a gigabyte


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
    """Enlarge picture files of any size. out: a folder, or a .png for one picture; left out: as `sample`.

    Raises InputMissing, DataError for a file that is no picture, CheckpointError, UsageError, CannotCreate.
    """
    generator = Generator.load(ckpt, raw=raw, device=device)
    if not generator.network.enlarges:
        hint = "leave out --input, or train superres-4x"
        raise UsageError("this network draws from latents; no picture goes in", where="--input", hint=hint)
    place = Path(out) if out is not None else default_folder(generator.checkpoint)
    form = target(place, ("png",))
    if form and len(inputs) > 1:
        raise UsageError(f"{len(inputs)} pictures do not fit into one file", where="-o", hint="give a folder")
    written: list[Path] = []
    for number, source in enumerate(inputs):
        signals.poll()
        progress("enlarging", number, len(inputs))
        large = _enlarged(generator, Path(source))
        written.append(place if form else _free(place, f"{Path(source).stem}-{generator.network.enlarges}x", written))
        data = media.png(large)
        files.replace(written[-1], partial(_write, data), needed=len(data))
    return SampleReport(place, tuple(written), len(written), large.shape[0], large.shape[1])


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """A name that no other picture of this call has: photo.png and photo.jpg both come out."""
    names = (folder / f"{stem}{'' if number == 0 else f'-{number + 1}'}.png" for number in range(len(taken) + 1))
    return next(name for name in names if name not in taken)


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


@torch.inference_mode()
def _enlarged(generator: Generator, source: Path) -> media.Pictures:
    """One file, enlarged. -> (H, W, C) uint8."""
    where = printable(str(source))
    if not source.is_file():
        raise InputMissing("no such picture", where=where, hint="give a picture file")
    try:
        small = as_it_is(source.read_bytes(), generator.checkpoint.config.samples.shape[0])
    except Exception as error:  # Pillow raises anything
        raise DataError("not a picture that can be read", where=where, hint="save it as PNG") from error
    if small.shape[0] * small.shape[1] > MOST_PIXELS:
        size = f"{small.shape[1]} x {small.shape[0]}"
        raise DataError(f"{size} pixels are too many", where=where, hint=f"at most {MOST_PIXELS:,} in all")
    x = to_unit(small[None].copy()).to(generator.device)
    pixels: media.Pictures = media.to_bytes(generator.network(x))[0]
    return pixels
