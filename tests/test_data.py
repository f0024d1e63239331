import gzip
import json
import multiprocessing
import os
import re
import shutil
import struct
import traceback
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_pictures
from PIL import Image

from gancli.data import Shape, arrays, builtin, cache, facts, open_dataset, scan
from gancli.errors import DataError, InputMissing, StorageError

SHAPE = Shape(8, 8, None, "crop")
HOSTILE = Path(__file__).parents[2] / "shared" / "data" / "hostile"


class TestFolder:
    def test_is_read_recursively_in_the_order_of_names(self, tmp_path):
        """Nested folders, upper-case suffixes; hidden files and other suffixes are skipped."""
        make_pictures(tmp_path / "set" / "b", 2, seed=1)
        make_pictures(tmp_path / "set" / "a.png", 1)  # a folder named like a picture
        (tmp_path / "set" / "b" / "000.png").rename(tmp_path / "set" / "b" / "000.PNG")
        (tmp_path / "set" / "._000.png").write_bytes(b"x")
        (tmp_path / "set" / "notes.txt").write_text("x")

        report = open_dataset(str(tmp_path / "set"), SHAPE).report

        assert (report.count, report.ignored, report.rejected) == (3, 1, ())

    def test_bad_files_are_skipped_and_named(self, pictures):
        """A bad image never stops a run; special characters in names are escaped."""
        (pictures / "zero.png").write_bytes(b"")
        (pictures / "new\nline.jpg").write_text("not a picture")
        (pictures / "dangling.png").symlink_to("nowhere")
        os.mkfifo(pictures / "fifo.png")

        report = open_dataset(str(pictures), SHAPE).report

        reasons = {item.name: item.reason for item in report.rejected}
        assert report.count == 24
        assert reasons["zero.png"] == "the file is empty"
        assert reasons["new\\nline.jpg"] == "not an image"
        assert "no such file" in reasons["dangling.png"]
        assert reasons["fifo.png"] == "not a regular file"

    def test_a_loop_of_links_ends(self, pictures):
        """Links to folders are not followed; a second link to a file is ignored."""
        (pictures / "loop").symlink_to(".")
        (pictures / "again.png").symlink_to("000.png")

        assert open_dataset(str(pictures), SHAPE).report.count == 24

    def test_a_missing_folder_is_missing(self):
        """Exit 66."""
        with pytest.raises(InputMissing):
            open_dataset("no/such/folder", SHAPE)

    def test_a_folder_without_pictures_is_refused(self, tmp_path):
        """An error, not an empty data set."""
        (tmp_path / "readme.txt").write_text("x")
        with pytest.raises(DataError, match=r"no images found, only other files: 1 \.txt"):
            open_dataset(str(tmp_path), SHAPE)

    def test_a_single_image_is_not_a_data_set(self, pictures):
        """The hint names an alternative."""
        with pytest.raises(DataError) as error:
            open_dataset(str(pictures / "000.png"), SHAPE)
        assert "folder" in error.value.hint

    @pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the collection of hostile files beside the project")
    def test_the_hostile_collection(self):
        """30 good files are loaded, nine bad ones reported."""
        report = open_dataset(str(HOSTILE), SHAPE).report

        assert report.count == 30
        assert {item.name for item in report.rejected} == {
            "bomb-12000x12000-1bit.png", "bomb-60000x60000-header.png", "corrupt-crc.png", "html-404.png",
            "png-long-text-chunk.png", "text.jpg", "truncated.jpg", "truncated.png", "zero-bytes.png",
        }  # fmt: skip


