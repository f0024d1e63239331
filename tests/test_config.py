import pytest
from conftest import TINY, write_preset

from gancli import config as configs
from gancli.config import overrides, presets, yaml
from gancli.errors import ConfigError, InputMissing, UsageError


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-4", 1e-4), ("1.0e-4", 1e-4), ("2_000_000", 2_000_000), ("-3", -3), (".5", 0.5), ("true", True),
            ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("null", None), ("~", None), ("2026-11-20", "2026-11-20"),
            ("0-63", "0-63"), ("010", 10), ("08", 8), ("1:30", "1:30"), ("", None), ("[1, 2]", [1, 2]),
        ],
    )  # fmt: skip
    def test_reads_plain_values(self, text, value):
        """1e-4 is a number; no and dates are strings."""
        read = yaml.parse(text, "test")
        assert read == value
        assert type(read) is type(value)

    @pytest.mark.parametrize("text", ["a: 1\na: 2", "a: &x 1\nb: *x", "a: [1", "!!python/object:os.system {}", "\0"])
    def test_refuses_ambiguous_yaml(self, text):
        """Duplicate keys, aliases, broken syntax, tags that build objects."""
        with pytest.raises(ConfigError):
            yaml.parse(text, "test")

    def test_a_file_too_large_for_a_preset_is_not_read(self, tmp_path):
        """The size is checked before reading."""
        (tmp_path / "big.yaml").write_text("#" * 300_000)
        with pytest.raises(ConfigError, match="too many"):
            yaml.load(tmp_path / "big.yaml")

    @pytest.mark.parametrize("text", ["09", "1e4", "5e-3", "true", "null", "1_0", "", "a: b", "*x", "- y"])
    def test_text_that_looks_like_something_else_survives(self, text):
        """For example a preset named 09.yaml."""
        assert yaml.parse(yaml.dump({"preset": text}), "test") == {"preset": text}

    def test_a_config_survives_its_text(self, tiny):
        """as_text and build round-trip."""
        config = configs.load(tiny, {"growth.at.16.batch_size": 4})

        again = presets.build(yaml.parse(configs.as_text(config), "test"), "test")

        assert again == config


class TestStrictness:
    @pytest.mark.parametrize(
        ("changes", "message", "hint"),
        [
            ({"train.batchsize": 8}, "unknown key 'batchsize'", "batch_size"),
            ({"los.r1": 8}, "unknown key 'los'", "loss"),
            ({"growth.at.8.stabel": 8}, "unknown key 'stabel'", "stable"),
            ({"train.lr": "fast"}, "'fast'", "presets show"),
            ({"train.lr": float("nan")}, "finite", "presets show"),
            ({"train.batch_size": True}, "true or false", "presets show"),
            ({"optimizer.eps": float("inf")}, "finite", "presets show"),
            ({"train.seed": True}, "true or false", "presets show"),
            ({"data.held_out": 1}, "less than 1", "presets show"),
            ({"growth.at.².lr": 1}, "integer", "presets show"),
            ({"train.batch_size": 0}, "greater than 0", "presets show"),
            ({"network.resolution": 24}, "power of 2", "presets show"),
            ({"network.channels": [8, 8]}, "3 numbers", "presets show"),
            ({"growth.at.12.fade": 3}, "12 px", "presets show"),
        ],
    )
    def test_a_wrong_value_is_one_sentence(self, tmp_path, changes, message, hint):
        """The error has what, where and a hint."""
        with pytest.raises(ConfigError) as error:
            configs.load(write_preset(tmp_path / "p.yaml", {}), changes)

        assert message in error.value.what
        assert hint in error.value.hint
        assert next(iter(changes)).split(".")[0] in error.value.where or "p.yaml" in error.value.where

    def test_an_unknown_preset_has_a_nearest_name(self):
        """The error suggests the closest name."""
        with pytest.raises(ConfigError) as error:
            configs.load("quikstart")
        assert "'quickstart'" in error.value.hint

    def test_a_missing_preset_file_is_missing(self, tmp_path):
        """Exit 66 for a missing file."""
        with pytest.raises(InputMissing):
            configs.load(str(tmp_path / "none.yaml"))

    def test_a_missing_section_is_named(self, tmp_path):
        """The error names the required key."""
        (tmp_path / "p.yaml").write_text("network: {resolution: 8}")
        with pytest.raises(ConfigError, match="'train' is missing"):
            configs.load(str(tmp_path / "p.yaml"))

    def test_configs_are_frozen(self, tiny):
        """Assignments raise."""
        with pytest.raises(Exception, match="frozen"):
            configs.load(tiny).train.seed = 3


