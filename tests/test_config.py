import math
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import TINY, tiny_config, write_preset

from gancli import config as configs
from gancli.config import overrides, presets, yaml
from gancli.errors import ConfigError, InputMissing, UsageError
from gancli.folders import preset_names


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


def refused(text, where="test"):
    """The message of the ConfigError for YAML text, which comes within a second."""
    began = time.monotonic()
    with pytest.raises(ConfigError) as error:
        yaml.parse(text, where)
    assert time.monotonic() - began < SOON
    message = str(error.value)
    assert len(message) < 400
    assert message.replace("\n", "").isprintable()
    return message


SOON = 3.0  # seconds; a quadratic pattern takes minutes, and this machine may be busy
LONG = 200_000


class TestHostileYaml:
    @pytest.mark.parametrize(
        "text", ["1" * LONG + "x", "1" + "_" * LONG + "x", "1" * LONG + ".x", "." + "1" * LONG + "x", "+" * LONG,
                 "1e" + "1" * LONG + "x", "1." + "_" * LONG + "x", "-." + "_" * LONG], ids=yaml.shown
    )  # fmt: skip
    def test_long_text_that_begins_like_a_number(self, text):
        """Is text, as a value and as a key, in linear time."""
        began = time.monotonic()
        assert yaml.parse(f"a: {text}", "test") == {"a": text}
        assert yaml.parse(f"? {text}\n: 1", "test") == {text: 1}
        assert yaml.parse(yaml.dump([text]), "test") == [text]
        assert time.monotonic() - began < SOON

    @pytest.mark.parametrize(
        "text",
        [
            "!!timestamp x", "!!timestamp 2001-01-01", "!!binary aGk=", "!!binary 'ü'", "!!omap [a: 1]", "!!omap [1]",
            "!!pairs [1]", "!!set {a, b}", "!foo {}", "!foo", "! x", "{!!merge x: {}}", "!!python/name:os.system",
            '!!python/object/apply:os.system ["x"]', f"!{'x' * 5000} 1",
        ], ids=yaml.shown
    )  # fmt: skip
    def test_tags_of_other_types(self, text):
        """Only tags of plain values are allowed."""
        assert "tag" in refused(f"a: {text}")

    @pytest.mark.parametrize(
        "text", ["!!bool x", "!!bool [1]", "!!int x", "!!int ''", "!!int []", "!!float ''", "!!float x", "!!null x",
                 "!!map x", "!!seq x", "!!str []", "!!seq {}", "!!map []", "!!bool True"], ids=yaml.shown
    )  # fmt: skip
    def test_tags_that_do_not_fit(self, text):
        """A value that is not of the type of its tag."""
        assert " is not " in refused(f"a: {text}")

    def test_tags_that_fit(self):
        """They say which type is meant."""
        text = "[!!str 5, !!int 5, !!int '5', !!float 5, !!bool true, !!null ~, !!seq [1], !!map {a: 1}]"
        assert yaml.parse(text, "test") == ["5", 5, 5, 5.0, True, None, [1], {"a": 1}]

    @pytest.mark.parametrize(
        "text", ["? [a, b]\n: 1", "? {a: b}\n: 1", "~: 1", "true: 1", ".nan: 1\n.nan: 2", "1.5: 1"], ids=yaml.shown
    )
    def test_keys_are_text_or_whole_numbers(self, text):
        """Others could not be set with --set."""
        assert "key must be" in refused(text)

    @pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, 'a': 1}", "1: 1\n0_1: 2", "<<: {}\n<<: {}"], ids=yaml.shown)
    def test_keys_are_unique(self, text):
        """A merge key is a key as any other."""
        assert "duplicate key" in refused(text)

    @pytest.mark.parametrize(
        "text",
        ["[" * LONG, "[" * 5000 + "]" * 5000, "{a: " * 20_000, "- " * LONG + "x",
         "".join(f"k{i}: 1\n" for i in range(28_000)), "\n".join(" " * i + "a:" for i in range(600)),
         "[" + "a," * 100_000 + "]"],
        ids=yaml.shown,
    )  # fmt: skip
    def test_deep_and_long_files(self, text):
        """Refused at a limit, before they take time or memory."""
        assert "levels" in refused(text)

    @pytest.mark.parametrize(
        "text", ["9" * 101, "9" * 5000, "1" * 60 + "." + "1" * 60, "-" + "9" * LONG], ids=yaml.shown
    )
    def test_long_numbers(self, text):
        """Python does not print integers of more than 4,300 digits."""
        assert "too long" in refused(f"a: {text}")

    @pytest.mark.parametrize(
        "text", ["a: \0", '"\\UFFFFFFFF"', "%YAML 9.9\n---\n1", f"%YAML {'9' * 5000}.1\n---\n1", "a: 1\n---\nb: 2",
                 "\t- 1", "\x1b[31m", "&x *x", '"\\x', "a: 'b", f"*{'x' * 5000}", f"a: &{'x' * 5000} &y 1", "\ud800"],
        ids=yaml.shown,
    )  # fmt: skip
    def test_broken_text(self, text):
        """Whatever PyYAML raises is one short error."""
        assert "not valid YAML" in refused(text)

    def test_an_odd_place_is_cleaned(self):
        """The error names the file."""
        assert "\\x1b" in refused("[", "\x1b[2J")

    @pytest.mark.parametrize(
        "text", ["\u202e", "a\u2028b", "\x1b", "\x85", "\udcff", "\ufeff", "é\u200b", "\U000e0041"], ids=yaml.shown
    )
    def test_hidden_characters_are_escaped_when_written(self, text):
        """Config files and `presets show` are printable, and the values stay the same."""
        written = yaml.dump({"preset": text, text: 1})
        assert written.replace("\n", "").isprintable()
        assert yaml.parse(written, "test") == {"preset": text, text: 1}

    def test_letters_stay_readable(self):
        """Printable text is not escaped."""
        assert "蛙é" in yaml.dump({"preset": "蛙é"})

    def test_a_value_that_occurs_twice_is_written_twice(self):
        """The loader would refuse an alias."""
        same = [1, 2]
        assert yaml.parse(yaml.dump({"a": same, "b": same}), "test") == {"a": same, "b": same}

    def test_what_an_error_repeats_is_short(self):
        """Also of values that would take all memory as text."""
        for value in ("x" * 10**6, 10**5000, [[["x" * 500] * 500] * 500] * 500, {i: i for i in range(999)}, [10**5000]):
            assert len(yaml.shown(value)) <= yaml.MAX_SHOWN