class TestZip:
    def test_of_folders_has_the_same_order(self, tmp_path):
        """Full relative paths are sorted in both, so both are the same data set."""
        make_pictures(tmp_path / "set" / "b", 2)
        make_pictures(tmp_path / "set" / "a", 2, seed=1)
        (tmp_path / "set" / "b" / "000.png").rename(tmp_path / "set" / "a-top.png")
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in (tmp_path / "set").rglob("*.png"):
                archive.write(file, file.relative_to(tmp_path / "set"))

        fingerprints = [open_dataset(str(tmp_path / name), SHAPE).fingerprint for name in ("set", "set.zip")]
        assert fingerprints[0] == fingerprints[1]

    def test_gives_the_same_samples_as_its_folder(self, pictures, tmp_path):
        """A zip of the folder, bad files included, is the same data set."""
        (pictures / "zero.png").write_bytes(b"")
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in sorted(pictures.iterdir()):
                archive.write(file, file.name)

        from_folder, from_zip = (open_dataset(str(p), SHAPE) for p in (pictures, tmp_path / "set.zip"))

        np.testing.assert_array_equal(from_folder.values, from_zip.values)
        assert from_folder.report.rejected == from_zip.report.rejected

    def test_names_cannot_leave_it(self, pictures, tmp_path):
        """../x.png and /x.png are rejected by name."""
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name in ("../x.png", "/x.png", "00000/img00000000.png"):
                archive.writestr(zipfile.ZipInfo(name), (pictures / "000.png").read_bytes())
            archive.writestr("dataset.json", "{}")

        report = open_dataset(str(tmp_path / "set.zip"), SHAPE).report

        assert report.count == 1
        assert [item.reason for item in report.rejected] == ["its path points outside the zip"] * 2

    def test_a_zip_cut_short_is_refused(self, pictures, tmp_path):
        """Exit 65."""
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.write(pictures / "000.png", "000.png")
        whole = (tmp_path / "set.zip").read_bytes()
        (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])

        with pytest.raises(DataError):
            open_dataset(str(tmp_path / "cut.zip"), SHAPE)


@pytest.mark.parametrize("look", [facts, lambda place: open_dataset(place, SHAPE)])
def test_files_that_cannot_be_used_are_told_with_the_reason(tmp_path, look):
    """Of the first one."""
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"none of 1 image files can be used; the first: a.png: not an image"):
        look(str(tmp_path))


def test_half_a_zip_is_damaged(tmp_path):
    """Not of an unknown kind."""
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="a damaged zip"):
        open_dataset(str(tmp_path / "a.zip"), SHAPE)


