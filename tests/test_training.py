import json
import math
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_pictures, resolved_config, tensors_of, tiny_config, write_preset

import gancli
from gancli import checkpoint, runs, signals
from gancli.errors import (
    CannotCreate,
    CheckpointError,
    ConfigError,
    DataError,
    InputMissing,
    Interrupted,
    RunBusy,
    UsageError,
)
from gancli.growth import Schedule
from gancli.networks.layers import upscale
from gancli.results import warnings_of
from gancli.runs import Run
from gancli.sampling import Generator
from gancli.training import loop, resolve, session, setup
from gancli.training.alarms import Alarm
from gancli.training.callbacks import Silent
from gancli.training.state import TrainState

POINTS = {
    "network": {"family": "mlp", "z_dim": 2, "generator": {"hidden": [8]}, "critic": {"hidden": [8]}},
    "train.duration": 64, "train.batch_size": 8, "train.tick_every": 32,
}  # fmt: skip


class StopAt(Silent):
    """A callback that requests a stop, as a signal does, after a number of images."""

    def __init__(self, images):
        self.images = images

    def step(self, images):
        if images >= self.images:
            signals._stop = signal.SIGTERM


class Listener(Silent):
    """A callback that records messages."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture(autouse=True)
def no_signal_left():
    yield
    signals._stop = None


def train(preset, data, outdir, **options):
    return gancli.train(preset, str(data), outdir=outdir, threads=1, device="cpu", **options)


def interrupted(verb, *arguments, at, **options):
    with pytest.raises(Interrupted):
        verb(*arguments, callback=StopAt(at), **options)
    signals._stop = None


def state_of(report_or_path):
    """The content of a checkpoint except for the training time."""
    path = getattr(report_or_path, "checkpoint", report_or_path)
    read = checkpoint.read(path)
    return (read.images, read.generator_steps), tensors_of(path)


def assert_same_state(a, b):
    (clock_a, tensors_a), (clock_b, tensors_b) = state_of(a), state_of(b)
    assert clock_a == clock_b
    assert tensors_a.keys() == tensors_b.keys()
    assert not [name for name in tensors_a if not torch.equal(tensors_a[name], tensors_b[name])]


class TestResume:
    def test_a_run_cannot_end_before_where_it_is(self, tiny, pictures, tmp_path):
        """Its schedule stays as it was."""
        interrupted(train, tiny, pictures, tmp_path / "runs", at=48)
        (stopped,) = runs.all_runs(tmp_path / "runs")
        with pytest.raises(UsageError, match=r"already at 0.048 kimg"):
            gancli.resume(stopped.path, duration=24, threads=1)
        assert stopped.config().train.duration == 160

    @pytest.mark.parametrize("broken_at", [8, 40, 48, 64, 96, 104, 152])
    def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(self, tiny, pictures, tmp_path, broken_at):
        """Interrupted in a fade, in an epoch or at a boundary, and resumed with the same command."""
        whole = train(tiny, pictures, tmp_path / "whole")

        interrupted(train, tiny, pictures, tmp_path / "broken", at=broken_at)
        broken = train(tiny, pictures, tmp_path / "broken")

        assert_same_state(whole, broken)
        assert len(list((tmp_path / "broken").iterdir())) == 1

    def test_every_single_step_may_be_the_last(self, tiny, pictures, tmp_path):
        """A run that is interrupted after each of its twenty steps equals an uninterrupted one."""
        whole = train(tiny, pictures, tmp_path / "whole")

        for images in range(8, 160, 8):
            interrupted(train, tiny, pictures, tmp_path / "broken", at=images)
        broken = train(tiny, pictures, tmp_path / "broken")

        assert_same_state(whole, broken)

    @pytest.mark.parametrize(
        "changes",
        [
            {"train.shared_fakes": False},
            {"train.critic_steps": {"base": 2, "boost": 3, "first": 2, "every": 5}},
            {"optimizer.decay": {"share": 0.5, "to": 0.1}, "data.mirror": True},
            {"loss": {"adversarial": "wasserstein", "gradient_penalty": 10, "drift": 0.001}},
            {"train.precision": "bf16"},
            {"augment": {"color": 0.5, "rotation": 0.5, "target": 0.0, "steer_images": 100}, "data.held_out": 0.2},
            {"network.pack": 2, "loss.top_k": 0.5, "anneal": {"lr": {"end": 0.1}, "beta2": {"start": 0.5, "end": 0.9}}},
        ],
    )
    def test_whatever_the_recipe(self, pictures, tmp_path, changes, monkeypatch):
        """Critic schedules, fresh fakes, decay, mirror flips, WGAN-GP, bf16, steered augmentation, packs, annealing."""
        monkeypatch.setattr("gancli.data.cache.HELD_OUT_FROM", 10)
        preset = write_preset(tmp_path / "p.yaml", changes)
        whole = train(preset, pictures, tmp_path / "whole")

        interrupted(train, preset, pictures, tmp_path / "broken", at=72)
        broken = train(preset, pictures, tmp_path / "broken")

        assert_same_state(whole, broken)

    def test_the_log_matches_the_weights(self, tiny, pictures, tmp_path):
        """After a crash, ticks after the checkpoint are removed; none is missing or duplicated."""
        whole = train(tiny, pictures, tmp_path / "whole")
        interrupted(train, tiny, pictures, tmp_path / "broken", at=64)
        (run,) = runs.all_runs(tmp_path / "broken")
        ghost = {**run.stats()[-1], "images": 120}
        with run.stats_file.open("a") as file:
            file.write(json.dumps(ghost) + '\n{"images": 13')  # and a line cut short

        broken = train(tiny, pictures, tmp_path / "broken")

        images = [[tick["images"] for tick in Run(r.run).stats()] for r in (whole, broken)]
        assert images[0] == images[1] == [40, 80, 120, 160]

    def test_a_damaged_last_checkpoint_is_passed_over(self, pictures, tmp_path):
        """The previous checkpoint is used, with a message."""
        preset = write_preset(tmp_path / "p.yaml", {"train.checkpoint_every": 40})
        whole = train(preset, pictures, tmp_path / "whole")
        interrupted(train, preset, pictures, tmp_path / "broken", at=104)
        (run,) = runs.all_runs(tmp_path / "broken")
        newest = run.checkpoints()[-1]
        newest.write_bytes(newest.read_bytes()[:5000])
        listener = Listener()

        broken = train(preset, pictures, tmp_path / "broken", callback=listener)

        assert any("skipped last.pt" in line for line in listener.said)
        assert_same_state(whole, broken)

    def test_a_run_without_a_whole_checkpoint_is_not_trained_over(self, tiny, pictures, tmp_path):
        """Damaged checkpoints are not overwritten."""
        interrupted(train, tiny, pictures, tmp_path, at=48)
        (run,) = runs.all_runs(tmp_path)
        for file in [run.last, *run.checkpoints()]:
            file.unlink()
            file.write_bytes(b"PK")

        with pytest.raises(CheckpointError, match="no checkpoint can be opened"):
            train(tiny, pictures, tmp_path)

    def test_a_finished_run_says_so(self, tiny, pictures, tmp_path):
        """It is not trained again."""
        first = train(tiny, pictures, tmp_path)
        listener = Listener()

        second = train(tiny, pictures, tmp_path, callback=listener)

        assert (first.state, second.state) == ("finished", "already finished")
        assert any("already finished" in line and "--kimg" in line for line in listener.said)

    def test_more_kimg_goes_on_and_says_that_the_rate_rises(self, pictures, tmp_path):
        """The duration is not part of a run's identity."""
        preset = write_preset(tmp_path / "p.yaml", {"optimizer.decay": {"share": 0.5, "to": 0.1}})
        train(preset, pictures, tmp_path / "runs")
        listener = Listener()

        more = train(preset, pictures, tmp_path / "runs", changes={"train.duration": 320}, callback=listener)

        assert more.images == 320
        assert any("decay restarts" in line for line in listener.said)

    def test_another_seed_or_other_data_is_another_run(self, tiny, pictures, tmp_path):
        """--new always creates a new run."""
        outdir, other = tmp_path / "runs", make_pictures(tmp_path / "other", 20, seed=1)
        train(tiny, pictures, outdir)
        train(tiny, pictures, outdir, changes={"train.seed": 1})
        train(tiny, other, outdir)
        train(tiny, pictures, outdir, new=True)

        names = [run.path.name for run in runs.all_runs(outdir)]
        assert names == ["00000-pictures-tiny", "00001-pictures-tiny", "00002-other-tiny", "00003-pictures-tiny"]

    def test_changed_data_makes_a_new_run_and_says_so(self, tiny, pictures, tmp_path):
        """With --run, the old run continues with the new data."""
        first = train(tiny, pictures, tmp_path / "runs")
        (pictures / "000.png").unlink()
        listener = Listener()

        second = train(tiny, pictures, tmp_path / "runs", callback=listener)
        more = {"train.duration": 200}
        third = train(tiny, pictures, tmp_path / "runs", callback=listener, name=first.run.name, changes=more)

        assert second.run != first.run
        assert "the data has changed" in listener.said[0]
        assert (third.run, third.images) == (first.run, 200)

    def test_changed_data_keeps_the_units_of_the_run(self, tmp_path):
        """A larger range would change the meaning of the trained weights. Samples of another shape are refused."""
        preset, points = write_preset(tmp_path / "p.yaml", POINTS), tmp_path / "points.npy"
        draw = np.random.RandomState(0).uniform(-1, 1, (64, 2)).astype(np.float32)
        np.save(points, draw)
        first = train(preset, points, tmp_path / "runs", name="a")
        before = first.run.joinpath("config.yaml").read_text()
        np.save(points, np.concatenate([draw, [[100, 100]]]).astype(np.float32))

        train(preset, points, tmp_path / "runs", name="a", changes={"train.duration": 96})

        after = Run(first.run).config()
        assert (after.samples.center, after.samples.scale) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))
        assert f"scale: {after.samples.scale}" in before
        np.save(points, np.zeros((64, 3), np.float32) + draw[:, :1])
        with pytest.raises(DataError, match=r"now has samples of shape \(3,\)"):
            train(preset, points, tmp_path / "runs", name="a")

    def test_a_new_name_on_the_same_data_says_nothing_of_changes(self, tiny, pictures, tmp_path):
        """Only the name differs; the data is the same."""
        train(tiny, pictures, tmp_path / "runs")
        listener = Listener()

        second = train(tiny, pictures, tmp_path / "runs", name="second", callback=listener)

        assert second.run.name == "second"
        assert not [line for line in listener.said if "changed" in line]

    def test_a_device_that_is_not_there_leaves_no_run(self, tiny, pictures, tmp_path):
        """The device is checked first."""
        with pytest.raises(UsageError, match="warp"):
            gancli.train(tiny, str(pictures), outdir=tmp_path / "runs", device="warp")
        assert not (tmp_path / "runs").exists()

    def test_a_preset_named_like_a_number_resumes_too(self, pictures, tmp_path):
        """config.yaml is read back without changes."""
        preset = write_preset(tmp_path / "09.yaml", {})
        train(preset, pictures, tmp_path / "runs")

        assert train(preset, pictures, tmp_path / "runs").state == "already finished"

    def test_a_named_run_of_another_config_is_refused(self, tiny, pictures, tmp_path):
        """--run does not mix two configs in one folder."""
        first = train(tiny, pictures, tmp_path / "runs")
        with pytest.raises(ConfigError, match="different config"):
            train(tiny, pictures, tmp_path / "runs", name=first.run.name, changes={"train.seed": 3})

    def test_two_trainers_cannot_share_a_run(self, tiny, pictures, tmp_path):
        """The error names the pid of the first process."""
        report = train(tiny, pictures, tmp_path / "runs")

        with runs.locked(Run(report.run)), pytest.raises(RunBusy, match=r"process \d+"):
            train(tiny, pictures, tmp_path / "runs", changes={"train.duration": 320})


