"""Array files: .npy, .npz and the idx format of MNIST, gzipped (.gz) or not."""

import gzip
import math
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gancli import signals
from gancli.data import archives, budget
from gancli.errors import DataError, GancliError, Interrupted
from gancli.results import printable

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MAX_VALUES = 1 << 36  # a header with more values than this is damaged
PREFERRED = ("images", "x", "data", "x_train", "arr_0")  # names of the array to use in an .npz with several
CHANNELS = (1, 3, 4)
MAX_HEADER = 1 << 20  # bytes; of an .npy file
MAX_EXPANDED = 8 << 30  # bytes; compressed arrays are expanded in memory
MAX_RATIO, RATIO_FROM = 200, 512 << 20  # an array that expands to more bytes and by more than this is a bomb
BLOCK = 1 << 24  # bytes read or converted at once


Read = TypeVar("Read")


@dataclass(frozen=True)
class Samples:
    """Samples of one kind: images (N, H, W, C) uint8, signals (N, C, L) or points (N, D) float32."""

    kind: str
    values: NDArray[Any]


def reader(path: Path) -> Callable[[Path], Samples]:
    """A function that reads this array file. Raises DataError if the format is unknown."""
    load = _loader(path)
    return lambda p: _read(lambda: classify(load(p), str(p)), p)


def glance(path: Path, rows: int) -> tuple[Samples, int]:
    """The first rows of an array file as samples, and the number of all rows. Raises DataError."""
    load = _loader(path)

    def look() -> tuple[Samples, int]:
        values = load(path)
        _check_shape(values, str(path))
        return classify(values[:rows], str(path)), len(values)

    return _read(look, path)


def read_plain(path: Path) -> NDArray[Any]:
    """An array file as it is, such as one of labels. Raises DataError."""
    load = _loader(path)
    return _read(lambda: load(path), path)


def _loader(path: Path) -> Callable[[Path], NDArray[Any]]:
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return _from_npy
    if path.suffix.lower() == ".npz":
        return _from_npz
    if head[:2] == archives.GZIP or head[:2] == b"\0\0":
        return _from_idx
    if head[:4] == archives.ZIP:
        raise DataError("a damaged zip", where=printable(str(path)), hint="copy or download it again")
    raise DataError(
        "not a folder, zip, tar, idx, .npy or .npz",
        where=printable(str(path)),
        hint="give one of these, or builtin:shapes",
    )


