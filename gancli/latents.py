"""Latents: from a seed, between seeds, truncated. A seed's latent is the same for ever, on every machine."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.config.family import Family

SEEDS = 2**32  # how many there are

Path = Literal["slerp", "lerp"]
Latent = NDArray[np.float32]


class Prior(NamedTuple):
    """What a generator's latents are drawn from."""

    size: int
    uniform: bool = False  # over (-1, 1); else N(0, 1)
    scale: float = 1.0  # by which they are multiplied

    @classmethod
    def of(cls, network: Family) -> Self:
        """That of a config's network."""
        return cls(network.z_dim, network.z_distribution == "uniform", network.z_scale)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents for training, drawn on the CPU. (count, size)."""
        draw = torch.rand if self.uniform else torch.randn
        z = draw(count, self.size, generator=generator)
        return (z.mul(2).sub(1) if self.uniform else z) * self.scale


def from_seed(seed: int, prior: Prior) -> Latent:
    """The latent of one seed. Shape (size,), float32.

    numpy's RandomState: its stream is frozen by policy. torch's is not, and its first numbers
    depend on how many are drawn.
    """
    rng = np.random.RandomState(seed)
    z = rng.uniform(-1, 1, prior.size) if prior.uniform else rng.standard_normal(prior.size)
    return (z * prior.scale).astype(np.float32)


def from_seeds(seeds: Sequence[int], prior: Prior) -> Tensor:
    """One latent a seed. Shape (len(seeds), size), float32."""
    return torch.from_numpy(np.stack([from_seed(seed, prior) for seed in seeds]))


def truncate(z: Tensor, share: float, prior: Prior) -> Tensor:
    """Squeeze latents into the central `share` of their distribution; 1 changes nothing.

    u = Phi(z); z' = Phi^-1(1/2 + share (u - 1/2)); share * z for uniform ones. This is truncation of |z|,
    all that a network without a mapping network can offer: outliers become rarer, variety shrinks a little.
    """
    if share == 1:
        return z
    if prior.uniform:
        return z * share
    u = torch.special.ndtr(z.double() / prior.scale)
    squeezed: Tensor = torch.special.ndtri(0.5 + share * (u - 0.5)).mul(prior.scale).to(z.dtype)
    return squeezed


def slerp(a: Latent, b: Latent, t: float) -> Latent:
    """The point at share t of the arc from a to b; lengths are interpolated linearly. Shapes (size,).

    A straight line between two normal latents passes too close to the origin, where no sample lies.
    """
    size_a, size_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    product = float(a.astype(np.float64) @ b.astype(np.float64))  # in float32 opposite latents are not quite opposite
    angle = math.acos(min(1.0, max(-1.0, product / (size_a * size_b))))
    if math.sin(angle) < 1e-6:  # parallel or opposite: no arc is shorter than another
        return lerp(a, b, t)
    direction = math.sin((1 - t) * angle) * a / size_a + math.sin(t * angle) * b / size_b
    point = direction / math.sin(angle) * ((1 - t) * size_a + t * size_b)
    return point.astype(np.float32)


def lerp(a: Latent, b: Latent, t: float) -> Latent:
    """(1 - t) a + t b."""
    return ((1 - t) * a + t * b).astype(np.float32)


def walk(seeds: Sequence[int], prior: Prior, frames: int, *, loop: bool = True, path: Path = "slerp") -> Tensor:
    """Latents on a way through the seeds, in equal steps. Shape (frames, size).

    Between uniform latents the straight line is the way: an arc would leave the cube.

    A loop ends one step before its start, so that it repeats without a stutter; an open way ends
    on the last seed. A frame that falls on a seed has exactly that seed's latent.
    """
    keys = [from_seed(seed, prior) for seed in seeds]
    keys = [*keys, keys[0]] if loop else keys
    between = slerp if path == "slerp" and not prior.uniform else lerp
    last = frames if loop else max(1, frames - 1)
    points = []
    for frame in range(frames):
        leg, rest = divmod(frame * (len(keys) - 1), last)
        points.append(between(keys[leg], keys[leg + 1], rest / last) if rest else keys[leg])
    return torch.from_numpy(np.stack(points))
