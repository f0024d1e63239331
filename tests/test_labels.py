"""Class labels of a data set: folders, lists beside the images, files."""

import gzip
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from gancli.data import Shape, open_dataset
from gancli.data.labels import folders_of, labels_of, of_classes
from gancli.errors import DataError, InputMissing

NAMES = ("a/0.png", "a/1.png", "b/2.png", "b/3.png", "b/4.png")


def png(value):
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def files_of(names, extra=()):
    return {name: png(10 * i + 10) for i, name in enumerate(names)} | dict(extra)


def folder(place, files):
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return str(place)


def zipped(place, files):
    with zipfile.ZipFile(place.with_suffix(".zip"), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(place.with_suffix(".zip"))


def tarred(place, files):
    with tarfile.open(place.with_suffix(".tar"), "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(place.with_suffix(".tar"))


def found(data, file=None):
    """Names and rows as plain values; None without labels."""
    dataset = open_dataset(data, Shape(8, 8, None, "crop"), held_out=0.0)
    labels = labels_of(data, dataset, file)
    return labels and (labels.names, labels.rows.tolist())


@pytest.mark.parametrize("packed", [folder, zipped, tarred])
def test_the_folders_are_the_classes(tmp_path, packed):
    """In a folder, a zip and a tar; bad images leave no gap."""
    files = files_of(NAMES, {"a/0bad.png": b"no image"})
    assert found(packed(tmp_path / "data", files)) == (("a", "b"), [0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("train/cat/1.png", "train/dog/2.png"), ["cat", "dog"]),  # the first folder in which they differ
        (("cat/x/1.png", "cat/y/2.png", "dog/x/3.png"), ["cat", "cat", "dog"]),
        (("1.png", "cat/2.png"), [None, "cat"]),
        (("1.png", "2.png"), [None, None]),
        (("all/1.png", "all/2.png"), [None, None]),
        ((), []),
    ],
)
def test_which_folder_is_the_class(names, classes):
    """As torchvision's ImageFolder, below what all files have in common."""
    assert folders_of(names) == classes


@pytest.mark.parametrize("packed", [folder, zipped, tarred])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label\n0.png,cat\n1.png,cat\n2.png,dog\n3.png,dog\n"),
        ("labels.csv", "\ufefflabel,filename\r\ncat,0.png\r\ncat,1.png\r\ndog,2.png\r\ndog,3.png\r\n"),
        ("labels.csv", "0,cat\n1,cat\n2,dog\n3,dog\n"),  # no header, names without suffix
        ("labels.csv", "id\tclass\n0\tcat\n1\tcat\n2\tdog\n3\tdog\n"),
        ("dataset.json", json.dumps({"labels": [[f"{i}.png", "cat" if i < 2 else "dog"] for i in range(4)]})),
    ],
)
def test_a_list_beside_the_images(tmp_path, packed, name, text):
    """What it does not name has no class."""
    files = files_of([f"{i}.png" for i in range(5)], {name: text.encode()})
    assert found(packed(tmp_path / "data", files)) == (("cat", "dog"), [0, 0, 1, 1, -1])


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"a,b\nc,d\n", b"x", b'file,label\n"' + b"9" * 200_000, b"file,label\n0.png,cat\n"]
)
def test_a_list_about_something_else_is_no_list(tmp_path, content):
    """The folders count then."""
    data = folder(tmp_path / "data", files_of(NAMES, {"labels.csv": content, "dataset.json": b"[" * 100_000}))
    assert found(data) == (("a", "b"), [0, 0, 1, 1, 1])


def test_a_file_of_labels_comes_before_the_folders(tmp_path):
    """By the names of the images."""
    data = folder(tmp_path / "data", files_of(NAMES))
    (tmp_path / "mine.csv").write_text("file,label\na/0.png,x\n1.png,y\n2,x\n")
    assert found(data, tmp_path / "mine.csv") == (("x", "y"), [0, 1, 0, -1, -1])


def idx(values):
    return struct.pack(">HBBi", 0, 8, 1, len(values)) + bytes(values)


@pytest.mark.parametrize("form", ["npy", "idx", "idx.gz", "words"])
def test_labels_of_an_array_are_in_its_order(tmp_path, form):
    """As .npy of numbers or words, and as the idx file of MNIST; numbers are sorted as numbers."""
    x = np.random.RandomState(0).rand(4, 8, 8, 3).astype(np.float32)
    x[1, 0, 0, 0] = np.nan
    signals = x.reshape(4, 3, 64)
    np.save(tmp_path / "x.npy", signals)
    values = [10, 10, 9, 10]
    path = tmp_path / f"labels.{form}"
    if form == "npy":
        np.save(path, np.array(values))
    elif form == "words":
        path = tmp_path / "labels.npy"
        np.save(path, np.array([f"class {v}" for v in values]))
    else:
        path.write_bytes(idx(values) if form == "idx" else gzip.compress(idx(values)))
    names = ("class 10", "class 9") if form == "words" else ("9", "10")
    assert found(str(tmp_path / "x.npy"), path) == (names, [0, 1, 0] if form == "words" else [1, 0, 1])


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.csv", None, InputMissing),
        ("one.csv", b"file,label\n0.png,a\n", DataError),
        ("other.csv", b"file,label\nx.png,a\ny.png,b\n", DataError),
        ("damaged.csv", b"\xff\xff", DataError),
        ("damaged.json", b"{", DataError),
        ("short.npy", "short", DataError),
        ("damaged.npy", b"\x93NUMPY\1\0", DataError),
        ("text.npy", b"hello", DataError),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_an_error(tmp_path, name, content, error):
    """It was asked for, so it is not skipped."""
    data = folder(tmp_path / "data", files_of(NAMES))
    if content == "short":
        np.save(tmp_path / name, np.arange(3))
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        found(data, tmp_path / name)


def test_two_classes_at_least_and_a_thousand_at_most():
    """More are names of samples, not classes."""
    assert of_classes(["a"] * 5) is None
    assert of_classes([None, None]) is None
    assert of_classes([str(i) for i in range(1_001)]) is None
    assert len(of_classes([str(i) for i in range(1_000)]).names) == 1_000


def test_names_cannot_control_the_terminal():
    """They come from files."""
    assert of_classes(["a\x1b[2J", "b"]).names == ("a\\x1b[2J", "b")
