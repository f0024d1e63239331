"""Latents: from a seed, between seeds, truncated. A seed's latent is the same for ever, on every machine."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SEEDS = 2**32  # how many there are

Path = Literal["slerp", "lerp"]
Latent = NDArray[np.float32]


def from_seed(seed: int, size: int) -> Latent:
    """The latent of one seed, N(0, 1). Shape (size,), float32.

    numpy's RandomState: its stream is frozen by policy. torch's is not, and its first numbers
    depend on how many are drawn.
    """
    return np.random.RandomState(seed).standard_normal(size).astype(np.float32)


def from_seeds(seeds: Sequence[int], size: int) -> Tensor:
    """One latent a seed. Shape (len(seeds), size), float32."""
    return torch.from_numpy(np.stack([from_seed(seed, size) for seed in seeds]))


def truncate(z: Tensor, share: float) -> Tensor:
    """Squeeze N(0, 1) values into the central `share` of their distribution; 1 changes nothing.

    u = Phi(z); z' = Phi^-1(1/2 + share (u - 1/2)). This is truncation of |z|, all that a network
    without a mapping network can offer: outliers become rarer, variety shrinks a little.
    """
    if share == 1:
        return z
    u = torch.special.ndtr(z.double())
    squeezed: Tensor = torch.special.ndtri(0.5 + share * (u - 0.5)).to(z.dtype)
    return squeezed


def slerp(a: Latent, b: Latent, t: float) -> Latent:
    """The point at share t of the arc from a to b; lengths are interpolated linearly. Shapes (size,).

    A straight line between two normal latents passes too close to the origin, where no sample lies.
    """
    size_a, size_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    angle = math.acos(float(np.clip(a @ b / (size_a * size_b), -1, 1)))
    if math.sin(angle) < 1e-6:  # parallel or opposite: no arc is shorter than another
        return lerp(a, b, t)
    direction = math.sin((1 - t) * angle) * a / size_a + math.sin(t * angle) * b / size_b
    point = direction / math.sin(angle) * ((1 - t) * size_a + t * size_b)
    return point.astype(np.float32)


def lerp(a: Latent, b: Latent, t: float) -> Latent:
    """(1 - t) a + t b."""
    return ((1 - t) * a + t * b).astype(np.float32)


def walk(seeds: Sequence[int], size: int, frames: int, *, loop: bool = True, path: Path = "slerp") -> Tensor:
    """Latents on a way through the seeds, in equal steps. Shape (frames, size).

    A loop ends one step before its start, so that it repeats without a stutter; an open way ends
    on the last seed. A frame that falls on a seed has exactly that seed's latent.
    """
    keys = [from_seed(seed, size) for seed in seeds]
    keys = [*keys, keys[0]] if loop else keys
    between = slerp if path == "slerp" else lerp
    last = frames if loop else max(1, frames - 1)
    points = []
    for frame in range(frames):
        leg, rest = divmod(frame * (len(keys) - 1), last)
        points.append(between(keys[leg], keys[leg + 1], rest / last) if rest else keys[leg])
    return torch.from_numpy(np.stack(points))