@pytest.mark.parametrize(("reset", "steps"), [("both", 4), ("start", 8), ("never", 20)])
def test_adam_is_cleared_where_the_schedule_says(pictures, tmp_path, reset, steps):
    """Adam's step count shows when it was cleared: at the last stable phase, the last fade, or never."""
    preset = write_preset(tmp_path / "p.yaml", {"optimizer.reset": reset})

    _, tensors = state_of(train(preset, pictures, tmp_path / "runs"))

    assert tensors["adam/G/dense.weight/step"] == steps
    assert tensors["adam/D/score.weight/step"] == steps


def test_a_run_that_another_process_creates_meanwhile_is_the_run(tmp_path, monkeypatch):
    """Of eight commands with the same --run that start at once, one trains, and the others find its run busy."""
    config, create = tiny_config(), runs.create

    def overtaken(*words):
        create(*words)
        return create(*words)

    monkeypatch.setattr(runs, "create", overtaken)
    run = setup.find_or_create(config, tmp_path, "x", Silent(), new=False)
    assert run.path == tmp_path / "x"
    with pytest.raises(CannotCreate):
        setup.find_or_create(config, tmp_path, "y", Silent(), new=True)


class TestWhatARunLeaves:
    def test_a_run_folder(self, pictures, tmp_path):
        """Config, log, checkpoints, reals and fakes in the same layout, and the list of rejected files."""
        (pictures / "bad.png").write_text("x")
        preset = write_preset(tmp_path / "p.yaml", {"train.sample_every": 80})

        report = train(preset, pictures, tmp_path / "runs")

        names = {str(p.relative_to(report.run)) for p in report.run.rglob("*") if p.is_file()}
        assert names == {
            ".lock", "config.yaml", "stats.jsonl", "last.pt", "reals.png", "rejected.jsonl",
            "checkpoints/000000.pt", "samples/fakes-000000080.png", "samples/fakes-000000160.png",
        }  # fmt: skip
        assert "bad.png" in (report.run / "rejected.jsonl").read_text()

    def test_a_tick_holds_every_field_and_true_numbers(self, tiny, pictures, tmp_path):
        """The values of stats.jsonl, recomputed where possible."""
        tick = Run(train(tiny, pictures, tmp_path / "runs").run).stats()[-1]

        assert (tick["images"], tick["generator_steps"], tick["resolution"], tick["batch"]) == (160, 20, 16, 8)
        assert tick["std_ratio"] == pytest.approx(tick["std_fake"] / tick["std_real"])
        assert tick["feature_std_ratio"] == pytest.approx(tick["feature_std_fake"] / tick["feature_std_real"])
        assert all(math.isfinite(v) for v in tick.values() if isinstance(v, float))
        assert 0 <= tick["saturation"] <= 1

    def test_a_checkpoint_is_written_when_its_minutes_are_over(self, pictures, tmp_path, monkeypatch):
        """Independent of the number of images; here after each of the twenty steps."""
        saved, save = [], loop.save
        monkeypatch.setattr(loop, "save", lambda session, state: (saved.append(state.images), save(session, state)))
        preset = write_preset(tmp_path / "p.yaml", {"train.checkpoint_minutes": 1e-9})

        train(preset, pictures, tmp_path / "runs")

        assert sorted(set(saved)) == list(range(8, 168, 8))

    def test_old_checkpoints_are_pruned(self, pictures, tmp_path):
        """The last `keep` checkpoints remain; last.pt is the newest."""
        preset = write_preset(tmp_path / "p.yaml", {"train.checkpoint_every": 16, "train.keep": 2})

        report = train(preset, pictures, tmp_path / "runs")

        kept = Run(report.run).checkpoints()
        assert [file.name for file in kept] == ["000000144.pt", "000000160.pt"]
        assert report.checkpoint.read_bytes() == kept[-1].read_bytes()

    def test_stop_on_a_finding_ends_the_run(self, tiny, pictures, tmp_path, monkeypatch):
        """--stop-on collapse stops at the tick that warns."""
        monkeypatch.setattr(
            "gancli.training.alarms.raised",
            lambda tick, *a, **k: {"collapsed": Alarm("told to", 80)} if tick.images >= 80 else {},
        )

        report = train(tiny, pictures, tmp_path / "runs", stop_on=("collapse",))

        assert (report.state, report.finding, report.images) == ("stopped", "collapsed: told to", 80)

    def test_the_last_checkpoint_before_an_alarm_is_named_and_kept(self, pictures, tmp_path, monkeypatch):
        """It is kept for the rest of the run."""
        changes = {"train.checkpoint_every": 16, "train.keep": 2, "train.tick_every": 8}
        preset = write_preset(tmp_path / "p.yaml", changes)
        monkeypatch.setattr(
            "gancli.training.alarms.raised",
            lambda tick, *a, **k: {"collapsed": Alarm("told to", 40)} if tick.images >= 48 else {},
        )

        report = train(preset, pictures, tmp_path / "runs")

        assert [file.name for file in Run(report.run).checkpoints()] == [f"000000{n}.pt" for n in ("032", "144", "160")]
        (warning,) = [w for tick in Run(report.run).stats() for w in warnings_of(tick)]
        assert warning == "collapsed: told to; since 0.04 kimg; the last checkpoint before it: checkpoints/000000032.pt"

    def test_a_kept_checkpoint_is_not_overwritten_by_the_next_of_its_kimg(self, pictures, tmp_path, monkeypatch):
        """File names are in kimg; a second checkpoint of the same kimg is named by its images."""
        preset = write_preset(tmp_path / "p.yaml", {"train.tick_every": 8, "train.keep": 2})
        monkeypatch.setattr(
            "gancli.training.alarms.raised",
            lambda tick, *a, **k: {"collapsed": Alarm("told to", 40)} if tick.images >= 48 else {},
        )

        report = train(preset, pictures, tmp_path / "runs")

        run = Run(report.run)
        (warning,) = [w for tick in run.stats() for w in tick["warnings"]]
        assert warning == {"name": "collapsed", "text": "told to", "since": 40, "checkpoint": "000000.pt"}
        assert checkpoint.read(run.path / "checkpoints" / "000000.pt").images == 32  # before the second resolution
        assert [file.name for file in run.checkpoints()] == ["000000.pt", "000000096.pt", "000000160.pt"]
        assert checkpoint.read(run.last).images == 160

    def test_what_the_state_carries_beside_weights_survives(self, tiny, pictures, tmp_path):
        """Extra tensors, such as a running estimate, are restored with the weights."""
        state = TrainState.fresh(tiny_config(), torch.device("cpu"))
        state.extra["p"] = torch.tensor(0.25)
        checkpoint.write(tmp_path / "a.pt", state.as_checkpoint(tiny_config()))

        other = TrainState.fresh(tiny_config(), torch.device("cpu"))
        other.restore(checkpoint.read(tmp_path / "a.pt"))

        assert other.extra == {"p": torch.tensor(0.25)}

    def test_a_resumed_log_has_the_numbers_of_an_unbroken_one(self, tiny, pictures, tmp_path, monkeypatch):
        """All fields except times, memory and speed, including `change` since the tick before the interruption."""
        monkeypatch.setattr("gancli.training.tick_metrics.SHARE", math.inf)
        whole = train(tiny, pictures, tmp_path / "whole")
        interrupted(train, tiny, pictures, tmp_path / "broken", at=64)
        broken = train(tiny, pictures, tmp_path / "broken")

        clocks = ("seconds", "images_per_s", "memory_mib")
        logs = [
            [{k: v for k, v in tick.items() if k not in clocks} for tick in Run(r.run).stats()] for r in (whole, broken)
        ]
        assert logs[0] == logs[1]
        assert logs[0][1]["change"] is not None

    def test_what_stop_on_waits_for_is_measured_at_every_tick(self, pictures, tmp_path, monkeypatch):
        """So the same command stops at the same image, also on a slow machine."""
        monkeypatch.setattr("gancli.training.tick_metrics.SHARE", -1.0)
        preset = write_preset(tmp_path / "p.yaml", {"train.tick_every": 8})
        for words, measured in (((), False), (("diverged",), False), (("overfitting",), True), (("collapse",), True)):
            outdir = tmp_path / "-".join(("runs", *words))
            ticks = Run(train(preset, pictures, outdir, stop_on=words).run).stats()
            assert {tick["ema_std_ratio"] is not None for tick in ticks} == {measured}

    def test_the_checkpoint_of_the_tick_itself_is_not_before_it(self, pictures, tmp_path, monkeypatch):
        """The checkpoint of the same tick has the bad weights. Other files in the folder are ignored."""
        changes = {"train.checkpoint_every": 16, "train.tick_every": 16}
        preset = write_preset(tmp_path / "p.yaml", changes)

        def raised(tick, *_, **__):
            folder = next((tmp_path / "runs").iterdir()) / "checkpoints"
            (folder / "000000005-best.pt").touch()
            return {"collapsed": Alarm("told to", 48)} if tick.images >= 64 else {}

        monkeypatch.setattr("gancli.training.alarms.raised", raised)
        run = Run(train(preset, pictures, tmp_path / "runs").run)
        (warning,) = [w for tick in run.stats() for w in tick["warnings"]]
        assert warning["checkpoint"] == "000000032.pt"
        assert (run.path / "checkpoints" / "000000005-best.pt").exists()

    def test_tick_metricss_take_a_fiftieth_of_the_time(self, pictures, tmp_path, monkeypatch):
        """If they would take longer, they are skipped and null in the log."""
        clock = iter(range(10_000))
        monkeypatch.setattr("gancli.training.tick_metrics.time.monotonic", lambda: next(clock))
        preset = write_preset(tmp_path / "p.yaml", {"train.tick_every": 8})

        ticks = Run(train(preset, pictures, tmp_path / "runs").run).stats()

        assert [tick["ema_std_ratio"] is not None for tick in ticks] == [True] + [False] * (len(ticks) - 1)
        assert all(tick["std_ratio"] is not None for tick in ticks)

    def test_stop_on_divergence_is_a_finding_that_keeps_nothing(self, tiny, pictures, tmp_path, monkeypatch):
        """Exit 4; non-finite weights are not saved."""
        monkeypatch.setattr(
            "gancli.training.alarms.raised",
            lambda tick, *a, **k: {"diverged": Alarm("told to", 80)} if tick.images >= 80 else {},
        )

        report = train(tiny, pictures, tmp_path / "runs", stop_on=("diverged",))

        assert report.finding == "diverged: told to"
        assert checkpoint.read(report.checkpoint).images == 32  # before the second resolution


