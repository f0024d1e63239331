"""From a checkpoint to pictures: the averaged generator, in chunks of one fixed size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from torch import Tensor

from gancli import checkpoint, devices, files, latents, media, signals
from gancli.checkpoint import Checkpoint
from gancli.errors import CannotCreate, UsageError
from gancli.growth import Phase, Schedule
from gancli.latents import Path as WalkPath
from gancli.media import Pictures
from gancli.networks import build_generator
from gancli.networks.progressive import Generator as Network
from gancli.results import Progress, SampleReport, printable, silent

FORMS = ("png", "npy", "zip")
CHUNK_PIXELS = 16 * 64 * 64  # a chunk is 16 pictures of 64 px, fewer where they are larger


@dataclass(frozen=True)
class Generator:
    """A trained generator, ready to draw: `gancli.load("ckpt.pt")`.

    The size of a chunk depends on the network alone and a short one is padded, so a seed gives the
    same picture whatever else is asked for with it.
    """

    network: Network
    phase: Phase
    checkpoint: Checkpoint
    device: torch.device

    @classmethod
    def load(cls, path: str | Path, *, raw: bool = False, device: str = "cpu") -> Self:
        """Open a .pt file or a run folder. `raw`: the weights of the last step, not their average.

        Raises InputMissing or CheckpointError.
        """
        opened = checkpoint.read(path)
        return cls.of(opened, raw=raw, device=device)

    @classmethod
    def of(cls, opened: Checkpoint, *, raw: bool = False, device: str = "cpu") -> Self:
        """The generator of a checkpoint that is open already, at the size and alpha it was training at."""
        network = build_generator(opened.config)
        checkpoint.fill(network, opened.weights["G" if raw else "ema"], opened.path)
        place = devices.choose(device)
        network.to(place).eval()
        return cls(network, Schedule.of(opened.config).phase_at(opened.images), opened, place)

    @property
    def chunk(self) -> int:
        """How many pictures are drawn at once."""
        return max(1, min(16, CHUNK_PIXELS // (self.phase.height * self.phase.width)))

    @torch.inference_mode()
    def draw(self, z: Tensor, progress: Progress = silent) -> Iterator[Tensor]:
        """Pictures of latents, chunk by chunk. (N, latent) -> tensors (<= chunk, C, H, W), clipped to [-1, 1]."""
        for start in range(0, len(z), self.chunk):
            signals.poll()
            progress("drawing", start, len(z))
            part = z[start : start + self.chunk]
            padded = torch.cat([part, part[:1].expand(self.chunk - len(part), -1)]).to(self.device)
            x = self.network(padded, self.phase.stage, self.phase.alpha)
            yield x[: len(part)].clamp(-1, 1).cpu()

    def sample(self, seeds: Sequence[int], trunc: float = 1.0) -> Tensor:
        """One picture a seed. (len(seeds), C, H, W) float32 in [-1, 1]."""
        z = latents.truncate(latents.from_seeds(list(seeds), self.network.latent), trunc)
        return torch.cat(list(self.draw(z)))


def sample(
    ckpt: str | Path,
    seeds: Sequence[int] = range(16),
    out: str | Path | None = None,
    *,
    trunc: float = 1.0,
    raw: bool = False,
    columns: int | None = None,
    size: int | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> SampleReport:
    """Write one picture a seed.

    out: a folder (one PNG a seed), a .png (one picture, or a grid of several), .npy (N, H, W, C uint8)
    or .zip; left out: `<run>-<kimg>-samples/`. size: height in pixels to enlarge to, by whole factors.
    Raises InputMissing, CheckpointError, UsageError, CannotCreate.
    """
    generator = Generator.load(ckpt, raw=raw, device=device)
    path = Path(out) if out is not None else default_folder(generator.checkpoint)
    if out is None:
        _make_folder(path)
    form = target(path, FORMS)
    z = latents.truncate(latents.from_seeds(list(seeds), generator.network.latent), trunc)
    drawn = (media.to_bytes(x) for x in generator.draw(z, progress))
    pictures = (media.enlarged(pixels, size) for chunk in drawn for pixels in chunk)
    written = write_pictures(path, form, pictures, [f"seed{seed:04d}" for seed in seeds], columns)
    return _report(path, written, len(seeds), generator.phase, size)


def encoded(
    ckpt: str | Path,
    seeds: Sequence[int],
    form: str,
    *,
    trunc: float = 1.0,
    raw: bool = False,
    columns: int | None = None,
    size: int | None = None,
    device: str = "cpu",
) -> bytes:
    """The pictures as the bytes of one file, for a pipe: form is png (a picture or a grid), npy or zip."""
    generator = Generator.load(ckpt, raw=raw, device=device)
    pictures = media.enlarged(media.to_bytes(generator.sample(seeds, trunc)), size)
    return encode(list(pictures), [f"seed{seed:04d}" for seed in seeds], form, columns)


def encode(pictures: Sequence[Pictures], names: Sequence[str], form: str, columns: int | None) -> bytes:
    """Pictures (H, W, C) as one file's bytes. Raises UsageError for a form that is not known."""
    buffer = BytesIO()
    if form == "png":
        return media.png(media.grid(np.stack(pictures), columns))
    if form == "npy":
        np.save(buffer, np.stack(pictures))
    elif form == "zip":
        with ZipFile(buffer, "w", ZIP_STORED) as archive:
            for name, pixels in zip(names, pictures, strict=True):
                archive.writestr(f"{name}.png", media.png(pixels))
    else:
        raise UsageError(f"cannot write pictures as {form!r}", where="--format", mend=f"use {', '.join(FORMS)}")
    return buffer.getvalue()


