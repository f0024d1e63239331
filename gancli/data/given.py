"""Data given from Python: paths as they are, arrays and tensors as files in the cache."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gancli import files
from gancli.data import cache

Data = str | Path | NDArray[np.generic] | Tensor


def place_of(data: Data | None) -> str | None:
    """What the rest of gancli opens: the path, or that of a .npy file in the cache with these values.

    Images: (N, H, W, C) or (N, C, H, W), bytes or floats; signals: (N, channels, length) floats; points: (N, d).
    The file is named by its content, so the same array resumes the same run. Raises StorageError.
    """
    if data is None or isinstance(data, str | Path):
        return None if data is None else str(data)
    values = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
    values = np.ascontiguousarray(values)
    name = blake2b(f"{values.dtype}{values.shape}".encode() + values.tobytes(), digest_size=8).hexdigest()
    path = cache.folder() / "arrays" / f"array-{name}.npy"
    if not path.exists():
        files.make_folder(path.parent)
        files.replace(path, lambda temporary: _save(temporary, values), needed=values.nbytes + 1_000)
    return str(path)


def _save(path: Path, values: NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