class TestArrays:
    @pytest.mark.parametrize("shape", [(50,), (50, 7, 8, 8)])
    def test_a_wrong_shape_is_told_whole(self, tmp_path, shape):
        """Also where only the first rows are looked at."""
        np.save(tmp_path / "a.npy", np.zeros(shape))
        for look in (facts, lambda place: open_dataset(place, SHAPE)):
            with pytest.raises(DataError, match=re.escape(str(shape))):
                look(str(tmp_path / "a.npy"))

    def test_the_largest_images_are_out_of_range(self, tmp_path):
        """Their difference is infinite, and they are not."""
        np.save(tmp_path / "a.npy", np.array([-1e308, 1e308]).reshape(2, 1, 1, 1).repeat(3, axis=3))
        with pytest.raises(DataError, match="images with values from -1e\\+308"):
            open_dataset(str(tmp_path / "a.npy"), SHAPE)

    def test_an_image_with_nan_is_named(self, tmp_path):
        """By its row."""
        values = np.zeros((50, 8, 8, 3), np.float32)
        values[40, 1, 2, 0] = np.nan
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(DataError, match="row 40 is not finite"):
            open_dataset(str(tmp_path / "a.npy"), SHAPE)

    @pytest.mark.parametrize(
        ("values", "kind", "shape"),
        [
            (np.zeros((5, 8, 8), np.uint8), "image", (8, 8, 1)),
            (np.zeros((5, 8, 8, 3), np.uint8), "image", (8, 8, 3)),
            (np.zeros((5, 3, 8, 8), np.uint8), "image", (8, 8, 3)),
            (np.zeros((5, 12, 10, 4), np.float32), "image", (8, 8, 3)),
            (np.zeros((5, 3, 30), np.float64), "signal", (3, 30)),
            (np.zeros((5, 2), np.float32), "points", (2,)),
        ],
    )
    def test_kind_follows_from_shape_and_type(self, tmp_path, values, kind, shape):
        """.npy: images, signals (N, C, L) or points (N, D)."""
        np.save(tmp_path / "a.npy", values)

        dataset = open_dataset(str(tmp_path / "a.npy"), SHAPE)

        assert (dataset.kind, dataset.values.shape) == (kind, (5, *shape))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([0, 1], np.float32), [0, 255]),
            (np.array([-1, 1], np.float32), [0, 255]),
            (np.array([0, 65535], np.uint16), [0, 255]),
            (np.array([0, 255], np.int64), [0, 255]),
        ],
    )
    def test_picture_values_are_scaled_by_their_range(self, values, expected):
        """[0, 1], [-1, 1] and unsigned 16-bit values become 0..255; other integers are 0..255."""
        samples = arrays.classify(values.reshape(2, 1, 1, 1).repeat(2, 1), "test")
        assert samples.values[:, 0, 0, 0].tolist() == expected

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(5),
            np.zeros((5, 9, 9, 9)),
            np.zeros((5, 0, 8, 3), np.uint8),
            np.full((5, 8, 8, 3), 7.5),
            np.full((5, 8, 8, 3), 256),
            np.full((5, 8, 8, 3), -1),
            np.zeros((0, 2)),
            np.array([["a", "b"]]),
        ],
    )
    def test_what_cannot_be_samples_is_refused(self, values):
        """Labels, no channel axis, values of unknown scale, nothing, text."""
        with pytest.raises(DataError):
            arrays.classify(values, "test")

    @pytest.mark.parametrize(
        "header", ["{'descr': (", "{'descr': '|u1', 'fortran_order': False, 'shape': (10**30,)}", "{[]:3}"]
    )
    def test_a_damaged_header_is_one_sentence(self, tmp_path, header):
        """For any error that numpy raises."""
        body = header.encode().ljust(118) + b"\n"
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body)
        with pytest.raises(DataError):
            open_dataset(str(tmp_path / "a.npy"), SHAPE)

    def test_objects_are_never_unpickled(self, tmp_path):
        """An .npy of objects could run code."""
        np.save(tmp_path / "a.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError):
            open_dataset(str(tmp_path / "a.npy"), SHAPE)

    @pytest.mark.parametrize("packed", [True, False])
    def test_idx_files_as_published(self, tmp_path, packed):
        """MNIST's format, gzipped or not."""
        pixels = np.arange(5 * 8 * 8, dtype=np.uint8).reshape(5, 8, 8)
        data = struct.pack(">HBBiii", 0, 8, 3, 5, 8, 8) + pixels.tobytes()
        path = tmp_path / "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(data) if packed else data)

        np.testing.assert_array_equal(open_dataset(str(path), SHAPE).values[..., 0], pixels)

    @pytest.mark.parametrize("sizes", [(5, 8, 9), (2**30, 2**30, 2**30), (-1, 8, 8)])
    def test_an_idx_header_with_a_wrong_size_is_refused(self, tmp_path, sizes):
        """Before memory is allocated."""
        path = tmp_path / "a.idx"
        path.write_bytes(struct.pack(">HBBiii", 0, 8, 3, *sizes) + bytes(5 * 8 * 8))
        with pytest.raises(DataError):
            open_dataset(str(path), SHAPE)

    def test_npz_takes_its_only_array(self, tmp_path):
        """Or the one named images."""
        np.savez(tmp_path / "one.npz", whatever=np.zeros((5, 8, 8), np.uint8))
        np.savez(tmp_path / "two.npz", labels=np.zeros(5), images=np.ones((5, 8, 8), np.uint8))

        assert open_dataset(str(tmp_path / "one.npz"), SHAPE).values.max() == 0
        assert open_dataset(str(tmp_path / "two.npz"), SHAPE).values.max() == 1

    def test_rows_that_are_not_finite_are_skipped(self, tmp_path):
        """And reported by row number."""
        values = np.zeros((5, 2), np.float32)
        values[3, 0] = np.nan
        np.save(tmp_path / "a.npy", values)

        report = open_dataset(str(tmp_path / "a.npy"), SHAPE).report

        assert (report.count, report.rejected[0].name) == (4, "row 3")


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("shapes", "image", (9600, 8, 8, 3)),
        ("ring8", "points", (100_000, 2)),
        ("grid25", "points", (100_000, 2)),
        ("signals", "signal", (3000, 3, 300)),
    ],
)
def test_built_in_sets_are_drawn(name, kind, shape):
    """Nothing is downloaded."""
    dataset = open_dataset(f"builtin:{name}", SHAPE)
    assert (dataset.kind, dataset.values.shape) == (kind, shape)


