"""The cache is checked, not believed; what it leaves behind is removed; no error of the disk is a traceback."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import tiny_config

from gancli import files
from gancli.data import Feed, Shape, cache, given, open_dataset, scan, stored
from gancli.errors import CannotCreate, DataError, StorageError
from gancli.growth import Schedule

SHAPE = Shape(8, 8, None, "crop")
REBUILT = "the data cache was damaged and has been built again"


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch):
    """A cache of this test only."""
    monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def the(cached, name):
    (path,) = cached.glob(f"*/{name}")
    return path


def flip(path, place, keep_times=False):
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def opened(data):
    dataset = open_dataset(str(data), SHAPE)
    return np.array(dataset.values), REBUILT in dataset.report.advice


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_flipped_bit_in_the_values_is_found(pictures, cached, place):
    """The samples are those of the source, and the report says what happened, once."""
    whole, _ = opened(pictures)
    flip(the(cached, "values.bin"), place % whole.nbytes)

    again, said = opened(pictures)

    np.testing.assert_array_equal(again, whole)
    assert said
    assert not opened(pictures)[1]


@pytest.mark.parametrize(
    "lie",
    [
        {"dtype": "O", "shape": [24, 1, 1]},
        {"dtype": "int8"},
        {"shape": [8, 4, 6]},
        {"shape": [-8, -8, 3]},
        {"shape": [8.0, 8.0, 3.0]},
        {"kind": "signal"},
        {"kind": "x"},
        {"enlarged": 10**30},
        {"enlarged": float("nan")},
        {"ignored": -1},
        {"ignored": 5},
        {"smallest": None},
        {"rejected": [{"name": "a", "reason": "\x1b[2J"}]},
        {"rejected": [1]},
        {"more": 1},
        {"hashes": ["zz"] * 24},
        {"hashes": list(range(24))},
        {"hashes": ["0" * 16] * 24},
    ],
    ids=str,
)
def test_an_edited_meta_json_is_not_believed(pictures, cached, lie):
    """Types that crash, other shapes, wrong counts: the cache is built again."""
    whole, _ = opened(pictures)
    meta = the(cached, "meta.json")
    meta.write_text(json.dumps(json.loads(meta.read_text()) | lie))

    again, said = opened(pictures)

    np.testing.assert_array_equal(again, whole)
    assert said


@pytest.mark.parametrize(
    "change",
    [{"kind": "signal", "shape": (8, 24)}, {"dtype": "float32"}, {"shape": (8, 24)}, {"enlarged": 25}, {"blocks": ()}],
    ids=str,
)
def test_a_sealed_lie_that_is_not_possible_is_refused(pictures, cached, change):
    """A digest can be computed by anybody; kind, type, rank and counts must still fit."""
    open_dataset(str(pictures), SHAPE)
    found = stored.read_meta(the(cached, "meta.json").parent, SHAPE)

    with pytest.raises(ValueError, match="validation error"):
        stored.Meta(**found.model_dump() | {"rejected": found.rejected} | change)


def test_samples_of_another_size_are_not_used(pictures, cached):
    """A complete cache folder at the place of another one."""
    open_dataset(str(pictures), Shape(4, 4, 3, "crop"))
    small = the(cached, "meta.json").parent
    assert stored.read_meta(small, Shape(4, 4, 3, "crop")) is not None
    assert stored.read_meta(small, Shape(8, 8, 3, "crop")) is None
    assert stored.read_meta(small, Shape(4, 4, 1, "crop")) is None


@pytest.mark.parametrize("name", ["meta.json", "values.bin"])
def test_what_is_not_a_regular_file_is_not_waited_for(pictures, cached, name):
    """A named pipe has no end, and no writer."""
    whole, _ = opened(pictures)
    path = the(cached, name)
    path.unlink()
    os.mkfifo(path)

    np.testing.assert_array_equal(opened(pictures)[0], whole)


@pytest.mark.parametrize("make", [lambda p: p.write_text("x"), lambda p: p.symlink_to("nowhere")])
def test_whatever_is_in_the_place_of_a_cache_folder_is_replaced(pictures, cached, make):
    """A file, or a link."""
    whole, _ = opened(pictures)
    place = the(cached, "meta.json").parent
    cache._remove(place)
    make(place)

    np.testing.assert_array_equal(opened(pictures)[0], whole)


class TestLargeSets:
    """Those that are checked in parts; here with blocks of 16 bytes."""

    @pytest.fixture(params=[0, 1 << 20], ids=["mapped", "in memory"], autouse=True)
    def small_blocks(self, request, monkeypatch):
        monkeypatch.setattr(stored, "BLOCK", 16)
        monkeypatch.setattr(stored, "IN_MEMORY", request.param)

    @pytest.fixture
    def same_times(self, monkeypatch):
        """The stamp sees the size only, as if a bit flips on the disk."""
        monkeypatch.setattr(stored, "_stamp", lambda descriptor: f"{os.fstat(descriptor).st_size} 0 0 0")

    def test_a_changed_file_is_checked_whole(self, pictures, cached):
        """A flipped bit is found at the next start, even if the time of change was set back."""
        whole, _ = opened(pictures)
        flip(the(cached, "values.bin"), whole.nbytes // 2, keep_times=True)

        again, said = opened(pictures)

        assert said
        np.testing.assert_array_equal(again, whole)

    def test_repeated_starts_check_every_block(self, pictures, cached, same_times, monkeypatch):
        """A start checks a few blocks: the first, the last, and other ones than before."""
        whole, _ = opened(pictures)
        seen, per_start = set(), []
        real = stored._intact
        monkeypatch.setattr(stored, "_intact", lambda m, which, *a: per_start.append(which) or real(m, which, *a))
        count = whole.nbytes // 16
        for _ in range(-(-count // (stored.CHECKED_EACH_START - 2))):
            assert not opened(pictures)[1]
            seen.update(per_start[-1])

        assert seen == set(range(count))
        assert max(map(len, per_start)) <= stored.CHECKED_EACH_START
        assert all({0, count - 1} <= set(which) for which in per_start)

    def test_a_bit_that_flips_on_the_disk_is_found_in_time(self, pictures, cached, same_times):
        """Within as many starts as it takes to check every block."""
        whole, _ = opened(pictures)
        flip(the(cached, "values.bin"), whole.nbytes // 2)

        assert any(opened(pictures)[1] for _ in range(whole.nbytes // 16))

    @pytest.mark.parametrize("text", ["", "x", "1 2 3", "9" * 500, "1 2 3 4 999999999999"])
    def test_a_damaged_stamp_of_the_values_means_a_whole_check(self, pictures, cached, text):
        """It is never trusted."""
        whole, _ = opened(pictures)
        the(cached, "verified").write_text(text)
        flip(the(cached, "values.bin"), whole.nbytes // 2)

        assert opened(pictures)[1]


def test_a_small_set_survives_a_cache_that_is_cut_short(pictures, cached):
    """It is in memory: reading a map beyond the end of its file would end the process with SIGBUS."""
    dataset = open_dataset(str(pictures), SHAPE)
    whole = np.array(dataset.values)

    os.truncate(the(cached, "values.bin"), 10)

    np.testing.assert_array_equal(dataset.values, whole)
    assert not dataset.values.flags.writeable


def test_a_mapped_cache_that_is_cut_short_is_an_error(pictures, cached, monkeypatch):
    """At the next batch, instead of SIGBUS."""
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    feed = Feed(open_dataset(str(pictures), Shape(16, 16, 3, "crop")), tiny_config())
    phase = Schedule.of(tiny_config()).phase_at(0)
    feed.batch_at(0, phase)

    os.truncate(the(cached, "values.bin"), 10)

    with pytest.raises(StorageError, match="cut short"):
        feed.batch_at(0, phase)


class TestSweep:
    """What killed processes leave is removed at the next scan."""

    def old(self, path, seconds):
        os.utime(path, (time.time() - seconds,) * 2)

    def dead(self):
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        return child.pid

    def temporary(self, cached, pid):
        paths = [cached / "stamps" / f".a.gancli.tmp-{pid}", cached / "arrays" / f".b.npy.gancli.tmp-{pid}"]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        return paths

    def test_temporary_files_of_ended_processes(self, pictures, cached):
        """Not those of a running one, nor new ones, which may be of another machine."""
        old, running, new = (self.temporary(cached, pid) for pid in (self.dead(), os.getppid(), self.dead()))
        for path in old + running:
            self.old(path, files.IDLE_SECONDS + 60)

        open_dataset(str(pictures), SHAPE)

        assert [path.exists() for path in old + running + new] == [False] * 2 + [True] * 4

    def test_any_temporary_file_after_a_day(self, pictures, cached):
        """A process number may have been used again."""
        paths = self.temporary(cached, os.getppid()) + self.temporary(cached, "9" * 50)
        for path in paths:
            self.old(path, files.STALE_SECONDS + 60)

        open_dataset(str(pictures), SHAPE)

        assert not any(path.exists() for path in paths)

    def test_unfinished_caches(self, pictures, cached):
        """At once if of the same data set, whose lock is held; else when idle, and no process holds its lock."""
        open_dataset(str(pictures), SHAPE)
        mine = cached / f".building-{the(cached, 'meta.json').parent.name}-x"
        other, busy = cached / ".building-aa-x", cached / ".building-bb-x"
        for path in (mine, other, busy):
            path.mkdir()
        (busy / "values.bin").write_text("x")
        for path in (other, busy):
            self.old(path, files.IDLE_SECONDS + 60)

        open_dataset(str(pictures), SHAPE, rescan=True)

        assert [path.exists() for path in (mine, other, busy)] == [False, False, True]


class TestDisk:
    """Exit 74 with the path, whatever the file system refuses."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
    @pytest.mark.parametrize(
        "place", ["gancli.data.cache.tempfile.mkdtemp", "gancli.data.stored.write", "pathlib.Path.touch"]
    )
    def test_errors_while_building(self, pictures, cached, monkeypatch, number, place):
        """Also those that elsewhere mean that a file cannot be created."""

        def refuse(*arguments, **options):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(place, refuse)
        with pytest.raises(StorageError, match=os.strerror(number)) as error:
            open_dataset(str(pictures), SHAPE)
        assert str(cached) in error.value.where

    def test_a_cache_of_others_is_read(self, pictures, cached, monkeypatch):
        """Whole and on a read-only file system: a lock file can neither be made, nor a stamp."""
        before = open_dataset(str(pictures), SHAPE)
        shutil.rmtree(cached / "stamps")

        def refuse(*arguments, **options):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr("pathlib.Path.touch", refuse)
        again = open_dataset(str(pictures), SHAPE)

        assert again.fingerprint == before.fingerprint
        np.testing.assert_array_equal(again.values, before.values)
        assert not (cached / "stamps").exists()

    def test_the_bytes_that_were_needed_are_said(self, pictures, monkeypatch):
        """24 images of 8 x 8 x 3."""
        monkeypatch.setattr(scan, "_take", lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(StorageError, match="4,608 bytes: full"):
            open_dataset(str(pictures), SHAPE)

    def test_errors_of_the_small_files(self, pictures, monkeypatch):
        """rejected.jsonl and the stamp are written by `files.replace`, which calls some of them CannotCreate."""

        def refuse(path, *arguments, **options):
            raise CannotCreate("read-only", where=str(path), hint="x")

        monkeypatch.setattr(files, "replace_text", refuse)
        with pytest.raises(StorageError, match="read-only"):
            open_dataset(str(pictures), SHAPE)

    def test_a_cache_folder_that_is_a_file(self, pictures, cached):
        """Here and for arrays from Python."""
        cached.write_text("x")
        with pytest.raises(StorageError):
            open_dataset(str(pictures), SHAPE)
        with pytest.raises(StorageError):
            given.place_of(np.zeros((5, 2)))


class TestGiven:
    """Arrays and tensors from Python."""

    def test_a_damaged_copy_is_written_again(self):
        """The cache holds the values that were given, or none."""
        values = np.arange(1200.0).reshape(600, 2)
        path = given.place_of(values)
        flip(cache.folder() / "arrays" / path.rsplit("/", 1)[1], 200)

        assert given.place_of(values) == path
        np.testing.assert_array_equal(np.load(path), values)

    def test_an_unchanged_copy_is_left_alone(self):
        """So that its stamp holds and it is not scanned again."""
        values = np.array([[np.nan, 1.0]] * 5)
        path = given.place_of(values)
        before = os.stat(path).st_mtime_ns
        given.place_of(values)
        assert os.stat(path).st_mtime_ns == before

    @pytest.mark.parametrize("data", [np.array([[{}]]), torch.eye(3).to_sparse(), torch.eye(3, device="meta")])
    def test_what_is_no_array_of_numbers_is_refused(self, data):
        """Exit 65."""
        with pytest.raises(DataError):
            given.place_of(data)

    def test_bfloat16_is_taken(self):
        """Numpy does not have it; float32 holds its values."""
        path = given.place_of(torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16))
        assert np.load(path).tolist() == [[1.5, -2.0]]
