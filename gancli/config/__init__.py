"""Configs and presets: strict, frozen, typed. This package imports neither torch nor numpy, to start fast."""

from collections.abc import Mapping
from typing import Any

from gancli.config import overrides, presets, yaml
from gancli.config.schema import Config, ResolvedConfig
from gancli.errors import ConfigError

INTERNAL = {
    "preset": "choose a preset with --preset, or compare them with ablate --vary preset=A,B",
    "samples": "the data determines it",
    "origin": "start from a checkpoint with train --from, or with grow",
}  # sections that no option changes

__all__ = ["Config", "ResolvedConfig", "as_text", "load", "overrides", "presets", "yaml"]


def load(preset: str, changes: Mapping[str, Any] | None = None) -> Config:
    """Load a preset, apply changes by dotted key, and validate it. Raises ConfigError or InputMissing."""
    for key in changes or {}:
        if key.partition(".")[0] in INTERNAL:
            raise ConfigError(f"{key!r} cannot be set", where="--set", hint=INTERNAL[key.partition(".")[0]])
    values = overrides.apply(presets.load_values(preset), changes or {})
    return presets.build(values, str(presets.find(preset)), changes or {})


def as_text(config: Config) -> str:
    """The whole config as YAML, including defaults, as printed by `presets show` and stored in a run folder."""
    return yaml.dump(config.model_dump(mode="json"))
