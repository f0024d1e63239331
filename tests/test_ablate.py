import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_pictures, write_preset

from gancli import checkpoint
from gancli.errors import ChildFailed, ConfigError, InputMissing, UsageError
from gancli.health import Figure, Health
from gancli.report import ablation as report
from gancli.results import Ablation, AblationRow, Spread, silent
from gancli.runs import Run, all_runs
from gancli.training import ablate as verb
from gancli.training import curves, variants
from gancli.training.callbacks import Silent
from gancli.training.curves import Curve
from gancli.training.session import BEFORE
from gancli.training.subprocesses import Task

SHORT = {"train.duration": 64, "train.tick_every": 8, "train.sample_every": 32, "network.channels": [4, 4, 4]}


class TestVary:
    def test_every_combination(self):
        """Two keys of two values: four variants, each named by its values."""
        found = variants.variants(["loss.r1=0,1", "network.output=tanh,linear"])
        assert [v.name for v in found] == [
            "r1 0, output tanh", "r1 0, output linear", "r1 1, output tanh", "r1 1, output linear",
        ]  # fmt: skip
        assert found[3].changes == {"loss.r1": 1, "network.output": "linear"}

    def test_words_speak_for_themselves_and_numbers_do_not(self):
        """A text value is the name of its variant; a number gets its key as a prefix."""
        assert [v.name for v in variants.variants(["network.output=tanh,bn-tanh"])] == ["tanh", "bn-tanh"]
        assert [v.name for v in variants.variants(["loss.r1=0.5,null"])] == ["r1 0.5", "r1 null"]

    def test_commas_in_brackets_part_nothing(self):
        """A value may be a mapping or a list."""
        assert variants.split("null, {group_size: 4, statistic: channel},[1,2]") == [
            "null", "{group_size: 4, statistic: channel}", "[1,2]",
        ]  # fmt: skip

    @pytest.mark.parametrize("text", ["loss.r1", "=1,2", "loss.r1=1,,2", "loss.r1=1,1"])
    def test_what_varies_nothing_is_refused(self, text):
        """No key, an empty value, the same value twice."""
        with pytest.raises(UsageError, match="KEY=A,B,C"):
            variants.variants([text])


class TestCommands:
    """--print-commands and --collect: other programs do the training."""

    def test_the_printed_commands_train_the_runs(self, tiny, pictures, tmp_path, gancli):
        """One line a run, in any order; collecting compares those that are there."""
        outdir = tmp_path / "our runs"  # a shell would split it
        words = ("--preset", tiny, str(pictures), "--vary", "loss.r1=0.5,2", "--seeds", "0,1", "--kimg", "0.064")
        words = (*words, "--outdir", str(outdir))
        lines = gancli("ablate", *words, "--print-commands")[1].splitlines()
        assert len(lines) == 4
        with pytest.raises(InputMissing):
            collected(tiny, pictures, outdir)
        for line in reversed(lines[1:]):
            program, *rest = shlex.split(line)
            assert program == "gancli"
            assert gancli(*rest, "--threads", "1")[0] == 0
        found = collected(tiny, pictures, outdir)

        assert [row.seeds for row in found.rows] == [(1,), (0, 1)]
        assert [Run(path).config().loss.r1 for row in found.rows for path in row.runs] == [0.5, 2, 2]

    @pytest.mark.slow
    def test_xargs_on_two_hosts_finds_the_same_as_ablate(self, tiny, pictures, tmp_path, gancli):
        """Each host takes half of the lines, as docs/scaling.md shows, from a folder of its own."""
        words = ("--preset", tiny, str(pictures), "--vary", "loss.r1=0.5,2", "--seeds", "0,1", "--kimg", "0.064")
        outdir = tmp_path / "runs"
        lines = gancli("ablate", *words, "--outdir", str(outdir), "--print-commands")[1].splitlines()
        hosts = []
        for host, own in enumerate((lines[:2], lines[2:])):
            (tmp_path / f"host{host}").mkdir()
            text = "\n".join(own).encode()
            command = ["xargs", "-d", "\\n", "-P", "2", "-n", "1", "sh", "-c"]
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
            xargs = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path / f"host{host}", env=environment)
            xargs.stdin.write(text)
            xargs.stdin.close()
            hosts.append(xargs)
        assert [host.wait(timeout=120) for host in hosts] == [0, 0]

        mine = collected(tiny, pictures, outdir)
        alone = collected(tiny, pictures, tmp_path / "alone", collect=False)
        assert [row.seeds for row in mine.rows] == [(0, 1), (0, 1)]
        assert [(row.variant, row.measures) for row in mine.rows] == [(row.variant, row.measures) for row in alone.rows]

    def test_options_of_the_user_are_passed_on(self, tiny, pictures):
        """Those of the machine, such as the device."""
        (line,) = verb.commands(["loss.r1=1"], tiny, str(pictures), options=["--device", "cpu"])
        assert line.endswith("--device cpu")


