"""The only YAML loader: plain values, as in YAML 1.2.

Values are str, int, float, bool, None, lists, and dicts with str or int keys. Differences from the safe loader of
PyYAML: `1e-4` is a number, only `true` and `false` are booleans (`no`, `on` and `off` are strings), dates are
strings, and these are errors: duplicate keys, aliases (which allow "billion laughs" attacks), tags other than those of
plain values, numbers of more than MAX_NUMBER characters, and more than MAX_DEPTH levels or MAX_NODES values.
"""

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from gancli import files
from gancli.errors import ConfigError, InputMissing
from gancli.results import printable

MAX_BYTES = 256_000
MAX_DEPTH = 32  # sections and lists inside one another
MAX_NODES = 20_000  # keys and values of a file
MAX_NUMBER = 100  # characters of a number
MAX_SHOWN = 80  # characters of an input that an error message repeats

_TAG = "tag:yaml.org,2002:"
_PATTERNS = (  # (type, pattern, first characters); no part can match what the part before it also matches
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
)
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "seq": "a list",
    "map": "a section",
}  # by tag: all types of values


def _refused(node: Any, reason: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Composes nodes, with another resolver; see the docstring of the module. `_value` turns the nodes into values."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own slot)
    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, "aliases (*name) are not allowed")
        if tag is not None and tag.removeprefix(_TAG) not in _KINDS:
            raise _refused(event, f"tag {shown(tag)} is not allowed")
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        if self.depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise _refused(event, f"more than {MAX_DEPTH} levels or {MAX_NODES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, _pattern, _first in _PATTERNS:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile("^$"), [""])


def _value(node: yaml.Node | None) -> Any:
    """The plain value of a node. Raises YAMLError or ValueError."""
    match node:
        case None:
            return None
        case yaml.ScalarNode():
            return _scalar(node)
        case yaml.SequenceNode() if node.tag == f"{_TAG}seq":
            return [_value(inner) for inner in node.value]
        case yaml.MappingNode() if node.tag == f"{_TAG}map":
            return _mapping(node)
    raise _refused(node, f"this is not {_KINDS[node.tag.removeprefix(_TAG)]}")


def _mapping(node: yaml.MappingNode) -> dict[str | int, Any]:
    values: dict[str | int, Any] = {}
    for key_node, value_node in node.value:
        key = _value(key_node)
        if type(key) not in (str, int):
            raise _refused(key_node, "a key must be text or a whole number")
        if key in values:
            raise _refused(key_node, f"duplicate key {shown(key)}")
        values[key] = _value(value_node)
    return values


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind == "str":
        return text
    pattern = next((pattern for name, pattern, _ in _PATTERNS if name == kind), "(?!)")
    if not re.fullmatch(pattern, text):
        raise _refused(node, f"{shown(text)} is not {_KINDS[kind]}")
    if len(text) > MAX_NUMBER:
        raise _refused(node, f"a number of {len(text):,} characters is too long")
    if kind in ("null", "bool"):
        return None if kind == "null" else text == "true"
    digits = text.replace("_", "")
    return int(digits, 10) if kind == "int" else float(digits.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Quotes strings that the loader would not read as strings."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        """The loader refuses aliases, so a value that occurs twice is written twice."""
        return True


def shown(value: Any) -> str:
    """A value as in YAML for an error message, at most MAX_SHOWN characters, without control characters."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    short = reprlib.Repr()
    short.maxstring = short.maxlong = short.maxother = MAX_SHOWN
    try:
        text = short.repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        text = "a number of thousands of digits"
    return brief(text)


def brief(text: str) -> str:
    """Text for an error message: at most MAX_SHOWN characters, without control characters."""
    text = printable(text[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def parse(text: str, where: str) -> Any:
    """Parse YAML text to plain values. where: name of the text for errors. Raises ConfigError."""
    try:
        return _value(yaml.compose(text, Loader=_Loader))
    except Exception as error:  # PyYAML raises more than its own errors: ValueError, OverflowError, IndexError ...
        mark = getattr(error, "problem_mark", None)
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        reason = f"line {mark.line + 1}: {problem}" if mark else problem
        raise ConfigError(
            f"not valid YAML: {printable(reason[:200])}", where=printable(where), hint="fix the YAML syntax"
        ) from error


def load(path: Path) -> Any:
    """Read plain values from a YAML file. Raises InputMissing or ConfigError."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a regular file of at most MAX_BYTES. Raises InputMissing or ConfigError."""
    where = printable(str(path))
    try:
        with files.opened(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (files.NotRegular, IsADirectoryError) as error:
        raise ConfigError("not a regular file", where=where, hint="give a YAML file") from error
    except (OSError, ValueError) as error:  # ValueError: a nul character in the path
        raise InputMissing(f"cannot read {brief(repr(path.name))}", where=where, hint="check the path") from error
    if len(data) > MAX_BYTES:
        hint = f"use at most {MAX_BYTES:,} bytes"
        raise ConfigError(f"more than {MAX_BYTES:,} bytes are too many for a preset", where=where, hint=hint)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("not a text file", where=where, hint="give a YAML file in UTF-8") from error


def dump(values: Any) -> str:
    """YAML text that `parse` reads back as the same values, in the same key order.

    Characters that are not printable are escaped, so that the text can be shown on a terminal.
    """
    text = _dumped(values, allow_unicode=True)
    return text if text.replace("\n", "").isprintable() else _dumped(values, allow_unicode=False)


def _dumped(values: Any, *, allow_unicode: bool) -> str:
    return str(
        yaml.dump(
            values, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=100, default_flow_style=None
        )
    )
