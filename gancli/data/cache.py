"""The data cache: a data set is decoded once and stored under GANCLI_CACHE_DIR.

A cache folder is named by a hash of the source's content and of the decoding options. A stamp (path, size,
times and inode of every file) points to that hash, so that an unchanged source is not read again; `rescan`
ignores the stamp. A cache that is not what was written is built again; see `stored.py`. The file
is long because opening, building, locking and splitting a data set depend on one another.
"""

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import files, locks, signals
from gancli.data import images, scan, stored
from gancli.data.arrays import glance
from gancli.data.images import Shape
from gancli.data.sources import Array, Files, find
from gancli.data.stored import Meta, Stored
from gancli.errors import CannotCreate, DataError, StorageError
from gancli.results import DataReport, Progress, printable, silent

FORMAT = 2  # increase when pixels change visibly, or meta.json; caches of the old format are then not used
HELD_OUT_MOST = 1_000  # held-out samples, at most
HELD_OUT_FROM = 500  # smaller data sets have no held-out samples
FEW = 500  # smaller data sets get advice about memorization
LOOKED_AT = 32  # number of images that are read at most to find the most common size
DRAWN_SIZE = 32  # px; default size of built-in images


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

    def train_chunks(self) -> Iterator[NDArray[Any]]:
        """The samples to train on, some 256 at a time: all of them may be larger than the memory."""
        rows = self.train_rows
        return (self.values[some] for some in np.array_split(rows, max(1, len(rows) // 256)))


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
    if fingerprint is not None and stored.read_meta(folder() / _key(fingerprint, options), shape) is not None:
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
    with _locked(place) as writable:
        found = None if rescan else stored.read(place, shape, progress)
        damaged = found is None and not rescan and os.path.lexists(place)
        found = found or _build(source, shape, place, progress)
    if known is None and writable:
        with writing(stamp):
            stamp.parent.mkdir(parents=True, exist_ok=True)
            files.replace_text(stamp, fingerprint)
    return _dataset(found, data, fingerprint, held_out, kind, damaged)


def _options(shape: Shape) -> str:
    return f"{FORMAT}|{shape}"


def _stamp_file(source: Files | Array, options: str) -> Path:
    return folder() / "stamps" / _key(source.stamp, options)


@contextmanager
def _locked(place: Path) -> Iterator[bool]:
    """Hold the lock of a cache folder; whether it can be written. A cache that is read-only is read without a lock.

    Raises StorageError if the lock file cannot be created, and there is no cache.
    """
    lock, writable = _lock_of(place), True
    try:
        with writing(lock):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
    except StorageError:
        if not place.is_dir():
            raise
        writable = False
    with locks.held(lock, while_waiting=signals.poll) if writable else nullcontext():
        yield writable


def _lock_of(place: Path) -> Path:
    return place.with_suffix(".lock")


@contextmanager
def writing(place: Path, nbytes: int = 0) -> Iterator[None]:
    """Raise StorageError, with the path and the number of bytes, if the file system refuses."""
    try:
        yield
    except (OSError, CannotCreate) as error:
        reason = error.what if isinstance(error, CannotCreate) else error.strerror or str(error)
        size = f" of up to {nbytes:,} bytes" if nbytes else ""
        raise StorageError(
            f"cannot write the data cache{size}: {reason}",
            where=printable(str(place)),
            hint="free some space, or set GANCLI_CACHE_DIR to another folder",
        ) from error


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is decoded."""

    kind: str  # image, signal or points
    count: int  # image files, or samples of an array
    size: tuple[int, int] | None  # most common (height, width) of a subset of the images; None for signals and points


def facts(data: str) -> Facts:
    """Kind, number and size of the samples. Raises InputMissing or DataError."""
    source = find(data)
    if isinstance(source, Array):
        samples, count = (source.load(DRAWN_SIZE), None) if source.path is None else glance(source.path, LOOKED_AT)
        size = samples.values.shape[1:3] if samples.kind == "image" else None
        return Facts(samples.kind, len(samples.values) if count is None else count, size)
    sizes: Counter[tuple[int, int]] = Counter()
    rejected = list(source.rejected)
    for entry in source.entries[:: max(1, -(-len(source.entries) // LOOKED_AT))]:
        try:
            sizes[images.size_of(entry.read())] += 1
        except Exception as error:  # Pillow raises many types
            rejected.append(scan.rejection(entry, error))
    if not sizes:
        raise scan.nothing_usable(source, rejected)
    return Facts("image", len(source.entries), sizes.most_common(1)[0][0])


def _fingerprint_in(stamp: Path) -> str | None:
    """The fingerprint in a stamp file; None if the file is missing or damaged."""
    with suppress(OSError):
        text = stored.small_file(stamp, 100).decode(errors="replace")
        return text if re.fullmatch(r"[0-9a-f]{40}", text) else None
    return None


def _key(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _build(source: Files | Array, shape: Shape, place: Path, progress: Progress) -> Stored:
    """Decode into a temporary folder, then rename it, so that an incomplete cache is never visible."""
    samples = source.load(shape.height) if isinstance(source, Array) else None
    nbytes = source.nbytes(shape) if samples is None else scan.nbytes_of(samples, shape)
    with writing(place, nbytes):
        _check_space(place.parent, nbytes)
        _sweep(place)
        work = Path(tempfile.mkdtemp(prefix=f".building-{place.name}-", dir=place.parent))
        try:
            if isinstance(source, Files):
                scan.scan_files(source, shape, work, progress)
            elif samples is not None:
                scan.scan_array(samples, shape, work, source.name, progress)
            _remove(place)  # damaged, or a rescan
            work.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    found = stored.read(place, shape, progress)
    if found is None:
        what = "the data cache reads back differently from what was written"
        raise StorageError(what, where=printable(str(place)), hint="check the disk, or set GANCLI_CACHE_DIR to another")
    return found


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


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
    """Remove what killed processes have left in the cache. Call with the lock of `place` held."""
    for path in place.parent.glob(".building-*"):
        key = path.name.removeprefix(".building-").partition("-")[0]
        ended = not locks.is_held(_lock_of(place.parent / key))
        if key == place.name or _idle_for(path) > (files.IDLE_SECONDS if ended else files.STALE_SECONDS):
            shutil.rmtree(path, ignore_errors=True)
    for inner in ("stamps", "arrays", "features"):
        files.sweep(place.parent / inner)


def _idle_for(path: Path) -> float:
    """Seconds since a file, or anything in a folder, was last changed."""
    times = [0.0]
    for each in (path, *path.glob("*")):
        with suppress(OSError):
            times.append(each.lstat().st_mtime)
    return time.time() - max(times)


def _dataset(found: Stored, data: str, fingerprint: str, held_out: float, kind: str, damaged: bool) -> Dataset:
    meta = found.meta
    if kind not in ("auto", meta.kind):
        raise DataError(
            f"data.kind is {kind}, but the samples are of kind {meta.kind}", where=data, hint="leave out data.kind"
        )
    hashes = np.array([int(h, 16) for h in meta.hashes], dtype=np.uint64)
    mask = _held_out(hashes, held_out)
    return Dataset(meta.kind, found.values, mask, fingerprint, _report(data, meta, hashes, mask, damaged))


def _held_out(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """The held-out mask, chosen by content hash so that duplicates are on the same side. (N,)."""
    if len(hashes) < HELD_OUT_FROM:
        return np.zeros(len(hashes), dtype=bool)
    count = min(round(share * len(hashes)), HELD_OUT_MOST)
    chosen: NDArray[np.bool_] = hashes < np.sort(hashes)[min(count, len(hashes) - 1)]  # never all samples
    return chosen


def _report(
    data: str, meta: Meta, hashes: NDArray[np.uint64], held_out_mask: NDArray[np.bool_], damaged: bool
) -> DataReport:
    duplicates = len(hashes) - len(np.unique(hashes))
    rebuilt = ("the data cache was damaged and has been built again",) if damaged else ()
    return DataReport(
        source=data,
        kind=meta.kind,
        count=len(hashes),
        held_out=int(held_out_mask.sum()),
        shape=meta.shape,
        smallest=meta.smallest,
        largest=meta.largest,
        enlarged=meta.enlarged,
        duplicates=duplicates,
        ignored=meta.ignored,
        rejected=meta.rejected,
        advice=(*rebuilt, *_advice(meta.kind, len(hashes), meta.enlarged, duplicates)),
    )


def _advice(kind: str, count: int, enlarged: int, duplicates: int) -> list[str]:
    advice = []
    if count < FEW:
        mirror = "; use --mirror if the images can be mirrored" if kind == "image" else ""
        advice.append(f"only {count} sample{'s' if count > 1 else ''}: expect memorization{mirror}")
    if enlarged * 2 > count:
        advice.append(f"{enlarged} of {count} images are smaller than the training size: use a lower resolution")
    if duplicates * 20 > count:
        advice.append(f"{duplicates} of {count} samples are duplicates: they are trained on more often than the others")
    return advice