def write_pictures(
    out: Path, form: str, pictures: Iterable[Pictures], names: Sequence[str], columns: int | None
) -> tuple[Path, ...]:
    """Write pictures (H, W, C) as PNGs into a folder (form ""), or as one file of that form. Raises StorageError."""
    if form:
        data = encode(list(pictures), names, form, columns)
        files.replace(out, lambda temporary: temporary.write_bytes(data), needed=len(data))
        return (out,)
    written = []
    for name, pixels in zip(names, pictures, strict=True):
        written.append(out / f"{name}.png")
        written[-1].write_bytes(media.png(pixels))
    return tuple(written)


def target(out: Path, forms: Sequence[str]) -> str:
    """What an output name means: "" for a folder, which is made, else its form. Checked before anything is drawn.

    Raises UsageError for a form that is not known, CannotCreate where the folder is missing.
    """
    form = "" if out.is_dir() else out.suffix[1:].lower()
    if form and form not in forms:
        mend = f"end it in .{', .'.join(forms)}, or give a folder"
        raise UsageError(f"cannot write {form!r}", where=printable(str(out)), mend=mend)
    if form and not out.parent.is_dir():
        what = f"no folder {printable(str(out.parent))!r}"
        raise CannotCreate(what, where=printable(str(out)), mend="make the folder first")
    if not form:
        _make_folder(out)
    return form


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot make the folder: {error.strerror}"
        raise CannotCreate(what, where=printable(str(path)), mend="give another place") from error


def default_folder(opened: Checkpoint) -> Path:
    """`<run>-<kimg>-samples`, in the folder we are in."""
    assert opened.path is not None, "a checkpoint that was read has a path"
    place = opened.path.resolve().parent
    run = place.parent if place.name == "checkpoints" else place
    name = run.name if (run / "config.yaml").is_file() else opened.path.stem
    return Path(f"{name}-{opened.images // 1000:06d}-samples")


def interpolate(
    ckpt: str | Path,
    out: str | Path,
    *,
    frames: int = 60,
    seeds: Sequence[int] = (0, 1, 2, 3),
    fps: float = 20,
    loop: bool = True,
    path: WalkPath = "slerp",
    columns: int = 1,
    rows: int = 1,
    trunc: float = 1.0,
    raw: bool = False,
    size: int | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> SampleReport:
    """A walk through latent space by way of the seeds, as an animation or a folder of frames.

    columns x rows walks run side by side, each through the next seeds. Raises InputMissing,
    CheckpointError, UsageError, ExtraMissing, CannotCreate.
    """
    out = Path(out)
    if frames < 2 or len(seeds) < 2:
        raise UsageError("a walk needs at least 2 frames and 2 seeds", where="--frames, --seeds", mend="give more")
    generator = Generator.load(ckpt, raw=raw, device=device)
    form = target(out, media.ANIMATIONS)
    media.require(form)
    ways = [
        latents.walk(
            [(seed + w * len(seeds)) % latents.SEEDS for seed in seeds],
            generator.network.latent,
            frames,
            loop=loop,
            path=path,
        )
        for w in range(columns * rows)
    ]
    pictures = _frames(generator, latents.truncate(torch.stack(ways, dim=1), trunc), columns, size, progress)
    if form:
        data = media.animation(pictures, form, fps)
        files.replace(out, lambda temporary: temporary.write_bytes(data), needed=len(data))
        written: tuple[Path, ...] = (out,)
    else:
        written = write_pictures(out, "", pictures, [f"frame{i:05d}" for i in range(frames)], None)
    return _report(out, written, frames, generator.phase, size)


def _frames(generator: Generator, z: Tensor, columns: int, size: int | None, progress: Progress) -> list[Pictures]:
    """One grid a frame, of the walks side by side. z: (frames, walks, latent)."""
    drawn = np.concatenate([media.to_bytes(x) for x in generator.draw(z.flatten(0, 1), progress)])
    drawn = media.enlarged(drawn, size)
    return [media.grid(tiles, columns) for tiles in drawn.reshape(*z.shape[:2], *drawn.shape[1:])]


def _report(path: Path, files: tuple[Path, ...], count: int, phase: Phase, size: int | None) -> SampleReport:
    factor = 1 if size is None else max(1, size // phase.height)
    return SampleReport(path, files, count, phase.height * factor, phase.width * factor)