class TestTheForecast:
    class Reader(Silent):
        """A callback that requests the forecast of a new run."""

        def start(self, run, config, images, forecast):
            self.read = forecast()

    def test_is_not_computed_where_nobody_reads_it(self, tiny, pictures, tmp_path, monkeypatch):
        """Computing it takes seconds."""
        monkeypatch.setattr("gancli.training.start.forecast", lambda *a: pytest.fail("it was computed"))
        train(tiny, pictures, tmp_path / "runs")

    def test_counts_the_data_cache(self, tiny, pictures, tmp_path):
        """In addition to the checkpoints that are kept."""
        reader = self.Reader()
        train(tiny, pictures, tmp_path / "runs", callback=reader)

        assert reader.read.cache_mib == 24 * 16 * 16 * 3 / 2**20
        assert reader.read.disk_mib > reader.read.cache_mib

    def test_counts_the_noise_of_a_checkpoint(self, tiny, pictures, tmp_path):
        """Eight maps of 8 x 8 and of 16 x 16 px, in G and in its average, in each of three checkpoints; in MiB."""
        readers = [self.Reader(), self.Reader()]
        for noise, reader in zip((True, False), readers, strict=True):
            train(tiny, pictures, tmp_path / str(noise), callback=reader, changes={"network.noise": noise})

        with_noise, without = (reader.read.disk_mib for reader in readers)
        assert with_noise - without == pytest.approx(3 * 2 * 4 * 8 * (8 * 8 + 16 * 16) / 2**20, rel=0.05)

    def test_a_plan_says_what_the_cache_will_take_before_it_is_built(self, tiny, tmp_path):
        """The message is shown once."""
        fresh = make_pictures(tmp_path / "fresh", 24, seed=77)
        listeners = Listener(), Listener()
        for listener in listeners:
            gancli.plan(tiny, str(fresh), callback=listener, threads=1)

        said = [[line for line in listener.said if "cache" in line] for listener in listeners]
        assert len(said[0]) == 1
        assert said[1] == []


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, 20 * 8),
        ({"growth.at.4": {"batch_size": 4}, "growth.at.16": {"batch_size": 2}}, 8 * 4 + 8 * 8 + 4 * 2),
        ({"train.critic_steps": {"base": 2, "boost": 5, "first": 2}}, (2 * 5 + 18 * 2) * 8),
    ],
)
def test_generator_steps_are_counted_at_the_batch_of_their_stage(pictures, tmp_path, changes, images):
    """Twenty steps: 32 images at 4 px, then fades and stable times of 32 images each."""
    preset = write_preset(tmp_path / "p.yaml", {"train.generator_steps": 20, "train.keep": 1, **changes})

    report = train(preset, pictures, tmp_path / "runs")

    assert report.images == report.duration == images
    assert checkpoint.read(report.checkpoint).generator_steps == 20


