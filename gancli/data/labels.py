"""Class labels of a data set: from a file, from a labels.csv beside the images, or from the folders of the images."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli.data import archives, arrays
from gancli.data.cache import Dataset
from gancli.data.sources import Files, find
from gancli.data.stored import small_file
from gancli.errors import DataError, GancliError, InputMissing, Interrupted
from gancli.results import printable

LISTS = ("labels.csv", "dataset.json")  # looked for beside the images; the second is the layout of NVlabs
MAX_BYTES = 64 << 20  # of a list of labels
NAME_COLUMNS = ("file", "filename", "file_name", "name", "image", "path", "id")
LABEL_COLUMNS = ("label", "class", "labels", "target", "category")
MOST = 1_000  # classes; more are not classes but names of samples
HINT = "give a .csv with the columns file,label, or a .npy or idx file with one label per sample"


@dataclass(frozen=True)
class Labels:
    """The class of each sample of a data set."""

    names: tuple[str, ...]  # of the classes, sorted
    rows: NDArray[np.int64]  # (N,) index of the class; -1: unknown


def labels_of(data: str, dataset: Dataset, file: str | Path | None = None) -> Labels | None:
    """The labels of the samples of an opened data set; None if there are none. file: a .csv, .npy or idx file.

    Without a file: a labels.csv (file,label) or dataset.json in the folder or archive, else the folders that the images
    are in. Raises InputMissing or DataError.
    """
    if file is not None:
        found = _given(data, dataset, Path(file))
        if found is None:
            what = "it does not give two classes to the samples of the data"
            raise DataError(what, where=f"--labels {printable(str(file))}", hint=HINT)
        return found
    source = find(data)
    if not isinstance(source, Files):
        return None
    with suppress(DataError):  # a file of that name may be about something else
        if (listed := _listed(data)) is not None and (found := _by_name(data, dataset, listed)) is not None:
            return found
    names = _names(source, dataset)
    return None if names is None else of_classes(folders_of(names))


def _given(data: str, dataset: Dataset, path: Path) -> Labels | None:
    """The labels in a file of the user."""
    if not path.is_file():
        raise InputMissing("no such file of labels", where=f"--labels {printable(str(path))}", hint=HINT)
    if path.suffix.lower() in (".csv", ".tsv", ".json"):
        return _by_name(data, dataset, _parsed(path.name, _content(path), str(path)))
    return _by_row(dataset, path)


def _content(path: Path) -> bytes:
    try:
        return small_file(path, MAX_BYTES)
    except OSError as error:
        raise DataError(f"cannot read the labels: {error.strerror}", where=printable(str(path)), hint=HINT) from error


def of_classes(classes: Sequence[str | None]) -> Labels | None:
    """Labels from the name of the class of each sample; None for fewer than two classes, or more than MOST."""
    names = sorted({name for name in classes if name is not None}, key=_natural)
    if not 2 <= len(names) <= MOST:
        return None
    at = {name: i for i, name in enumerate(names)}
    return Labels(tuple(printable(name) for name in names), np.array([-1 if c is None else at[c] for c in classes]))


def folders_of(names: Sequence[str]) -> list[str | None]:
    """The first folder of each file name in which the names differ, as in torchvision's ImageFolder; None: in none."""
    parts = [PurePosixPath(name.replace("\\", "/")).parts[:-1] for name in names]
    depth = 0
    while parts and all(len(p) > depth for p in parts) and all(a[depth] == b[depth] for a, b in pairwise(parts)):
        depth += 1
    return [p[depth] if len(p) > depth else None for p in parts]


def _natural(name: str) -> tuple[int, str]:
    """Numbers in their order, before words."""
    return (int(name), "") if name.isascii() and name.isdecimal() and len(name) < 10 else (1 << 40, name)


def _names(source: Files, dataset: Dataset) -> list[str] | None:
    """The file name of each sample; None if the source has changed since it was decoded."""
    rejected = {r.name for r in dataset.report.rejected}
    names = [entry.name for entry in source.entries if printable(entry.name) not in rejected]
    return names if len(names) == len(dataset.values) else None


def _listed(data: str) -> dict[str, str] | None:
    """The content of the first of LISTS in the folder or archive."""
    path = Path(data)
    if path.is_dir():
        found: dict[str, Callable[[], bytes]] = {n: partial(_content, path / n) for n in LISTS if (path / n).is_file()}
    else:
        members = archives.zip_members(path) if archives.kind_of(path) == "zip" else archives.tar_members(path)
        small = (m for m in members if not m.refusal and m.nbytes <= MAX_BYTES)
        found = {PurePosixPath(m.name).name: m.read for m in small}
    name = next((name for name in LISTS if name in found), None)
    if name is None:
        return None
    try:
        content = found[name]()
    except (GancliError, Interrupted):
        raise
    except Exception as error:  # archives raise many types
        raise DataError("cannot read the labels", where=printable(f"{data}/{name}"), hint=HINT) from error
    return _parsed(name, content, f"{data}/{name}")


def _parsed(name: str, content: bytes, where: str) -> dict[str, str]:
    """File name -> class. Raises DataError."""
    try:
        if name.endswith(".json"):
            pairs = json.loads(content).get("labels") or []
            return {str(file): str(label) for file, label in pairs}
        return _table(content.decode("utf-8-sig"))
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise DataError("cannot read the labels", where=printable(where), hint=HINT) from error


def _table(text: str) -> dict[str, str]:
    rows = [row for row in csv.reader(io.StringIO(text), delimiter="\t" if "\t" in text[:1_000] else ",") if row]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    name = next((head.index(c) for c in NAME_COLUMNS if c in head), None)
    label = next((head.index(c) for c in LABEL_COLUMNS if c in head), None)
    if name is None or label is None:
        name, label, body = 0, 1, rows  # no header
    else:
        body = rows[1:]
    return {row[name].strip(): row[label].strip() for row in body if len(row) > max(name, label)}


def _by_name(data: str, dataset: Dataset, listed: Mapping[str, str]) -> Labels | None:
    """Labels by the names of the files, with or without their folders and suffixes."""
    source = find(data)
    names = _names(source, dataset) if isinstance(source, Files) else None
    if names is None:
        return None
    return of_classes([next((listed[key] for key in _keys(name) if key in listed), None) for name in names])


def _keys(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    return name, path.as_posix(), path.name, path.stem


def _by_row(dataset: Dataset, path: Path) -> Labels | None:
    """Labels in the order of the samples of an array."""
    values: NDArray[Any] = arrays.read_plain(path)
    skipped = {int(r.name.removeprefix("row ")) for r in dataset.report.rejected if r.name.startswith("row ")}
    kept = [str(value) for row, value in enumerate(values.tolist()) if row not in skipped] if values.ndim == 1 else []
    if len(kept) != len(dataset.values):
        what = f"it has shape {values.shape}, the data has {len(dataset.values)} samples"
        raise DataError(what, where=f"--labels {printable(str(path))}", hint=HINT)
    return of_classes(kept)
