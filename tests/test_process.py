import os
import subprocess
import sys
import time

import pytest

from gancli import process

COMMAND = """
import contextlib, sys
from gancli import cli
sys.argv = ["gancli", "--version"]
with contextlib.suppress(SystemExit):
    cli.main()
"""


def environment_after(code, **extra):
    """GOMP_SPINCOUNT in a new interpreter after running some code."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code += "\nimport os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=clean | extra, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_threads_wait_politely_before_torch_is_there():
    """The command line sets it; `import gancli` does not change the process."""
    assert environment_after("import gancli; gancli.sample") == "None"
    assert environment_after(COMMAND) == process.SPINS


@pytest.mark.parametrize("extra", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_user_s_own_setting_wins(extra):
    """Settings of the user take precedence."""
    assert environment_after(COMMAND, **extra) == extra.get("GOMP_SPINCOUNT", "None")


def test_a_process_ends_with_its_parent(tmp_path):
    """A killed ablation leaves no training run behind: it gets a SIGTERM, on which it saves a checkpoint."""
    code = "import os, sys, time; from gancli import process; process.end_with_parent()"
    child = [sys.executable, "-c", f"{code}; open('ready', 'w').write(str(os.getpid())); time.sleep(60)"]
    start = f"import os, subprocess; subprocess.run({child!r}, env={{**os.environ, 'GANCLI_PARENT': str(os.getpid())}})"
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path)
    wait_for((tmp_path / "ready").exists)
    number = int((tmp_path / "ready").read_text() or 0)

    parent.kill()
    parent.wait()

    wait_for(lambda: not is_running(number))


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(number):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in ("", "Z")


class TestNeighbors:
    """On a clock of its own, with what the kernel would report."""

    @pytest.fixture
    def machine(self, monkeypatch):
        found = {"now": 0.0, "waited": 0.0, "idle": 0.0}
        monkeypatch.setattr(process.time, "monotonic", lambda: found["now"])
        monkeypatch.setattr(process, "_waited", lambda: found["waited"])
        monkeypatch.setattr(process, "_idle", lambda: found["idle"])
        return found

    @staticmethod
    def spend(machine, seconds, *, waited=0.0, idle=0.0):
        """waited and idle: in seconds per second, of all threads and of all cores."""
        machine["now"] += seconds
        machine["waited"] += waited * seconds
        machine["idle"] += idle * seconds

    @staticmethod
    def started(threads):
        """After the first step, which only starts the clock."""
        neighbors = process.Neighbors(threads)
        assert neighbors.threads(threads) == threads
        return neighbors

    def test_what_was_waited_for_before_the_first_step_does_not_count(self, machine):
        """Importing torch, and opening the data."""
        neighbors = process.Neighbors(2)
        self.spend(machine, 60, waited=2)

        assert neighbors.threads(2) == 2

    @pytest.mark.parametrize(("threads", "waited", "after"), [(2, 1.0, 1), (16, 8.0, 8), (4, 1.0, 3), (1, 0.5, 1)])
    def test_threads_that_wait_for_a_core_are_given_up(self, machine, threads, waited, after):
        """As many as wait on average, down to one."""
        neighbors = self.started(threads)
        self.spend(machine, 3, waited=waited)

        assert neighbors.threads(threads) == after

    def test_a_little_waiting_is_ignored(self, machine):
        """One of sixteen threads shares its core: fifteen threads would be no faster."""
        neighbors = self.started(16)
        self.spend(machine, 3, waited=1.0)

        assert neighbors.threads(16) == 16

    def test_nothing_is_decided_at_every_step(self, machine):
        """Two seconds are the least that is looked at."""
        neighbors = self.started(2)
        self.spend(machine, 1.5, waited=2)

        assert neighbors.threads(2) == 2

    def test_idle_cores_are_used_again_after_half_a_minute(self, machine):
        """Not sooner: a neighbor that pauses would be slowed down as soon as it goes on."""
        neighbors = self.started(2)
        threads = []
        for _ in range(12):
            self.spend(machine, 3, idle=1)
            threads.append(neighbors.threads(1))

        assert threads[:9] == [1] * 9
        assert threads[9] == 2

    def test_a_busy_moment_starts_the_half_minute_again(self, machine):
        """Idle means idle all the time."""
        neighbors = self.started(2)
        threads = []
        for idle in (1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1):
            self.spend(machine, 5, idle=idle)
            threads.append(neighbors.threads(1))

        assert threads == [1] * 11

    @pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the kernel does not tell")
    def test_a_thread_that_shares_its_core_is_seen_to_wait(self):
        """What the kernel reports: two busy processes on one core each wait about half of the time."""
        own = sorted(os.sched_getaffinity(0))
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            os.sched_setaffinity(hog.pid, own[:1])
            os.sched_setaffinity(0, own[:1])
            before, end = process._waited(), time.monotonic() + 2
            while time.monotonic() < end:
                pass
            waited = process._waited() - before
        finally:
            os.sched_setaffinity(0, own)
            hog.kill()
            hog.wait()

        assert 0.4 < waited < 1.8


@pytest.mark.parametrize(
    ("words", "variables", "adapts"),
    [
        ([], {}, True),
        (["--threads", "2"], {}, False),
        ([], {"GANCLI_THREADS": "2"}, False),
        ([], {"OMP_NUM_THREADS": "2"}, False),
    ],
)
@pytest.mark.parametrize("command", ["train", "resume"])
def test_a_number_of_threads_that_the_user_sets_is_kept(monkeypatch, command, words, variables, adapts):
    """By option, by gancli's variable or by OpenMP's; else the number adapts to other processes."""
    import gancli
    from gancli import cli

    for name in ("GANCLI_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    given = []

    def begin(*args, callback, **others):
        given.append(callback.neighbors)
        raise SystemExit

    monkeypatch.setattr(gancli, command, begin, raising=False)
    monkeypatch.setattr(sys, "argv", ["gancli", command, *words])
    with pytest.raises(SystemExit):
        cli.main()

    assert [neighbors is not None for neighbors in given] == [adapts]


def test_training_says_when_the_number_of_threads_changes(monkeypatch):
    """And how to fix it."""
    import torch

    from gancli.cli import live

    before, said = torch.get_num_threads(), []
    with live.watcher("plain", process.Neighbors(2)) as callback:
        monkeypatch.setattr(callback, "say", said.append)
        monkeypatch.setattr(callback.neighbors, "threads", lambda now: 3 - now)
        try:
            torch.set_num_threads(2)
            callback.step(1500)
            assert torch.get_num_threads() == 1
            callback.step(2500)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)

    assert said == [
        "1 thread from 1.5 kimg on: other processes use the cores; --threads fixes the number",
        "2 threads from 2.5 kimg on: cores are idle again; --threads fixes the number",
    ]


def test_elsewhere_the_number_of_threads_never_changes(monkeypatch, tmp_path):
    """Systems without /proc, affinity or sysconf report nothing, and training goes on."""
    for name in ("sched_getaffinity", "sysconf"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(process, "Path", lambda place: tmp_path / "missing")
    monkeypatch.setattr(process, "CHECK_SECONDS", 0.0)
    neighbors = process.Neighbors(4)

    assert [neighbors.threads(4) for _ in range(3)] == [4, 4, 4]
