"""Data sources: a folder, zip or tar of images, an array file, or a built-in data set."""

import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gancli import signals
from gancli.data import arrays, builtin
from gancli.data.images import SUFFIXES, Shape
from gancli.errors import DataError, InputMissing
from gancli.results import Progress, Rejected, printable

MAX_FILE_BYTES = 256_000_000  # of one image file


@dataclass(frozen=True)
class Entry:
    """One image file: its name within the source, and a function that reads it."""

    name: str
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
        for i, entry in enumerate(self.entries):
            signals.poll()
            progress("reading", i, len(self.entries))
            try:
                content = blake2b(entry.read()).hexdigest()
            except Exception as error:  # reported by the scan
                content = type(error).__name__
            whole.update(f"{entry.name}\0{content}\0".encode(errors="surrogateescape"))
        return whole.hexdigest()


@dataclass(frozen=True)
class Array:
    """One array file or built-in data set; loaded only if it is not cached."""

    name: str
    stamp: str
    load: Callable[[int], arrays.Samples]  # the argument is the image size, for built-in data sets
    path: Path | None  # None: built-in

    def nbytes(self, shape: Shape) -> int:
        """Approximate size in bytes of the cache: that of the file, or of the built-in data set."""
        if self.path is None:
            return builtin.nbytes(self.name.removeprefix("builtin:"), shape.height)
        return self.path.stat().st_size

    def digest(self, progress: Progress) -> str:
        """A hash of the file; for a built-in data set, of its name and version."""
        if self.path is None:
            return blake2b(self.stamp.encode(), digest_size=20).hexdigest()
        whole = blake2b(digest_size=20)
        with self.path.open("rb") as file:
            while block := file.read(1 << 22):
                signals.poll()
                whole.update(block)
        return whole.hexdigest()


def find(data: str) -> Files | Array:
    """Find the source named by DATA. Raises InputMissing or DataError."""
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
    if zipfile.is_zipfile(path) and path.suffix.lower() != ".npz":
        return _zip(path)
    if _is_tar(path):
        return _tar(path)
    if path.suffix.lower() in SUFFIXES:
        raise DataError("DATA is a single image", where=printable(str(path)), hint="give the folder that contains it")
    reader = arrays.reader(path)
    return Array(path.name, _stamp(path), lambda size: reader(path), path)


def _stamp(path: Path) -> str:
    s = path.stat()
    return f"{printable(str(path.absolute()))}|{s.st_size}|{s.st_mtime_ns}|{s.st_ctime_ns}|{s.st_ino}"


def _folder(folder: Path) -> Files:
    entries, rejected, stamps, ignored, seen = [], [], [], Counter[str](), set()
    for path in _walk(folder):
        name = str(path.relative_to(folder))
        if path.suffix.lower() not in SUFFIXES:
            ignored[path.suffix.lower()] += 1
            continue
        try:
            identity = _regular(path)
        except (OSError, ValueError) as error:
            rejected.append(Rejected(printable(name), _reason(error)))
            continue
        if identity not in seen:  # otherwise a link to a file that is already included
            seen.add(identity)
            stamps.append(_stamp(path))
            entries.append(Entry(name, path.read_bytes))
    return Files(folder.resolve().name, "\n".join(stamps), tuple(entries), tuple(rejected), ignored)


def _walk(folder: Path) -> list[Path]:
    """All files below a folder, sorted by relative path as in a zip; hidden files and links to folders are skipped."""
    found = []
    for top, folders, files in os.walk(folder):
        signals.poll()
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(top) / name for name in files if not name.startswith(".")]
    return sorted(found, key=lambda path: str(path.relative_to(folder)))


def _regular(path: Path) -> tuple[int, int]:
    s = path.stat()
    if not stat.S_ISREG(s.st_mode):
        raise ValueError("not a regular file")
    if s.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{s.st_size:,} bytes are too many for one image")
    if not os.access(path, os.R_OK):
        raise ValueError("permission denied")
    return s.st_dev, s.st_ino


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _zip(path: Path) -> Files:
    """The images in a zip, including the NVlabs layout (folders of images and a dataset.json)."""
    try:
        archive = zipfile.ZipFile(path)
        infos = sorted((i for i in archive.infolist() if not i.is_dir()), key=lambda i: i.filename)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise DataError(f"not a readable zip: {error}", where=printable(str(path)), hint="create it again") from error
    entries, rejected, ignored = [], [], Counter[str]()
    for info in infos:
        parts = Path(info.filename).parts
        if any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts):
            continue
        if Path(info.filename).suffix.lower() not in SUFFIXES:
            ignored[Path(info.filename).suffix.lower()] += 1
        elif reason := _zip_refusal(info):
            rejected.append(Rejected(printable(info.filename), reason))
        else:
            entries.append(Entry(info.filename, lambda info=info: archive.read(info)))  # type: ignore[misc]
    return Files(path.stem, _stamp(path), tuple(entries), tuple(rejected), ignored)


def _zip_refusal(info: zipfile.ZipInfo) -> str | None:
    if ".." in Path(info.filename).parts or Path(info.filename).is_absolute():
        return "its path points outside the zip"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > MAX_FILE_BYTES:
        return f"{info.file_size:,} bytes are too many for one image"
    return None


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, OSError):  # a truncated compressed file; reading it reports the error
        return False


def _tar(path: Path) -> Files:
    """The images in an uncompressed tar, which allows random access."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = sorted((m for m in archive.getmembers() if not m.isdir()), key=lambda m: m.name)
    except tarfile.TarError as error:
        hint = "unpack it first (gunzip, bunzip2, unxz), or create it again"
        raise DataError(f"not a complete uncompressed tar: {error}", where=printable(str(path)), hint=hint) from error
    entries, rejected, ignored = [], [], Counter[str]()
    for member in members:
        if any(part.startswith(".") and part not in (".", "..") for part in Path(member.name).parts):
            continue
        if Path(member.name).suffix.lower() not in SUFFIXES:
            ignored[Path(member.name).suffix.lower()] += 1
        elif reason := _tar_refusal(member):
            rejected.append(Rejected(printable(member.name), reason))
        else:
            entries.append(Entry(member.name, _slice(path, member.offset_data, member.size)))
    return Files(path.stem, _stamp(path), tuple(entries), tuple(rejected), ignored)


def _tar_refusal(member: tarfile.TarInfo) -> str | None:
    if not member.isreg() or member.issparse():
        return "not a regular file"
    return f"{member.size:,} bytes are too many for one image" if member.size > MAX_FILE_BYTES else None


def _slice(path: Path, start: int, size: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    return read
