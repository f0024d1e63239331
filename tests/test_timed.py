"""--minutes: the schedule is fitted to a time once, and is then a fixed number of images."""

import pytest
import torch
from conftest import tiny_config, write_preset

import gancli
from gancli import config as configs
from gancli import growth
from gancli.errors import ConfigError
from gancli.growth import Schedule
from gancli.results import Forecast
from gancli.runs import Run
from gancli.training import timed, verbs


@pytest.fixture
def speed(monkeypatch):
    """Call it with the images per second that forecasts find from then on. Returns the number of forecasts so far."""
    calls = []

    def set_speed(images_per_s):
        def forecast(config, dataset, device, workers=1):
            calls.append(config)
            return Forecast({}, 0, 0, (), config.train.duration, config.train.duration / images_per_s, 0, 0, 0, "cpu")

        monkeypatch.setattr(timed, "forecast", forecast)
        monkeypatch.setattr(verbs, "forecast", forecast)
        return len(calls)

    set_speed(100)
    return set_speed


def train(preset, pictures, outdir, minutes, **options):
    changes = {"train.minutes": minutes, **options.pop("changes", {})}
    return gancli.train(preset, str(pictures), changes=changes, outdir=outdir, threads=1, device="cpu", **options)


def test_the_schedule_is_scaled_as_a_whole():
    """Fades and stable phases, those of single resolutions too, and the length; what is 0 stays 0."""
    config = tiny_config(
        **{"growth.at": {8: {"stable": 64}, 16: {"fade": 0, "batch_size": 4}}, "train.duration": 32 + 32 + 64 + 32}
    )
    found = timed.scaled(config, 2.5)
    phases = [(s.length, s.stage, s.fading) for s in Schedule.of(found).segments]
    assert phases == [(80, 0, False), (80, 1, True), (160, 1, False), (80, 2, False)]
    assert found.train.duration == Schedule.of(found).total == 400
    assert found.growth.at[16].batch_size == 4
    odd = timed.scaled(config, 1.01)  # rounded phase by phase
    assert odd.train.duration == Schedule.of(odd).total == 161


def test_a_length_that_is_not_the_schedule_is_scaled_by_itself():
    """As a run that ends before the last phase."""
    found = timed.scaled(tiny_config(**{"train.duration": 100}), 0.5)
    assert (found.train.duration, Schedule.of(found).total) == (50, 80)


def test_no_run_is_shorter_than_a_batch():
    """However little time there is."""
    assert timed.scaled(tiny_config(), 1e-9).train.duration >= 1


@pytest.mark.parametrize("name", [None, "named"])
def test_a_run_keeps_the_length_that_it_began_with(tmp_path, pictures, speed, name):
    """The same command goes on with it, although the machine is faster now, and does not measure again."""
    preset = write_preset(tmp_path / "p.yaml", {})
    first = train(preset, pictures, tmp_path / "runs", 0.04, name=name)
    assert first.images == pytest.approx(0.95 * 0.04 * 60 * 100, abs=8)
    measured = speed(1000)

    second = train(preset, pictures, tmp_path / "runs", 0.04, name=name)

    assert (second.run, second.state, second.duration) == (first.run, "already finished", first.duration)
    assert speed(1000) == measured
    resumed = gancli.resume(first.run, threads=1, device="cpu")
    assert (resumed.state, resumed.duration) == ("already finished", first.duration)


def test_another_time_is_another_run(tmp_path, pictures, speed):
    """And --new is too: it measures again."""
    preset = write_preset(tmp_path / "p.yaml", {})
    first = train(preset, pictures, tmp_path / "runs", 0.02)
    other = train(preset, pictures, tmp_path / "runs", 0.03)
    speed(50)
    new = train(preset, pictures, tmp_path / "runs", 0.02, new=True)
    assert len({first.run, other.run, new.run}) == 3
    assert new.duration == pytest.approx(first.duration / 2, abs=8)


