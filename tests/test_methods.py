"""Every preset at toy size: trained, stopped and resumed, sampled, walked through, inspected."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_presets import SHIPPED
from test_training import assert_same_state, interrupted, train

import gancli
from gancli import config as configs
from gancli.config import presets
from gancli.errors import ConfigError, UsageError
from gancli.health import WORDS
from gancli.sampling import Generator
from gancli.superres import enlarge

PROGRESSIVE = {
    "network.resolution": 8, "network.channels": None, "network.max_channels": 8, "network.z_dim": 8,
    "growth.at": {}, "growth.fade": 16, "growth.stable": 24, "train.batch_size": 8,
}  # fmt: skip
SMALL = {
    "conv": {"network.width": 0.03, "train.batch_size": 8, "train.critic_steps": {"base": 2}},
    "mlp": {"train.batch_size": 16},
    "projected": {
        "network.resolution": 16,
        "network.channels": [8, 8, 8],
        "network.critic_width": 8,
        "train.batch_size": 8,
    },
    "residual": {
        "network.resolution": 16,
        "network.channels": [8, 8, 8],
        "network.blocks": 1,
        "train.batch_size": 8,
        "train.precision": "fp32",
    },
    "superres": {"network.resolution": 16, "network.channels": 8, "network.blocks": 1},
}
SLOW = ("minibatch-std-128", "projected-64", "projected-128")  # 128 px, or enlarged to it
KEPT = {"train.duration": 64, "train.tick_every": 16, "train.sample_every": 32, "train.checkpoint_every": 0}
PICTURES = [name for name in SHIPPED if name not in ("signal-1d", "ring8", "grid25")]


def toy(name, path):
    """A preset as a file, made small."""
    family = configs.load(name).network.family
    changes = PROGRESSIVE if family == "progressive" else SMALL[family]
    shorter = {"train.duration": 32, "train.sample_every": 16} if name in SLOW else {}
    values = configs.overrides.apply(presets.load_values(name), {**changes, **KEPT, **shorter})
    path.write_text(configs.yaml.dump({key: value for key, value in values.items() if key != "preset"}))
    return str(path)


def data_for(name, folder):
    """Enough samples of the preset's kind to inspect."""
    rng = np.random.RandomState(0)
    if name == "signal-1d":
        values = rng.normal(0, 3, (160, 2, 50)).astype(np.float32).cumsum(2)
    elif name in ("ring8", "grid25"):
        values = rng.normal(5, 2, (160, 2)).astype(np.float32)
    else:
        channels = 1 if name.startswith(("moments", "bn-mlp")) else 3
        values = rng.randint(0, 256, (160, 16, 16, channels)).astype(np.uint8)
    np.save(folder / "data.npy", values)
    return folder / "data.npy"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * n.endswith("-128")) for n in SHIPPED])
def test_every_preset_trains_resumes_samples_and_inspects(name, tmp_path):
    """Stopped after its first steps and given again, it ends bit for bit as if it had never stopped."""
    preset, data = toy(name, tmp_path / f"{name}.yaml"), data_for(name, tmp_path)

    whole = train(preset, data, tmp_path / "whole")
    interrupted(train, preset, data, tmp_path / "broken", at=20)
    broken = train(preset, data, tmp_path / "broken")
    health = gancli.inspect_stats(broken.run, samples=64)

    assert_same_state(whole, broken)
    assert health.verdict in WORDS
    assert (name == "superres-4x") <= (health.nearest == ())  # all that it draws is near its input
    assert all(np.isfinite(f.value) for f in health.panel)
    assert len(list((broken.run / "samples").glob("*.png"))) >= 2
    assert (broken.run / "reals.png").exists()
    if name == "superres-4x":
        return
    shape = Generator.load(broken.run).checkpoint.config.samples.shape
    assert gancli.load(broken.run).sample(range(5)).shape == (5, *shape)
    assert gancli.interpolate(broken.run, tmp_path / "walk.gif", frames=3).count == 3
    gancli.sample(broken.run, range(3), tmp_path / "some.npy")
    kept = np.load(tmp_path / "some.npy")
    assert len(kept) == 3
    assert kept.dtype == (np.uint8 if name in PICTURES else np.float32)


