"""`--set a.b=c`: change values of a preset on the command line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gancli.config import yaml
from gancli.errors import ConfigError, UsageError

MAX_KEY = 200  # characters
MAX_HEIGHT_DIGITS = 9  # of a key that is a number


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """{"a.b": value} from "a.b=c" strings. Values are parsed as YAML. Raises ConfigError."""
    pairs = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        key = key.strip()
        if not sign or not key:
            what, hint = f"{yaml.shown(text)} is not key=value", "use a form such as train.lr=0.002"
            raise ConfigError(what, where="--set", hint=hint)
        if len(key) > MAX_KEY or not key.isprintable() or "" in key.split("."):
            what, hint = f"{yaml.shown(key)} is not a key", "join the names of sections with dots, as in train.lr"
            raise ConfigError(what, where="--set", hint=hint)
        pairs[key] = yaml.parse(value, f"--set {yaml.brief(key)}")
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
    result: dict[str, Any] = _copied(resized(_one_length(for_all_stages(values, changes), changes), changes))
    for key, value in changes.items():
        _replace(result, key.split("."), value, key)
    return result


def _copied(values: Any) -> Any:
    """The values with their sections copied."""
    return {key: _copied(value) for key, value in values.items()} if isinstance(values, Mapping) else values


def flattened(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """{"a.b": 1} from {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flattened(value, f"{path}{key}.") if isinstance(value, Mapping) and value else {f"{path}{key}": value}
    return found


def resized(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Channels and schedule of a progressive preset for `network.resolution` among the changes.

    The last stage keeps its own part of the schedule, whatever its resolution. Stages that come between get twice
    the time of the stage before them, and half its channels, at least 8. Values that no config can have are left as
    they are, for the validation to refuse.
    """
    network: Any = values.get("network")
    new: Any = changes.get("network.resolution")
    if not isinstance(network, Mapping) or network.get("family", "progressive") != "progressive":
        return dict(values)
    old: Any = network.get("resolution")
    first = _first_height(network)
    if new == old or not _doubles(first, new) or not _doubles(first, old):
        return dict(values)
    channels: Any = network.get("channels")
    if _whole_numbers(channels) and "network.channels" not in changes:
        network = {**network, "channels": _resized_channels(list(channels), (new // first).bit_length())}
    growth = values.get("growth")
    if isinstance(growth, Mapping) and (stages := _stages(growth)) is not None:
        values = {**values, "growth": {**growth, "at": _resized_stages(growth, stages, old, new)}}
    return {**values, "network": network}


def _first_height(network: Mapping[str, Any]) -> Any:
    base = network.get("base") or (4, 4)
    return base[0] if _whole_numbers(base) else None


def _whole_numbers(values: Any) -> bool:
    """Is this a list of integers, and not empty?"""
    return isinstance(values, list | tuple) and bool(values) and all(type(value) is int for value in values)


def _doubles(first: Any, last: Any) -> bool:
    """Is the last resolution the first one, doubled some number of times?"""
    return type(first) is int and first > 0 and type(last) is int and last in (first << stage for stage in range(16))


def _resized_channels(channels: list[int], stages: int) -> list[int]:
    while len(channels) < stages:
        channels.append(max(8, channels[-1] // 2))
    return channels[:stages]


def _stages(growth: Mapping[str, Any]) -> dict[int, dict[str, Any]] | None:
    """The settings of single stages by height; None if there are none, or if they are not valid."""
    at = growth.get("at")
    if not isinstance(at, Mapping) or not all(isinstance(stage, Mapping) for stage in at.values()):
        return None
    found = {_name({}, str(height)): dict(stage) for height, stage in at.items()}
    known = {height: stage for height, stage in found.items() if isinstance(height, int)}
    return known if len(known) == len(at) else None


def _resized_stages(
    growth: Mapping[str, Any], at: dict[int, dict[str, Any]], old: int, new: int
) -> dict[int, dict[str, Any]]:
    last = at.pop(old, None)
    found = {height: stage for height, stage in at.items() if height < new}
    before: Mapping[str, Any] = {**growth, **at.get(old // 2, {})}
    for height in _between(old, new):
        found[height] = {key: 2 * before[key] for key in ("fade", "stable") if type(before.get(key)) is int}
        before = found[height]
    return found if last is None else {**found, new: last}


def _between(old: int, new: int) -> Iterator[int]:
    """Resolutions from the old last one up to the new one, which is left out."""
    while old < new:
        yield old
        old *= 2


LENGTHS = ("duration", "epochs", "generator_steps")  # three keys for the length of a run


def _one_length(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the length of the preset, and the time it is fitted to, if a change sets the length in any unit."""
    train = values.get("train")
    if not isinstance(train, Mapping) or not any(f"train.{key}" in changes for key in LENGTHS):
        return dict(values)
    return {**values, "train": {key: value for key, value in train.items() if key not in (*LENGTHS, "minutes")}}


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


def _replace(values: dict[Any, Any], path: Sequence[str], value: Any, whole: str) -> None:
    """Set a value in nested dicts. whole: the dotted key, for errors. Raises ConfigError."""
    for head in path[:-1]:
        inner = values.setdefault(_name(values, head), None)
        if inner is not None and not isinstance(inner, dict):
            what, where = f"{yaml.shown(head)} is a single value, not a section", f"--set {yaml.brief(whole)}"
            raise ConfigError(what, where=where, hint=f"set {yaml.brief(head)}={yaml.shown(value)}")
        inner = {} if inner is None else inner
        values[_name(values, head)] = inner
        values = inner
    values[_name(values, path[-1])] = _copied(value)


def _name(values: Mapping[Any, Any], head: str) -> str | int:
    """The key of a part of a dotted key. A height such as 256 is a number, unless it is text in the values."""
    number = head.isdecimal() and head.isascii() and len(head) <= MAX_HEIGHT_DIGITS
    return int(head) if number and head not in values else head
