"""`--set a.b=c`: one value of a preset changed from the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

from gancli.config import yaml
from gancli.errors import ConfigError, UsageError


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """{"a.b": value} from "a.b=c" strings; the value is read as YAML. Raises ConfigError."""
    pairs = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"{text!r} is not key=value", where="--set", hint="write it as train.lr=0.002")
        pairs[key.strip()] = yaml.parse(value, f"--set {key}")
    return pairs


def merge(flags: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that were given (not None) and --set together. Raises UsageError where both name one key."""
    given = {key: value for key, value in flags.items() if value is not None}
    for key in given.keys() & sets.keys():
        raise UsageError(f"{key} is given twice", where=f"its own flag, and --set {key}", hint="keep one of them")
    return {**given, **sets}


def apply(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values with dotted keys replaced; intermediate sections are made as needed."""
    result = _one_length(for_all_stages(values, changes), changes)
    for key, value in changes.items():
        result = _replaced(result, key.split("."), value, key)
    return result


LENGTHS = ("duration", "epochs", "generator_steps")  # three ways to say how long a run is


def _one_length(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Drop a preset's own length where a change says another, in whatever unit."""
    train = values.get("train")
    if not isinstance(train, Mapping) or not any(f"train.{key}" in changes for key in LENGTHS):
        return dict(values)
    return {**values, "train": {key: value for key, value in train.items() if key not in LENGTHS}}


def for_all_stages(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Drop a preset's exceptions for single stages where a change speaks for all of them, as --batch does."""
    growth = values.get("growth")
    said = {key.partition(".")[2] for key in changes if key.partition(".")[0] in ("growth", "train")}
    if not isinstance(growth, Mapping) or not isinstance(growth.get("at"), Mapping):
        return dict(values)
    at = {height: _without(stage, said) for height, stage in growth["at"].items()}
    return {**values, "growth": {**growth, "at": at}}


def _without(stage: Any, keys: set[str]) -> Any:
    return {key: value for key, value in stage.items() if key not in keys} if isinstance(stage, Mapping) else stage


def _replaced(values: Mapping[str, Any], path: list[str], value: Any, whole: str) -> dict[str, Any]:
    head, *rest = path
    alike = (key for key in values if str(key) == head)  # growth.at.256: a number, or text in a file
    name: Any = next(alike, int(head) if head.isdecimal() and head.isascii() else head)
    if not rest:
        return {**values, name: value}
    inner = values.get(name)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(
            f"{head!r} is a single value, not a section", where=f"--set {whole}", hint=f"set {head}={value}"
        )
    return {**values, name: _replaced(inner or {}, rest, value, whole)}
