import inspect
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import make_pictures, tiny_config, write_preset
from PIL import Image
from rich.console import Console

from gancli import results, runs, signals
from gancli.cli import commands, live, options, show, tables, values
from gancli.errors import UsageError
from gancli.health import WORDS, Figure, Health

COMMANDS = [
    "train",
    "resume",
    "grow",
    "sample",
    "interpolate",
    "inspect-stats",
    "report",
    "ablate",
    "data",
    "runs",
    "doctor",
    "presets",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of the tiny preset: (checkpoint, data, preset)."""
    import gancli

    folder = tmp_path_factory.mktemp("cli")
    data = make_pictures(folder / "pictures", 200)
    preset = write_preset(folder / "tiny.yaml", {})
    report = gancli.train(preset, str(data), outdir=folder / "runs", threads=1, device="cpu")
    return report.checkpoint, data, preset


def process(*words, cwd, **options):
    """Start gancli in a separate process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GANCLI_")}
    environment |= {"GANCLI_CACHE_DIR": str(cwd / "cache"), "GANCLI_THREADS": "1"}
    command = [sys.executable, "-m", "gancli", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, env=environment, **({"text": True} | options))


def read_until(stream, start):
    """Read up to the first line with this start."""
    return next(line for line in stream if line.startswith(start))


class TestHelp:
    @pytest.mark.parametrize("command", [*COMMANDS[:-1], "presets list", "presets show", "presets validate"])
    @pytest.mark.parametrize("flag", ["-h", "--help"])
    def test_every_help_ends_its_story_with_an_example(self, gancli, command, flag):
        """The example has the name of the command."""
        code, out, _ = gancli(*command.split(), flag)
        assert code == 0
        assert f"Example: gancli {command}" in " ".join(out.split()) or command == "train"
        assert "Example: gancli" in " ".join(out.split())

    def test_the_list_of_commands_is_the_list_of_commands(self, gancli):
        """The help lists exactly the commands, each with the first line of its own help."""
        _, out, _ = gancli("--help")
        assert re.findall(r"│ ([a-z][a-z-]+) ", out) == COMMANDS
        first = {name: inspect.cleandoc(commands.load(name).help).splitlines()[0] for name in COMMANDS}
        assert first == commands.SUMMARIES

    def test_a_misspelled_command_names_the_closest(self, gancli):
        """Although none of them is loaded."""
        code, _, err = gancli("sampel")
        assert code == 2
        assert "sample" in err

    def test_version(self, gancli):
        """Printed to standard output."""
        assert gancli("--version")[:2] == (0, "gancli 0.1.0\n")

    @pytest.mark.parametrize(
        "words", [["--help"], ["--version"], ["presets", "list"], ["train", "--nope"], ["train", "-h"]]
    )
    def test_answers_before_torch_and_numpy_are_imported(self, tmp_path, words):
        """So that `gancli --help` is fast."""
        code = (
            "import sys; sys.argv = ['gancli', *sys.argv[1:]]\n"
            "import gancli.cli\ntry: gancli.cli.main()\nexcept SystemExit: pass\n"
            "sys.exit(3 if 'torch' in sys.modules or 'numpy' in sys.modules else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, cwd=tmp_path, check=False)
        assert done.returncode == 0

    @pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "-h"]])
    def test_help_and_version_need_no_models_of_the_config(self, tmp_path, words):
        """They take longer to import than all else. The list of the commands needs none of the commands."""
        code = (
            "import sys; sys.argv = ['gancli', *sys.argv[1:]]\n"
            "import gancli.cli\ntry: gancli.cli.main()\nexcept SystemExit: pass\n"
            "loaded = {'gancli.config', *(['gancli.cli.train'] if len(sys.argv) == 2 else [])} & set(sys.modules)\n"
            "sys.exit(3 if loaded else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, cwd=tmp_path, check=False)
        assert done.returncode == 0


class TestStreams:
    def test_train_prints_the_checkpoint_and_nothing_else(self, gancli, trained, tmp_path):
        """ck=$(gancli train ...) works; standard error has one key=value line per tick."""
        _, data, preset = trained
        code, out, err = gancli("train", data, "--preset", preset, "--outdir", tmp_path, "--threads", 1)

        assert code == 0
        assert out == f"{tmp_path}/00000-pictures-tiny/last.pt\n"
        assert len(re.findall(r"^kimg=0\.\d+ images=\d+ .* std_ratio=", err, re.MULTILINE)) == 4
        assert "200 samples" in err

    def test_train_json(self, gancli, trained, tmp_path):
        """One object with schema_version; ticks are JSON lines on standard error."""
        _, data, preset = trained
        words = (
            "train",
            data,
            "--preset",
            preset,
            "--outdir",
            tmp_path,
            "--json",
            "--log-format",
            "jsonl",
            "--threads",
            1,
        )
        code, out, err = gancli(*words)

        body = json.loads(out)
        ticks = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
        assert (code, body["schema_version"], body["state"], body["images"]) == (0, 4, "finished", 160)
        assert [tick["images"] for tick in ticks] == [40, 80, 120, 160]

    def test_inspect_stats_json_has_a_verdict_on_top(self, gancli, trained):
        """With schema_version, figures and their baselines; NaN is null."""
        code, out, _ = gancli("inspect-stats", trained[0], "--json")

        body = json.loads(out)
        assert (code, body["schema_version"]) == (0, 4)
        assert body["verdict"] in WORDS
        assert set(body["panel"][0]) == {
            "key", "part", "label", "value", "baseline", "fake", "real", "note", "group", "mark", "advice"
        }  # fmt: skip
        assert (body["samples"], body["weights"]) == (100, "ema")

    def test_inspect_stats_for_people(self, gancli, trained):
        """--all shows a verdict, a table, histograms as bars and the history as a sparkline, not truncated."""
        _, out, _ = gancli("inspect-stats", trained[0], "--all")

        assert "verdict: " in out
        assert "color distance, green" in out
        assert re.search(r"red  real +[▁▂▃▄▅▆▇█ ]+ +fake", out)
        assert "critic loss" in out

    def test_quiet_says_nothing(self, gancli, trained, tmp_path):
        """-q prints only the result."""
        _, data, preset = trained
        _, out, err = gancli("train", data, "--preset", preset, "--outdir", tmp_path, "-q", "--threads", 1)
        assert (out.count("\n"), err) == (1, "")

    def test_sample_to_a_pipe(self, gancli, trained, tmp_path):
        """-o - writes one PNG, or the format of --format."""
        words = ("sample", trained[0], "--seeds", "0-3", "-o", "-")
        with process(*words, cwd=tmp_path, stdout=-1, text=False) as p:
            png, _ = p.communicate()
        with process(*words, "--format", "npy", cwd=tmp_path, stdout=-1, text=False) as p:
            npy, _ = p.communicate()

        assert np.asarray(Image.open(io.BytesIO(png))).shape == (32, 32, 3)
        assert np.load(io.BytesIO(npy)).shape == (4, 16, 16, 3)

    def test_dry_run_trains_nothing(self, gancli, trained, tmp_path):
        """Prints the resolved config, the schedule and estimated costs."""
        _, data, preset = trained
        code, out, _ = gancli("train", data, "--preset", preset, "--outdir", tmp_path / "runs", "-n")

        assert code == 0
        assert "resolution: 16" in out
        assert "estimate" in out
        assert "parameters" in out
        assert not (tmp_path / "runs").exists()

    def test_a_file_name_is_never_read_as_markup(self, gancli, trained, tmp_path):
        """[bold] and [/x] in a name are printed unchanged."""
        data = make_pictures(tmp_path / "[bold]", 200)
        (data / "x[").mkdir()
        (data / "x[" / "x].png").write_text("x")
        code, _, err = gancli("train", data, "--preset", trained[2], "--outdir", tmp_path / "r", "--threads", 1)
        missing = gancli("sample", tmp_path / "[x]" / "a.pt")

        assert code == 0
        assert "x[/x].png" in err
        assert "[x]/a.pt" in missing[2]


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["train", "no/such", "--preset", "PRESET"], 66, "no such file or folder"),
            (["train", "--preset", "quikstart"], 78, "unknown preset 'quikstart'"),
            (["train", "DATA", "--preset", "PRESET", "--set", "train.lr=x"], 78, "'x'"),
            (["train", "DATA", "--preset", "PRESET", "--set", "train.seed=1", "--seed", "1"], 2, "is set twice"),
            (["train", "DATA", "--preset", "PRESET", "--device", "warp"], 2, "device 'warp' is not available"),
            (["train", "DATA", "--preset", "PRESET", "--stop-on", "x"], 2, "unknown value 'x'"),
            (["train", "--from", "a.pt", "--preset", "quickstart"], 2, "its own preset"),
            (["train", "builtin:ring8", "--preset", "PRESET"], 78, "take image data"),
            (["sample", "none.pt"], 66, "no such checkpoint"),
            (["report", "none"], 66, "no such run folder"),
            (["data", ""], 2, "the name is empty"),
            (["train", "", "--set", "train=null"], 2, "the name is empty"),
            (["train", "--preset", "PRESET", "--set", "train=null"], 78, "train should be a section, not null"),
            (["sample", "PRESET"], 65, "cannot open the checkpoint"),
            (["sample", "CKPT", "--seeds", "9-3"], 2, "not a range of seeds"),
            (["sample", "CKPT", "-o", "no/such/a.png"], 73, "no folder"),
            (["interpolate", "CKPT", "a.avi"], 2, "unknown format 'avi'"),
            (["inspect-stats"], 66, "no run yet"),
            (["inspect-stats", "CKPT", "--fail-on", "colapse"], 2, "unknown verdict 'colapse'"),
            (["grow", "CKPT", "--to", "24"], 78, "24 px is not 16 px doubled"),
            (["train", "DATA", "--preset", "PRESET", "--channels", "2"], 78, "the value given for data.channels"),
            (["train", "DATA", "--preset", "PRESET", "--run", "../x"], 2, "not a folder name"),
            (["train", "DATA", "--preset", "PRESET", "--outdir", "PRESET"], 73, "--outdir"),
            (["interpolate", "CKPT", "-"], 2, "to standard output"),
            (["inspect-stats", "CKPT", "--fail-on", ""], 2, "unknown verdict ''"),
            (["sample", "CKPT", "--seeds", "99999999999"], 2, "too large"),
            (["train", "DATA", "--preset", "PRESET", "--tick", "inf"], 2, "not a number of images"),
            (["inspect-stats", "CKPT", "builtin:ring8"], 65, "samples of shape"),
            (["presets", "show", "nope"], 78, "unknown preset 'nope'"),
        ],
    )
    def test_one_clear_sentence_and_the_right_code(self, gancli, trained, tmp_path, monkeypatch, words, code, message):
        """The error has a message, a place and a hint, also as JSON, and no traceback."""
        monkeypatch.chdir(tmp_path)
        names = {"PRESET": str(trained[2]), "DATA": str(trained[1]), "CKPT": str(trained[0])}
        words = [names.get(word, word) for word in words]

        got, out, err = gancli(*words)
        json_code, _, json_err = gancli(*words, "--json")

        assert (got, out) == (code, "")
        assert message in " ".join(err.split())
        assert "hint:" in err
        assert "Traceback" not in err
        body = json.loads(json_err.splitlines()[-1])["error"]
        assert (json_code, body["code"]) == (code, code)
        assert body["hint"]

    def test_an_unknown_flag_is_exit_2(self, gancli):
        """As usual for command-line tools."""
        assert gancli("train", "--nope")[0] == 2

    def test_a_bug_is_exit_1_and_keeps_its_traceback_for_vv(self, gancli, trained, monkeypatch):
        """Tracebacks are shown only with -vv."""
        monkeypatch.setattr("gancli.sampling.encode", lambda *a: 1 / 0)
        words = ("sample", trained[0], "-o", "-")

        assert (gancli(*words)[0], "Traceback" in gancli(*words)[2]) == (1, False)
        assert "ZeroDivisionError" in gancli(*words, "-vv")[2]
        assert "Traceback" in gancli(*words, "-vv")[2]

    def test_a_disk_that_fails_is_exit_74(self, gancli, trained, tmp_path, monkeypatch):
        """The error names the file."""

        def fail(run, tick):
            raise OSError(28, "No space left on device", "stats.jsonl")

        monkeypatch.setattr("gancli.training.log.append", fail)
        words = ("train", trained[1], "--preset", trained[2], "--outdir", tmp_path / "runs", "--threads", 1)
        code, _, err = gancli(*words)
        assert code == 74
        assert "stats.jsonl" in err

    def test_a_truncated_checkpoint(self, gancli, trained, tmp_path):
        """All commands give the same error."""
        data = trained[0].read_bytes()
        (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
        for words in (["sample"], ["inspect-stats"], ["grow"]):
            code, _, err = gancli(*words, tmp_path / "cut.pt")
            assert code == 65
            assert "truncated or damaged" in err

    def test_fail_on_exits_4(self, gancli, trained, monkeypatch):
        """The result is printed first."""
        from gancli.stats.verdict import Verdict

        monkeypatch.setattr("gancli.stats.evaluate.decide", lambda *_, **__: Verdict("collapsed", "high", ("told to",)))
        code, out, _ = gancli("inspect-stats", trained[0], "--fail-on", "collapse", "--json")
        assert (code, json.loads(out)["verdict"]) == (4, "collapsed")
        assert gancli("inspect-stats", trained[0], "--fail-on", "low-diversity")[0] == 0

    def test_without_reals_the_verdict_is_undecided(self, gancli, trained, tmp_path):
        """With --fail-on the exit code is 66."""
        trained[1].rename(tmp_path / "moved")
        try:
            _, out, _ = gancli("inspect-stats", trained[0], "--json")
            code, _, _ = gancli("inspect-stats", trained[0], "--fail-on", "collapse")
            with_data, _, _ = gancli("inspect-stats", trained[0], tmp_path / "moved", "--fail-on", "collapse")
        finally:
            (tmp_path / "moved").rename(trained[1])
        assert json.loads(out)["verdict"] == "undecided"
        assert (code, with_data) == (66, 0)

    def test_a_closed_pipe_is_exit_141(self, trained, tmp_path):
        """gancli ... | head -1 exits silently."""
        with process("presets", "show", "quickstart", cwd=tmp_path, stdout=-1, stderr=-1) as p:
            p.stdout.close()
            err = p.stderr.read()
        assert p.returncode == 141
        assert err == ""

    def test_a_closed_log_does_not_stop_a_training(self, trained, tmp_path):
        """gancli train ... 2>&1 | head -4: training continues to its end."""
        words = ["train", trained[1], "--preset", trained[2], "--kimg", 0.8, "--outdir", tmp_path / "runs"]
        with process(*words, cwd=tmp_path, stdout=-1, stderr=-1) as p:
            read_until(p.stderr, "kimg=")
            p.stderr.close()
            out = p.stdout.read()
        assert p.returncode == 0
        assert out.endswith("last.pt\n")

    def test_a_part_of_a_write_is_not_the_whole(self, trained, tmp_path):
        """Unbuffered output, as in many containers: a closed pipe is detected, and no output is lost."""
        code = "import os, sys; os.environ['PYTHONUNBUFFERED'] = '1'; os.execv(sys.argv[1], sys.argv[1:])"
        words = ["-m", "gancli", "sample", str(trained[0]), "--seeds", "0-299", "-o", "-", "--format", "npy"]
        with subprocess.Popen([sys.executable, "-c", code, sys.executable, *words], stdout=-1, cwd=tmp_path) as p:
            p.stdout.read(10)
            p.stdout.close()
        assert p.returncode == 141
        whole = subprocess.run([sys.executable, "-u", *words], stdout=-1, check=True, cwd=tmp_path).stdout
        assert np.load(io.BytesIO(whole)).shape == (300, 16, 16, 3)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_behind_stdout_is_exit_74(self, tmp_path):
        """With an error message."""
        with open("/dev/full", "w") as full, process("presets", "list", cwd=tmp_path, stdout=full, stderr=-1) as p:
            err = p.stderr.read()
        assert p.returncode == 74
        assert "No space left" in err


class TestSignals:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -2), (signal.SIGTERM, -15), (signal.SIGHUP, -1)])
    def test_a_signal_saves_and_then_ends_by_itself(self, trained, tmp_path, number, status):
        """The exit status is 130, 143 or 129; the checkpoint is printed; the same command resumes."""
        words = ["train", trained[1], "--preset", trained[2], "--kimg", 200, "--outdir", tmp_path / "runs"]
        with process(*words, cwd=tmp_path, stdout=-1, stderr=-1) as p:
            read_until(p.stderr, "kimg=")
            p.send_signal(number)
            rest, out = p.stderr.read(), p.stdout.read()
        assert p.returncode == status
        assert "Traceback" not in rest
        assert "to continue: gancli resume" in rest
        assert out.endswith("last.pt\n")

        if number == signal.SIGINT:
            with process(*words, cwd=tmp_path, stderr=-1) as p:
                line = read_until(p.stderr, "resuming")
                p.kill()
            assert float(line.split()[-2]) > 0

    def test_sigusr1_saves_and_goes_on(self, trained, tmp_path):
        """For schedulers that send a signal before they stop a job."""
        words = ["train", trained[1], "--preset", trained[2], "--kimg", 200, "--outdir", tmp_path / "runs"]
        with process(*words, cwd=tmp_path, stderr=-1) as p:
            read_until(p.stderr, "kimg=")
            (last,) = (tmp_path / "runs").glob("*/last.pt")
            before = last.stat().st_mtime_ns
            p.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 20
            while last.stat().st_mtime_ns == before and time.monotonic() < deadline:
                time.sleep(0.05)
            alive = p.poll() is None
            p.kill()
        assert alive
        assert last.stat().st_mtime_ns > before


