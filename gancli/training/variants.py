"""The variants of an ablation: what `--vary` means."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gancli.config import yaml
from gancli.errors import UsageError


@dataclass(frozen=True)
class Variant:
    """One combination of the varied values."""

    name: str
    changes: Mapping[str, Any]  # dotted key -> value; the key "preset" selects another preset

    def of_preset(self, preset: str, changes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The preset of this variant and the changes to it."""
        merged = {**changes, **self.changes}
        return str(merged.pop("preset", preset)), merged


def variants(vary: Sequence[str]) -> tuple[Variant, ...]:
    """Every combination of the values of the "key=a,b,c" strings. Raises UsageError for an invalid one."""
    axes = []
    for text in vary:
        key, sign, values = text.partition("=")
        texts = split(values)
        if not sign or not key.strip() or not all(texts) or len(set(texts)) != len(texts):
            hint = "write it as --vary network.output=tanh,bn-tanh,bn-clip"
            raise UsageError(f"{text!r} is not of the form KEY=A,B,C", where="--vary", hint=hint)
        axes.append([(key.strip(), value, yaml.parse(value, f"--vary {key}")) for value in texts])
    if not axes:
        raise UsageError("--vary is missing", where="--vary", hint="for example --vary network.output=tanh,bn-tanh")
    found = []
    for chosen in itertools.product(*axes):
        alone = len(axes) == 1 and isinstance(chosen[0][2], str)  # a word is clear without its key
        ends = [key.rpartition(".")[2] for key, _, _ in chosen]
        heads = [end if ends.count(end) == 1 else key for end, (key, _, _) in zip(ends, chosen, strict=True)]
        names = [text if alone else f"{head} {text}" for head, (_, text, _) in zip(heads, chosen, strict=True)]
        found.append(Variant(", ".join(names), {key: value for key, _, value in chosen}))
    return tuple(found)


def split(text: str) -> list[str]:
    """Split at commas outside of brackets. "a,{b: 1, c: 2}" -> ["a", "{b: 1, c: 2}"]."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
