"""Latents: from seeds, interpolated, truncated. The latent of a seed never changes."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.config.family import Family

SEEDS = 2**32  # seeds are below this

Path = Literal["slerp", "lerp"]
Latent = NDArray[np.float32]


class Prior(NamedTuple):
    """The distribution of the latents of a generator."""

    size: int  # dimensions
    uniform: bool = False  # uniform over (-1, 1); else N(0, 1)
    scale: float = 1.0  # multiplier

    @classmethod
    def of(cls, network: Family) -> Self:
        """The prior of a network config."""
        return cls(network.z_dim, network.z_distribution == "uniform", network.z_scale)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample latents for training, on the CPU. (count, size)."""
        draw = torch.rand if self.uniform else torch.randn
        z = draw(count, self.size, generator=generator)
        return (z.mul(2).sub(1) if self.uniform else z) * self.scale


def from_seed(seed: int, prior: Prior) -> Latent:
    """The latent of one seed. Shape (size,), float32.

    Uses numpy's RandomState, whose stream is frozen by policy. The stream of torch is not, and its first
    numbers depend on how many are requested.
    """
    rng = np.random.RandomState(seed)
    z = rng.uniform(-1, 1, prior.size) if prior.uniform else rng.standard_normal(prior.size)
    return (z * prior.scale).astype(np.float32)


def from_seeds(seeds: Sequence[int], prior: Prior) -> Tensor:
    """One latent per seed. Shape (len(seeds), size), float32."""
    return torch.from_numpy(np.stack([from_seed(seed, prior) for seed in seeds]))


def truncate(z: Tensor, share: float, prior: Prior) -> Tensor:
    """Map latents into the central `share` of their distribution; 1 leaves them unchanged.

    u = Phi(z); z' = Phi^-1(1/2 + share (u - 1/2)); share * z for uniform priors. This truncates z itself, since
    there is no mapping network whose output could be truncated: fewer outliers, slightly less variety.
    """
    if share == 1:
        return z
    if prior.uniform:
        return z * share
    u = torch.special.ndtr(z.double() / prior.scale)
    squeezed: Tensor = torch.special.ndtri(0.5 + share * (u - 0.5)).mul(prior.scale).to(z.dtype)
    return squeezed


def slerp(a: Latent, b: Latent, t: float) -> Latent:
    """Spherical interpolation from a to b at t; norms are interpolated linearly. Shapes (size,).

    A straight line between two normal latents passes close to the origin, where the prior has almost no mass.
    """
    size_a, size_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    product = float(a.astype(np.float64) @ b.astype(np.float64))  # float32 is not accurate enough for opposite latents
    angle = math.acos(min(1.0, max(-1.0, product / (size_a * size_b))))
    if math.sin(angle) < 1e-6:  # parallel or opposite: the arc is not unique
        return lerp(a, b, t)
    direction = math.sin((1 - t) * angle) * a / size_a + math.sin(t * angle) * b / size_b
    point = direction / math.sin(angle) * ((1 - t) * size_a + t * size_b)
    return point.astype(np.float32)


def lerp(a: Latent, b: Latent, t: float) -> Latent:
    """(1 - t) a + t b."""
    return ((1 - t) * a + t * b).astype(np.float32)


def walk(seeds: Sequence[int], prior: Prior, frames: int, *, loop: bool = True, path: Path = "slerp") -> Tensor:
    """Latents along a path through the seeds, in equal steps. Shape (frames, size).

    Uniform latents are always interpolated linearly: an arc would leave the cube.

    A loop ends one step before its start, so that it repeats smoothly; an open path ends
    at the last seed. A frame at a seed has exactly the latent of that seed.
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
