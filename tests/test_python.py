"""Use from Python: the state of the calling process is preserved."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import make_pictures, write_preset
from PIL import Image

import gancli
from gancli import devices, latents, process, signals
from gancli.errors import Interrupted

SCRIPT = """
import os, signal, sys
import gancli
from gancli.errors import Interrupted
from gancli.training.callbacks import Silent

class Press(Silent):
    def step(self, images):
        if images >= 48:
            os.kill(os.getpid(), signal.SIGINT)

before = signal.getsignal(signal.SIGINT)
try:
    gancli.train(sys.argv[1], sys.argv[2], outdir=sys.argv[3], threads=1, callback=Press())
except Interrupted as stop:
    print("interrupted", stop.signum, gancli.load(sys.argv[3] + "/00000-pictures-tiny").checkpoint.images)
print("as before", signal.getsignal(signal.SIGINT) is before)
"""


@pytest.fixture
def words(tmp_path):
    """A preset and images that train in a second, and an output folder."""
    return write_preset(tmp_path / "tiny.yaml", {}), str(make_pictures(tmp_path / "pictures", 24)), str(tmp_path / "r")


def test_ctrl_c_in_a_script_saves_and_raises_interrupted(words):
    """As documented for train. The signal handlers of the script are restored."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [f"interrupted {signal.SIGINT.value} 48", "as before True"], done.stderr


def test_a_second_ctrl_c_ends_at_once_and_says_so():
    """By the signal itself, without cleanup; on a terminal the cursor, which live tables hide, is shown again."""
    press = "os.kill(os.getpid(), signal.SIGINT)"
    code = "import os, signal\nfrom gancli import signals\nwith signals.handled():\n"
    code += f"    {press}; print('still running', flush=True); {press}"
    terminal, its_end = os.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=its_end, check=False)
    os.close(its_end)
    said = os.read(terminal, 1000)
    os.close(terminal)

    assert (done.returncode, done.stdout) == (-signal.SIGINT, b"still running\n")
    assert b"stopped at once, without saving" in said
    assert b"\x1b[?25h" in said


def test_a_training_leaves_the_process_as_it_was(words):
    """Threads, Pillow's limit on image size, torch's random state, environment variables and signal handlers."""
    torch.set_num_threads(2)

    def state():
        variables = {k: v for k, v in os.environ.items() if not k.startswith("TORCH")}  # torch sets one of its own
        handlers = [signal.getsignal(s) for s in (*signals.STOPPING, signal.SIGUSR1)]
        return (
            torch.get_num_threads(), Image.MAX_IMAGE_PIXELS, torch.get_rng_state().tolist(), variables, handlers
        )  # fmt: skip

    before = state()
    report = gancli.train(words[0], words[1], outdir=words[2], threads=1)
    gancli.sample(report.run, [0], f"{words[2]}.png", threads=1)

    assert state() == before
    assert Image.MAX_IMAGE_PIXELS is not None


def test_a_verb_computes_with_the_threads_that_it_is_given(words, monkeypatch):
    """By default it uses torch's current setting."""
    seen = []
    monkeypatch.setattr("gancli.training.verbs.go_on", lambda *a, **k: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)

    gancli.train(words[0], words[1], outdir=words[2], threads=1)
    gancli.train(words[0], words[1], outdir=words[2])

    assert seen == [1, 2]


def test_in_a_thread_a_training_just_runs(words):
    """Signal handlers cannot be set in a thread, so none are."""
    found = []
    thread = threading.Thread(target=lambda: found.append(gancli.train(words[0], words[1], outdir=words[2], threads=1)))
    thread.start()
    thread.join()

    assert found[0].state == "finished"


def test_an_error_gives_the_threads_back():
    """The number of threads is restored after an error."""

    @devices.uses_threads
    def fails(*, threads=None):
        raise Interrupted(2)

    before = torch.get_num_threads()
    with pytest.raises(Interrupted):
        fails(threads=before + 1)
    assert torch.get_num_threads() == before


