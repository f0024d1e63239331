"""Renamed config keys. In a preset an old key is an error with the new name; files written by gancli are migrated."""

from collections.abc import Iterable, Mapping
from typing import Any

from gancli.errors import ConfigError

RENAMED = {
    "growth.batch_size": "train.batch_size",
    "growth.lr": "train.lr",
    "loss.penalty_every": "loss.penalty_interval",
    "network.bn_keep": "network.bn_decay",
    "network.latent": "network.z_dim",
    "network.latent_scale": "network.z_scale",
    "network.latents": "network.z_distribution",
    "network.normalize_latent": "network.normalize_z",
    "optimizer.generator_lr": "optimizer.generator_lr_factor",
    "samples.centre": "samples.center",
}
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)  # for files of others
LOG = {"colour_distance": "color_distance", "ema_distinct": "ema_nearest_ratio"}  # in stats.jsonl, schema version 2
WARNINGS = {
    "collapse": "collapsed",
    "low diversity": "low-diversity",
    "non-finite": "diverged",
    "dead generator": "dead",
}  # names of warnings in stats.jsonl, schema version 2


def refuse(values: Mapping[str, Any], where: str, changed: Iterable[str] = ()) -> None:
    """Raise ConfigError for an old key, with its new name. changed: dotted keys from the command line."""
    for old, new in RENAMED.items():
        section, _, key = old.partition(".")
        part = values.get(section)
        if isinstance(part, Mapping) and key in part:
            place = f"the value given for {old}" if old in changed else f"{where}: {old}"
            raise ConfigError(f"{old} has been renamed to {new}", where=place, hint=f"use {new}")


MOVED = ("fingerprint", "centre", "scale", "mean", "std")  # from `data` to `samples`


def with_samples(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config from before the section `samples`, whose facts were in `data` and `network`."""
    config = {name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()}
    network, data, train = config["network"], config["data"], config["train"]
    shape, channels = network.pop("sample_shape", None), network.pop("image_channels", None)
    if shape is None:
        height, width = network.get("base", (4, 4))
        shape = (channels, network["resolution"], network["resolution"] * width // height)
    facts = {"fingerprint": "unknown"}
    facts |= {key: value for key in MOVED if (value := data.pop(key, None)) is not None}
    data["source"] = data.get("source") or "unknown"
    config["samples"] = {"kind": ("points", "signal", "image")[len(shape) - 1], "shape": shape, **facts}
    train["precision"] = "bf16" if train.get("precision") == "bf16" else "fp32"
    return config


def translated(values: Any) -> Any:
    """A config written by an earlier version, with the current keys. Other values are returned unchanged."""
    if not isinstance(values, Mapping):
        return values
    network = values.get("network")
    if isinstance(network, Mapping) and network.keys() & {"image_channels", "sample_shape"}:
        values = with_samples(values)
    config = {name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()}
    for old, new in RENAMED.items():
        (section, _, key), (home, _, name) = old.partition("."), new.partition(".")
        if isinstance(config.get(section), dict) and key in config[section] and isinstance(config.get(home), dict):
            config[home].setdefault(name, config[section].pop(key))
    return config


def translated_tick(tick: dict[str, Any]) -> dict[str, Any]:
    """A line of stats.jsonl with the current names of fields and warnings."""
    found = {LOG.get(key, key): value for key, value in tick.items()}
    if "warnings" in found:
        found["warnings"] = [_translated_warning(said, found.get("images", 0)) for said in found["warnings"]]
    return found


def _translated_warning(said: Any, images: int) -> dict[str, Any]:
    """A warning; in schema version 1 it was a text, "name: what is wrong"."""
    if isinstance(said, str):
        name, _, text = said.partition(": ")
        said = {"name": name, "text": text, "since": images, "checkpoint": None}
    return {**said, "name": WARNINGS.get(said["name"], said["name"])}
