"""Data sources: a folder, zip or tar of images, an array file, or a built-in data set."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

from gancli import signals
from gancli.data import archives, arrays, builtin
from gancli.data.budget import READING, Budget
from gancli.data.images import SUFFIXES, Shape
from gancli.data.parallel import in_order
from gancli.errors import DataError, InputMissing
from gancli.results import Progress, Rejected, printable

READ_AT_ONCE = 16  # files, by one thread


@dataclass(frozen=True)
class Entry:
    """One image file: its name within the source, its size in bytes, and a function that reads it."""

    name: str
    nbytes: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Files:
    """The image files of a folder, zip or tar, sorted by name."""

    name: str
    stamp: str  # changes if the size, times or inode of a file changes
    entries: tuple[Entry, ...]
    rejected: tuple[Rejected, ...]  # image files that cannot be read
    ignored: Counter[str]  # number of other files, by suffix

    def nbytes(self, shape: Shape) -> int:
        """Size in bytes of the cache of these images, at most."""
        return len(self.entries) * shape.height * shape.width * (shape.channels or 3)

    def digest(self, progress: Progress) -> str:
        """A hash of all names and contents."""
        whole = blake2b(digest_size=20)
        contents = in_order(partial(_digest, budget=Budget(READING)), self.entries, together=READ_AT_ONCE)
        for i, (entry, content) in enumerate(zip(self.entries, contents, strict=True)):
            progress("reading", i, len(self.entries))
            whole.update(f"{entry.name}\0{content}\0".encode(errors="surrogateescape"))
        return whole.hexdigest()


def _digest(entry: Entry, budget: Budget) -> str:
    try:
        with budget.share(entry.nbytes):
            return blake2b(entry.read()).hexdigest()
    except Exception as error:  # reported by the scan
        return type(error).__name__


@dataclass(frozen=True)
class Array:
    """One array file or built-in data set; loaded only if it is not cached."""

    name: str
    stamp: str
    load: Callable[[int], arrays.Samples]  # the argument is the image size, for built-in data sets
    path: Path | None  # None: built-in

    def nbytes(self, shape: Shape) -> int:
        """Approximate size in bytes of the cache: of the file, or of the built-in data set. Raises DataError."""
        if self.path is None:
            return builtin.nbytes(self.name.removeprefix("builtin:"), shape.height)
        with _readable(self.path):
            return self.path.stat().st_size

    def digest(self, progress: Progress) -> str:
        """A hash of the file; for a built-in data set, of its name and version. Raises DataError."""
        if self.path is None:
            return blake2b(self.stamp.encode(), digest_size=20).hexdigest()
        whole = blake2b(digest_size=20)
        with _readable(self.path), self.path.open("rb") as file:
            while block := file.read(1 << 22):
                signals.poll()
                whole.update(block)
        return whole.hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise DataError for an error of the file system, such as one for a file that was removed meanwhile."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot read it: {error.strerror or error}",
            where=printable(str(path)),
            hint="check the path and its permissions",
        ) from error


def find(data: str) -> Files | Array:
    """Find the source named by DATA. Raises InputMissing or DataError."""
    with _readable(Path(data)):
        return _find(data)


def _find(data: str) -> Files | Array:
    if data.startswith("builtin:"):
        name = builtin.known(data.removeprefix("builtin:"))
        return Array(
            f"builtin:{name}",
            f"builtin:{name}/{builtin.VERSION}",
            lambda size: builtin.draw(name, size),
            None,
        )
    path = Path(data)
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputMissing(f"no such file or folder: {printable(data)}", where="DATA", hint="check the path")
    if not path.is_file():
        raise DataError(
            f"{printable(data)} is neither a file nor a folder",
            where="DATA",
            hint="give a folder, a zip or an array file",
        )
    return _file(path)


def _file(path: Path) -> Files | Array:
    kind = archives.kind_of(path)
    if kind == "zip" and path.suffix.lower() != ".npz":
        return _archive(path, archives.zip_members(path))
    if kind == "tar":
        return _archive(path, archives.tar_members(path))
    if kind == "packed":
        hint = "unpack it first (gunzip, bunzip2, unxz, unzstd)"
        raise DataError("a compressed archive", where=printable(str(path)), hint=hint)
    if path.suffix.lower() in SUFFIXES:
        raise DataError("DATA is a single image", where=printable(str(path)), hint="give the folder that contains it")
    reader = arrays.reader(path)
    return Array(path.name, _stamp(path), lambda size: reader(path), path)


def _stamp(path: Path) -> str:
    s = path.stat()
    return f"{printable(str(path.absolute()))}|{s.st_size}|{s.st_mtime_ns}|{s.st_ctime_ns}|{s.st_ino}"


def _folder(folder: Path) -> Files:
    entries, stamps, ignored, seen = [], [], Counter[str](), set()
    paths, rejected = _walk(folder)
    for path in paths:
        name = str(path.relative_to(folder))
        if path.suffix.lower() not in SUFFIXES:
            ignored[path.suffix.lower()] += 1
            continue
        try:
            identity, nbytes, stamp = _regular(path)
        except (OSError, ValueError) as error:
            rejected.append(Rejected(printable(name), _reason(error)))
            continue
        if identity not in seen:  # otherwise a link to a file that is already included
            seen.add(identity)
            stamps.append(stamp)
            entries.append(Entry(name, nbytes, partial(_content, path)))
    return Files(folder.resolve().name, "\n".join(stamps), tuple(entries), tuple(rejected), ignored)


def _walk(folder: Path) -> tuple[list[Path], list[Rejected]]:
    """All files below a folder, sorted by relative path as in a zip, and the folders that cannot be read.

    Hidden files and links to folders are skipped.
    """
    found, rejected = [], []

    def reject(error: OSError) -> None:
        rejected.append(Rejected(printable(os.path.relpath(error.filename, folder)), _reason(error)))

    for top, folders, names in os.walk(folder, onerror=reject):
        signals.poll()
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(top) / name for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: str(path.relative_to(folder))), rejected


def _regular(path: Path) -> tuple[tuple[int, int], int, str]:
    """Identity, size and stamp of an image file. Raises OSError, or ValueError if it cannot be used."""
    s = path.stat()
    if not stat.S_ISREG(s.st_mode):
        raise ValueError("not a regular file")
    if refusal := archives.refusal_of_size(s.st_size):
        raise ValueError(refusal)
    if not os.access(path, os.R_OK):
        raise ValueError("permission denied")
    return (s.st_dev, s.st_ino), s.st_size, _stamp(path)


def _content(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:  # Path.open takes twice as long
        if refusal := archives.refusal_of_size(os.fstat(file.fileno()).st_size):
            raise ValueError(refusal)
        return file.read()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _archive(path: Path, members: list[archives.Member]) -> Files:
    """The images in a zip or tar, including the NVlabs layout (folders of images and a dataset.json)."""
    entries, rejected, ignored = [], [], Counter[str]()
    for member in sorted(members, key=lambda m: m.name):
        if _hidden(member.name):
            continue
        suffix = Path(member.name).suffix.lower()
        if suffix not in SUFFIXES:
            ignored[suffix] += 1
        elif member.refusal:
            rejected.append(Rejected(printable(member.name), member.refusal))
        else:
            entries.append(Entry(member.name, member.nbytes, member.read))
    return Files(path.stem, _stamp(path), tuple(entries), tuple(rejected), ignored)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in Path(name).parts)
