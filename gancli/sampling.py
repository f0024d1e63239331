"""Sampling from checkpoints with the EMA generator, in chunks of a fixed size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gancli import checkpoint, devices, files, latents, media, plots, signals
from gancli.checkpoint import Opened
from gancli.errors import UsageError
from gancli.growth import Phase, Schedule
from gancli.latents import Path as WalkPath
from gancli.latents import Prior
from gancli.media import Pictures
from gancli.networks import Generator as Network
from gancli.networks import build_generator
from gancli.pool import Pool
from gancli.results import Progress, SampleReport, printable, silent
from gancli.writing import FORMS, Samples, default_folder, encode, target, write_samples

CHUNK_PIXELS = 16 * 64 * 64  # a chunk is 16 images of 64 px, or fewer larger ones


@dataclass(frozen=True)
class Generator:
    """A trained generator: `gancli.load("ckpt.pt")`.

    Chunks have a fixed size that depends only on the network, and the last one is padded. So a seed always gives the
    same image, regardless of the other seeds.
    """

    network: Network
    phase: Phase
    checkpoint: Opened
    device: torch.device
    raw: bool = False
    pool: Pool | None = None  # processes that generate the chunks; None: this one

    @classmethod
    def load(cls, path: str | Path, *, raw: bool = False, device: str = "cpu") -> Self:
        """Load a .pt file or a run folder. raw: use the raw weights instead of the EMA weights.

        Raises InputMissing or CheckpointError.
        """
        opened = checkpoint.read(path)
        return cls.of(opened, raw=raw, device=device)

    @classmethod
    def of(cls, opened: Opened, *, raw: bool = False, device: str = "cpu") -> Self:
        """The generator of an open checkpoint, at the size and alpha that training had reached."""
        network = build_generator(opened.config)
        checkpoint.fill(network, opened.generator_weights(raw=raw), opened.path)
        place = devices.choose(device)
        network.to(place).eval()
        return cls(network, Schedule.of(opened.config).phase_at(opened.images), opened, place, raw)

    @contextmanager
    def shared(self, processes: int) -> Iterator[Self]:
        """Context manager: this generator in several processes on this machine."""
        with Pool.opened(processes, self.device.type) as pool:
            yield replace(self, pool=pool)

    @property
    def kind(self) -> str:
        """The kind of its samples: image, signal or points."""
        return self.checkpoint.config.samples.kind

    @property
    def prior(self) -> Prior:
        """The distribution of its latents. Raises UsageError for a super-resolution network, which has none."""
        if self.network.enlarges:
            hint = "give it images: gancli sample CKPT --input photo.png"
            what = "this network enlarges images and has no latents"
            raise UsageError(what, where=printable(str(self.checkpoint.path)), hint=hint)
        return Prior.of(self.checkpoint.config.network)

    @property
    def chunk(self) -> int:
        """Number of samples that are generated at once."""
        return max(1, min(16, CHUNK_PIXELS // (self.phase.height * self.phase.width)))

    @torch.inference_mode()
    def draw(self, z: Tensor, progress: Progress = silent) -> Iterator[Tensor]:
        """Generate samples chunk by chunk, in the units of the network. (N, z_dim) -> tensors (<= chunk, C, *S).

        Images are clipped to [-1, 1]. A super-resolution network takes small images instead of latents.
        """
        done, parts = 0, z.split(self.chunk)
        chunks = self._in_pool(parts) if self.pool else map(self.draw_chunk, parts)
        for part in parts:
            signals.poll()
            progress("generating", done, len(z))
            yield next(chunks)
            done += len(part)

    def _in_pool(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """The chunks by other processes. They read a copy of the weights: training may replace the file meanwhile."""
        assert self.pool is not None, "checked by the caller"
        weights = {"G" if self.raw else "ema": self.checkpoint.generator_weights(raw=self.raw)}
        with TemporaryDirectory(prefix="gancli-") as folder:
            path = Path(folder, "generator.pt")
            checkpoint.write(path, replace(self.checkpoint, weights=weights, optimizers={}, extra={}))
            yield from self.pool.map(parts, _chunks_of, path, self.raw)

    @torch.inference_mode()
    def draw_chunk(self, z: Tensor) -> Tensor:
        """Generate one chunk, padded to its full size. (<= chunk, z_dim) -> (<= chunk, C, *S)."""
        filling = z[:1].expand(self.chunk - len(z), *z.shape[1:])
        x: Tensor = self.network(torch.cat([z, filling]).to(self.device), self.phase.stage, self.phase.alpha)
        x = x[: len(z)].cpu()
        return x.clamp(-1, 1) if self.kind == "image" else x

    def in_units(self, x: Tensor) -> Tensor:
        """Convert samples to the units of the data: signals and points are rescaled, images stay in [-1, 1]."""
        samples = self.checkpoint.config.samples
        return x if self.kind == "image" else x * samples.scale + samples.center

    def samples(self, seeds: Sequence[int], trunc: float = 1.0, progress: Progress = silent) -> Tensor:
        """Generate one sample per seed, in the units of the network. (len(seeds), C, *S)."""
        z = latents.truncate(latents.from_seeds(list(seeds), self.prior), trunc, self.prior)
        return torch.cat(list(self.draw(z, progress)))

    def generate(self, z: Tensor) -> Tensor:
        """Generate one sample per latent. (N, z_dim) -> (N, C, *S) float32, in the units of `sample`.

        Raises UsageError.
        """
        wanted = self.prior.size
        if z.ndim != 2 or z.shape[1] != wanted:
            raise UsageError(
                f"latents of shape {tuple(z.shape)}", where="z", hint=f"give a tensor of shape (N, {wanted})"
            )
        return self.in_units(torch.cat(list(self.draw(z.float()))))

    def sample(self, seeds: Sequence[int], trunc: float = 1.0) -> Tensor:
        """Generate one sample per seed. (len(seeds), C, *S) float32: images in [-1, 1], others in units of the data."""
        return self.in_units(self.samples(seeds, trunc))


def _chunks_of(path: Path, raw: bool, device: str) -> Callable[[Tensor], Tensor]:
    """`draw_chunk` of a checkpoint."""
    return Generator.load(path, raw=raw, device=device).draw_chunk


@devices.uses_threads
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
    threads: int | None = None,
    processes: int = 1,
    progress: Progress = silent,
) -> SampleReport:
    """Generate one sample per seed and write them to files.

    out: a folder (one PNG per seed), a .png (one image, or a grid of several), .npy or .zip; default:
    `<run>-<kimg>-samples/`. A .npy has images as (N, H, W, C) uint8, and signals (N, C, L) and points (N, D)
    as float32 in the units of the data. PNGs of signals are line plots, the PNG of points is one scatter plot, and
    in a folder samples.npy is added. size: height in pixels to enlarge to, by an integer factor. processes: they
    generate the samples together, one on each GPU; the files are the same.
    Raises InputMissing, CheckpointError, UsageError, CannotCreate.
    """
    generator = Generator.load(ckpt, raw=raw, device=device)
    path = Path(out) if out is not None else default_folder(generator.checkpoint)
    form = target(path, FORMS)
    with generator.shared(processes) as several:
        samples = _samples(several, seeds, trunc, size, progress)
        return SampleReport(path, write_samples(path, form, samples, columns), len(seeds), *_size(generator, size))


@devices.uses_threads
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
    threads: int | None = None,
) -> bytes:
    """The samples as the bytes of one file, for a pipe. form: png (an image or a grid), npy or zip."""
    generator = Generator.load(ckpt, raw=raw, device=device)
    return encode(_samples(generator, seeds, trunc, size, silent), form, columns)


def _samples(generator: Generator, seeds: Sequence[int], trunc: float, size: int | None, progress: Progress) -> Samples:
    """Generate samples. Images are generated while they are written, so their number is not limited by memory."""
    names, kind = [f"seed{seed:04d}" for seed in seeds], generator.kind
    z = latents.truncate(latents.from_seeds(list(seeds), generator.prior), trunc, generator.prior)
    if kind == "image":
        pictures = (picture for x in generator.draw(z, progress) for picture in plots.pictures(x, kind))
        return Samples((media.enlarged(picture, size) for picture in pictures), names)
    x = torch.cat(list(generator.draw(z, progress)))
    parts = [x] if kind == "points" else x.split(1)
    pictures = (media.enlarged(plots.pictures(part, kind)[0], size) for part in parts)
    return Samples(pictures, ["samples"] if kind == "points" else names, generator.in_units(x).numpy())


def _size(generator: Generator, size: int | None) -> tuple[int, int]:
    """(height, width) of the images that are written."""
    phase, kind = generator.phase, generator.kind
    height, width = plots.DOTS if kind == "points" else plots.LINES if kind == "signal" else (phase.height, phase.width)
    factor = 1 if size is None else max(1, size // height)
    return height * factor, width * factor


@devices.uses_threads
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
    threads: int | None = None,
    processes: int = 1,
    progress: Progress = silent,
) -> SampleReport:
    """Interpolate between the latents of the seeds, and write an animation or a folder of frames.

    columns x rows interpolations are shown in a grid, each through the next seeds. processes: as in `sample`.
    Raises InputMissing, CheckpointError, UsageError, ExtraMissing, CannotCreate.
    """
    out = Path(out)
    if frames < 2 or len(seeds) < 2:
        what = "an interpolation needs at least 2 frames and 2 seeds"
        raise UsageError(what, where="--frames, --seeds", hint="give more")
    generator = Generator.load(ckpt, raw=raw, device=device)
    form = target(out, media.ANIMATIONS)
    media.require(form)
    ways = [
        latents.walk(
            [(seed + w * len(seeds)) % latents.SEEDS for seed in seeds],
            generator.prior,
            frames,
            loop=loop,
            path=path,
        )
        for w in range(columns * rows)
    ]
    z = latents.truncate(torch.stack(ways, dim=1), trunc, generator.prior)
    with generator.shared(processes) as several:
        pictures = _frames(several, z, columns, progress)
    pictures = media.enlarged(pictures, size)
    if form:
        data = media.animation(list(pictures), form, fps)
        files.replace_bytes(out, data)
        written: tuple[Path, ...] = (out,)
    else:
        written = write_samples(out, "", Samples(pictures, [f"frame{i:05d}" for i in range(frames)]), None)
    return SampleReport(out, written, frames, pictures.shape[1], pictures.shape[2])


def _frames(generator: Generator, z: Tensor, columns: int, progress: Progress) -> Pictures:
    """One grid of all interpolations per frame. z: (frames, interpolations, latent) -> (frames, H, W, C).

    For points, a frame also shows the points of all earlier frames.
    """
    x = torch.cat(list(generator.draw(z.flatten(0, 1), progress))).unflatten(0, z.shape[:2])
    if generator.kind == "points":
        return np.stack([plots.sheet(x[: i + 1].flatten(0, 1), "points") for i in range(len(x))])
    return np.stack([media.grid(plots.pictures(walks, generator.kind), columns) for walks in x])