@pytest.mark.parametrize("name", ["iwgan-32-lite", "bn-mlp-28", "moments-7", "signal-1d", "ring8"])
def test_a_seed_s_sample_does_not_depend_on_its_batch_mates(name, tmp_path):
    """Batch norm samples by its moving statistics, dropout is off: seed 42 is the same alone and among others."""
    run = train(toy(name, tmp_path / f"{name}.yaml"), data_for(name, tmp_path), tmp_path / "runs").run

    alone, among = (gancli.load(run).sample(seeds) for seeds in ([42], [7, 42, *range(100, 130)]))

    torch.testing.assert_close(alone[0], among[1], atol=0, rtol=0)


@pytest.mark.parametrize("name", ["bn-mlp-28", "moments-7"])
def test_the_run_s_own_pictures_are_what_sample_draws(name, tmp_path):
    """Batch norm by its moving statistics, dropout off, in samples/fakes-*.png as in `gancli sample`."""
    run = train(toy(name, tmp_path / f"{name}.yaml"), data_for(name, tmp_path), tmp_path / "runs").run

    gancli.sample(run, range(64), tmp_path / "grid.png")

    last = sorted((run / "samples").glob("fakes-*.png"))[-1]
    with Image.open(last) as theirs, Image.open(tmp_path / "grid.png") as ours:
        np.testing.assert_array_equal(np.asarray(theirs), np.asarray(ours))


class TestKinds:
    def test_signals_are_sampled_in_their_own_units(self, tmp_path):
        """The affine that brought them into [-1, 1] is undone."""
        rng = np.random.RandomState(0)
        np.save(tmp_path / "far.npy", rng.uniform(900, 1100, (200, 1, 24)).astype(np.float32))
        run = train(toy("signal-1d", tmp_path / "toy.yaml"), tmp_path / "far.npy", tmp_path / "runs").run

        x = gancli.load(run).sample(range(8))

        assert x.shape == (8, 1, 24)
        assert 500 < x.mean() < 1500

    def test_a_folder_of_signals_has_plots_and_the_numbers(self, tmp_path):
        """One line plot a seed, and one array."""
        run = train(toy("signal-1d", tmp_path / "toy.yaml"), data_for("signal-1d", tmp_path), tmp_path / "runs").run
        (tmp_path / "out").mkdir()

        report = gancli.sample(run, [3, 5], tmp_path / "out")

        assert [file.name for file in report.files] == ["seed0003.png", "seed0005.png", "samples.npy"]
        np.testing.assert_array_equal(np.load(tmp_path / "out/samples.npy"), gancli.load(run).sample([3, 5]).numpy())

    def test_points_become_one_scatter_plot(self, tmp_path):
        """A single point is no picture."""
        run = train(toy("ring8", tmp_path / "toy.yaml"), data_for("ring8", tmp_path), tmp_path / "runs").run

        report = gancli.sample(run, range(50), tmp_path / "cloud.png")

        assert (report.count, report.height, report.width) == (50, 512, 512)

    def test_another_kind_of_data_is_refused_for_inspection(self, tmp_path):
        """Pictures are no reals for signals."""
        run = train(toy("signal-1d", tmp_path / "toy.yaml"), data_for("signal-1d", tmp_path), tmp_path / "runs").run
        np.save(tmp_path / "pictures.npy", np.zeros((200, 8, 8, 3), np.uint8))

        with pytest.raises(gancli.errors.DataError, match="makes samples of shape"):
            gancli.inspect_stats(run, str(tmp_path / "pictures.npy"))