def test_auto_and_fp32_are_one_run(tiny, pictures, tmp_path):
    """auto is resolved to fp32."""
    first = train(tiny, pictures, tmp_path / "runs")
    second = train(tiny, pictures, tmp_path / "runs", changes={"train.precision": "fp32"})
    other = train(tiny, pictures, tmp_path / "runs", changes={"train.precision": "bf16"})

    assert (second.run, second.state) == (first.run, "already finished")
    assert other.run != first.run


def test_losses_of_a_checkpoint_go_to_the_device_of_the_run(monkeypatch):
    """Beside those of the next step, with which they are summed up. Checkpoints have them on the CPU."""
    state = TrainState.fresh(tiny_config(), torch.device("cpu"))
    state.device, state.extra = torch.device("meta"), {f"{session.LOSS}penalty": torch.ones(())}
    monkeypatch.setattr(session, "cut_log", lambda *_: -1)
    begun = session.Session(None, tiny_config(), None, None, Silent(), None)
    session.begin(begun, state)
    assert begun.losses["penalty"].device == state.device


@pytest.mark.gpu
def test_a_run_with_lazy_penalties_resumes_on_a_gpu(tiny, pictures, tmp_path):
    """Between two penalties."""
    preset = write_preset(tmp_path / "p.yaml", {"loss.r1": 1, "loss.penalty_interval": 8})
    options = {"outdir": tmp_path / "runs", "device": "cuda"}
    first = gancli.train(preset, str(pictures), changes={"train.duration": 40}, **options)
    again = gancli.resume(first.run, duration=80, device="cuda")
    assert (again.state, again.images) == ("finished", 80)