class TestOptions:
    def test_seed_lists(self):
        """Ranges and single seeds, in the given order."""
        assert values.seeds("3-5,1,42") == [3, 4, 5, 1, 42]

    @pytest.mark.parametrize("text", ["", "a", "1-", "-1", "5-3", "1.5", str(2**32), "0-99999999"])
    def test_what_is_no_seed(self, text):
        """An error with an example."""
        with pytest.raises(UsageError):
            values.seeds(text)

    def test_precedence_is_flag_environment_preset(self, gancli, trained, tmp_path, monkeypatch):
        """option > GANCLI_* > preset > default."""
        words = ("train", trained[1], "--preset", trained[2], "-n", "--json")
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path))

        def seed(*more):
            return json.loads(gancli(*words, *more)[1])["config"]["train"]["seed"]

        assert seed() == 0
        assert seed("--set", "train.seed=3") == 3
        monkeypatch.setenv("GANCLI_SEED", "7")
        assert (seed(), seed("--seed", "9"), seed("--set", "train.seed=3")) == (7, 9, 3)

    def test_a_length_on_the_command_line_overrides_the_environment(self, gancli, trained, tmp_path, monkeypatch):
        """GANCLI_MINUTES and --kimg are no conflict; --minutes and --kimg are."""
        words = ("train", trained[1], "--preset", trained[2], "-n", "--json")
        monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path))
        monkeypatch.setenv("GANCLI_MINUTES", "60")
        assert json.loads(gancli(*words, "--kimg", "0.08")[1])["duration"] == 80
        assert json.loads(gancli(*words, "--set", "train.duration=80")[1])["duration"] == 80
        assert gancli(*words, "--kimg", "0.08", "--minutes", "1")[0] == 2

    def test_batch_holds_at_every_resolution(self, gancli):
        """It overrides batch sizes of single resolutions in the preset."""
        out = gancli(
            "train",
            "builtin:shapes",
            "--preset",
            "progan-64",
            "--batch",
            2,
            "-n",
            "--json",
            "--set",
            "network.max_channels=8",
        )[1]
        assert {stage["batch_size"] for stage in json.loads(out)["stages"]} == {2}