class TestSuperres:
    @pytest.fixture
    def run(self, tmp_path):
        return train(toy("superres-4x", tmp_path / "s.yaml"), data_for("superres-4x", tmp_path), tmp_path / "runs").run

    def test_enlarges_a_picture_of_any_size_fourfold(self, run, tmp_path):
        """A photograph in, one of four times its sides out."""
        Image.fromarray(np.random.RandomState(0).randint(0, 256, (10, 14, 3)).astype(np.uint8)).save(tmp_path / "p.png")

        report = enlarge(run, [tmp_path / "p.png"], tmp_path / "large.png")

        assert (report.height, report.width) == (40, 56)
        with Image.open(tmp_path / "large.png") as large:
            assert large.size == (56, 40)

    def test_has_no_seeds(self, run, tmp_path):
        """Nothing but a picture can be given to it."""
        with pytest.raises(UsageError, match="enlarges images"):
            gancli.sample(run, [0], tmp_path / "x.png")

    def test_and_others_take_no_picture(self, tmp_path):
        """--input on a network that draws from latents."""
        run = train(toy("ring8", tmp_path / "toy.yaml"), data_for("ring8", tmp_path), tmp_path / "runs").run
        with pytest.raises(UsageError, match="generates from latents"):
            enlarge(run, [tmp_path / "p.png"])


@pytest.mark.parametrize("name", ["iwgan-32-lite", "moments-7", "ring8", "signal-1d"])
def test_transfer_starts_from_trained_weights(name, tmp_path):
    """--from: a fresh clock, the source's weights, other samples of the same shape; another shape is refused."""
    data = data_for(name, tmp_path)
    source = train(toy(name, tmp_path / f"{name}.yaml"), data, tmp_path / "runs")
    other = np.load(data)[::-1]
    np.save(tmp_path / "other.npy", other[:150])

    report = gancli.train(data=str(tmp_path / "other.npy"), start_from=source.checkpoint, outdir=tmp_path / "new",
                          changes={"train.duration": 16}, threads=1)  # fmt: skip

    assert 16 <= report.images < 40
    np.save(tmp_path / "wrong.npy", other[:150].repeat(2, axis=1))
    if name in ("signal-1d", "ring8"):
        with pytest.raises(ConfigError, match="the source was trained on samples of shape"):
            gancli.train(
                data=str(tmp_path / "wrong.npy"), start_from=source.checkpoint, outdir=tmp_path / "w", threads=1
            )
        assert not (tmp_path / "w").exists()


def test_transfer_of_bn_clip_measures_the_new_data(tmp_path):
    """Its moments are those of the data that it is trained on now."""
    preset = toy("iwgan-32-lite", tmp_path / "i.yaml")
    data = data_for("iwgan-32-lite", tmp_path)
    clip = {"network.output": "bn-clip"}
    source = train(preset, data, tmp_path / "runs", changes=clip)
    np.save(tmp_path / "dark.npy", (np.load(data) // 4))

    run = gancli.train(
        data=str(tmp_path / "dark.npy"), start_from=source.checkpoint, outdir=tmp_path / "new", threads=1
    )

    before, after = (gancli.load(r.run).checkpoint.config.samples.mean[0] for r in (source, run))
    assert before == pytest.approx(0, abs=0.05)
    assert after == pytest.approx(-0.75, abs=0.05)


def test_points_can_be_healthy(tmp_path):
    """Nothing is left to grow: the verdict is not held back."""
    run = train(toy("ring8", tmp_path / "toy.yaml"), data_for("ring8", tmp_path), tmp_path / "runs").run
    assert not any("grows" in text for text in gancli.inspect_stats(run, samples=64).evidence)


@pytest.mark.parametrize("batch", [2, 3, 21, 63])
def test_any_batch_of_two_or_more_suits_batch_norm(batch, tmp_path):
    """No part of a measurement is a single sample."""
    changes = {"train.batch_size": batch, "train.duration": 2 * batch, "train.tick_every": batch}
    report = train(
        toy("bn-mlp-28", tmp_path / "toy.yaml"), data_for("bn-mlp-28", tmp_path), tmp_path / "runs", changes=changes
    )
    assert report.state == "finished"


def test_one_length_stands_for_the_others():
    """--set train.epochs on a preset that counts images, and the other way round."""
    assert configs.load("signal-1d", {"train.epochs": 2}).train.duration is None
    assert configs.load("moments-1", {"train.generator_steps": 5}).train.epochs is None