class TestRefusals:
    def test_a_batch_larger_than_the_set(self, tiny, tmp_path):
        """Exit 78 with a suitable batch size."""
        few = make_pictures(tmp_path / "few", 5)
        with pytest.raises(ConfigError, match="larger than the 5") as error:
            train(tiny, few, tmp_path / "runs")
        assert "--batch" in error.value.hint

    @pytest.mark.parametrize(
        ("network", "loss", "count", "hint"),
        [
            ({}, {}, 5, "use --batch 1, or more data"),
            ({"output": "bn-tanh"}, {}, 5, "use --batch 2, or more data"),
            ({"critic": {"hidden": [8], "norm": "batch"}, "pack": 2}, {}, 5, "use --batch 4, or more data"),
            ({"critic": {"hidden": [8], "norm": "batch"}, "pack": 4}, {}, 5, "use more data"),
            ({"pack": 3}, {}, 29, "use --batch 6, or more data"),
        ],
    )
    def test_the_batch_size_of_the_hint_works(self, tmp_path, network, loss, count, hint):
        """With batch norm, moments and packs, too: the hint does not lead to the next refusal."""
        few = make_pictures(tmp_path / "few", count)
        mlp = {"family": "mlp", "resolution": 16, "generator": {"hidden": [8]}, "critic": {"hidden": [8]}, **network}
        changes = {"network": mlp, "growth": {}, "train.duration": 64, "train.batch_size": 48}
        preset = write_preset(tmp_path / "p.yaml", changes)
        with pytest.raises(ConfigError, match="larger than") as error:
            gancli.plan(preset, str(few), device="cpu")
        assert error.value.hint == hint
        if "--batch" in hint:
            assert gancli.plan(preset, str(few), changes={"train.batch_size": int(hint.split()[2].strip(","))}).seconds

    @pytest.mark.parametrize("data", ["builtin:ring8", "builtin:signals"])
    def test_kinds_of_data_that_the_network_does_not_take(self, tiny, tmp_path, data):
        """Refused before the run folder is created."""
        with pytest.raises(ConfigError, match="take image data"):
            train(tiny, data, tmp_path / "runs")
        assert not (tmp_path / "runs").exists()

    def test_strict_stops_at_one_bad_file(self, tiny, pictures, tmp_path):
        """The error names the file."""
        (pictures / "bad.png").write_text("x")
        with pytest.raises(DataError, match=r"bad\.png"):
            train(tiny, pictures, tmp_path / "runs", strict=True)

    def test_an_unknown_stop_word(self, tiny, pictures, tmp_path):
        """A typo is an error, not ignored."""
        with pytest.raises(UsageError, match="colapse"):
            train(tiny, pictures, tmp_path / "runs", stop_on=("colapse",))

    def test_no_data_at_all(self, tiny, tmp_path):
        """A preset without data needs DATA."""
        with pytest.raises(UsageError, match="no data"):
            gancli.train(tiny, outdir=tmp_path)


