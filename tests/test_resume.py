"""gancli resume, and commands that take the newest run where none is named."""

import json

import pytest
from conftest import write_preset

import gancli as package
from gancli.errors import ConfigError, InputMissing, UsageError
from gancli.runs import Run
from gancli.training.setup import differences


@pytest.fixture
def run(tiny, pictures, tmp_path):
    """A finished run of 160 images."""
    return package.train(tiny, str(pictures), outdir=tmp_path / "runs", threads=1).run


def weights(run):
    return package.load(run).checkpoint.weights["G"]


class TestResume:
    def test_equals_the_command_that_made_the_run(self, tiny, pictures, tmp_path):
        """The same weights, bit for bit, whether one run is continued by its folder or by its command."""
        outdirs = [tmp_path / name for name in ("a", "b")]
        for outdir in outdirs:
            package.train(tiny, str(pictures), outdir=outdir, threads=1, changes={"train.duration": 80})
        by_command = package.train(tiny, str(pictures), outdir=outdirs[0], threads=1, changes={"train.duration": 160})
        by_folder = package.resume(outdir=outdirs[1], duration=160, threads=1)

        assert (by_command.images, by_folder.images) == (160, 160)
        a, b = weights(by_command.run), weights(by_folder.run)
        assert all((a[name] == b[name]).all() for name in a)

    def test_a_finished_run_stays_as_it_is(self, run):
        """Unless it is given more images."""
        assert package.resume(run, threads=1).state == "already finished"
        assert package.resume(run, duration=176, threads=1).images == 176

    def test_takes_the_name_that_runs_lists(self, run):
        """Below the folder of the runs."""
        assert package.resume(run.name, outdir=run.parent, threads=1).run == run

    def test_what_is_no_run_is_refused(self, tmp_path):
        """A folder without a config, and an empty folder of runs."""
        for words in ({"run": tmp_path}, {"outdir": tmp_path}):
            with pytest.raises(InputMissing):
                package.resume(**words)

    def test_data_that_is_gone_is_missing(self, run, pictures):
        """And named."""
        pictures.rename(pictures.with_name("moved"))
        with pytest.raises(InputMissing, match="pictures"):
            package.resume(run, duration=200)

    def test_a_run_that_had_not_begun_starts_from_its_source(self, run, pictures, tmp_path):
        """A transferred run whose first checkpoint was never written has the source's weights, not random ones."""
        moved = package.train(
            data=str(pictures), start_from=run, outdir=tmp_path / "next", changes={"train.lr": 1e-9}, threads=1
        )
        for file in [*moved.run.glob("checkpoints/*"), moved.run / "last.pt", moved.run / "stats.jsonl"]:
            file.unlink()

        package.resume(moved.run, threads=1)

        before, after = weights(run), weights(moved.run)
        assert all((before[name] - after[name]).abs().max() < 1e-3 for name in before)


class TestNewestRun:
    def test_is_what_sample_interpolate_and_grow_take(self, gancli, run, tmp_path):
        """Where no checkpoint is named."""
        where = ("--outdir", run.parent)
        assert gancli("sample", *where, "-o", tmp_path / "a.png")[0] == 0
        assert gancli("interpolate", tmp_path / "a.gif", *where, "--frames", 2)[0] == 0
        code, out, _ = gancli("grow", *where, "--kimg", "0.016", "--json")
        grown = Run(run.parent / json.loads(out)["run"])
        assert (code, grown.config().network.resolution) == (0, 32)

    def test_interpolate_without_an_output_is_wrong(self, gancli, run):
        """A checkpoint alone is not taken for one."""
        for words in ((), (run,), (run / "last.pt",)):
            code, _, err = gancli("interpolate", *words, "--outdir", run.parent)
            assert (code, "OUT is missing" in err) == (2, True)


def test_training_on_a_run_folder_explains_itself(run):
    """It is not data; the hint is the command that continues it."""
    with pytest.raises(UsageError) as error:
        package.train("quickstart", str(run))
    assert f"gancli resume {run}" in error.value.hint


def test_another_config_for_a_named_run_shows_the_keys(run, pictures, tmp_path):
    """Which values differ, the run's own first."""
    preset = write_preset(tmp_path / "other.yaml", {"train.lr": 0.5, "preset": "tiny"})
    with pytest.raises(ConfigError) as error:
        package.train(preset, str(pictures), outdir=run.parent, name=run.name)
    assert "train.lr: 0.002, now 0.5" in error.value.what


def test_differences_are_dotted_keys():
    """Nested, missing on a side, equal ones left out."""
    old, new = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 1, "c": [2]}, "e": 3}
    assert differences(old, new) == ["a.c: [1], now [2]", "d: 2, now None", "e: None, now 3"]
