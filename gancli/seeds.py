"""Random generators derived from the seed and the position, without state to save."""

from hashlib import blake2b

import torch


def stream(seed: int, name: str, position: int) -> torch.Generator:
    """CPU generator for one named random stream at one position of training.

    Random numbers depend only on the seed of the run, the name of the stream and the position (images
    shown, or the epoch). So a checkpoint contains no generator state, and a resumed run uses exactly
    the random numbers of an uninterrupted one.

    Uses blake2b because hash() of a string differs between processes.
    """
    digest = blake2b(f"{seed}/{name}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def permutation(seed: int, epoch: int, size: int) -> torch.Tensor:
    """The order of the data set in one epoch. Shape (size,), int64."""
    return torch.randperm(size, generator=stream(seed, "order", epoch))