class TestGrow:
    @pytest.fixture
    def grown_from(self, tiny, pictures, tmp_path):
        return train(tiny, pictures, tmp_path / "runs")

    def grow(self, source, outdir, **options):
        return gancli.grow(source.checkpoint, outdir=outdir, threads=1, device="cpu", **options)

    def test_a_16_px_checkpoint_becomes_a_64_px_one(self, grown_from, tmp_path):
        """Two more stages, each with half the channels, at least 8; the source is not changed."""
        before = grown_from.checkpoint.read_bytes()

        report = self.grow(grown_from, tmp_path / "grown", to=64)

        config = checkpoint.read(report.checkpoint).config
        assert (config.network.resolution, config.network.channels) == (64, (8, 8, 4, 8, 8))
        assert report.images == report.duration == 4 * 32
        assert Generator.load(report.run).sample([0]).shape == (1, 3, 64, 64)
        assert grown_from.checkpoint.read_bytes() == before

    def test_an_unfinished_source_is_refused_with_the_command_that_finishes_it(self, tiny, pictures, tmp_path):
        """With the images at which its last resolution has faded in, where its own length ends before that."""
        short = gancli.train(tiny, str(pictures), outdir=tmp_path, threads=1, changes={"train.duration": 40})
        with pytest.raises(ConfigError) as error:
            self.grow(short, tmp_path / "grown", to=32)
        at = Schedule.of(checkpoint.read(short.checkpoint).config).full_size_at
        assert error.value.hint == f"finish it first: gancli resume RUN --kimg {at / 1000:.10g}"
        gancli.resume(short.run, duration=at, threads=1)
        assert self.grow(short, tmp_path / "grown", to=32).state == "finished"

    def test_at_the_first_image_the_output_is_the_old_one_upscaled(self, grown_from, tmp_path):
        """Growing preserves the output exactly."""
        interrupted(self.grow, grown_from, tmp_path / "grown", at=8)
        (run,) = runs.all_runs(tmp_path / "grown")
        state = TrainState.fresh(run.config(), torch.device("cpu"))
        state.adopt(checkpoint.read(grown_from.checkpoint))

        z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            new, old = state.ema(z, 3, 0.0), state.ema(z, 2, 1.0)
        torch.testing.assert_close(new, upscale(old), atol=0, rtol=0)
        expected = Generator.load(grown_from.run).network(z, 2, 1.0)
        torch.testing.assert_close(old, expected, atol=0, rtol=0)

    @pytest.mark.parametrize("changes", [{}, {"growth.at.16": {"fade": 24}}, {"growth.at.16": {"fade": 0}}])
    def test_what_was_transferred_fades_in_when_it_grows(self, pictures, tmp_path, changes):
        """The first image of the new stage is the old one upscaled, also after transfer."""
        preset = write_preset(tmp_path / "p.yaml", changes)
        first = train(preset, pictures, tmp_path / "runs")
        transferred = gancli.train(
            data=str(pictures), start_from=first.checkpoint, outdir=tmp_path / "runs", threads=1, device="cpu"
        )
        interrupted(self.grow, transferred, tmp_path / "grown", at=8)
        (run,) = runs.all_runs(tmp_path / "grown")

        schedule = Schedule.of(run.config())

        assert schedule.phase_at(0) == replace(schedule.phases[0], alpha=0.0)
        assert schedule.segments[0].length == (24 if "24" in str(changes) else 32)
        state = TrainState.fresh(run.config(), torch.device("cpu"))
        state.adopt(checkpoint.read(transferred.checkpoint))
        z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            new, old = state.ema(z, 3, schedule.phase_at(0).alpha), state.ema(z, 2, 1.0)
        torch.testing.assert_close(new, upscale(old), atol=0, rtol=0)

    def test_what_is_transferred_itself_does_not_fade(self, grown_from, pictures, tmp_path):
        """All its stages are trained already."""
        report = gancli.train(
            data=str(pictures), start_from=grown_from.checkpoint, outdir=tmp_path / "runs", threads=1, device="cpu"
        )
        assert [s.fading for s in Schedule.of(Run(report.run).config()).segments] == [False]

    def test_resumes_bit_for_bit(self, grown_from, tmp_path):
        """Interrupted in the middle of its fade."""
        whole = self.grow(grown_from, tmp_path / "whole")

        interrupted(self.grow, grown_from, tmp_path / "broken", at=16)
        broken = self.grow(grown_from, tmp_path / "broken")

        assert_same_state(whole, broken)

    def test_adam_starts_afresh_unless_asked(self, grown_from, tmp_path):
        """keep_adam keeps the Adam state of the source, which changes the result."""
        fresh = self.grow(grown_from, tmp_path / "fresh")
        kept = self.grow(grown_from, tmp_path / "kept", fresh_adam=False)

        assert not torch.equal(state_of(fresh)[1]["G/dense.weight"], state_of(kept)[1]["G/dense.weight"])

    def test_with_and_without_the_state_of_adam_are_two_runs(self, grown_from, tmp_path):
        """In one folder; each goes on as it began, also if it was killed before its first checkpoint."""
        fresh = self.grow(grown_from, tmp_path / "runs")
        kept = self.grow(grown_from, tmp_path / "runs", fresh_adam=False)
        assert fresh.run != kept.run

        for path in (*(kept.run / "checkpoints").iterdir(), kept.run / "last.pt"):
            path.unlink()
        again = gancli.resume(kept.run, threads=1, device="cpu")
        assert_same_state(again, self.grow(grown_from, tmp_path / "other", fresh_adam=False))

    def test_a_source_that_has_changed_is_no_start(self, grown_from, tmp_path):
        """The run would not be what its config says."""
        source = shutil.copy(grown_from.checkpoint, tmp_path / "source.pt")
        report = gancli.grow(source, outdir=tmp_path / "runs", threads=1, device="cpu")
        for path in (*(report.run / "checkpoints").iterdir(), report.run / "last.pt"):
            path.unlink()
        shutil.copy(gancli.resume(grown_from.run, duration=200, threads=1, device="cpu").checkpoint, source)
        with pytest.raises(InputMissing, match="has changed"):
            gancli.resume(report.run, threads=1, device="cpu")

    def test_what_is_said_for_the_new_stages_is_heard(self, pictures, tmp_path):
        """--batch and --set override the settings copied from the last stage."""
        preset = write_preset(tmp_path / "p.yaml", {"growth.at.16": {"batch_size": 4, "stable": 16}})
        source = train(preset, pictures, tmp_path / "runs")
        read = checkpoint.read(source.checkpoint)

        copied = resolve.grown(read, 32, {})
        told = resolve.grown(read, 32, {"train.batch_size": 2, "growth.at.32.stable": 24})

        assert copied.growth.at[32] == copied.growth.at[16]
        schedule = Schedule.planned(told, told.network.sizes((3, 32, 32)))
        assert (schedule.phases[-1].batch_size, schedule.segments[-1].length) == (2, 24)

    def test_the_source_s_average_is_kept(self, grown_from, tmp_path):
        """The half-life ramp counts all images, including those of the source."""
        grown = resolve.grown(checkpoint.read(grown_from.checkpoint), 32, {})
        config = resolved_config({}, grown.model_dump(exclude_none=True))

        assert config.origin.images == 160
        state = TrainState.fresh(config, torch.device("cpu"))
        state.adopt(checkpoint.read(grown_from.checkpoint))
        before = state.ema.dense.weight.clone()
        state.G.dense.weight.data += 1
        state.images = 8
        loop.average(state, config, 8)
        kept = 1 - (state.ema.dense.weight - before).abs().max().item()
        assert kept > 0.4

    def test_a_source_that_was_stopped_early_is_refused(self, tiny, pictures, tmp_path):
        """Its last stages are untrained, so neither grow nor transfer accepts it."""
        short = train(tiny, pictures, tmp_path / "runs", changes={"train.duration": 48})

        with pytest.raises(ConfigError, match=r"8 of 16 px, alpha 0\.50"):
            self.grow(short, tmp_path / "grown")
        with pytest.raises(ConfigError, match="8 of 16 px"):
            gancli.train(data=str(pictures), start_from=short.checkpoint, outdir=tmp_path / "runs")

    def test_a_network_that_does_not_fit_is_refused_before_a_run_is_made(self, grown_from, tmp_path):
        """--set network.z_dim=16 is a config error, not a checkpoint error."""
        with pytest.raises(ConfigError, match="do not fit"):
            self.grow(grown_from, tmp_path / "grown", changes={"network.z_dim": 16})
        assert not (tmp_path / "grown").exists()

    @pytest.mark.parametrize("to", [16, 8, 48])
    def test_a_size_that_is_no_doubling_is_refused(self, grown_from, tmp_path, to):
        """Exit 78 with the possible sizes."""
        with pytest.raises(ConfigError):
            self.grow(grown_from, tmp_path / "grown", to=to)


