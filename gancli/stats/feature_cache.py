"""Features of images, kept in the data cache: the same reals are inspected again and again.

A file holds a digest and the features in float32. It is named by the extractor and the content of the images. One that
is damaged is computed again; the ones used longest ago are removed.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancli import files
from gancli.data import cache, stored
from gancli.errors import GancliError

FORMAT = 1  # increase when the computation of any features changes
MOST_BYTES = 256_000_000  # of all files; 1,000 images take 2 to 8 MB
DIGEST = 16  # bytes


def features(x: Tensor, extract: Callable[[Tensor], Tensor], name: str) -> Tensor:
    """Features of images, from the cache if these images have been seen before. (N, C, H, W) -> (N, F), float64.

    extract: computes them, with the precision of float32. name: stands for what it computes.
    """
    path = cache.folder() / "features" / _name(x, name)
    found = _read(path, len(x))
    if found is None:
        found = extract(x)
        with suppress(GancliError, OSError):  # a cache that cannot be written
            _write(path, found.float().numpy().tobytes())
    return found


def _name(x: Tensor, name: str) -> str:
    facts = (FORMAT, name, torch.__version__, x.dtype, tuple(x.shape))
    whole = blake2b("|".join(map(str, facts)).encode(), digest_size=DIGEST)
    whole.update(x.contiguous().cpu().numpy().data)
    return whole.hexdigest()


def _read(path: Path, count: int) -> Tensor | None:
    """(N, F) in float64; None if the file is missing or damaged."""
    try:
        data = stored.small_file(path, MOST_BYTES)
        os.utime(path)
    except OSError:
        return None
    if (len(data) - DIGEST) % (4 * count) or data[:DIGEST] != _digest(data[DIGEST:]):
        return None
    return torch.from_numpy(np.frombuffer(data, np.float32, offset=DIGEST).reshape(count, -1).astype(np.float64))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_bytes(path, _digest(data) + data, durable=False)
    kept, ages = 0, {other: other.stat().st_mtime for other in path.parent.iterdir()}
    for other in sorted(ages, key=ages.__getitem__, reverse=True):
        kept += other.stat().st_size
        if kept > MOST_BYTES:
            other.unlink(missing_ok=True)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST).digest()