class TestOverrides:
    def test_set_reads_values_as_yaml(self):
        """--set train.lr=1e-3 is a number; null and lists work too."""
        assert overrides.parse(["train.lr=1e-3", "network.minibatch_std=null", "network.base=[4, 6]"]) == {
            "train.lr": 1e-3,
            "network.minibatch_std": None,
            "network.base": [4, 6],
        }

    @pytest.mark.parametrize("text", ["train.lr", "=3"])
    def test_a_set_without_key_or_value_is_refused(self, text):
        """The hint shows the form."""
        with pytest.raises(ConfigError, match="key=value"):
            overrides.parse([text])

    def test_a_flag_and_a_set_of_the_same_key_are_refused(self):
        """The value would be ambiguous."""
        with pytest.raises(UsageError, match="twice"):
            overrides.merge({"train.seed": 1, "data.mirror": None}, {"train.seed": 2})

    def test_a_change_for_all_stages_wins_over_a_preset_s_exceptions(self):
        """--batch 4 applies to all stages, unless a stage is set as well."""
        values = {**TINY, "growth": {**TINY["growth"], "at": {8: {"batch_size": 2, "fade": 5}, 16: {"batch_size": 2}}}}

        changed = overrides.apply(values, {"train.batch_size": 4, "growth.at.16.batch_size": 6})

        assert changed["train"]["batch_size"] == 4
        assert changed["growth"]["at"] == {8: {"fade": 5}, 16: {"batch_size": 6}}

    def test_a_stage_is_the_same_as_number_and_as_text(self):
        """growth.at keys of `presets show` and of --set are the same."""
        values = {"growth": {"at": {"256": {"batch_size": 14}}}}
        assert overrides.apply(values, {"growth.at.256.lr": 1}) == {
            "growth": {"at": {"256": {"batch_size": 14, "lr": 1}}}
        }

    def test_the_original_values_are_left_alone(self):
        """apply returns a copy."""
        overrides.apply(TINY, {"train.lr": 9})
        assert TINY["train"]["lr"] == 0.002


class TestExtends:
    def write(self, folder, name, text):
        (folder / name).write_text(text)
        return str(folder / name)

    def test_a_preset_is_another_with_changes(self, tmp_path):
        """A shipped one by its name, a file by its path beside it; the name is the file's."""
        self.write(tmp_path, "base.yaml", "extends: quickstart\nloss: {r1: 0.5}\n")
        config = configs.load(self.write(tmp_path, "mine.yaml", "extends: base.yaml\ntrain: {lr: 0.5}\n"))
        base = configs.load("quickstart")

        assert (config.preset, config.loss.r1, config.train.lr) == ("mine", 0.5, 0.5)
        assert config.loss.r2 == base.loss.r2
        assert config.growth == base.growth

    def test_a_circle_is_refused(self, tmp_path):
        """Each extends the other."""
        self.write(tmp_path, "a.yaml", "extends: b.yaml\n")
        with pytest.raises(ConfigError, match="extends itself"):
            configs.load(self.write(tmp_path, "b.yaml", "extends: a.yaml\n"))

    def test_an_unknown_base_is_said(self, tmp_path):
        """With the nearest name."""
        with pytest.raises(ConfigError, match="quikstart"):
            configs.load(self.write(tmp_path, "a.yaml", "extends: quikstart\n"))


class TestResolution:
    def test_larger(self):
        """Half the channels a stage; the last part of the schedule moves up, the stages between get twice the time."""
        small, large = configs.load("progan-64-lite"), configs.load("progan-64-lite", {"network.resolution": 256})

        assert large.network.channels == (*small.network.channels, 8, 8)
        assert large.growth.at[256] == small.growth.at[64]
        assert [large.growth.at[height].stable for height in (32, 64, 128)] == [26_000, 52_000, 104_000]

    def test_smaller(self):
        """Channels and stages above it are gone; the last part of the schedule is the last stage's."""
        small, large = configs.load("quickstart", {"network.resolution": 16}), configs.load("quickstart")

        assert small.network.channels == large.network.channels[:3]
        assert small.growth.at == {4: large.growth.at[4], 16: large.growth.at[32]}

    def test_what_is_said_as_well_is_kept(self):
        """Own channels, and an own stage."""
        changes = {"network.resolution": 64, "network.channels": [4] * 5, "growth.at.64.stable": 7}
        config = configs.load("quickstart", changes)
        assert config.network.channels == (4,) * 5
        assert config.growth.at[64].stable == 7

    @pytest.mark.parametrize("resolution", [48, 2])
    def test_a_size_that_is_no_doubling_is_refused(self, resolution):
        """As before, by the network itself."""
        with pytest.raises(ConfigError, match="resolution"):
            configs.load("quickstart", {"network.resolution": resolution})

    def test_progan_128_lite_is_what_it_says(self):
        """progan-64-lite --resolution 128."""
        shipped, derived = configs.load("progan-128-lite"), configs.load("progan-64-lite", {"network.resolution": 128})
        assert shipped.model_copy(update={"preset": "progan-64-lite"}) == derived


@pytest.mark.parametrize("key", ["preset", "origin.verb", "samples.scale"])
def test_what_the_run_settles_is_not_set(key):
    """A preset, the origin and the facts of the data: refused, with what to do instead."""
    with pytest.raises(ConfigError, match="cannot be set"):
        configs.load("quickstart", {key: "x"})
