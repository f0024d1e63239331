"""Reads the lines of stats.jsonl. A damaged line is skipped; the lines after it are read."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from gancli.config import renamed
from gancli.results import MAX_COUNT, Tick, Warned

COUNTS = ("images", "generator_steps", "resolution", "batch")
ALWAYS = (*COUNTS, "kimg", "alpha")  # never null
WORDS = ("verdict", "warnings")  # fields that are not numbers
NUMBERS = {field.name: field.default is MISSING for field in fields(Tick) if field.name not in WORDS}  # is required?
PARTS = {"name": str, "text": str, "since": int, "checkpoint": str | None}
assert PARTS.keys() == {field.name for field in fields(Warned)}


def parse(data: bytes) -> tuple[list[dict[str, Any]], list[int]]:
    """The ticks in the content of a stats.jsonl, and the numbers of its damaged lines, counted from 1.

    A tick has every required field of `results.Tick`, as a finite number or None, and well-formed warnings. Ticks are
    in the order of their images.
    """
    found: list[dict[str, Any]] = []
    damaged = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line:
            continue
        try:
            row = _tick(line)
        except (*renamed.MALFORMED, RecursionError):
            damaged.append(number)
            continue
        if found and row["images"] <= found[-1]["images"]:
            damaged.append(number)
        else:
            found.append(row)
    return found, damaged


def _tick(line: bytes) -> dict[str, Any]:
    """One line. Raises renamed.MALFORMED or RecursionError if it is damaged."""
    values = json.loads(line.decode("utf-8"), parse_constant=lambda name: None)
    if not isinstance(values["warnings"], list):
        raise TypeError("warnings")
    row = renamed.translated_tick(values)
    absent = {name: None for name, required in NUMBERS.items() if required and name not in row}  # older logs lack some
    row = row | absent
    for name in NUMBERS.keys() & row.keys():
        row[name] = _number(row[name], name)
    if not isinstance(row.setdefault("verdict", None), str | None):
        raise TypeError("verdict")
    row["warnings"] = [_warning(said) for said in row["warnings"]]
    return row


def _number(value: Any, name: str) -> int | float | None:
    if value is None and name not in ALWAYS:
        return None
    if type(value) not in (int, float) or (name in COUNTS and (type(value) is not int or value < 0)):
        raise ValueError(name)
    if not abs(value) <= (MAX_COUNT if type(value) is int else math.inf):
        raise ValueError(name)
    finite: int | float | None = value if math.isfinite(value) else None
    if finite is None and name in ALWAYS:
        raise ValueError(name)
    return finite


def _warning(said: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: said[name] for name in PARTS}
    if not all(isinstance(values[name], kind) for name, kind in PARTS.items()) or type(values["since"]) is not int:
        raise ValueError("warnings")
    return values