def collected(preset, pictures, outdir, *, collect=True):
    changes = {"train.duration": 64}
    return verb.ablate(
        ["loss.r1=0.5,2"], preset, str(pictures), seeds=(0, 1), changes=changes, show=["std_ratio"], outdir=outdir,
        collect=collect, threads=1,
    )  # fmt: skip


class TestPresets:
    def test_a_variant_may_be_another_preset(self):
        """Its other changes stay; without one, the preset is that of the command."""
        (one, two) = variants.variants(["preset=quickstart,progan-64-lite"])
        assert [v.name for v in (one, two)] == ["quickstart", "progan-64-lite"]
        assert two.of_preset("ring8", {"train.lr": 1}) == ("progan-64-lite", {"train.lr": 1})
        assert variants.Variant("a", {"loss.r1": 2}).of_preset("ring8", {"loss.r1": 1}) == ("ring8", {"loss.r1": 2})

    def test_every_run_has_the_config_of_its_preset(self, tmp_path):
        """And its command line names it."""
        presets = [
            write_preset(tmp_path / f"{name}.yaml", {**SHORT, "loss.r1": r1}) for name, r1 in (("a", 1), ("b", 2))
        ]
        found = variants.variants([f"preset={','.join(presets)}"])
        jobs, _ = verb._jobs(found, (0,), "quickstart", str(make_pictures(tmp_path / "p", 24)), {}, Silent())
        tasks = verb._tasks(jobs, "quickstart", None, {}, tmp_path, [])

        assert [job.config.loss.r1 for job in jobs] == [1, 2]
        assert [task.words[task.words.index("--preset") + 1] for task in tasks] == presets

    def test_figures_of_the_panel_are_compared_over_seeds(self, monkeypatch):
        """Mean and deviation over runs, of each part; verdicts are counted."""
        values = {"a": (0.4, "healthy"), "b": (0.6, "healthy"), "c": (0.5, "collapsed")}

        def inspected(run, *_, **__):
            value, word = values[str(run)]
            figures = (Figure("coverage", "", value, 1.0), Figure("color_distance", "", 9.0, 1.0, part="red"))
            return Health(word, "high", (), figures)

        monkeypatch.setattr(verb, "inspect_stats", inspected)
        row = AblationRow("x", {}, (0, 1, 2), tuple(map(Path, values)), (8, 8, 8), (), (), {})

        found = verb._evaluated(row, None, ("coverage", "verdict", "color_distance"), "cpu", silent)

        assert found.figures.keys() == {"coverage", "color_distance, red"}
        assert found.figures["color_distance, red"].mean == 9
        assert found.figures["coverage"].mean == pytest.approx(0.5)
        assert found.figures["coverage"].spread == pytest.approx(0.1)
        table = Ablation("p", "d", Path("o"), (), 3, None, (found,), ("coverage",)).table()
        assert table == [("verdict", ["healthy 2, collapsed 1"]), ("coverage", ["0.5 ± 0.1"])]

    def test_an_empty_table_says_why(self):
        """Runs that are shorter than a tick, figures that the data does not have."""
        row = AblationRow("x", {}, (0,), (Path("r"),), (8,), (), (), {"critic_loss": {}})
        notes = list(verb._notes([row], ("critic_loss",), ("verdict", "modes_covered"), None))
        assert "--tick" in notes[0]
        assert notes[1:] == ["not available for this data: modes_covered"]

    def test_a_quantity_that_was_never_measured_between_two_steps(self):
        """Neither a crash nor the advice to log more often, if another quantity was measured there."""
        last, between = Spread(1.0, 0.0), Spread(2.0, 0.0)
        row = AblationRow("x", {}, (0,), (Path("r"),), (8,), (), (), {"moments": {}, "std_ratio": {"last": last}})
        assert "no tick in steps 5-9" in next(verb._notes([row], ("moments", "std_ratio"), (), (5, 9)))
        measured = {"moments": {}, "std_ratio": {"last": last, "between": between}}
        row = replace(row, measures=measured)
        assert list(verb._notes([row], ("moments", "std_ratio"), (), (5, 9))) == []

    def test_slower_metrics_are_computed_if_they_are_shown(self, monkeypatch):
        """Sliced Wasserstein is not part of --quick."""
        asked, healthy = [], Health("healthy", "high", ())
        monkeypatch.setattr(verb, "inspect_stats", lambda *_, quick, **__: asked.append(quick) or healthy)
        row = AblationRow("x", {}, (0,), (Path("r"),), (8,), (), (), {})
        for key in ("coverage", "sliced_wasserstein"):
            verb._evaluated(row, None, (key,), "cpu", silent)
        assert asked == [True, False]