class TestOtherCommands:
    def test_runs_lists_them(self, gancli, trained):
        """With name, kimg and state, and the verdict if the run was evaluated."""
        code, out, _ = gancli("runs", "--outdir", trained[0].parents[1], "--json")
        (run,) = json.loads(out)["items"]
        assert (code, run["name"], run["state"], run["kimg"]) == (0, "00000-pictures-tiny", "finished", 0.16)
        told = runs.StoredVerdict.read(runs.Run(trained[0].parent))
        assert run["verdict"] == (told.verdict if told else None)

    def test_runs_say_no_verdict_that_nobody_gave(self, gancli, trained, tmp_path):
        """Afterwards, that of the last inspect-stats, with its kimg."""
        run = trained[0].parent
        (run / "verdict.json").unlink(missing_ok=True)
        listed = json.loads(gancli("runs", "--outdir", run.parent, "--json")[1])["items"]
        verdict = json.loads(gancli("inspect-stats", run, "--quick", "--json")[1])["verdict"]
        listed += json.loads(gancli("runs", "--outdir", run.parent, "--json")[1])["items"]

        assert [(run["verdict"], run["verdict_kimg"]) for run in listed] == [(None, None), (verdict, 0.16)]

    def test_only_the_run_s_own_verdict_is_stored(self, gancli, trained):
        """Not one on other data or on the raw weights."""
        run = trained[0].parent
        (run / "verdict.json").unlink(missing_ok=True)
        for words in ((trained[1],), ("--raw",)):
            assert gancli("inspect-stats", run, *words, "--quick")[0] == 0
        assert not (run / "verdict.json").exists()

    def test_both_weights_are_judged_unless_quick(self, gancli, trained):
        """The verdict on the raw weights is null with --quick."""
        said = [json.loads(gancli("inspect-stats", trained[0], *words, "--json")[1]) for words in ((), ("--quick",))]
        assert said[0]["raw_verdict"] in WORDS
        assert said[1]["raw_verdict"] is None

    def test_doctor_tells_versions(self, gancli):
        """And optional dependencies."""
        body = json.loads(gancli("doctor", "--json")[1])
        assert body["torch"] == torch.__version__
        assert body["packages"]["numpy"] == np.__version__
        assert body["extras"][0]["name"] == "video"

    def test_presets_show_is_a_preset(self, gancli, tmp_path):
        """The output can be saved and used as a preset."""
        _, out, _ = gancli("presets", "show", "quickstart", "--set", "train.seed=5")
        (tmp_path / "mine.yaml").write_text(out)

        assert gancli("presets", "validate", tmp_path / "mine.yaml")[0] == 0
        assert "seed: 5" in out

    def test_a_preset_with_a_typo_is_said(self, gancli, tmp_path):
        """Exit 78 with the closest name."""
        (tmp_path / "p.yaml").write_text("network: {resolution: 8}\ngrwth: {}\n")
        code, _, err = gancli("presets", "validate", tmp_path / "p.yaml")
        assert (code, "'growth'" in err) == (78, True)


