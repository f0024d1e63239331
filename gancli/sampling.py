"""From a checkpoint to pictures: the averaged generator, in chunks of one fixed size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from gancli.results import Progress, SampleReport, printable, silent
from gancli.writing import FORMS, Samples, default_folder, encode, make_folder, target, write_samples

CHUNK_PIXELS = 16 * 64 * 64  # a chunk is 16 pictures of 64 px, fewer where they are larger


@dataclass(frozen=True)
class Generator:
    """A trained generator: `gancli.load("ckpt.pt")`.

    The size of a chunk depends on the network alone and a short one is padded, so a seed gives the
    same picture whatever else is asked for with it.
    """

    network: Network
    phase: Phase
    checkpoint: Opened
    device: torch.device

    @classmethod
    def load(cls, path: str | Path, *, raw: bool = False, device: str = "cpu") -> Self:
        """Open a .pt file or a run folder. `raw`: the weights of the last step, not their average.

        Raises InputMissing or CheckpointError.
        """
        opened = checkpoint.read(path)
        return cls.of(opened, raw=raw, device=device)

    @classmethod
    def of(cls, opened: Opened, *, raw: bool = False, device: str = "cpu") -> Self:
        """The generator of a checkpoint that is open already, at the size and alpha it was training at."""
        network = build_generator(opened.config)
        checkpoint.fill(network, opened.generator_weights(raw=raw), opened.path)
        place = devices.choose(device)
        network.to(place).eval()
        return cls(network, Schedule.of(opened.config).phase_at(opened.images), opened, place)

    @property
    def kind(self) -> str:
        """What it draws: image, signal or points."""
        return self.checkpoint.config.samples.kind

    @property
    def prior(self) -> Prior:
        """What its latents are drawn from. Raises UsageError where pictures go in, not latents."""
        if self.network.enlarges:
            hint = "give it pictures: gancli sample CKPT --input photo.png"
            what = "this network enlarges pictures and has no latents"
            raise UsageError(what, where=printable(str(self.checkpoint.path)), hint=hint)
        return Prior.of(self.checkpoint.config.network)

    @property
    def chunk(self) -> int:
        """How many samples are drawn at once."""
        return max(1, min(16, CHUNK_PIXELS // (self.phase.height * self.phase.width)))

    @torch.inference_mode()
    def draw(self, z: Tensor, progress: Progress = silent) -> Iterator[Tensor]:
        """Samples of latents, chunk by chunk, as the network knows them. (N, z_dim) -> tensors (<= chunk, C, *S).

        Pictures are clipped to [-1, 1]; where the network enlarges them, small ones go in.
        """
        for start in range(0, len(z), self.chunk):
            signals.poll()
            progress("drawing", start, len(z))
            part = z[start : start + self.chunk]
            filling = part[:1].expand(self.chunk - len(part), *part.shape[1:])
            x = self.network(torch.cat([part, filling]).to(self.device), self.phase.stage, self.phase.alpha)
            x = x[: len(part)].cpu()
            yield x.clamp(-1, 1) if self.kind == "image" else x

    def in_units(self, x: Tensor) -> Tensor:
        """Samples as the data has them: signals and points in its own units, pictures in [-1, 1]."""
        samples = self.checkpoint.config.samples
        return x if self.kind == "image" else x * samples.scale + samples.center

    def samples(self, seeds: Sequence[int], trunc: float = 1.0, progress: Progress = silent) -> Tensor:
        """One sample a seed, as the network knows them. (len(seeds), C, *S)."""
        z = latents.truncate(latents.from_seeds(list(seeds), self.prior), trunc, self.prior)
        return torch.cat(list(self.draw(z, progress)))

    def generate(self, z: Tensor) -> Tensor:
        """One sample for each latent. (N, z_dim) -> (N, C, *S) float32, in the units of `sample`. Raises UsageError."""
        wanted = self.prior.size
        if z.ndim != 2 or z.shape[1] != wanted:
            raise UsageError(
                f"latents of shape {tuple(z.shape)}", where="z", hint=f"give a tensor of shape (N, {wanted})"
            )
        return self.in_units(torch.cat(list(self.draw(z.float()))))

    def sample(self, seeds: Sequence[int], trunc: float = 1.0) -> Tensor:
        """One sample a seed. (len(seeds), C, *S) float32: pictures in [-1, 1], others in the units of the data."""
        return self.in_units(self.samples(seeds, trunc))


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
    progress: Progress = silent,
) -> SampleReport:
    """Write one sample a seed.

    out: a folder (one PNG a seed), a .png (one picture, or a grid of several), .npy or .zip; left out:
    `<run>-<kimg>-samples/`. A .npy holds pictures as (N, H, W, C) uint8, signals (N, C, L) and points (N, D)
    as float32 in the units of the data; their PNGs are line plots and one scatter plot, and a folder of them
    gets a samples.npy as well. size: height in pixels to enlarge to, by whole factors.
    Raises InputMissing, CheckpointError, UsageError, CannotCreate.
    """
    generator = Generator.load(ckpt, raw=raw, device=device)
    path = Path(out) if out is not None else default_folder(generator.checkpoint)
    if out is None:
        make_folder(path)
    form = target(path, FORMS)
    samples = _samples(generator, seeds, trunc, size, progress)
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
    """The samples as the bytes of one file, for a pipe: form is png (a picture or a grid), npy or zip."""
    generator = Generator.load(ckpt, raw=raw, device=device)
    return encode(_samples(generator, seeds, trunc, size, silent), form, columns)


def _samples(generator: Generator, seeds: Sequence[int], trunc: float, size: int | None, progress: Progress) -> Samples:
    """Pictures are generated while they are written, so any number fits into memory; other samples are kept."""
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
    """(height, width) of the pictures that are written."""
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
    progress: Progress = silent,
) -> SampleReport:
    """A walk through latent space by way of the seeds, as an animation or a folder of frames.

    columns x rows walks run side by side, each through the next seeds. Raises InputMissing,
    CheckpointError, UsageError, ExtraMissing, CannotCreate.
    """
    out = Path(out)
    if frames < 2 or len(seeds) < 2:
        raise UsageError("a walk needs at least 2 frames and 2 seeds", where="--frames, --seeds", hint="give more")
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
    pictures = _frames(generator, latents.truncate(torch.stack(ways, dim=1), trunc, generator.prior), columns, progress)
    pictures = media.enlarged(pictures, size)
    if form:
        data = media.animation(list(pictures), form, fps)
        files.replace(out, lambda temporary: temporary.write_bytes(data), needed=len(data))
        written: tuple[Path, ...] = (out,)
    else:
        written = write_samples(out, "", Samples(pictures, [f"frame{i:05d}" for i in range(frames)]), None)
    return SampleReport(out, written, frames, pictures.shape[1], pictures.shape[2])


def _frames(generator: Generator, z: Tensor, columns: int, progress: Progress) -> Pictures:
    """One grid a frame, of the walks side by side. z: (frames, walks, latent) -> (frames, H, W, C).

    Points leave their trail behind: a frame shows all that its walks have passed so far.
    """
    x = torch.cat(list(generator.draw(z.flatten(0, 1), progress))).unflatten(0, z.shape[:2])
    if generator.kind == "points":
        return np.stack([plots.sheet(x[: i + 1].flatten(0, 1), "points") for i in range(len(x))])
    return np.stack([media.grid(plots.pictures(walks, generator.kind), columns) for walks in x])