def test_the_mixtures_have_their_modes():
    """8 and 25 centers with equal frequencies and the documented standard deviation."""
    for name, centers, spread in (("ring8", builtin.RING, 0.01), ("grid25", builtin.GRID, 0.05)):
        points = builtin.draw(name, 0).values
        distance = np.linalg.norm(points[:, None] - centers, axis=2)
        assert np.bincount(distance.argmin(1)).tolist() == [len(points) // len(centers)] * len(centers)
        assert (points - centers[distance.argmin(1)]).std() == pytest.approx(spread, rel=0.02)


def test_an_unknown_built_in_set_has_a_nearest_name():
    """The error suggests the closest name."""
    with pytest.raises(InputMissing) as error:
        open_dataset("builtin:shape", SHAPE)
    assert "builtin:shapes" in error.value.hint


class TestCache:
    def test_an_unchanged_source_is_not_read_again(self, pictures, monkeypatch):
        """The second start uses the cache."""
        first = open_dataset(str(pictures), SHAPE)
        monkeypatch.setattr(scan, "scan_files", None)
        monkeypatch.setattr("gancli.data.sources.Files.digest", None)

        second = open_dataset(str(pictures), SHAPE)

        np.testing.assert_array_equal(first.values, second.values)
        assert first.report == second.report

    def test_a_changed_file_is_noticed(self, pictures):
        """By its content."""
        before = open_dataset(str(pictures), SHAPE)
        (pictures / "000.png").write_bytes((pictures / "001.png").read_bytes())

        after = open_dataset(str(pictures), SHAPE)

        assert before.fingerprint != after.fingerprint
        np.testing.assert_array_equal(after.values[0], after.values[1])
        assert after.report.duplicates == 1

    def test_the_same_content_elsewhere_is_the_same_data(self, pictures, tmp_path):
        """A run can be resumed after its data has moved."""
        before = open_dataset(str(pictures), SHAPE).fingerprint
        pictures.rename(tmp_path / "moved")

        assert open_dataset(str(tmp_path / "moved"), SHAPE).fingerprint == before

    def test_other_options_are_another_cache(self, pictures):
        """Size, channels and fit are part of the key."""
        shapes = [open_dataset(str(pictures), s).values.shape for s in (SHAPE, Shape(4, 8, 1, "pad"))]
        assert shapes == [(24, 8, 8, 3), (24, 4, 8, 1)]

    def test_a_half_built_cache_is_never_seen(self, pictures, monkeypatch):
        """An aborted scan leaves no files."""
        monkeypatch.setattr(scan, "_finish", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_dataset(str(pictures), Shape(6, 6, 3, "crop"))
        monkeypatch.undo()

        assert not list(cache.folder().glob(".building-*"))
        assert open_dataset(str(pictures), Shape(6, 6, 3, "crop")).report.count == 24

    @pytest.mark.parametrize("damage", ["values.bin", "meta.json"])
    def test_a_damaged_cache_is_built_again(self, pictures, tmp_path, monkeypatch, damage):
        """An incomplete cache is not used for training."""
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
        whole = np.array(open_dataset(str(pictures), SHAPE).values)
        (file,) = cache.folder().glob(f"*/{damage}")
        file.write_bytes(file.read_bytes()[:100])

        np.testing.assert_array_equal(open_dataset(str(pictures), SHAPE).values, whole)

    def test_a_damaged_stamp_is_not_trusted(self, pictures, tmp_path, monkeypatch):
        """Two sources with an empty stamp are still different."""
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
        other = make_pictures(tmp_path / "other", 6, seed=1)
        for folder in (pictures, other):
            open_dataset(str(folder), SHAPE)
        for stamp in cache.folder().glob("stamps/*"):
            stamp.write_text("")

        assert [len(open_dataset(str(folder), SHAPE).values) for folder in (pictures, other)] == [24, 6]

    def test_rescan_reads_every_file_again(self, pictures):
        """The stamp is ignored."""
        open_dataset(str(pictures), SHAPE)
        times = (pictures / "000.png").stat()
        before = open_dataset(str(pictures), SHAPE).fingerprint
        data = bytearray((pictures / "000.png").read_bytes())
        data[-1] ^= 1
        (pictures / "000.png").write_bytes(data)
        os.utime(pictures / "000.png", ns=(times.st_atime_ns, times.st_mtime_ns))

        assert open_dataset(str(pictures), SHAPE, rescan=True).fingerprint != before

    def test_all_gray_pictures_make_a_gray_set(self, tmp_path):
        """One channel unless an image has color."""
        from PIL import Image

        (tmp_path / "gray").mkdir()
        for i in range(3):
            Image.new("L", (9, 9), 40 * i).save(tmp_path / "gray" / f"{i}.png")

        dataset = open_dataset(str(tmp_path / "gray"), SHAPE)

        assert dataset.values.shape == (3, 8, 8, 1)
        assert dataset.values[2, 0, 0, 0] == 80


class TestHeldOut:
    def test_takes_a_twentieth_and_keeps_duplicates_together(self, tmp_path):
        """Chosen by content, so that no duplicate of a held-out sample is trained on."""
        values = np.random.RandomState(0).normal(size=(1000, 2)).astype(np.float32)
        np.save(tmp_path / "a.npy", np.concatenate([values, values]))

        held_out = open_dataset(str(tmp_path / "a.npy"), SHAPE).held_out

        np.testing.assert_array_equal(held_out[:1000], held_out[1000:])
        assert held_out.sum() == pytest.approx(100, abs=2)

    @pytest.mark.parametrize(("count", "most"), [(499, 0), (100_000, 1000)])
    def test_none_of_a_small_set_and_at_most_a_thousand(self, tmp_path, count, most):
        """Below 500 samples none is held out."""
        np.save(tmp_path / "a.npy", np.random.RandomState(0).normal(size=(count, 2)).astype(np.float32))

        assert open_dataset(str(tmp_path / "a.npy"), SHAPE).held_out.sum() == most


def test_rejected_files_are_listed_one_a_line(pictures, tmp_path, monkeypatch):
    """rejected.jsonl is read by scripts."""
    monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
    (pictures / "zero.png").write_bytes(b"")
    open_dataset(str(pictures), SHAPE)

    (file,) = cache.folder().glob("*/rejected.jsonl")
    assert json.loads(file.read_text()) == {"name": "zero.png", "reason": "the file is empty"}


def opened(folder, rescan):
    """Body of one process: returns 0 if it could open the complete data set."""
    try:
        dataset = open_dataset(str(folder), SHAPE, rescan=rescan)
        os._exit(0 if len(dataset.values) == 24 and int(dataset.values.sum()) > 0 else 1)
    except BaseException:
        traceback.print_exc()
        os._exit(2)


@pytest.mark.parametrize("rescan", [False, True])
def test_processes_that_start_at_once_all_open_the_data(pictures, tmp_path, monkeypatch, rescan):
    """100 starts, ten at a time, on new data or with rescan: none fails."""
    context = multiprocessing.get_context("fork")
    for number in range(10):
        cached = tmp_path / f"cache{0 if rescan else number}"
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(cached))
        children = [context.Process(target=opened, args=(pictures, rescan)) for _ in range(10)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)

        assert [child.exitcode for child in children] == [0] * 10
        assert not list(cached.glob(".building-*"))


class TestRoom:
    def test_a_cache_that_will_not_fit_is_refused_before_the_scan(self, pictures, tmp_path, monkeypatch):
        """With both sizes, before decoding."""
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setattr(scan, "scan_files", lambda *a: pytest.fail("it was scanned"))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=24 * 8 * 8 * 3 - 1))

        with pytest.raises(StorageError, match="4,608 bytes, and 4,607 are free") as error:
            open_dataset(str(pictures), SHAPE)
        assert "GANCLI_CACHE_DIR" in error.value.hint

    @pytest.mark.parametrize(
        ("data", "nbytes"),
        [("pictures", 24 * 8 * 8 * 3), ("builtin:shapes", 9_600 * 8 * 8 * 3), ("builtin:ring8", 100_000 * 2 * 4)],
    )
    def test_what_a_cache_will_take_is_known_before_it_is_built(self, pictures, tmp_path, monkeypatch, data, nbytes):
        """0 bytes if it is already cached."""
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
        source = str(pictures) if data == "pictures" else data

        assert cache.plan_cache(source, SHAPE).nbytes == nbytes
        assert open_dataset(source, SHAPE).values.nbytes == nbytes
        assert cache.plan_cache(source, SHAPE).nbytes == 0