class TestShow:
    def test_json_of_a_result(self):
        """NaN is null, paths are text, nested results are objects."""
        rejected = results.Rejected("a", "b")
        assert json.loads(show.as_json([rejected, float("nan")])) == {
            "schema_version": 4, "items": [{"name": "a", "reason": "b"}, None],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("seconds", "text"), [(None, "?"), (59.6, "0:01:00"), (3661, "1:01:01"), (10 * 86400, "10 days")]
    )
    def test_durations(self, seconds, text):
        """Durations as readable text."""
        assert tables.duration(seconds) == text

    @pytest.mark.parametrize("seconds", [math.nan, math.inf, -1, 1e308, 2**70])
    def test_any_duration_is_a_short_text(self, seconds):
        """Also those that follow from a damaged log."""
        assert len(tables.duration(seconds)) < 16

    @pytest.mark.parametrize("values", [[1e308, -1e308], [None, None], [2**53, -(2**53), 0], [5e-324, 0.0]])
    def test_any_numbers_have_a_sparkline(self, values):
        """One character each."""
        assert len(tables.sparkline(values)) == len(values)

    def test_a_message_stands_above_the_live_table(self, tmp_path, monkeypatch):
        """The table is erased before it, and drawn again below: otherwise its first line would stay on the screen."""
        screen = io.StringIO()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(show, "stderr", lambda: Console(file=screen, force_terminal=True, width=100))
        table = live.LiveTable()
        table.start(runs.Run(tmp_path), tiny_config(), 8, None)
        table.say("the first message draws the table")
        before = len(screen.getvalue())
        table.say("fewer threads")
        table.close()

        erased, _, drawn = screen.getvalue()[before:].partition("fewer threads")
        assert erased.endswith("\x1b[2K")
        assert "kimg" in drawn

    @pytest.mark.parametrize("value", [1e308, -1e308, math.nan, math.inf, 2**53, -1, 0, 5e-324])
    def test_any_tick_is_shown(self, capfd, value):
        """In the live table and in lines, in few characters."""
        tick = results.Tick(**dict.fromkeys(results.Tick.__dataclass_fields__, value) | {"warnings": ()})
        table = live.LiveTable()
        table.tick(tick)
        table.tick(tick)
        show.stderr().print(table.render())
        live.Lines(as_json=False).tick(tick)
        live.Lines(as_json=True).tick(tick)
        err = capfd.readouterr().err
        assert max(len(word) for word in err.split()[:-1] if "{" not in word) < 40
        json.loads(err.splitlines()[-1])

    @pytest.mark.parametrize(("width", "count"), [(40, 5), (80, 11), (120, 15)])
    def test_a_narrow_terminal_has_fewer_columns(self, capfd, monkeypatch, width, count):
        """And cuts none of them."""
        console = Console(file=sys.stderr, width=width)
        monkeypatch.setattr(show, "stderr", lambda: console)
        table = live.LiveTable()
        numbers = {name: 123.456 for name in results.Tick.__dataclass_fields__}
        table.tick(results.Tick(**numbers | {"resolution": 128, "batch": 16, "warnings": ()}))
        console.print(table._table())
        head, row = capfd.readouterr().err.splitlines()
        assert (len(row.split()), "…" in head + row) == (count, False)

    def test_a_stop_is_confirmed_before_the_step_ends(self, monkeypatch):
        """Ctrl-C is answered by the table while a slow step goes on."""
        console = Console(file=io.StringIO(), width=100)
        monkeypatch.setattr(show, "stderr", lambda: console)
        table = live.LiveTable()
        console.print(table.render())
        assert "stopping" not in console.file.getvalue()
        monkeypatch.setattr(signals, "_stop", 2)
        console.print(table.render())
        assert "stopping and saving after this step" in console.file.getvalue()

    def test_sparklines_and_bars(self):
        """Sparklines start at the smallest number, bars at zero; a missing number is a blank."""
        assert tables.sparkline([0, None, float("nan"), float("inf"), 1]) == "▁   █"
        assert tables.bars([0, 0.5, 1]) == " ▄█"