def test_transfer_starts_from_the_weights_with_a_fresh_clock(tiny, pictures, tmp_path):
    """train --from starts at the last resolution with the source's weights, without a fade or the source's shards."""
    source = train(tiny, pictures, tmp_path / "runs", changes={"train.shards": 2})
    other = make_pictures(tmp_path / "other", 20, seed=1)

    report = gancli.train(
        data=str(other), start_from=source.checkpoint, outdir=tmp_path / "runs", threads=1, changes={"train.lr": 1e-9}
    )

    assert report.images == 32
    assert Run(report.run).config().shards == 1
    before, after = (state_of(r)[1]["G/dense.weight"] for r in (source, report))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert Run(report.run).config().origin.verb == "transfer"


class TestForecast:
    def test_counts_and_schedule_are_the_run_s(self, tiny, pictures):
        """Parameter counts are those of the networks, image counts those of the schedule."""
        forecast = gancli.plan(tiny, str(pictures), device="cpu")

        state = TrainState.fresh(tiny_config(), torch.device("cpu"))
        assert forecast.generator_parameters == sum(p.numel() for p in state.G.parameters())
        assert [(s.height, s.fade, s.stable) for s in forecast.stages] == [(4, 0, 32), (8, 32, 32), (16, 32, 32)]
        assert forecast.duration == 160
        assert forecast.seconds > 0

    def test_without_a_budget_times_are_scaled_by_operations(self):
        """The cost of a stage that is not timed is proportional to its operations."""
        from gancli.training import forecast

        config = tiny_config()
        low, high = Schedule.of(config).phases[0], Schedule.of(config).phases[-1]
        ratio = forecast.operations_per_image(config, high) / forecast.operations_per_image(config, low)

        macs = {s: _multiplications(config, s) for s in (0, 2)}
        assert ratio == pytest.approx(macs[2] / macs[0], rel=1e-6)

    @pytest.mark.parametrize("changes", [{}, {"network.minibatch_std": None}])
    def test_packs_are_timed_as_packs(self, tiny, pictures, changes):
        """A critic that takes four samples at once; its parameters and operations are counted, too."""
        from gancli.training import forecast

        plain, packs = (gancli.plan(tiny, str(pictures), changes={"network.pack": n, **changes}) for n in (1, 4))
        assert packs.seconds > 0
        assert packs.memory_mib > 0
        assert packs.critic_parameters > plain.critic_parameters
        phase = Schedule.of(tiny_config()).phases[-1]
        one, four = (forecast.operations_per_image(tiny_config(network__pack=n), phase) for n in (1, 4))
        assert one / 4 < four < one

    def test_shards_are_steps_of_their_own(self):
        """One worker with 4 shards of 2: 4 s and 2 x 4 x .5 s a batch of 8; two workers take half of it."""
        from gancli.training import forecast

        config = tiny_config(train__shards=4)
        costs = {0: forecast.Cost(1.0, 0.5, timed=True)}
        alone, two = (next(forecast._stages(config, Schedule.of(config), costs, n)) for n in (1, 2))
        assert (alone.fade + alone.stable) / 8 * (4 * 1.0 + 8 * 0.5) == pytest.approx(alone.seconds)
        assert two.seconds == pytest.approx(alone.seconds / 2)

    def test_a_cut_schedule_is_forecast_as_cut(self, tiny, pictures):
        """If --kimg ends the run early."""
        forecast = gancli.plan(tiny, str(pictures), changes={"train.duration": 80}, device="cpu")

        assert [(s.fade, s.stable) for s in forecast.stages] == [(0, 32), (32, 16), (0, 0)]


