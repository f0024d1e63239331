"""The only YAML loader: plain values, as in YAML 1.2.

Differences from the safe loader of PyYAML: `1e-4` is a number, only `true` and `false` are booleans
(`no`, `on` and `off` are strings), duplicate keys are errors, dates are strings, and aliases (which
allow "billion laughs" attacks) are errors.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from gancli.errors import ConfigError, InputMissing

MAX_BYTES = 256_000


class _Loader(yaml.SafeLoader):
    """SafeLoader with another resolver; see the docstring of the module."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own slot)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {mark.line + 1}: aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: duplicate key {key!r}")
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~\0"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Parse as decimal: 010 is ten."""
    return int(node.value.replace("_", ""), 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


class _Dumper(yaml.SafeDumper):
    """Quotes strings that the loader would not read as strings."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def parse(text: str, where: str) -> Any:
    """Parse YAML text to plain values. where: name of the text for errors. Raises ConfigError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        reason = f"line {mark.line + 1}: {problem}" if mark else " ".join(problem.split())
        raise ConfigError(f"not valid YAML: {reason}", where=where, hint="fix the YAML syntax") from error


def load(path: Path) -> Any:
    """Read plain values from a YAML file. Raises InputMissing or ConfigError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputMissing(f"cannot read {path.name!r}", where=str(path), hint="check the path") from error
    if size > MAX_BYTES:
        raise ConfigError(
            f"{size:,} bytes are too many for a preset", where=str(path), hint=f"use at most {MAX_BYTES:,} bytes"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("not a text file", where=str(path), hint="give a YAML file in UTF-8") from error
    return parse(text, str(path))


def dump(values: Any) -> str:
    """YAML text that `parse` reads back as the same values, in the same key order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
