"""`--set a.b=c`: change values of a preset on the command line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """A copy of nested values with dotted keys replaced. Missing sections are created.

    A change of the resolution of a progressive network adapts its channels and schedule, unless they change, too.
    """
    result = resized(_one_length(for_all_stages(values, changes), changes), changes)
    for key, value in changes.items():
        result = _replaced(result, key.split("."), value, key)
    return result


def flattened(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """{"a.b": 1} from {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flattened(value, f"{path}{key}.") if isinstance(value, Mapping) and value else {f"{path}{key}": value}
    return found


def resized(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Channels and schedule of a progressive preset for `network.resolution` among the changes.

    The last stage keeps its own part of the schedule, whatever its resolution. Stages that come between get twice
    the time of the stage before them, and half its channels, at least 8.
    """
    network, new = values.get("network"), changes.get("network.resolution")
    if not isinstance(network, Mapping) or network.get("family", "progressive") != "progressive":
        return dict(values)
    old, first = network.get("resolution"), (network.get("base") or (4, 4))[0]
    if not isinstance(new, int) or not isinstance(old, int) or new == old or not _doubles(first, new):
        return dict(values)
    channels = network.get("channels")
    if isinstance(channels, Sequence) and "network.channels" not in changes:
        network = {**network, "channels": _resized_channels(list(channels), (new // first).bit_length())}
    growth = values.get("growth") or {}
    if isinstance(growth.get("at"), Mapping):
        growth = {**growth, "at": _resized_stages(growth, old, new)}
    return {**values, "network": network, "growth": growth}


def _doubles(first: Any, last: int) -> bool:
    """Is the last resolution the first one, doubled some number of times?"""
    return isinstance(first, int) and last in (first << stage for stage in range(16))


def _resized_channels(channels: list[int], stages: int) -> list[int]:
    while len(channels) < stages:
        channels.append(max(8, channels[-1] // 2))
    return channels[:stages]


def _resized_stages(growth: Mapping[str, Any], old: int, new: int) -> dict[int, Any]:
    at = {int(height): dict(stage) for height, stage in growth["at"].items()}
    last = at.pop(old, None)
    found = {height: stage for height, stage in at.items() if height < new}
    before: Mapping[str, Any] = {**growth, **at.get(old // 2, {})}
    for height in _between(old, new):
        found[height] = {key: 2 * before[key] for key in ("fade", "stable") if key in before}
        before = found[height]
    return found if last is None else {**found, new: last}


def _between(old: int, new: int) -> Iterator[int]:
    """Resolutions from the old last one up to the new one, which is left out."""
    while old < new:
        yield old
        old *= 2


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