class TestGray:
    def gray(self, folder, names):
        for i, name in enumerate(names):
            Image.fromarray(np.full((8, 8), 10 * i + 5, np.uint8)).save(folder / name)

    def test_a_set_of_gray_pictures_has_one_channel(self, tmp_path):
        """Written while decoding, with one byte per pixel."""
        self.gray(tmp_path, ["0.png", "1.png"])
        assert open_dataset(str(tmp_path), SHAPE).values[:, 0, 0, :].tolist() == [[5], [15]]

    def test_a_color_image_converts_the_gray_images_before_it(self, tmp_path, monkeypatch):
        """The same samples and hashes as if all had been decoded in color."""
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
        self.gray(tmp_path, ["0.png", "1.png", "3.png"])
        Image.fromarray(np.full((8, 8, 3), (1, 2, 3), np.uint8)).save(tmp_path / "2.png")

        found, asked = (open_dataset(str(tmp_path), Shape(8, 8, channels, "crop")) for channels in (None, 3))

        assert found.values[:, 0, 0, :].tolist() == [[5] * 3, [15] * 3, [1, 2, 3], [25] * 3]
        assert np.array_equal(found.values, asked.values)
        one, other = (json.loads(path.read_text())["hashes"] for path in cache.folder().glob("*/meta.json"))
        assert one == other


def test_some_samples_are_always_left_to_train_on(tmp_path):
    """For any held_out."""
    np.save(tmp_path / "points.npy", np.random.RandomState(0).randn(600, 2).astype(np.float32))
    dataset = open_dataset(str(tmp_path / "points.npy"), SHAPE, held_out=0.9995)
    assert len(dataset.train_rows) == 1


def test_decoding_in_threads_leaves_the_filters_of_warnings_alone(pictures):
    """warnings.catch_warnings in a thread could leave its filter active."""
    before = list(warnings.filters)
    open_dataset(str(pictures), Shape(9, 9, None, "crop"), rescan=True)
    assert warnings.filters == before
