"""Randomness derived from position: nothing to store, nothing to restore."""

from hashlib import blake2b

import torch


def stream(seed: int, name: str, position: int) -> torch.Generator:
    """CPU generator for one named stream at one point of training.

    Every draw depends only on the run's seed, the stream's name and the position (images
    seen, or the epoch), so a checkpoint holds no generator state and a resumed run draws
    exactly what an unbroken one would have drawn.

    blake2b, not hash(): hash() of a string differs from process to process.
    """
    digest = blake2b(f"{seed}/{name}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def permutation(seed: int, epoch: int, size: int) -> torch.Tensor:
    """The order of the data set in one epoch. Shape (size,), int64."""
    return torch.randperm(size, generator=stream(seed, "order", epoch))
