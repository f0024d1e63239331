"""Data given from Python: paths as they are, arrays and tensors as files in the cache."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli import files
from gancli.data import cache
from gancli.errors import DataError

Data = str | Path | NDArray[np.generic] | Tensor


def place_of(data: Data | None) -> str | None:
    """What the rest of gancli opens: the path, or that of a .npy file in the cache with these values.

    Images: (N, H, W, C) or (N, C, H, W), bytes or floats; signals: (N, channels, length) floats; points: (N, d).
    The file is named by its content, so the same array resumes the same run; it is written again if it is damaged.
    Raises StorageError, or DataError if these are not numbers.
    """
    if data is None or isinstance(data, str | Path):
        return None if data is None else str(data)
    values = np.ascontiguousarray(_as_array(data))
    if values.dtype.hasobject:
        raise DataError(f"an array of type {values.dtype}", where="DATA", hint="give numbers of shape (N, ...)")
    name = blake2b(f"{values.dtype}{values.shape}".encode() + values.tobytes(), digest_size=8).hexdigest()
    path = cache.folder() / "arrays" / f"array-{name}.npy"
    if not _holds(path, values):
        with cache.writing(path, values.nbytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, lambda temporary: _save(temporary, values), needed=values.nbytes + 1_000)
    return str(path)


def _as_array(data: NDArray[np.generic] | Tensor) -> NDArray[np.generic]:
    if not isinstance(data, Tensor):
        return np.asarray(data)
    try:
        plain = data.detach().cpu()
        return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantized, or of a type that numpy does not have
        what = f"a tensor of type {data.dtype}, {data.layout}"
        raise DataError(what, where="DATA", hint="give a dense tensor of numbers") from error


def _holds(path: Path, values: NDArray[np.generic]) -> bool:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # missing, or damaged in any way
        return False
    same = (stored.dtype, stored.shape) == (values.dtype, values.shape)
    return same and bool(np.array_equal(stored.view(np.uint8), values.view(np.uint8)))


def _save(path: Path, values: NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