class TestCores:
    def test_affinity_is_honored(self, monkeypatch):
        """A process pinned to two cores uses two threads."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(process, "quotas", lambda: iter(()))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
        assert process.cores() == 3

    def test_a_quota_of_a_control_group_is_honored(self, monkeypatch):
        """A container limited to 1.5 cores uses one thread; the minimum is one."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        for quota, cores in ((1.5, 1), (0.2, 1), (3.0, 3)):
            monkeypatch.setattr(process, "quotas", lambda quota=quota: iter((6.0, quota)))
            assert process.cores() == cores

    @pytest.mark.parametrize(("value", "cores"), [("5", 5), ("3,2", 3), ("", 2), ("0", 2), ("many", 2)])
    def test_omp_num_threads_is_the_user_s_word(self, monkeypatch, value, cores):
        """The first value of a list is used; invalid values are ignored."""
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        monkeypatch.setattr(process, "quotas", lambda: iter(()))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
        assert process.cores() == cores

    def test_limits_are_read_from_both_versions_of_control_groups(self, tmp_path):
        """Every group from that of the process up to the root can set a limit."""
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "cpu.max").write_text("400000 100000\n")
        (tmp_path / "a" / "b" / "cpu.max").write_text("max 100000\n")
        (tmp_path / "cpu,cpuacct" / "c").mkdir(parents=True)
        (tmp_path / "cpu,cpuacct" / "c" / "cpu.cfs_quota_us").write_text("250000\n")
        (tmp_path / "cpu,cpuacct" / "c" / "cpu.cfs_period_us").write_text("100000\n")
        (tmp_path / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("-1\n")
        (tmp_path / "cpu,cpuacct" / "cpu.cfs_period_us").write_text("100000\n")
        own = tmp_path / "cgroup"
        own.write_text("4:cpu,cpuacct:/c\n1:memory:/c\n0::/a/b\n")

        assert list(process.quotas(own, tmp_path)) == [2.5, 4.0]
        assert list(process.quotas(tmp_path / "missing", tmp_path)) == []


class TestSignals:
    def test_what_was_ignored_stays_ignored(self, monkeypatch):
        """nohup, and `command &` in a script, start processes with signals ignored."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with signals.handled():
                assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
                assert signal.getsignal(signal.SIGTERM) is signals._on_stop
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_a_command_in_the_background_survives_ctrl_c_from_its_first_moment(self, words):
        """The shell starts it with SIGINT ignored."""
        code = "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import runpy, sys\n"
        code += "from gancli import __main__; __main__.signals.from_the_start(); os.kill(os.getpid(), signal.SIGINT)\n"
        code += "print('alive')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "alive\n")

    def test_a_wish_to_save_before_training_began_is_kept(self):
        """By default SIGUSR1 ends the process; it may arrive while torch is being imported."""
        code = "import os, signal; from gancli import signals; signals.from_the_start()\n"
        code += "os.kill(os.getpid(), signal.SIGUSR1)\nwith signals.handled(): print(signals.save_requested())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "True\n")

    def test_blocks_inside_one_another_are_one(self):
        """The inner block neither replaces the handlers nor clears a pending request."""
        with signals.handled():
            with signals.handled():
                os.kill(os.getpid(), signal.SIGTERM)
            assert signals.stop_requested()
            assert signal.getsignal(signal.SIGTERM) is signals._on_stop
        assert not signals.stop_requested()


class TestFromMemory:
    @pytest.mark.parametrize("kind", ["bytes", "floats", "tensor", "path"])
    def test_arrays_tensors_and_paths_are_data(self, kind, tmp_path):
        """The same content is the same run, wherever it comes from."""
        values = np.random.RandomState(0).randint(0, 256, (24, 16, 16, 3)).astype(np.uint8)
        np.save(tmp_path / "a.npy", values)
        data = {
            "bytes": values,
            "floats": values.astype(np.float32) / 127.5 - 1,
            "tensor": torch.from_numpy(values).permute(0, 3, 1, 2),
            "path": tmp_path / "a.npy",
        }[kind]
        preset = write_preset(tmp_path / "tiny.yaml", {})

        reports = [gancli.train(preset, data, outdir=tmp_path / "runs", threads=1) for _ in range(2)]

        assert [report.state for report in reports] == ["finished", "already finished"]
        assert gancli.load(reports[0].run).checkpoint.config.samples.shape == (3, 16, 16)

    def test_inspect_stats_compares_tensors(self):
        """Samples and reals from anywhere: values far apart are no healthy set."""
        draw = torch.Generator().manual_seed(0)
        reals = torch.rand(300, 3, 8, 8, generator=draw) * 2 - 1
        assert gancli.inspect_stats(torch.full((150, 3, 8, 8), 0.5), reals, quick=True).verdict == "collapsed"

    def test_a_generator_takes_latents(self, words):
        """Those of a seed give that seed's sample; another shape is refused."""
        generator = gancli.load(gancli.train(words[0], words[1], outdir=words[2], threads=1).checkpoint)
        z = latents.from_seeds([3], generator.prior)

        torch.testing.assert_close(generator.generate(z), generator.sample([3]), rtol=0, atol=0)
        with pytest.raises(gancli.UsageError, match="latents"):
            generator.generate(z[:, :3])

    def test_progress_is_printed(self, words, capsys):
        """A line a tick, and where the run is."""
        gancli.train(words[0], words[1], outdir=words[2], threads=1, callback=gancli.PrintProgress())
        out = capsys.readouterr().out
        assert out.count("D(real)") == 4
        assert "00000-pictures-tiny" in out

    def test_errors_are_exported(self):
        """All that the docstrings name."""
        from gancli import errors

        classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GancliError)]
        assert all(getattr(gancli, c.__name__) is c for c in classes)
        assert gancli.Interrupted is Interrupted
