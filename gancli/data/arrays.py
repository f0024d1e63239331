"""Array files: .npy, .npz and the idx format of MNIST, gzipped (.gz) or not."""

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli.errors import DataError
from gancli.results import printable

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MAX_VALUES = 1 << 36  # a header with more values than this is damaged
PREFERRED = ("images", "x", "data", "x_train", "arr_0")  # names of the array to use in an .npz with several


@dataclass(frozen=True)
class Samples:
    """Samples of one kind: images (N, H, W, C) uint8, signals (N, C, L) or points (N, D) float32."""

    kind: str
    values: NDArray[Any]


def reader(path: Path) -> Callable[[Path], Samples]:
    """A function that reads this array file. Raises DataError if the format is unknown."""
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return lambda p: classify(_load(p), str(p))
    if path.suffix.lower() == ".npz":
        return lambda p: classify(_from_npz(p), str(p))
    if head[:2] == b"\x1f\x8b" or head[:2] == b"\0\0":
        return lambda p: classify(read_idx(p), str(p))
    raise DataError(
        "not a folder, zip, tar, idx, .npy or .npz",
        where=printable(str(path)),
        hint="give one of these, or builtin:shapes",
    )


def _load(path: Path) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy evaluates the header as a literal, so a damaged one can raise anything
        raise _damaged(path, error) from error
    return values


def _from_npz(path: Path) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            chosen = names if len(names) == 1 else [n for n in PREFERRED if n in names]
            if not chosen:
                raise ValueError(f"several arrays ({', '.join(names)}), none named {', '.join(PREFERRED)}")
            values: NDArray[Any] = archive[chosen[0]]
            return values
    except Exception as error:  # as above, and the errors of zipfile have no common base class
        raise _damaged(path, error) from error


def read_idx(path: Path) -> NDArray[Any]:
    """An idx file, gzipped or not: magic 0 0 type rank, sizes as big-endian int32, then the values."""
    with path.open("rb") as file:
        opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
    try:
        with opener(path, "rb") as file:
            zero, code, rank = struct.unpack(">HBB", file.read(4))
            if zero or code not in IDX_TYPES or not 1 <= rank <= 4:
                raise ValueError("not an idx header")
            shape = struct.unpack(f">{rank}i", file.read(4 * rank))
            dtype = np.dtype(IDX_TYPES[code])
            if min(shape) < 1 or math.prod(shape) > MAX_VALUES:
                raise ValueError(f"invalid shape {shape} in the header")
            data = file.read(math.prod(shape) * dtype.itemsize + 1)
            if len(data) != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"the header has shape {shape}, but the file does not have that many values")
            return np.frombuffer(data, dtype).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"cannot read the array: {reason}", where=printable(str(path)), hint="save it again with numpy.save"
    )


def classify(values: NDArray[Any], where: str) -> Samples:
    """Images, signals or points, by shape and dtype. Raises DataError if it is none of them.

    2-D arrays are points; 3-D uint8 arrays are gray images, 3-D float arrays signals (N, C, L);
    4-D arrays are images whose channel axis has 1, 3 or 4 entries.
    """
    if values.dtype == object or values.dtype.kind not in "uif" or not 2 <= values.ndim <= 4 or values.size == 0:
        hint = "these look like labels; give the images file" if values.ndim == 1 else "give numbers of shape (N, ...)"
        raise DataError(f"an array of shape {values.shape}, type {values.dtype}", where=printable(where), hint=hint)
    if values.ndim == 4:
        return Samples("image", _as_bytes(_channels_last(values, where), where))
    if values.ndim == 3 and values.dtype.kind == "u":
        return Samples("image", _as_bytes(values[..., None], where))
    return Samples("points" if values.ndim == 2 else "signal", values.astype(np.float32))


def _channels_last(values: NDArray[Any], where: str) -> NDArray[Any]:
    if values.shape[3] in (1, 3, 4):
        return values
    if values.shape[1] in (1, 3, 4):
        return values.transpose(0, 2, 3, 1)
    raise DataError(
        f"no axis of shape {values.shape} can be the channels",
        where=printable(where),
        hint="save as (N, H, W, 1|3|4)",
    )


def _as_bytes(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Convert to 0..255. Floats must be in [0, 1] or [-1, 1]; 16-bit integers are divided by 257."""
    if values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    if values.dtype == np.uint16:
        return _rounded(values / 257)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return _rounded(values * 255)
    if values.dtype.kind == "f" and low >= -1 and high <= 1:
        return _rounded((values + 1) * 127.5)
    raise DataError(
        f"images with values from {low:g} to {high:g}",
        where=printable(where),
        hint="scale them to 0..255 (uint8), or to [0, 1] or [-1, 1]",
    )


def _rounded(values: NDArray[Any]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
    return whole
