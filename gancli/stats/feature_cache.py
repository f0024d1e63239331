"""Features of samples by trained networks, kept in the data cache: the same reals are inspected again and again.

A file holds a digest and the features in float32. It is named by the network and the content of the samples. One that
is damaged is computed again; the ones used longest ago are removed.
"""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancli import files
from gancli.data import cache, stored
from gancli.errors import GancliError
from gancli.networks.feature_extractors import FeatureExtractor

FORMAT = 1  # increase when the computation of any network changes
MOST_BYTES = 128_000_000  # of all files; 1,000 images take 2.4 MB
DIGEST = 16  # bytes


def features(x: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Features of samples, from the cache if these samples have been seen before. (N, 1, 3 or 4, H, W) -> (N, F)."""
    path = cache.folder() / "features" / _name(x, extractor)
    found = _read(path, len(x))
    if found is None:
        found = extractor(x)
        with suppress(GancliError, OSError):  # a cache that cannot be written
            _write(path, found.float().numpy().tobytes())
    return found


def _name(x: Tensor, extractor: FeatureExtractor) -> str:
    facts = (FORMAT, extractor.name, extractor.digest, extractor.device, torch.__version__, x.dtype, tuple(x.shape))
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