def _multiplications(config, stage):
    """Multiplications of one forward pass of both networks, from the recipe: channels (8, 8, 4), latent 8."""
    c = [8, 8, 4]
    area = [16, 64, 256]
    total = 8 * 8 * 16 + 9 * 8 * 8 * 16  # generator: dense, first
    total += 9 * 9 * 8 * 16 + 8 * 16 * 8 + 8  # critic: last (one channel more), dense, score
    for s in range(1, stage + 1):
        up = 9 * c[s - 1] * c[s] * area[s - 1]  # 3x3 kernel, once per input pixel
        down = 9 * c[s] * c[s - 1] * area[s - 1]  # 3x3 kernel, once per output pixel
        total += up + 9 * c[s] * c[s] * area[s] * 2 + down
    return total + 2 * 3 * c[stage] * area[stage]  # to and from RGB


def test_the_average_is_what_is_drawn(tiny, pictures, tmp_path):
    """fakes-*.png shows the EMA generator on seeds 0-63, as `sample` does."""
    from PIL import Image

    from gancli import media

    report = train(tiny, pictures, tmp_path / "runs")

    drawn = media.grid(media.to_bytes(Generator.load(report.run).sample(range(64))))

    (file,) = Path(report.run, "samples").glob("*.png")
    difference = np.abs(np.asarray(Image.open(file)).astype(int) - drawn.astype(int))
    assert difference.max() <= 1
