"""One holder at a time; testing a lock does not acquire it."""

import errno
import fcntl
import os
import resource
import subprocess
import sys
import threading
import time

import pytest

from gancli import locks
from gancli.errors import StorageError
from gancli.runs import Run, is_locked, locked

HOLD = "import sys, time; from pathlib import Path; from gancli import locks\n"
HOLD += "with locks.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_second_process_is_told_the_pid_of_the_first(tmp_path, holder):
    """And can acquire the lock after it has ended or was killed."""
    with pytest.raises(locks.Taken) as taken, locks.held(tmp_path / "lock"):
        pass
    assert taken.value.pid == str(holder.pid)

    holder.kill()
    holder.wait()
    with locks.held(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_lock_is_visible_in_both_processes(tmp_path, holder):
    """Only while it is held."""
    assert locks.is_held(tmp_path / "lock")
    assert not locks.is_held(tmp_path / "nothing")
    with locks.held(tmp_path / "mine"):
        assert locks.is_held(tmp_path / "mine")
    assert not locks.is_held(tmp_path / "mine")


def test_testing_does_not_block_others(tmp_path, monkeypatch):
    """A training that starts during `gancli runs` is not blocked."""
    run, taken = Run(tmp_path), []
    with locked(run):
        pass
    monkeypatch.setattr(fcntl, "flock", lambda *a: taken.append(a))
    monkeypatch.setattr(fcntl, "lockf", lambda *a: taken.append(a))

    assert not is_locked(run)
    assert taken == []


def test_testing_does_not_release_the_lock_of_its_own_process(tmp_path):
    """Closing a file would release the record locks of the process: other processes must still see the holder."""
    look = "import sys; from pathlib import Path; from gancli import locks; sys.exit(locks.is_held(Path(sys.argv[1])))"
    with locks.held(tmp_path / "lock"):
        assert locks.is_held(tmp_path / "lock")
        assert subprocess.run([sys.executable, "-c", look, tmp_path / "lock"], check=False).returncode == 1


def test_threads_of_one_process_are_kept_apart_and_may_wait(tmp_path):
    """The second acquires the lock after the first has released it."""
    order = []

    def second():
        with locks.held(tmp_path / "lock", while_waiting=lambda: None):
            order.append("second")

    with locks.held(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(5)

    assert order == ["first", "second"]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    """Exit 74 with the path, as on some network file systems."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="No locks available") as error, locks.held(tmp_path / "lock"):
        pass
    assert error.value.where == str(tmp_path / "lock")


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    """On a disk that stays full, too: nothing is written once more when the file is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # writing fails, as on a full disk
    try:
        with pytest.raises(StorageError) as error, locks.held(tmp_path / "lock"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.where == str(tmp_path / "lock")