class TestHelpPanels:
    @pytest.mark.parametrize("command", COMMANDS[:-1])
    def test_shows_defaults_and_panels_and_no_type_of_flags(self, gancli, command, monkeypatch):
        """Options stand in panels; no [default: ...] is lost as markup."""
        monkeypatch.setenv("COLUMNS", "140")
        code, out, _ = gancli(command, "-h")
        assert code == 0
        assert "<bool>" not in out
        assert "[default: (" in out or command in ("runs", "doctor", "sample", "interpolate", "inspect-stats")
        assert "─ Logging ─" in out

    def test_the_defaults_of_train(self, gancli, monkeypatch):
        """What is taken where nothing is said."""
        monkeypatch.setenv("COLUMNS", "140")
        out = gancli("train", "-h")[1]
        for default in ("auto", "as in the preset or run", "as in the data", "crop"):
            assert f"[default: ({default})]" in out


class TestUsageErrors:
    def test_obey_json(self, gancli):
        """As every other error."""
        code, _, err = gancli("train", "--fooo", "--json")
        assert (code, json.loads(err)["error"]["code"]) == (2, 2)

    def test_look_like_every_other_error(self, gancli):
        """What, where, hint."""
        code, _, err = gancli("sample", "--cols", "x")
        assert code == 2
        assert err.startswith("error: ")
        assert "--help" in err

    def test_a_wrong_stop_word_is_found_in_a_dry_run(self, gancli):
        """Before the hours that end there."""
        assert gancli("train", "--stop-on", "foo", "-n")[0] == 2

    def test_binary_data_does_not_flood_a_terminal(self, gancli, trained, monkeypatch):
        """-o - on a terminal is refused."""
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        code, _, err = gancli("sample", trained[0], "-o", "-")
        assert (code, "terminal" in err) == (2, True)