class TestFiles:
    @pytest.mark.parametrize("read", [configs.load, presets.story, lambda path: yaml.load(Path(path))])
    def test_a_preset_is_a_regular_file(self, tmp_path, read):
        """A pipe would be waited for, and a device has no end."""
        os.mkfifo(tmp_path / "pipe.yaml")
        (tmp_path / "device.yaml").symlink_to("/dev/zero")
        (tmp_path / "folder.yaml").mkdir()
        for name in ("pipe", "device", "folder"):
            with pytest.raises(ConfigError, match="not a regular file"):
                read(str(tmp_path / f"{name}.yaml"))

    def test_what_cannot_be_opened_is_missing(self, tmp_path):
        """Links in a circle, names that are too long, nul characters, and files as folders."""
        (tmp_path / "loop.yaml").symlink_to("loop.yaml")
        (tmp_path / "file").touch()
        for name in ("loop", "x" * 5000, "a\0b", "file/x", "gone"):
            with pytest.raises(InputMissing):
                configs.load(str(tmp_path / f"{name}.yaml"))

    def test_no_file_is_left_open(self, tmp_path):
        """Neither after reading nor after an error."""
        (tmp_path / "a.yaml").write_text("a: 1")
        first = os.open(tmp_path, os.O_RDONLY)
        os.close(first)
        for path in (tmp_path / "a.yaml", tmp_path):
            with suppress(ConfigError):
                yaml.load(path)
        last = os.open(tmp_path, os.O_RDONLY)
        os.close(last)
        assert last == first

    @pytest.mark.parametrize("name", ["x" * 5000, "../tests/tiny", "a\0b", "\x1b", "", ".", "*"], ids=yaml.shown)
    def test_a_name_is_one_of_the_list(self, name):
        """Anything else is unknown."""
        with pytest.raises(ConfigError, match="unknown preset"):
            configs.load(name)


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


