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
