"""`--set a.b=c`: change values of a preset on the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

from gancli.config import yaml
from gancli.errors import ConfigError, UsageError


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """{"a.b": value} from "a.b=c" strings. Values are parsed as YAML. Raises ConfigError."""
    pairs = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"{text!r} is not key=value", where="--set", hint="use a form such as train.lr=0.002")
        pairs[key.strip()] = yaml.parse(value, f"--set {key}")
    return pairs


def merge(flags: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[str, Any]:
    """Merge flags that were given (not None) with --set. Raises UsageError if both set the same key."""
    given = {key: value for key, value in flags.items() if value is not None}
    for key in given.keys() & sets.keys():
        raise UsageError(f"{key} is set twice", where=f"its own option and --set {key}", hint="remove one of them")
    return {**given, **sets}


def apply(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values with dotted keys replaced. Missing sections are created."""
    result = _one_length(for_all_stages(values, changes), changes)
    for key, value in changes.items():
        result = _replaced(result, key.split("."), value, key)
    return result


LENGTHS = ("duration", "epochs", "generator_steps")  # three keys for the length of a run


def _one_length(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the length of the preset if a change sets the length in any unit."""
    train = values.get("train")
    if not isinstance(train, Mapping) or not any(f"train.{key}" in changes for key in LENGTHS):
        return dict(values)
    return {**values, "train": {key: value for key, value in train.items() if key not in LENGTHS}}


def for_all_stages(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Remove per-stage settings of the preset if a change, such as --batch, sets the value for all stages."""
    growth = values.get("growth")
    changed = {key.partition(".")[2] for key in changes if key.partition(".")[0] in ("growth", "train")}
    if not isinstance(growth, Mapping) or not isinstance(growth.get("at"), Mapping):
        return dict(values)
    at = {height: _without(stage, changed) for height, stage in growth["at"].items()}
    return {**values, "growth": {**growth, "at": at}}


def _without(stage: Any, keys: set[str]) -> Any:
    return {key: value for key, value in stage.items() if key not in keys} if isinstance(stage, Mapping) else stage


def _replaced(values: Mapping[str, Any], path: list[str], value: Any, whole: str) -> dict[str, Any]:
    head, *rest = path
    alike = (key for key in values if str(key) == head)  # growth.at.256: a number here, possibly text in a file
    name: Any = next(alike, int(head) if head.isdecimal() and head.isascii() else head)
    if not rest:
        return {**values, name: value}
    inner = values.get(name)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(
            f"{head!r} is a single value, not a section", where=f"--set {whole}", hint=f"set {head}={value}"
        )
    return {**values, name: _replaced(inner or {}, rest, value, whole)}
