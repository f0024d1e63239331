"""The data cache: a data set is decoded once, stored under GANCLI_CACHE_DIR, and then opened as a memory map.

A cache folder is named by a hash of the source's content and of the decoding options. A stamp (path, size,
times and inode of every file) points to that hash, so that an unchanged source is not read again; `rescan`
ignores the stamp.
"""

import json
import math
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import files, locks, signals
from gancli.data import images, scan
from gancli.data.images import Shape
from gancli.data.sources import Array, Files, find
from gancli.errors import DataError, StorageError
from gancli.results import DataReport, Progress, Rejected, printable, silent

FORMAT = 1  # increase when decoding changes; caches of the old format are then not used
HELD_OUT_MOST = 1_000  # held-out samples, at most
HELD_OUT_FROM = 500  # smaller data sets have no held-out samples
FEW = 500  # smaller data sets get advice about memorization
LOOKED_AT = 32  # number of images read to find the most common size
DRAWN_SIZE = 32  # px; default size of built-in images
STALE_SECONDS = 86_400  # age at which unfinished caches are removed


@dataclass(frozen=True)
class Dataset:
    """Samples of one size, a mask of the held-out ones, and the report of the scan."""

    kind: str
    values: NDArray[Any]  # images (N, H, W, C) uint8; signals (N, C, L) or points (N, D) float32
    held_out: NDArray[np.bool_]  # (N,), True for samples that are never trained on
    fingerprint: str  # hash of the source's content, independent of the decoding options
    report: DataReport

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(C, *S) of one sample, as passed to the networks."""
        shape = self.values.shape[1:]
        return (shape[2], *shape[:2]) if self.kind == "image" else shape

    @property
    def train_rows(self) -> NDArray[np.int64]:
        """Row numbers of the samples to train on."""
        return np.flatnonzero(~self.held_out)


def folder() -> Path:
    """The cache folder: GANCLI_CACHE_DIR, else ~/.cache/gancli."""
    return Path(os.environ.get("GANCLI_CACHE_DIR") or Path.home() / ".cache" / "gancli")


@dataclass(frozen=True)
class CachePlan:
    """What opening a data set would write."""

    folder: Path
    nbytes: int  # at most; 0 if the data set is already cached


def plan_cache(data: str, shape: Shape) -> CachePlan:
    """What `open_dataset` would write, without decoding anything. Raises InputMissing or DataError."""
    source, options = find(data), _options(shape)
    fingerprint = _fingerprint_in(_stamp_file(source, options))
    if fingerprint is not None and _meta(folder() / _key(fingerprint, options)) is not None:
        return CachePlan(folder(), 0)
    return CachePlan(folder(), source.nbytes(shape))


def open_dataset(
    data: str,
    shape: Shape,
    *,
    held_out: float = 0.05,
    kind: str = "auto",
    rescan: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Open the data set `data`, decoded to `shape`; from the cache if possible.

    If several processes open the same data set, one decodes it and the others wait.
    Raises InputMissing, DataError, or StorageError if the cache cannot be written or the disk is too small.
    """
    source, options = find(data), _options(shape)
    stamp = _stamp_file(source, options)
    known = None if rescan else _fingerprint_in(stamp)
    fingerprint = known or source.digest(progress)
    place = folder() / _key(fingerprint, options)
    with _locked(place):
        if rescan or _meta(place) is None:
            _build(source, shape, place, progress)
        dataset = _open(place, data, fingerprint, held_out, kind)
    if known is None:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        files.replace_text(stamp, fingerprint)
    return dataset


def _options(shape: Shape) -> str:
    return f"{FORMAT}|{shape}"


def _stamp_file(source: Files | Array, options: str) -> Path:
    return folder() / "stamps" / _key(source.stamp, options)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the lock of a cache folder. Raises StorageError if the lock file cannot be created."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".lock").touch()
    except OSError as error:
        raise _unwritable(place.parent, error) from error
    with locks.held(place.with_suffix(".lock"), while_waiting=signals.poll):
        yield


