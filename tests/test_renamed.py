"""Renamed keys: an error in presets, migrated in files written by gancli."""

import json

import pytest
from conftest import TINY, tick_row, tiny_config, write_preset

from gancli import config as configs
from gancli import runs
from gancli.config import renamed
from gancli.errors import ConfigError
from gancli.results import Tick


def with_old_keys(config):
    """A config written by an earlier version."""
    values = config.model_dump(mode="json")
    for old, new in renamed.RENAMED.items():
        (section, _, key), (home, _, name) = old.partition("."), new.partition(".")
        if name in values[home]:
            values[section][key] = values[home].pop(name)
    return values


IN_PRESETS = [(old, new) for old, new in renamed.RENAMED.items() if not old.startswith("samples.")]


@pytest.mark.parametrize(("old", "new"), IN_PRESETS)
def test_a_preset_with_an_old_key_is_refused_with_the_new_one(old, new, tmp_path):
    """In a file, which the error names, and on the command line."""
    preset = write_preset(tmp_path / "old.yaml", {old: 1})
    with pytest.raises(ConfigError) as in_file:
        configs.load(preset)
    with pytest.raises(ConfigError) as typed:
        configs.load("quickstart", {old: 1})

    for error in (in_file.value, typed.value):
        assert error.what == f"{old} has been renamed to {new}"
        assert error.hint == f"use {new}"
    assert "old.yaml" in in_file.value.where
    assert "the value given" in typed.value.where


@pytest.mark.parametrize("new", renamed.RENAMED.values())
def test_every_new_key_exists(new):
    """All new keys are valid."""
    section, _, key = new.partition(".")
    assert key in tiny_config().model_dump()[section]


def test_a_run_folder_with_old_keys_is_read_and_resumed(tmp_path):
    """Its config, the match with the same command, and its log."""
    config = tiny_config()
    run = runs.create(tmp_path, "photos", config)
    run.config_file.write_text(configs.yaml.dump(with_old_keys(config)))
    warning = {"name": "dead generator", "text": "", "since": 0, "checkpoint": None}
    row = tick_row(colour_distance=1.0, ema_distinct=2.0, warnings=[warning])
    run.stats_file.write_text(json.dumps(row) + "\n")

    assert run.config() == config
    assert runs.match(tmp_path, config).path == run.path
    (tick,) = run.stats()
    assert (tick["color_distance"], tick["ema_nearest_ratio"], tick["warnings"][0]["name"]) == (1.0, 2.0, "dead")


def test_new_names_of_the_log_exist():
    """As fields of a tick."""
    assert set(renamed.LOG.values()) <= set(Tick.__dataclass_fields__)


def test_present_configs_are_left_alone():
    """As are values that are not configs."""
    assert renamed.translated(TINY) == TINY
    assert renamed.translated([1]) == [1]


def test_a_run_folder_of_the_first_layout_is_read(tmp_path):
    """What the data had settled was in `data` and `network`, and a warning was a text."""
    config = tiny_config()
    values = with_old_keys(config)
    samples = values.pop("samples")
    values["network"]["image_channels"] = 3
    values["data"] |= {key: samples[key] for key in renamed.MOVED}
    run = runs.create(tmp_path, "photos", config)
    run.config_file.write_text(configs.yaml.dump(values))
    run.stats_file.write_text(json.dumps(tick_row(warnings=["collapse: few pictures"])) + "\n")

    assert run.config() == config
    (warning,) = run.stats()[0]["warnings"]
    assert warning == {"name": "collapsed", "text": "few pictures", "since": 8, "checkpoint": None}
    assert renamed.translated(renamed.with_samples(values))["samples"]["center"] == config.samples.center
