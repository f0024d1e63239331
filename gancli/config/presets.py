"""Find, list and load presets; convert validation errors into ConfigError."""

import itertools
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from gancli import folders
from gancli.config import overrides, renamed, yaml
from gancli.config.family import Family
from gancli.config.networks import FAMILIES
from gancli.config.schema import Config, ResolvedConfig
from gancli.errors import ConfigError
from gancli.results import printable

MOST_BASES = 8  # presets that extend one another
RUN_SECTIONS = ("samples", "origin")  # sections of a run's config.yaml that a preset does not have


def find(preset: str) -> Path:
    """The file of a preset, given as a name or as a path ending in .yaml. Raises ConfigError with the closest name."""
    if preset.endswith((".yaml", ".yml")):
        return Path(preset)
    if preset in folders.preset_names():
        return next(file for folder in folders.PRESETS if (file := folder / f"{preset}.yaml").is_file())
    if preset == "auto":
        hint = "`gancli train DATA --dry-run` shows its choice"
        raise ConfigError("auto is chosen by the data, and has no file", where="--preset", hint=hint)
    raise ConfigError(
        f"unknown preset {yaml.shown(preset)}",
        where="--preset",
        hint=f"give the name of a preset or a .yaml file; {_nearest(preset, folders.preset_names())}",
    )


def story(preset: str) -> str:
    """The comment at the top of a preset: command, source, cost, result. Raises ConfigError or InputMissing."""
    lines = yaml.read_text(find(preset)).splitlines()
    head = [line for line in lines[: _first_code(lines)] if line.startswith("#")]
    return "\n".join(line.lstrip("#").removeprefix(" ") for line in head)


def paragraph(story: str, head: str) -> str | None:
    """The text after "Cost:" or "Result:" in a story, on one line; None where there is none."""
    lines = story.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(f"{head}:")), None)
    if first is None:
        return None
    rest = itertools.takewhile(lambda line: line.startswith(" "), lines[first + 1 :])
    return " ".join([lines[first].removeprefix(f"{head}:").strip(), *(line.strip() for line in rest)])


def _first_code(lines: list[str]) -> int:
    return next((i for i, line in enumerate(lines) if line and not line.startswith("#")), len(lines))


def load_values(preset: str) -> dict[str, Any]:
    """The values of a preset, before validation. Raises ConfigError or InputMissing."""
    return _with_base(find(preset), ())


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file, applied to those of the preset that it extends: a name, or a path relative to the file."""
    values, where = yaml.load(path), printable(str(path))
    if not isinstance(values, dict):
        raise ConfigError("a preset is a mapping of sections", where=where, hint="start with 'network:'")
    if path.resolve() in above:
        raise ConfigError("this preset extends itself", where=f"{where}: extends", hint="extend another preset")
    if len(above) >= MOST_BASES:
        what = f"more than {MOST_BASES} presets extend one another"
        raise ConfigError(what, where=f"{where}: extends", hint="merge some of them")
    own = {key: value for key, value in values.items() if key not in (*RUN_SECTIONS, "extends", "preset")}
    if "extends" not in values:
        return {"preset": path.stem, **own}
    name = values["extends"]
    if not isinstance(name, str):
        what = f"{yaml.shown(name)} is not a preset"
        raise ConfigError(what, where=f"{where}: extends", hint="give a name or a path")
    base = path.parent / name if name.endswith((".yaml", ".yml")) else find(name)
    inherited = _with_base(base, (*above, path.resolve()))
    return {**overrides.apply(inherited, overrides.flattened(own)), "preset": path.stem}


C = TypeVar("C", bound=Config)
M = TypeVar("M", bound=BaseModel)


def build(values: Mapping[str, Any], where: str, changed: Iterable[str] = ()) -> Config:
    """Validate plain values. Raises ConfigError with the key and, if it is unknown, the closest known key.

    changed: dotted keys from the command line, for which the error does not name the file.
    """
    return _built(Config, values, where, changed)


def build_resolved(values: Mapping[str, Any], where: str) -> ResolvedConfig:
    """The same for the resolved config of a run."""
    return _built(ResolvedConfig, values, where, ())


def _built(model: type[C], values: Mapping[str, Any], where: str, changed: Iterable[str]) -> C:
    where = printable(where)
    if not isinstance(values, Mapping):
        raise ConfigError("a config is a mapping of sections", where=where, hint="start with 'network:'")
    renamed.refuse(values, where, changed)
    network = values.get("network")
    if isinstance(network, Mapping):
        values = {**values, "network": _valid(_family(network, where), network, ["network"], where, changed)}
    return _valid(model, values, [], where, changed)


def _valid(model: type[M], values: Mapping[str, Any], section: list[str], where: str, changed: Iterable[str]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(error, section, model, where, changed) from error


def _family(network: Mapping[Any, Any], where: str) -> type[Family]:
    """The config model of a network section. Raises ConfigError for an unknown family."""
    name = network.get("family", "progressive")
    if not isinstance(name, str) or name not in FAMILIES:
        what, hint = f"unknown network family {yaml.shown(name)}", _nearest(str(name)[:100], [*FAMILIES])
        raise ConfigError(what, where=f"{where}: network.family", hint=hint)
    return FAMILIES[name]


def _explain(
    error: ValidationError, section: list[str], model: type[BaseModel], where: str, changed: Iterable[str]
) -> ConfigError:
    found = error.errors(include_url=False, include_context=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])  # a typo first
    inner = [str(part) for part in first["loc"]]
    path, given = [*section, *inner], yaml.shown(first["input"])
    dotted = ".".join(path)
    key = yaml.brief(dotted)
    place = f"the value given for {key}" if _is_among(dotted, changed) else f"{where}: {key}" if path else where
    if first["type"] == "extra_forbidden":
        known = _keys_beside(inner, model)
        unknown = f"unknown key {yaml.shown(path[-1])}"
        if len(path) == 1 and (section_of := _sections_with(path[0])):
            return ConfigError(unknown, where=place, hint=f"did you mean {section_of[0]}.{path[0]}?")
        return ConfigError(unknown, where=place, hint=_nearest(path[-1], known))
    if first["type"] == "missing":
        return ConfigError(f"key {path[-1]!r} is missing", where=place, hint=f"add '{path[-1]}: …'")
    reason = first["msg"].removeprefix("Value error, ")
    what = reason if isinstance(first["input"], dict | BaseModel) else f"{given}: {reason}"
    if reason.startswith("Input should be "):
        wanted = reason.removeprefix("Input should be ").partition(", unable to parse")[0]
        wanted = "a section" if "instance of" in wanted else wanted
        what = f"{key} should be {wanted}, not {given}"
    return ConfigError(what, where=place, hint="see `gancli presets show quickstart` for a working preset")


def _is_among(key: str, changed: Iterable[str]) -> bool:
    """Whether a key, a section above it or a key in it was given on the command line."""
    return any(key == name or key.startswith(f"{name}.") or (key and name.startswith(f"{key}.")) for name in changed)


def _sections_with(key: str) -> list[str]:
    """The sections of a config that have such a key."""
    fields = Config.model_fields
    return [name for name in fields for model in _models_in(fields[name].annotation) if key in model.model_fields]


def _keys_beside(path: list[str], model: type[BaseModel]) -> list[str]:
    """The keys of the model that contains the last part of `path`."""
    for part in path[:-1]:
        field = model.model_fields.get(part)
        model = next(_models_in(field.annotation if field else None), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _nearest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"