class TestCurves:
    def test_the_running_mean_is_over_steps_not_ticks(self):
        """Compared with a loop over all pairs, on unevenly spaced ticks."""
        steps = np.array([1.0, 2, 3, 6, 7, 30])
        values = np.array([1.0, 2, 4, 8, 16, 32])
        by_hand = [values[np.abs(steps - s) <= 2].mean() for s in steps]
        np.testing.assert_allclose(curves.running(Curve(steps, values), 4), by_hand)

    def test_measures_by_hand(self):
        """The last tenth, the largest running median with its sign, the mean between two steps."""
        steps = np.arange(1.0, 101)
        values = np.where((steps > 40) & (steps < 60), -9.0, 1.0)
        found = curves.measures(Curve(steps, values), 5, (45, 50))
        assert found == {"last": 1, "peak": -9, "peak at": pytest.approx(42, abs=2), "between": -9}

    def test_the_last_tick_counts_though_its_batch_exceeds_the_duration(self):
        """16 does not divide 37,000: the run ends at 37,008. What another, longer run logged later does not count."""
        ticks = [{"images": at, "generator_steps": at // 16, "loss": at} for at in (36_000, 37_008, 38_000)]
        assert list(curves.curve(ticks, "loss", 37_000).values) == [36_000, 37_008]
        assert list(curves.curve(ticks, "loss", 37_008).values) == [36_000, 37_008]
        assert list(curves.curve(ticks, "loss", 90_000).values) == [36_000, 37_008, 38_000]

    def test_what_was_never_measured_has_no_measure(self):
        """If a key is null in every line."""
        assert curves.measures(Curve(np.arange(3.0), np.full(3, np.nan)), 5, None) == {}

    def test_spread_over_seeds(self):
        """Mean and standard deviation (n - 1)."""
        spread = curves.over_seeds([{"last": 1.0}, {"last": 3.0}])["last"]
        assert (spread.mean, spread.spread) == (2, pytest.approx(2**0.5))

    def test_any_key_of_the_log_and_of_the_panel_may_be_shown(self):
        """The verdict, too, which is text in the log. Unknown ones and those of a network are refused with a hint."""
        assert curves.sorted_keys(["saturation", "coverage", "verdict"]) == (("saturation",), ("coverage", "verdict"))
        with pytest.raises(UsageError, match="does not compute kid"):
            curves.sorted_keys(["kid"])
        with pytest.raises(UsageError, match="neither") as error:
            curves.sorted_keys(["critic_los"])
        assert "critic_loss" in error.value.hint


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """An ablation of two output layers with two seeds, two runs at a time."""
    place = tmp_path_factory.mktemp("ablate")
    preset = write_preset(place / "tiny.yaml", SHORT)
    pictures = make_pictures(place / "pictures", 24)
    os.environ["GANCLI_CACHE_DIR"] = str(place / "cache")  # the fixture that sets it is of the single test

    def run(seeds=(0, 1), collect=False):
        return verb.ablate(["network.output=tanh,bn-clip"], preset, str(pictures), seeds=seeds,
                           outdir=place / "out", jobs=2, between=(2, 6), window=3, collect=collect)  # fmt: skip

    return run, run(), place / "out"


class TestAblate:
    def test_every_variant_is_a_run_with_every_seed(self, ablated):
        """Four finished runs that differ only in the varied key."""
        _, found, out = ablated
        assert isinstance(found, Ablation)
        assert [(row.variant, row.seeds, row.diverged) for row in found.rows] == [
            ("tanh", (0, 1), ()), ("bn-clip", (0, 1), ()),
        ]  # fmt: skip
        assert len(all_runs(out)) == 4

    def test_the_numbers_are_the_log_s(self, ablated):
        """The mean between steps 2 and 6 over seeds, recomputed from stats.jsonl."""
        _, found, _ = ablated
        row = found.rows[0]
        by_hand = [
            np.mean([t["critic_loss"] for t in Run(path).stats() if 2 <= t["generator_steps"] <= 6])
            for path in row.runs
        ]
        assert row.measures["critic_loss"]["between"].mean == pytest.approx(np.mean(by_hand))
        assert row.measures["critic_loss"]["between"].spread == pytest.approx(np.std(by_hand, ddof=1))

    def test_untrained_networks_are_measured_too(self, ablated):
        """bn-clip starts with the colors of the data, tanh does not."""
        _, found, _ = ablated
        tanh, clip = (row.measures["color_distance"]["untrained"].mean for row in found.rows)
        assert clip < tanh

    def test_the_same_words_train_nothing_again(self, ablated):
        """An additional seed trains only that seed."""
        run, _, out = ablated
        stamps = {r.path.name: r.last.stat().st_mtime_ns for r in all_runs(out)}
        again = run((0, 1, 2))
        now = {r.path.name: r.last.stat().st_mtime_ns for r in all_runs(out)}
        assert {name: now[name] for name in stamps} == stamps
        assert len(now) == 6
        assert again.rows[0].seeds == (0, 1, 2)

    def test_verdicts_of_the_end_lead_the_table(self, ablated):
        """24 images are too few to decide anything, and for any figure; the notes say so."""
        _, found, _ = ablated
        assert found.table()[0] == ("verdict", ["undecided", "undecided"])
        assert any(note.startswith("not available for this data: coverage") for note in found.notes)

    def test_a_run_that_is_not_there_has_not_diverged(self, ablated):
        """--collect compares what is there: the others are unfinished. One diverged if the log ends with that."""
        run, *_ = ablated
        found = run(seeds=(0, 7), collect=True)
        assert [(row.seeds, row.unfinished, row.diverged) for row in found.rows] == [((0,), (7,), ())] * 2
        assert any("not finished with seed 7" in note for note in found.notes)
        stats = Run(found.rows[0].runs[0]).stats_file
        text = stats.read_text()
        try:
            warning = {"name": "diverged", "text": "t", "since": 8, "checkpoint": None}
            *lines, last = text.splitlines()
            stats.write_text("\n".join([*lines, json.dumps(json.loads(last) | {"warnings": [warning]}), ""]))
            assert verb._has_diverged(Run(stats.parent))
        finally:
            stats.write_text(text)
        assert not verb._has_diverged(Run(stats.parent))

    def test_a_run_with_an_unfinished_step_is_not_done(self, ablated):
        """A signal in its last step: the images are complete, and the generator step is not."""
        *_, out = ablated
        run = all_runs(out)[0]
        job = verb.Job(variants.Variant("x", {}), 0, run.config())
        assert job.is_done(out)
        before = run.last.read_bytes()
        try:
            opened = checkpoint.read(run.last)
            checkpoint.write(run.last, replace(opened, extra={**opened.extra, BEFORE: torch.tensor(56)}))
            assert not job.is_done(out)
        finally:
            run.last.write_bytes(before)

    def test_the_page_holds_all_it_shows(self, ablated):
        """All URLs are data: URLs; the table, curves, images and histograms are there."""
        _, found, _ = ablated
        page = report.page(found)
        assert "http" not in page.replace("http-equiv", "")
        assert "src=" in page
        assert page.count("data:image/png;base64,") >= 6
        assert page.count("<polyline") >= 2 * len(found.quantities)
        assert 'class="histogram"' in page
        assert "bn-clip" in page

    def test_seeds_are_given_as_seeds(self, ablated, tmp_path):
        """Two variants that are the same run are refused: durations do not distinguish runs."""
        for vary in ("train.seed=0,1", "train.duration=100,200", "loss.r1=1,1.0"):
            with pytest.raises(UsageError):
                verb.ablate([vary], "quickstart", outdir=tmp_path / "out")
        with pytest.raises(UsageError, match="--seeds"):
            verb.ablate(["loss.r1=1,2"], "quickstart", changes={"train.seed": 3}, outdir=tmp_path / "out")

    def test_the_user_s_variables_do_not_reach_the_runs(self, ablated, monkeypatch):
        """GANCLI_MIRROR would change every run, but all are found finished."""
        run, _, out = ablated
        monkeypatch.setenv("GANCLI_MIRROR", "1")
        assert run((0, 1, 2)).rows[0].diverged == ()
        assert len(all_runs(out)) == 6

    def test_a_wrong_variant_is_refused_before_anything_trains(self, ablated, tmp_path):
        """All configs are validated first."""
        with pytest.raises(ConfigError, match="bn-clop"):
            verb.ablate(["network.output=tanh,bn-clop"], "quickstart", outdir=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_run_that_fails_ends_the_ablation_with_its_exit_code(tiny, pictures, tmp_path, monkeypatch):
    """The error message is taken from its log."""
    words = [sys.executable, "-c", "print('error: no room'); exit(74)"]
    monkeypatch.setattr(verb, "_tasks", lambda *_: [Task("first", words, tmp_path / "out" / "log", 100)])
    with pytest.raises(ChildFailed, match="no room") as caught:
        verb.ablate(["loss.r1=0,1"], tiny, str(pictures), outdir=tmp_path / "out")
    assert caught.value.exit_code == 74


@pytest.mark.slow
def test_an_interrupted_ablation_goes_on(pictures, tmp_path):
    """On SIGINT the runs save and the exit code is 130; the same command finishes them."""
    preset = write_preset(tmp_path / "tiny.yaml", {**SHORT, "train.duration": 4_000, "train.checkpoint_every": 0})
    words = [sys.executable, "-m", "gancli", "ablate", str(pictures), "--preset", preset,
             "--vary", "loss.r1=0.1,0.2", "--outdir", str(tmp_path / "out"), "-j", "2"]  # fmt: skip
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while sum(1 for r in all_runs(tmp_path / "out") if r.stats()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    reached = [run.stats()[-1]["images"] for run in all_runs(tmp_path / "out")]
    assert all(0 < images < 4_000 for images in reached)
    assert all(run.last.exists() for run in all_runs(tmp_path / "out"))
    done = subprocess.run([*words, "--kimg", "0.6", "--json"], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(all_runs(tmp_path / "out")) == 2
    assert json.loads(done.stdout)["rows"][0]["diverged"] == []


def test_a_page_in_a_missing_folder_is_refused_before_anything_trains(gancli, tmp_path):
    """Exit 73."""
    words = ("--vary", "loss.r1=1,2", "--outdir", tmp_path / "runs", "-o", tmp_path / "missing" / "page.html")
    assert gancli("ablate", "builtin:shapes", *words)[0] == 73
    assert not (tmp_path / "runs").exists()
