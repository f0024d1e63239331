"""From a checkpoint to pictures: the averaged generator, in chunks of one fixed size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from torch import Tensor

from gancli import checkpoint, latents, media, signals
from gancli.checkpoint import Checkpoint
from gancli.errors import CannotCreate, StorageError, UsageError
from gancli.growth import Phase, Schedule
from gancli.latents import Path as WalkPath
from gancli.media import Pictures
from gancli.networks import build_generator
from gancli.networks.progressive import Generator as Network
from gancli.results import Progress, SampleReport, printable, silent

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
        place = torch.device(device)
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
    z = latents.truncate(latents.from_seeds(list(seeds), generator.network.latent), trunc)
    drawn = (media.to_bytes(x) for x in generator.draw(z, progress))
    pictures = (media.enlarged(pixels, size) for chunk in drawn for pixels in chunk)
    files = write_pictures(path, pictures, [f"seed{seed:04d}" for seed in seeds], columns)
    return _report(path, files, len(seeds), generator.phase, size)


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
        raise UsageError(f"cannot write pictures as {form!r}", where="-o / --format", mend="use png, npy or zip")
    return buffer.getvalue()


def write_pictures(
    path: Path, pictures: Iterator[Pictures], names: Sequence[str], columns: int | None
) -> tuple[Path, ...]:
    """Write pictures as `path` says: a folder of PNGs, or one .png, .npy or .zip. Raises CannotCreate or UsageError."""
    if path.suffix:
        data = encode(list(pictures), names, path.suffix[1:].lower(), columns)
        write_out(path, lambda temporary: temporary.write_bytes(data))
        return (path,)
    make_folder(path)
    files = []
    for name, pixels in zip(names, pictures, strict=True):
        files.append(path / f"{name}.png")
        write_out(files[-1], lambda temporary, pixels=pixels: temporary.write_bytes(media.png(pixels)))  # type: ignore[misc]
    return tuple(files)


def write_out(path: Path, fill: Callable[[Path], object]) -> None:
    """A user's output file, whole or not at all. Raises CannotCreate where its folder is missing."""
    if not path.parent.is_dir():
        raise CannotCreate(
            f"no folder {printable(str(path.parent))!r}",
            where=printable(str(path)),
            mend="make the folder first",
        )
    try:
        checkpoint.replace(path, fill)
    except StorageError as error:
        raise CannotCreate(error.what, where=error.where, mend="give another place with -o") from error


def make_folder(path: Path) -> None:
    """An output folder, made where it is missing. Raises CannotCreate."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreate(
            f"cannot make the folder: {error.strerror}",
            where=printable(str(path)),
            mend="give another place with -o",
        ) from error


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
    walks = columns * rows
    ways = [
        latents.walk([seed + w * len(seeds) for seed in seeds], generator.network.latent, frames, loop=loop, path=path)
        for w in range(walks)
    ]
    z = latents.truncate(torch.stack(ways, dim=1).flatten(0, 1), trunc)  # (frames * walks, latent)
    drawn = np.concatenate([media.to_bytes(x) for x in generator.draw(z, progress)])
    drawn = media.enlarged(drawn, size).reshape(frames, walks, *media.enlarged(drawn[:1], size).shape[1:])
    pictures = [media.grid(tiles, columns) for tiles in drawn]
    if out.suffix:
        data = media.animation(pictures, out.suffix.lower(), fps)
        write_out(out, lambda temporary: temporary.write_bytes(data))
        files: tuple[Path, ...] = (out,)
    else:
        files = write_pictures(out, iter(pictures), [f"frame{i:05d}" for i in range(frames)], None)
    return _report(out, files, frames, generator.phase, size)


def _report(path: Path, files: tuple[Path, ...], count: int, phase: Phase, size: int | None) -> SampleReport:
    factor = 1 if size is None else max(1, size // phase.height)
    return SampleReport(path, files, count, phase.height * factor, phase.width * factor)