class TestPresetsAsJson:
    def test_say_what_a_loop_needs(self, gancli):
        """Data, size, length and cost of every preset."""
        rows = {row["name"]: row for row in json.loads(gancli("presets", "list", "--json")[1])["items"]}
        assert rows["quickstart"]["data"] == "builtin:shapes"
        assert (rows["quickstart"]["kimg"], rows["quickstart"]["size"]) == (37, [32, 32])
        assert (rows["progan-64"]["data"], rows["progan-64"]["kinds"]) == (None, ["image"])
        assert rows["bn-mlp-28"]["epochs"] == 20
        assert "one core" in rows["quickstart"]["cost"]


class TestCompletion:
    def test_of_presets_and_runs(self, trained, monkeypatch):
        """What begins so."""
        monkeypatch.chdir(trained[0].parents[2])
        assert options.complete_preset("progan-1") == ["progan-1024", "progan-128", "progan-128-lite"]
        assert options.complete_run("runs/0") == ["runs/00000-pictures-tiny"]
        assert options.complete_run("") == ["runs/00000-pictures-tiny"]


class TestTimeLeft:
    STAGES = tuple(
        results.StageForecast(2**i, 1, 100, 900, 8, 1, seconds, timed=True) for i, seconds in ((2, 10), (3, 40))
    )

    def test_counts_what_later_stages_cost(self):
        """Half of a stage of 10 s for 1,000 images, then one of 40 s; at twice the speed half as long."""
        assert live.seconds_left(self.STAGES, 500, 100.0) == pytest.approx(5 + 40)
        assert live.seconds_left(self.STAGES, 500, 200.0) == pytest.approx((5 + 40) / 2)
        assert live.seconds_left(self.STAGES, 1_500, 25.0) == pytest.approx(20)

    def test_is_unknown_without_a_forecast(self):
        """Or before the first speed."""
        assert live.seconds_left((), 10, 5.0) is None
        assert live.seconds_left(self.STAGES, 10, 0.0) is None


