"""The preset that is chosen by the data and the device."""

import numpy as np
import pytest
import torch
from conftest import make_pictures

import gancli
from gancli import config
from gancli.errors import ConfigError, InputMissing, UsageError
from gancli.runs import Run
from gancli.training import auto
from gancli.training.callbacks import Silent

CPU, GPU = torch.device("cpu"), torch.device("meta")
BRIEF = {"train.duration": 16, "train.batch_size": 4, "train.tick_every": 16}


class Said(Silent):
    """Keeps the messages."""

    def __init__(self):
        self.texts = []

    def say(self, text):
        """Keep it."""
        self.texts.append(text)


class TestChoice:
    @pytest.mark.parametrize(
        ("size", "device", "preset", "side"),
        [
            (32, CPU, "progan-64-lite", 32),
            (47, GPU, "progan-64", 32),
            (48, CPU, "progan-64-lite", 64),
            (300, CPU, "progan-64-lite", 64),
            (95, GPU, "progan-64", 64),
            (96, GPU, "progan-128", 128),
        ],
    )
    def test_images_by_their_size(self, tmp_path, size, device, preset, side):
        """32 px for small ones, 64 px on a CPU, 128 px on a GPU for large ones; narrow networks on a CPU."""
        found = auto.choose(str(make_pictures(tmp_path / "p", 4, size=size)), device, {})
        assert (found.preset, found.changes["network.resolution"]) == (preset, side)
        assert f"{preset} at {side} px, for images of {size} x {size}" in found.reason

    def test_a_resolution_that_is_given_counts(self, tmp_path):
        """As --resolution does; 128 px has a preset of its own."""
        found = auto.choose(str(make_pictures(tmp_path / "p", 4, size=32)), CPU, {"network.resolution": 128})
        assert (found.preset, found.changes["network.resolution"]) == ("progan-128-lite", 128)

    def test_augmentation_by_the_number_of_images(self, tmp_path, monkeypatch):
        """Fixed without held-out images, then steered by overfitting, then none; the reason says so."""
        place = str(make_pictures(tmp_path / "p", 6))
        fixed = auto.choose(place, CPU, {})
        assert fixed.changes["augment.translation"] > 0
        assert "augment.target" not in fixed.changes
        assert fixed.reason.endswith("augmented, because there are only 6 images")

        monkeypatch.setattr(auto, "STEERABLE", 6)
        steered = auto.choose(place, CPU, {})
        assert steered.changes["augment.target"] == 0.5
        assert steered.reason.endswith("augmented as much as the critic overfits")

        monkeypatch.setattr(auto, "MANY", 6)
        assert [key for key in auto.choose(place, CPU, {}).changes if "augment" in key] == []

    def test_what_the_user_sets_is_left_to_the_user(self, tmp_path, monkeypatch):
        """Augmentation of any kind, no held-out images, the data as a key, a resolution that is no number."""
        place = str(make_pictures(tmp_path / "p", 6))
        assert "augment" not in " ".join(auto.choose(place, CPU, {"augment": None}).changes)
        assert "augment" not in auto.choose(place, CPU, {"augment.flip": 0.5}).reason
        assert auto.choose(None, CPU, {"data.source": place}).preset == "progan-64-lite"
        assert auto.choose(place, CPU, {"network.resolution": "64"}).preset == "progan-64-lite"
        monkeypatch.setattr(auto, "STEERABLE", 6)
        assert "augment.target" not in auto.choose(place, CPU, {"data.held_out": 0}).changes
        assert "augment.target" not in auto.choose(place, CPU, {"data.held_out": 0.01}).changes, "of 6 images none"

    @pytest.mark.parametrize(
        ("shape", "preset", "words"), [((90, 2, 16), "signal-1d", "for signals"), ((90, 2), "ring8", "for points")]
    )
    def test_arrays_by_their_kind(self, tmp_path, shape, preset, words):
        """Signals and points have presets of their own."""
        np.save(tmp_path / "a.npy", np.random.RandomState(0).normal(size=shape).astype(np.float32))
        found = auto.choose(str(tmp_path / "a.npy"), CPU, {})
        assert (found.preset, found.changes) == (preset, {})
        assert words in found.reason

    @pytest.mark.parametrize(
        ("data", "preset"), [(None, "quickstart"), ("builtin:shapes", "quickstart"), ("builtin:grid25", "grid25")]
    )
    def test_built_in_data_has_its_own_presets(self, data, preset):
        """Without data: quickstart on shapes."""
        assert auto.choose(data, CPU, {}).preset == preset

    def test_missing_data_is_an_error(self, tmp_path):
        """As without auto."""
        with pytest.raises(InputMissing):
            auto.choose(str(tmp_path / "none"), CPU, {})

    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize("size", [20, 64, 200])
    def test_every_choice_is_a_valid_config(self, tmp_path, size, device):
        """With all its changes."""
        found = auto.choose(str(make_pictures(tmp_path / "p", 4, size=size)), device, {})
        loaded = config.load(found.preset, found.changes)
        assert loaded.network.picture_size == (found.changes["network.resolution"],) * 2


class TestTraining:
    def test_is_the_default_and_says_why(self, tmp_path):
        """The run is that of the chosen preset; the same command resumes it."""
        place, said = str(make_pictures(tmp_path / "p", 8, size=32)), Said()
        report = gancli.train(data=place, changes=BRIEF, outdir=tmp_path, callback=said)

        run = Run(report.run).config()
        assert (run.preset, run.network.resolution, run.augment.translation) == ("progan-64-lite", 32, 0.5)
        assert said.texts[0] == f"preset: {auto.choose(place, CPU, {}).reason}"
        again = gancli.train("auto", place, changes=BRIEF, outdir=tmp_path)
        assert again.run == report.run

    def test_settings_that_are_given_override_it(self, tmp_path):
        """A section that is switched off stays off."""
        place = str(make_pictures(tmp_path / "p", 8, size=32))
        found = gancli.plan(data=place, changes={**BRIEF, "augment": None, "network.resolution": 8})
        assert (found.config["augment"], found.config["network"]["resolution"]) == (None, 8)

    def test_a_run_is_no_data(self, tmp_path):
        """As with any preset."""
        run = gancli.train("quickstart", changes=BRIEF, outdir=tmp_path).run
        with pytest.raises(UsageError, match="this is a run folder"):
            gancli.plan("auto", run)

    def test_steering_without_held_out_samples_is_refused(self, tmp_path):
        """A small data set has none, which only shows when it is open."""
        place = str(make_pictures(tmp_path / "p", 24, size=32))
        with pytest.raises(ConfigError, match="of 24 samples there are none"):
            gancli.plan("quickstart", place, changes={"augment": {"color": 1, "target": 0.5}})

    def test_has_no_file(self):
        """`presets show auto` says how to see its choice."""
        with pytest.raises(ConfigError, match="auto is chosen by the data") as error:
            config.load("auto")
        assert "--dry-run" in error.value.hint