def picture_size(data: str) -> tuple[int, int] | None:
    """Most common (height, width) of a subset of the images; None for signals and points. Raises DataError."""
    source = find(data)
    if isinstance(source, Array):
        samples = source.load(DRAWN_SIZE)
        return samples.values.shape[1:3] if samples.kind == "image" else None
    sizes: Counter[tuple[int, int]] = Counter()
    for entry in source.entries[:: max(1, len(source.entries) // LOOKED_AT)]:
        with suppress(Exception):  # reported by the scan
            sizes[images.size_of(entry.read())] += 1
    if not sizes:
        raise DataError("no usable image", where=printable(data), hint="give a folder, zip or tar of images")
    return sizes.most_common(1)[0][0]


def _fingerprint_in(stamp: Path) -> str | None:
    """The fingerprint in a stamp file; None if the file is missing or damaged."""
    text = stamp.read_text(errors="replace") if stamp.is_file() else ""
    return text if re.fullmatch(r"[0-9a-f]{40}", text) else None


def _meta(place: Path) -> dict[str, Any] | None:
    """The metadata of a complete cache folder; None if it is missing or damaged."""
    try:
        meta: dict[str, Any] = json.loads((place / "meta.json").read_text(encoding="utf-8"))
        size = len(meta["hashes"]) * math.prod(meta["shape"]) * np.dtype(meta["dtype"]).itemsize
        return meta if (place / "values.bin").stat().st_size == size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _build(source: Files | Array, shape: Shape, place: Path, progress: Progress) -> None:
    """Decode into a temporary folder, then rename it, so that an incomplete cache is never visible."""
    _check_space(place.parent, source.nbytes(shape))
    try:
        _sweep(place.parent)
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=place.parent))
    except OSError as error:
        raise _unwritable(place.parent, error) from error
    try:
        if isinstance(source, Files):
            scan.scan_files(source, shape, work, progress)
        else:
            samples = source.load(shape.height)
            _check_space(place.parent, scan.nbytes_of(samples, shape))
            scan.scan_array(samples, shape, work, source.name, progress)
        shutil.rmtree(place, ignore_errors=True)  # damaged, or a rescan
        work.rename(place)
    except OSError as error:
        raise _unwritable(place, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_space(place: Path, needed: int) -> None:
    """Raise StorageError if the disk has less than `needed` bytes free. Checked before a scan, which can take long."""
    free = shutil.disk_usage(place).free
    if needed > free:
        raise StorageError(
            f"the data cache needs up to {needed:,} bytes, and {free:,} are free",
            where=printable(str(place)),
            hint="free some space, set GANCLI_CACHE_DIR to another disk, or train at a lower resolution",
        )


def _sweep(place: Path) -> None:
    """Remove the temporary folders of scans that were killed."""
    for stale in place.glob(".building-*"):
        if time.time() - stale.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(stale, ignore_errors=True)


def _unwritable(place: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write the data cache: {error.strerror or error}",
        where=str(place),
        hint="free some space, or set GANCLI_CACHE_DIR to another folder",
    )


def _open(place: Path, data: str, fingerprint: str, held_out: float, kind: str) -> Dataset:
    meta = _meta(place)
    assert meta is not None, f"{place} was just built"
    if kind not in ("auto", meta["kind"]):
        raise DataError(
            f"data.kind is {kind}, but the samples are of kind {meta['kind']}", where=data, hint="leave out data.kind"
        )
    hashes = np.array([int(h, 16) for h in meta["hashes"]], dtype=np.uint64)
    shape = (len(hashes), *meta["shape"])
    values = np.memmap(place / "values.bin", dtype=meta["dtype"], mode="r", shape=shape)
    held_out_mask = _held_out(hashes, held_out)
    return Dataset(meta["kind"], values, held_out_mask, fingerprint, _report(data, meta, hashes, held_out_mask))


def _held_out(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """The held-out mask, chosen by content hash so that duplicates are on the same side. (N,)."""
    if len(hashes) < HELD_OUT_FROM:
        return np.zeros(len(hashes), dtype=bool)
    count = min(round(share * len(hashes)), HELD_OUT_MOST)
    chosen: NDArray[np.bool_] = hashes < np.sort(hashes)[min(count, len(hashes) - 1)]  # never all samples
    return chosen


def _report(
    data: str, meta: dict[str, Any], hashes: NDArray[np.uint64], held_out_mask: NDArray[np.bool_]
) -> DataReport:
    duplicates = len(hashes) - len(np.unique(hashes))
    return DataReport(
        source=data,
        kind=meta["kind"],
        count=len(hashes),
        held_out=int(held_out_mask.sum()),
        shape=tuple(meta["shape"]),
        smallest=meta["smallest"] and tuple(meta["smallest"]),
        largest=meta["largest"] and tuple(meta["largest"]),
        enlarged=meta["enlarged"],
        duplicates=duplicates,
        ignored=meta["ignored"],
        rejected=tuple(Rejected(**r) for r in meta["rejected"]),
        advice=tuple(_advice(len(hashes), meta["enlarged"], duplicates)),
    )


def _advice(count: int, enlarged: int, duplicates: int) -> list[str]:
    advice = []
    if count < FEW:
        advice.append(f"only {count} samples: expect memorization; use --mirror if the images can be mirrored")
    if enlarged * 2 > count:
        advice.append(f"{enlarged} of {count} images are smaller than the training size: use a lower resolution")
    if duplicates * 20 > count:
        advice.append(f"{duplicates} of {count} samples are duplicates: they are trained on more often than the others")
    return advice
