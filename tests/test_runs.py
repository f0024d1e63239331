import errno
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import tick_row, tiny_config

from gancli import files, runs
from gancli.errors import CannotCreate, InputMissing, StorageError


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("data/My Photos.zip", "My-Photos"), ("builtin:shapes", "shapes"), ("-rf", "rf"), ("x" * 99, "x" * 40),
        ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"), ("CON", "data-CON"), ("蛙", "data"),
    ],
)  # fmt: skip
def test_names_of_runs_are_safe_everywhere(text, slug):
    """Names have ASCII letters, digits and dashes, and are not empty or reserved by Windows."""
    assert runs.slug(text) == slug


def test_runs_are_numbered_and_never_overwritten(tmp_path):
    """The number after the largest one is used, even if there are gaps."""
    made = [runs.create(tmp_path, "photos", tiny_config()).path.name for _ in range(2)]
    (tmp_path / "00007-other").mkdir()

    assert made == ["00000-photos-tiny", "00001-photos-tiny"]
    assert runs.create(tmp_path, "photos", tiny_config()).path.name == "00008-photos-tiny"


def test_a_name_that_is_taken_is_refused(tmp_path):
    """--run NAME --new never writes into another run."""
    runs.create(tmp_path, "photos", tiny_config(), "mine")
    with pytest.raises(CannotCreate) as error:
        runs.create(tmp_path, "photos", tiny_config(), "mine")
    assert "--run" in error.value.hint


def test_the_newest_run_with_the_same_config_is_meant(tmp_path):
    """Duration, intervals and the path of the data are ignored."""
    for _ in range(2):
        runs.create(tmp_path, "photos", tiny_config(data__source="/a"))
    same = tiny_config(train__duration=999, train__tick_every=3, train__keep=9, data__source="/b")

    assert runs.match(tmp_path, same).path.name == "00001-photos-tiny"
    assert runs.match(tmp_path, tiny_config(train__seed=1)) is None
    assert runs.match(tmp_path, tiny_config(samples__fingerprint="other")) is None


def test_a_damaged_run_is_nobody_s(tmp_path):
    """An unreadable config.yaml does not match and does not stop the search."""
    good = runs.create(tmp_path, "photos", tiny_config())
    bad = runs.create(tmp_path, "photos", tiny_config())
    bad.config_file.write_text("{")

    assert runs.match(tmp_path, tiny_config()) == good


def test_without_a_run_the_newest_is_missing(tmp_path):
    """Exit 66 with a hint on how to start one."""
    runs.create(tmp_path, "photos", tiny_config())  # begun, but without a checkpoint
    with pytest.raises(InputMissing, match="no run yet"):
        runs.newest(tmp_path)


def test_looking_at_a_lock_does_not_take_it(tmp_path):
    """`gancli runs` does not interfere with training."""
    run = runs.create(tmp_path, "photos", tiny_config())

    assert not runs.is_locked(run)
    with runs.locked(run):
        assert runs.is_locked(run)
    assert not runs.is_locked(run)


@pytest.mark.parametrize("inside", [(), (".config.yaml.gancli.tmp-999999999",)])
def test_an_empty_folder_is_adopted(tmp_path, inside):
    """A process that died before config.yaml was written does not block --run NAME."""
    (tmp_path / "mine").mkdir()
    for name in inside:
        (tmp_path / "mine" / name).touch()

    run = runs.create(tmp_path, "photos", tiny_config(), "mine")

    assert run.config() == tiny_config()
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """It belongs to the user."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(CannotCreate, match="other files"):
        runs.create(tmp_path, "photos", tiny_config(), "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_run_folder_is_never_seen_without_its_config(tmp_path, monkeypatch):
    """If the process dies on the way, only a temporary folder is left, which a run ten minutes later removes."""
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        runs.create(tmp_path, "photos", tiny_config())
    (left,) = tmp_path.iterdir()
    monkeypatch.undo()

    assert re.fullmatch(r"\.00000-photos-tiny-[0-9a-f]{8}\.gancli\.tmp-[0-9]+", left.name)
    assert runs.all_runs(tmp_path) == []
    os.utime(left, (time.time() - 1000,) * 2)
    runs.create(tmp_path, "photos", tiny_config())
    assert [path.name for path in tmp_path.iterdir()] == ["00000-photos-tiny"]


def test_machines_that_begin_runs_together_leave_each_other_s_folder_alone(tmp_path, monkeypatch):
    """Another machine has made its folder, and not renamed it yet; the process numbers may even be equal."""
    rename, others = os.rename, []

    def meanwhile(source, target):
        if not others:
            others.append(source)
            runs.create(tmp_path, "photos", tiny_config())
            assert source.is_dir()
        rename(source, target)

    monkeypatch.setattr(os, "rename", meanwhile)
    runs.create(tmp_path, "photos", tiny_config())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000-photos-tiny", "00001-photos-tiny"]


def test_the_longest_names_can_be_written(tmp_path):
    """255 bytes; the temporary name has its own length."""
    path = tmp_path / ("写" * 84 + "png")
    files.replace_bytes(path, b"1")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"1"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch, number):
    """Files must be synced; some network file systems refuse it for folders."""
    fsync = os.fsync

    def refuse(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    files.replace_bytes(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_temporary_files_of_others_are_not_swept(tmp_path):
    """Neither new ones, nor those of a living process, nor those of another program."""
    names = (".a.gancli.tmp-999999999", ".b.gancli.tmp-999999999", ".c.gancli.tmp-1", ".d.tmp-999999999")
    ours, new, alive, users = (tmp_path / name for name in names)
    for path in (ours, new, alive, users):
        path.touch()
    for path in (ours, alive, users):
        os.utime(path, (time.time() - 1000,) * 2)

    files.sweep(tmp_path)

    assert sorted(tmp_path.iterdir()) == [new, alive, users]


@pytest.mark.parametrize("call", ["mkdir", "rename", "fsync"])
def test_a_full_disk_is_exit_74_with_path_and_bytes(tmp_path, monkeypatch, call):
    """Also where a folder cannot be created."""
    monkeypatch.setattr(os, call, lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left") as error:
        runs.create(tmp_path / "runs", "photos", tiny_config())
    assert str(tmp_path) in error.value.where
    assert call == "mkdir" or re.search(r"[0-9,]+ bytes", error.value.what)


def test_a_log_line_cut_short_is_left_out(tmp_path):
    """A line truncated by a crash is ignored."""
    run = runs.create(tmp_path, "photos", tiny_config())
    rows = [json.dumps(tick_row(images=n)) for n in (8, 16)]
    run.stats_file.write_text(f"{rows[0]}\n{rows[1][:40]}")
    assert [row["images"] for row in run.stats()] == [8]


def test_threads_of_a_process_get_runs_of_their_own(tmp_path):
    """They have the same process number, which temporary names contain."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: runs.create(tmp_path, "photos", tiny_config()).path, range(16)))
    assert len(set(made)) == 16
    assert len(runs.all_runs(tmp_path)) == 16