class TestLimits:
    @pytest.mark.parametrize(
        ("key", "most"),
        [
            ("train.seed", 2**63 - 1), ("train.duration", 2**53 - 1), ("train.ema_half_life", 2**53 - 1),
            ("train.batch_size", 2**20), ("train.epochs", 10**6), ("train.generator_steps", 10**7),
            ("growth.stable", 2**53 - 1), ("growth.at.8.batch_size", 2**20), ("growth.at.8.fade", 2**53 - 1),
            ("network.z_dim", 8192), ("network.max_channels", 8192), ("loss.penalty_interval", 2**53 - 1),
            ("train.lr", 10), ("train.keep", 2**53 - 1), ("network.minibatch_std.group_size", 2**53 - 1),
        ],
    )  # fmt: skip
    def test_the_largest_number(self, tiny, key, most):
        """It is accepted, and the next one is not; nor are much larger ones."""
        configs.load(tiny, {key: most})
        for value in (most + 1, 10**30, 10**99, -1):
            with pytest.raises(ConfigError) as error:
                configs.load(tiny, {key: value})
            assert len(str(error.value)) < 400

    @pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999", math.inf, math.nan])
    @pytest.mark.parametrize("key", ["train.lr", "loss.r1", "optimizer.eps", "train.ema_ramp", "network.z_scale",
                                     "data.held_out", "train.checkpoint_minutes"])  # fmt: skip
    def test_numbers_are_finite(self, tiny, key, value):
        """Also those given as text, which pydantic reads."""
        with pytest.raises(ConfigError):
            configs.load(tiny, {key: value})

    @pytest.mark.parametrize("value", ["nan", "inf", math.nan])
    def test_facts_of_the_data_are_finite(self, value):
        """In the config of a run."""
        with pytest.raises(ConfigError, match="finite"):
            tiny_config(samples__center=value)

    def test_betas_are_finite(self, tiny):
        """Both of them."""
        for value in ("nan", "inf", math.nan):
            with pytest.raises(ConfigError):
                configs.load(tiny, {"optimizer.betas": [value, 0.9]})

    @pytest.mark.parametrize("key", [0, -4, 2**40, 10**99, "a", "", "1e3", None])
    def test_stages_have_possible_heights(self, tiny, key):
        """Up to the largest resolution."""
        with pytest.raises(ConfigError) as error:
            configs.load(tiny, {"growth.at": {key: {"fade": 1}}})
        assert " should be " in error.value.what
        assert len(str(error.value)) < 400

    @pytest.mark.parametrize(
        "network",
        [
            {"resolution": 1024, "channels": [8192] * 9},
            {"resolution": 64, "base": [64, 64], "z_dim": 8192, "max_channels": 512},
            {"family": "mlp", "generator": {"hidden": [8192] * 32}, "critic": {"hidden": [8]}},
            {"family": "mlp", "generator": {"hidden": [8]}, "critic": {"hidden": [8192] * 32}},
            {"family": "conv", "generator": {"dense": 8, "layers": [{"channels": 8192, "kernel": 31}] * 64},
             "critic": {"layers": [{"channels": 8}]}},
            {"family": "conv", "generator": {"dense": 8, "layers": [{"channels": 8}]},
             "critic": {"layers": [], "last": [{"channels": 8192}] * 3}},
            {"family": "conv", "generator": {"dense": 8, "layers": [{"channels": 4096}] * 4}, "width": 4,
             "critic": {"layers": [{"channels": 8}]}},
            {"family": "superres", "resolution": 32, "channels": 8192, "critic": {"layers": [{"channels": 8}]}},
            {"family": "superres", "resolution": 32, "critic": {"layers": [{"channels": 8192, "kernel": 5}] * 2}},
        ],
    )  # fmt: skip
    def test_networks_fit_into_memory(self, network):
        """Each size is allowed, but not all of them together."""
        with pytest.raises(ConfigError, match="1,073,741,824 weights"):
            presets.build({"network": network, "train": {"batch_size": 8}}, "test")

    def test_names_of_presets_are_printable(self, tiny):
        """The name of a file may be anything; the config has it on one line."""
        path = Path(tiny).rename(Path(tiny).with_name("\x1b\u202e\n.yaml"))
        config = configs.load(str(path))
        assert config.preset == "\\x1b\\u202e\\n"
        assert presets.build(yaml.parse(configs.as_text(config), "test"), "test") == config


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

    @pytest.mark.parametrize(
        "text",
        [
            "growth.at." + "9" * 5000 + "=1", "growth..lr=1", "growth.at.=1", ".=1", ".a=1", "a\x1b=1", "a\u202e.b=1",
            "train.\n=1", "train.seed=" + "9" * 4400, "a=!!bool x", "a=!!timestamp x", "train.lr=[", "a=" + "[" * 5000,
            "x" * 10**5 + "=1", "train.lr=" + "\0", "=" * 1000, "x" * 10**5,
        ],
        ids=yaml.shown,
    )  # fmt: skip
    def test_odd_keys_and_values_are_one_short_sentence(self, text):
        """Without control characters."""
        with pytest.raises(ConfigError) as error:
            overrides.parse([text])
        assert len(str(error.value)) < 400
        assert str(error.value).replace("\n", "").isprintable()

    @pytest.mark.parametrize(
        "key",
        ["growth.at.٣.lr", "growth.at." + "9" * 5000 + ".lr", "network.x.y.z", "train.seed.x", "a.b.c", "5.5"],
        ids=yaml.shown,
    )
    def test_unknown_keys_are_named_in_short(self, tiny, key):
        """Also where a part is a number, or a section is a value."""
        with pytest.raises(ConfigError) as error:
            configs.load(tiny, {key: "y" * 10**6})
        assert len(str(error.value)) < 500

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

    def test_a_long_chain_is_refused(self, tmp_path):
        """Each file extends the next."""
        for i in range(50):
            self.write(tmp_path, f"p{i}.yaml", f"extends: p{i + 1}.yaml\n")
        with pytest.raises(ConfigError, match="extend one another"):
            configs.load(str(tmp_path / "p0.yaml"))

    @pytest.mark.parametrize("base", ["[a]", "5", "{a: 1}", "~", "''"])
    def test_a_base_is_a_name(self, tmp_path, base):
        """Nothing else."""
        with pytest.raises(ConfigError, match="preset"):
            configs.load(self.write(tmp_path, "a.yaml", f"extends: {base}\n"))

    def test_many_keys_take_linear_time(self, tmp_path):
        """They are unknown, and that is said soon."""
        text = "extends: quickstart\n" + "".join(f"k{i}: 1\n" for i in range(9_000))
        began = time.monotonic()
        with pytest.raises(ConfigError, match="unknown key 'k0'"):
            configs.load(self.write(tmp_path, "a.yaml", text))
        assert time.monotonic() - began < 2 * SOON

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

    @pytest.mark.parametrize(
        "odd",
        [
            {"network.base": 5}, {"network.base": "ab"}, {"network.base": [0, 4]}, {"network.base": [-4, 4]},
            {"network.base": {"a": 1}}, {"network.resolution": 0}, {"network.resolution": -4},
            {"network.resolution": "32"}, {"network.channels": "abc"}, {"network.channels": ["a"]},
            {"network.channels": []}, {"network.channels": 5},
            {"growth": [1]}, {"growth": 5}, {"growth.at": {"a": 1}}, {"growth.at": {4: 1}}, {"growth.at": {"a": {}}},
            {"growth.at": {16: {"stable": None}}}, {"growth.at": {16: {"stable": "x"}}}, {"growth.at": {-4: {}}},
            {"network.family": [1]}, {"growth.at": {32: {"fade": [1]}}}, {"growth": None},
            {"network.base": [-4, 4], "network.resolution": -16},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("resolution", [64, 16, 0, -8, 2**70, "x", True, [4]])
    def test_odd_values_are_left_for_the_validation(self, odd, resolution):
        """Nothing but a ConfigError comes of them, and that soon."""
        values = overrides.apply(presets.load_values("quickstart"), odd)
        with suppress(ConfigError):
            presets.build(overrides.apply(values, {"network.resolution": resolution}), "test")

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


ATOMS = (
    "null", "true", "0", "-1", "1.5", "1e999", ".nan", "[]", "{}", "[1]", "{a: 1}", "x", "''", "'inf'", "9" * 99,
    "9" * 5000, "!!bool x", "!!int ''", '"\\e[2J"', "\u202e", "\x1b", "&a 1", "*a", "<<", "[4, 4]", "[0, 0]", "4", "32",
    "999999999", "{4: {fade: 1}}", "{a: 1}", "{4: 5}", "{1.5: {}}", "mlp", "quickstart", "|\n  a", "\0", "[[", "? [a]",
    "- x", "%", "'",
)  # fmt: skip


def damaged(text, draw):
    """A preset with a value replaced, a line moved, or characters inserted."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        moved, cut = " " * draw.randrange(6) + lines[at].strip(), lines[at][: draw.randrange(len(lines[at]) + 1)]
        replaced, inserted = f"{key}{colon} {draw.choice(ATOMS)}", draw.choice(ATOMS) + lines[at]
        lines[at] = draw.choice([replaced, inserted, moved, cut, draw.choice(lines)])
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_presets_and_settings_are_config_errors(tmp_path, seed):
    """Never another exception, never a long message, and what is valid survives its text."""
    draw, path = random.Random(seed), tmp_path / "p.yaml"
    texts = [presets.find(name).read_text() for name in preset_names()]
    keys = [
        *overrides.flattened(configs.load("quickstart").model_dump(mode="json")),
        "growth.at.4.lr",
        "growth",
        "a..b",
    ]
    for _ in range(60):
        path.write_text(damaged(draw.choice(texts), draw))
        sets = [f"{draw.choice(keys)}={draw.choice(ATOMS)}" for _ in range(draw.randrange(3))]
        preset = draw.choice([str(path), "quickstart"])
        error, config = outcome(lambda preset=preset, sets=sets: configs.load(preset, overrides.parse(sets)))
        assert len(error) < 900
        assert error.replace("\n", "").isprintable()
        assert config is None or presets.build(yaml.parse(configs.as_text(config), "test"), "test") == config


def outcome(work):
    """(message of a ConfigError or InputMissing, result); one of them is empty."""
    try:
        return "", work()
    except (ConfigError, InputMissing) as error:
        return str(error), None