def _read(load: Callable[[], Read], path: Path) -> Read:
    """Raises DataError for any error: numpy evaluates headers as literals, so a damaged one can raise anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers that become infinite in float32 are rejected by the scan
            return load()
    except (GancliError, Interrupted):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        hint = "save an array of numbers again with numpy.save"
        raise DataError(f"cannot read the array: {printable(reason)}", where=printable(str(path)), hint=hint) from error


def _from_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        head = file.read(12)
    length = int.from_bytes(head[8:10] if head[6:7] == b"\1" else head[8:12], "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length:,} bytes")
    values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return values.view(np.ndarray)


def _from_npz(path: Path) -> NDArray[Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = list(archive.files)
        chosen = names if len(names) == 1 else [n for n in PREFERRED if n in names]
        if not chosen:
            raise ValueError(f"several arrays ({', '.join(names)}), none named {', '.join(PREFERRED)}")
        members = {name.removesuffix(".npy"): name for name in archive.zip.namelist()}
        info = archive.zip.getinfo(members[chosen[0]])
        if info.compress_type not in archives.PLAIN_METHODS:
            raise ValueError("compressed by a method other than deflate")
        _check_expansion(info.file_size, path)
        values: NDArray[Any] = archive[chosen[0]]
        return values


def _from_idx(path: Path) -> NDArray[Any]:
    """An idx file, gzipped or not: magic 0 0 type rank, sizes as big-endian int32, then the values."""
    with path.open("rb") as file:
        packed = file.read(2) == archives.GZIP
    with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
        zero, code, rank = struct.unpack(">HBB", file.read(4))
        if zero or code not in IDX_TYPES or not 1 <= rank <= 4:
            raise ValueError("not an idx header")
        shape = struct.unpack(f">{rank}i", file.read(4 * rank))
        dtype = np.dtype(IDX_TYPES[code])
        if min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            raise ValueError(f"invalid shape {shape} in the header")
        nbytes = math.prod(shape) * dtype.itemsize
        missing = ValueError(f"the header has shape {shape}, but the file does not have that many values")
        if packed:
            _check_expansion(nbytes, path)
            values = np.empty(nbytes, np.uint8)
            if not _filled(values, file) or file.read(1):
                raise missing
            return values.view(dtype).reshape(shape)
        if os.fstat(file.fileno()).st_size != 4 + 4 * rank + nbytes:
            raise missing
        return np.memmap(file, dtype, "r", 4 + 4 * rank, shape).view(np.ndarray)


def _check_expansion(nbytes: int, path: Path) -> None:
    """Raise ValueError if a compressed array claims more bytes than can be expanded in memory. Before it is read."""
    most = min(MAX_EXPANDED, budget.available())
    if nbytes > most:
        raise ValueError(f"it expands to {nbytes:,} bytes; at most {most:,} are expanded: save it as .npy")
    if nbytes > RATIO_FROM and nbytes > MAX_RATIO * path.stat().st_size:
        raise ValueError(
            f"it expands more than {MAX_RATIO}-fold, to {nbytes:,} bytes: save it as .npy if this is right"
        )


def _filled(values: NDArray[np.uint8], file: BinaryIO) -> bool:
    """Read the whole array from a file, in blocks. False if the file is shorter."""
    for start in range(0, len(values), BLOCK):
        signals.poll()
        block = file.read(min(BLOCK, len(values) - start))
        if len(block) < min(BLOCK, len(values) - start):
            return False
        values[start : start + len(block)] = np.frombuffer(block, np.uint8)
    return True


def classify(values: NDArray[Any], where: str) -> Samples:
    """Images, signals or points, by shape and dtype. Raises DataError if it is none of them.

    2-D arrays are points; 3-D uint8 arrays are gray images, 3-D float arrays signals (N, C, L);
    4-D arrays are images whose channel axis has 1, 3 or 4 entries.
    """
    _check_shape(values, where)
    if values.ndim == 4:
        return Samples("image", _as_bytes(_channels_last(values), where))
    if values.ndim == 3 and values.dtype.kind == "u":
        return Samples("image", _as_bytes(values[..., None], where))
    floats = values if values.dtype == np.float32 else _converted(values, lambda part: part, np.float32)
    return Samples("points" if values.ndim == 2 else "signal", floats)


def _check_shape(values: NDArray[Any], where: str) -> None:
    """Raise DataError if the shape and the type are not those of samples."""
    what = f"an array of shape {values.shape}, type {values.dtype}"
    if values.dtype.kind not in "uif" or not 2 <= values.ndim <= 4 or values.size == 0:
        hint = "these look like labels; give the images file" if values.ndim == 1 else "give numbers of shape (N, ...)"
        raise DataError(what, where=printable(where), hint=hint)
    if values.ndim == 4 and values.shape[3] not in CHANNELS and values.shape[1] not in CHANNELS:
        raise DataError(f"{what}, has no axis of channels", where=printable(where), hint="save as (N, H, W, 1|3|4)")


def _channels_last(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.shape[3] in CHANNELS else values.transpose(0, 2, 3, 1)


def _as_bytes(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Convert to 0..255. Floats must be in [0, 1] or [-1, 1]; uint16 is divided by 257, other integers are kept."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return _converted(values, lambda part: np.rint(part / 257), np.uint8)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        row = next(row for row, value in enumerate(values) if not np.isfinite(value).all())
        raise DataError(f"row {row} is not finite", where=printable(where), hint="remove NaN and infinite values")
    if values.dtype.kind in "iu" and low >= 0 and high <= 255:
        return _converted(values, lambda part: part, np.uint8)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return _converted(values, lambda part: np.rint(part * 255), np.uint8)
    if values.dtype.kind == "f" and low >= -1 and high <= 1:
        return _converted(values, lambda part: np.rint((part + 1) * 127.5), np.uint8)
    raise DataError(
        f"images with values from {low:g} to {high:g}",
        where=printable(where),
        hint="scale them to 0..255 (uint8), or to [0, 1] or [-1, 1]",
    )


def _converted(
    values: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[Any]], dtype: type[np.generic]
) -> NDArray[Any]:
    """`convert` of each sample, as another type. A block at a time: values may be a file larger than the memory."""
    whole = np.empty(values.shape, dtype)
    rows = max(1, BLOCK // max(1, values[0].nbytes))
    for start in range(0, len(values), rows):
        signals.poll()
        whole[start : start + rows] = convert(values[start : start + rows])
    return whole