def test_another_schedule_is_another_run(tmp_path, pictures, speed):
    """Its lengths are compared as they were written, not as they were fitted."""
    runs = tmp_path / "runs"
    first = train(write_preset(tmp_path / "p.yaml", {}), pictures, runs, 0.02)
    longer_fades = {"growth.fade": 320}
    other = train(write_preset(tmp_path / "p.yaml", longer_fades), pictures, runs, 0.02)
    assert other.run != first.run
    with pytest.raises(ConfigError, match=r"growth\.fade"):
        train(write_preset(tmp_path / "p.yaml", {}), pictures, runs, 0.02, name=other.run.name)


def test_the_plan_is_of_the_fitted_run(tmp_path, pictures, speed):
    """--dry-run says how far it will come."""
    preset = write_preset(tmp_path / "p.yaml", {})
    plan = gancli.plan(preset, str(pictures), changes={"train.minutes": 1}, device="cpu")
    assert plan.duration == pytest.approx(0.95 * 6000, abs=8)


def test_variants_of_an_ablation_have_equal_minutes(tmp_path, pictures, speed, monkeypatch):
    """Each has the length that was fitted for it. What has reached it is not trained again."""
    preset = write_preset(tmp_path / "p.yaml", {})
    for images_per_s, lr in ((30, 0.001), (50, 0.002)):
        speed(images_per_s)
        train(preset, pictures, tmp_path, 0.02, changes={"train.lr": lr})
    monkeypatch.setattr("gancli.training.ablate.run_all", lambda tasks, *_: pytest.fail("again") if tasks else None)

    changes, shown = {"train.minutes": 0.02}, {"outdir": tmp_path, "show": ["critic_loss"], "device": "cpu"}
    found = gancli.ablate(["train.lr=0.001,0.002"], preset, str(pictures), changes=changes, **shown)

    assert [row.durations for row in found.rows] == [(pytest.approx(0.95 * 1.2 * n, abs=8),) for n in (30, 50)]
    assert not any(row.diverged for row in found.rows)


def test_a_grown_run_has_a_length_of_its_own(tmp_path, pictures, speed):
    """The time of the source was for the source."""
    preset = write_preset(tmp_path / "p.yaml", {})
    source = train(preset, pictures, tmp_path / "runs", 0.02)
    report = gancli.grow(source.checkpoint, outdir=tmp_path / "runs", threads=1, device="cpu")
    theirs, ours = Run(source.run).config(), Run(report.run).config()
    assert ours.train.minutes is None
    assert ours.growth.scale == 1
    assert growth.lengths(ours, 32) == growth.lengths(ours, 16) == growth.lengths(theirs, 16)


def test_a_time_that_no_run_takes_is_an_error(gancli):
    """Instead of a number that overflows."""
    code, _, err = gancli("train", "builtin:shapes", "--minutes", "1e308")
    assert code == 78
    assert "train.minutes" in err


@pytest.mark.parametrize("words", [("--kimg", "1"), ("--hours", "1")])
def test_one_length_is_enough(gancli, words):
    """Exit 2."""
    code, _, err = gancli("train", "builtin:shapes", "--minutes", "10", *words)
    assert code == 2
    assert "twice" in err


def test_a_real_estimate_is_not_far_off(tmp_path, pictures):
    """Without a stub: steps are timed, and the run ends in less than three times as long, and in no tenth of it."""
    preset = write_preset(tmp_path / "p.yaml", {"growth.stable": 3_000, "growth.fade": 0})
    with torch.random.fork_rng(devices=[]):
        report = train(preset, pictures, tmp_path / "runs", 0.1)
    assert 0.6 < report.seconds < 18


def test_no_phase_is_shorter_than_a_batch():
    """It would be skipped, with layers that were never trained."""
    config = tiny_config(**{"growth.at": {16: {"batch_size": 4}}})
    lengths = [s.length for s in Schedule.of(timed.scaled(config, 1e-6)).segments]
    assert lengths == [8, 8, 8, 4, 4]


@pytest.mark.parametrize("key", ["duration", "epochs", "generator_steps"])
def test_a_length_replaces_the_time_of_the_preset(tmp_path, key):
    """As it replaces another length."""
    preset = write_preset(tmp_path / "p.yaml", {"train.minutes": 60})
    assert configs.load(preset).train.minutes == 60
    changed = configs.load(preset, {f"train.{key}": 100}).train
    assert (changed.minutes, getattr(changed, key)) == (None, 100)