def test_the_panel_is_short_unless_all_is_asked_for(gancli, trained):
    """The verdict comes first and last."""
    short, everything = (gancli("inspect-stats", trained[0], *words)[1] for words in ((), ("--all",)))
    heads = [line for line in short.splitlines() if line.startswith("verdict: ")]

    assert len(heads) == 2
    assert short.rstrip().endswith(heads[-1])
    assert "--all" in short
    assert len(everything.splitlines()) > len(short.splitlines()) + 15


def test_the_short_panel_prefers_fixed_features():
    """Trained ones find no sample of a small generator near the data, and say no more. --all shows both."""
    panel = [Figure(key, key, 0.5, 0.5) for key in ("coverage", "coverage_fixed", "precision", "grain")]
    short, everything = (_shown(tables.health_panel(_health(panel), everything=all_)) for all_ in (False, True))
    assert [line.split()[0] for line in short] == ["coverage_fixed", "precision"]
    assert len(everything) == 4


def _health(panel):
    return Health("healthy", "high", (), panel=tuple(panel), samples=500)


def _shown(parts):
    """The lines of the table that have a number."""
    console = Console(width=120, file=io.StringIO())
    for part in parts:
        console.print(part)
    return [line.strip() for line in console.file.getvalue().splitlines() if "0.5" in line]


class TestNumbersOfAnySize:
    @pytest.mark.parametrize(
        "words",
        [
            ("sample", "x.pt", "--seeds", "9" * 5000),
            ("sample", "x.pt", "--seeds", f"0-{'9' * 5000}"),
            ("train", "--kimg", "1e306"),
            ("train", "--kimg", "1e400"),
            ("train", "--kimg", "nan"),
        ],
    )
    def test_too_large_is_wrong_usage(self, gancli, words):
        """Exit 2 with a short sentence."""
        code, _, err = gancli(*words)
        assert code == 2
        assert len(err) < 500


def test_the_exit_code_stays_if_standard_error_is_on_a_full_disk(tmp_path):
    """/dev/full fails at every write; an ablation whose logs are on a full disk must see why its run failed."""
    command = [sys.executable, "-m", "gancli", "sample", str(tmp_path / "none.pt"), "--seeds", "0"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.returncode == 66
