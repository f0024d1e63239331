"""Writes the reference pages that are generated from the code.

    python docs/generate.py

Run it after changing a command, a config key, an error class or a figure; a test fails while a page is out of date.
"""

import ast
import inspect
import io
import json
import re
import tokenize
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
from pydantic.fields import FieldInfo

from gancli import errors
from gancli.cli import commands
from gancli.config import networks, schema
from gancli.config.family import Family, FixedFamily, MinibatchStd
from gancli.health import GROUPS, Health
from gancli.results import SCHEMA_VERSION
from gancli.stats.figures import FIGURES, KINDS, FigureSpec

DOCS = Path(__file__).parent
Model = type[pydantic.BaseModel]


# Figures and the JSON schema of inspect-stats


def figures_page() -> str:
    """Every figure of the panel as one Markdown table."""
    rows = [figure_row(spec) for group in GROUPS for spec in FIGURES.values() if spec.group == group]
    head = "| group | key | shown as | of | watch; bad | meaning |\n|---|---|---|---|---|---|\n"
    return (
        "# Metrics of inspect-stats\n\n"
        "Generated from `gancli/stats/figures.py` by `python docs/generate.py`. Keys are stable: use them in\n"
        "scripts. For a figure with one value per channel, level or network, `part` says which one. Marks are\n"
        "relative to the baseline, the same figure between two halves of the reals. `--quick` skips the figures\n"
        "marked with an asterisk and the group `memorization`. [inspect-stats.md](inspect-stats.md) has the\n"
        "definitions and sources.\n\n" + head + "".join(rows)
    )


def figure_row(spec: FigureSpec) -> str:
    """One line of the table."""
    kinds = "all" if spec.kinds == KINDS else ", ".join(spec.kinds)
    mark = "not judged" if spec.mark is None else str(spec.mark)
    quick = "" if spec.quick else " *"
    return f"| {spec.group} | `{spec.key}`{quick} | {spec.label} | {kinds} | {mark} | {spec.meaning} |\n"


def health_schema() -> str:
    """The JSON schema of `inspect-stats --json`."""
    body = pydantic.TypeAdapter(Health).json_schema()
    del body["$defs"]["Examples"]["properties"]["pictures"]  # of the Python API only
    body["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **body["properties"]}
    return json.dumps(body, indent=2) + "\n"


# Commands


def commands_page() -> str:
    """Every command with its arguments and options."""
    every = ((f"gancli {name}", commands.load(name)) for name in commands.SUMMARIES)
    sections = [command_section(*leaf) for name, command in every for leaf in leaves(command, name)]
    return (
        "# Commands\n\n"
        "Generated from the command line by `python docs/generate.py`. `gancli COMMAND -h` prints the same.\n\n"
        "An option given on the command line wins over its environment variable, which wins over the preset,\n"
        "which wins over the default. `gancli --version` prints the version. [exit-codes.md](exit-codes.md) lists\n"
        "the exit codes.\n\n" + "\n".join(sections)
    )


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command, subcommands included."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from leaves(inner, f"{path} {name}")


def command_section(name: str, command: Any) -> str:
    """One command: help text, arguments, options."""
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    options = [p for p in shown if p.param_type_name == "option"]
    text = f"## {name}\n\n{help_text(command.help)}"
    if arguments:
        text += "\n| argument | required | meaning |\n|---|---|---|\n"
        for p in arguments:
            meaning = p.help or ""
            text += f"| `{(p.metavar or p.name).upper()}` | {'yes' if p.required else 'no'} | {cell(meaning)} |\n"
    if options:
        text += "\n| option | value | default | environment | meaning |\n|---|---|---|---|---|\n"
        for p in options:
            meaning = p.help or ""
            environment = f"`{p.envvar}`" if p.envvar else ""
            text += (
                f"| {flags(p)} | {cell(value_of(p, hints.get(p.name)))} | {cell(option_default(p))} "
                f"| {environment} | {cell(meaning)} |\n"
            )
    return text


def help_text(text: str) -> str:
    """A command's help as Markdown, its examples as code blocks."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    blocks = []
    for paragraph in paragraphs:
        example = re.fullmatch(r"Example: (.*)", paragraph, re.DOTALL)
        blocks.append(f"```sh\n{example[1]}\n```" if example else paragraph)
    return "\n\n".join(blocks) + "\n"


def flags(option: Any) -> str:
    """All names of an option."""
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])


def value_of(option: Any, hint: Any) -> str:
    """What an option takes: its metavar or its type, with the range."""
    if option.is_flag or option.count:
        return "flag"
    if option.metavar:
        return f"`{option.metavar}`"
    name = "integer" if int in members(hint) else "number" if float in members(hint) else "text"
    return name + limits(option.min, option.max)


def limits(low: float | None, high: float | None) -> str:
    """A closed range, for people."""
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    return "" if low is None else f", {low:g} or more"


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return typing.get_args(hint) or (hint,)


def option_default(option: Any) -> str:
    """The default of an option; nothing where leaving it out means "as the preset says"."""
    if isinstance(option.show_default, str):
        return option.show_default
    if option.count or option.default is None or option.default is False:
        return ""
    if option.default is True:
        return f"`{option.opts[0]}`"
    return f"`{option.default}`"


def cell(text: str) -> str:
    """Text that fits in a cell of a Markdown table."""
    parts = " ".join(text.replace("|", "\\|").split()).split("`")
    return "`".join(part if i % 2 else part.replace("<", "\\<") for i, part in enumerate(parts))


# Config keys


def config_page() -> str:
    """Every config key: type and range, default, meaning."""
    families: list[Model] = [
        f for f in networks.FAMILIES.values() if f.__module__ == networks.__name__
    ]  # ours, none registered
    places: dict[Model, list[str]] = {}
    collect(schema.Config, "", places)
    collect(schema.SamplesInfo, "samples", places)
    roots: list[Model] = [Family, FixedFamily, *families]
    for model in roots:
        collect(model, "network", places, family_of(model))
    first: list[Model] = [schema.Config, schema.DataConfig, Family, FixedFamily]
    last: list[Model] = [schema.Origin, schema.SamplesInfo]
    network = [m for m in places if m.__module__ in (networks.__name__, Family.__module__) and m not in first]
    middle = [m for m in places if m not in (*first, *last, *network)]
    sections = [section(model, places[model]) for model in (*first, *network, *middle, *last)]
    return (
        "# Config keys\n\n"
        "Generated from `gancli/config/` by `python docs/generate.py`. These are the keys of a preset, of the\n"
        "`config.yaml` of a run, and of `--set KEY=VALUE`. Write nested keys with dots:\n"
        "`--set loss.moments.weight=0.2`. Unknown keys are errors. A preset file may start from another with\n"
        "`extends: NAME`, or a path relative to the file. `--set` does not take `preset`, `samples` and `origin`.\n\n"
        "All durations are in images unless the meaning says otherwise; 1 kimg is 1,000 images. `null` means off or\n"
        "not set. `gancli presets show NAME` prints a preset with every default filled in.\n\n" + "\n".join(sections)
    )


def collect(model: Model, path: str, places: dict[Model, list[str]], family: str = "") -> None:
    """Where in a preset each section may stand: model -> its dotted keys."""
    place = (f"`{path}`" if path else "Top level") + (f" ({family})" if family else "")
    if place in places.setdefault(model, []):
        return
    places[model].append(place)
    for name in own_fields(model):
        if (model, name) == (schema.Config, "network"):
            continue  # one section per family, collected apart
        hint = typing.get_type_hints(model, include_extras=True)[name]
        for inner, suffix in models_in(hint):
            tag = "" if inner is MinibatchStd else family
            collect(inner, f"{path}.{name}{suffix}".lstrip("."), places, tag)


def own_fields(model: Model) -> dict[str, FieldInfo]:
    """The fields to list: of a family those that it adds or changes, of any other section all."""
    fields = model.model_fields
    if not issubclass(model, Family):
        return dict(fields)
    return {name: field for name, field in fields.items() if name in model.__annotations__}


def family_of(model: Model) -> str:
    """The note beside the heading of a section of networks."""
    if model is Family:
        return "every family"
    if model is FixedFamily:
        return "families conv, mlp and superres"
    names = [name for name, config in networks.FAMILIES.items() if config is model]
    return f"family {names[0]}"


def models_in(hint: Any, suffix: str = "") -> Iterator[tuple[Model, str]]:
    """(model, what to add to the key) of every section that a type mentions."""
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        yield hint, suffix
    origin = typing.get_origin(hint)
    suffix += ".HEIGHT" if origin is dict else "[]" if origin is tuple else ""
    for inner in typing.get_args(hint):
        yield from models_in(inner, suffix)


def section(model: Model, places: list[str]) -> str:
    """One section of the config as a table."""
    hints = typing.get_type_hints(model, include_extras=True)
    intro = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    text = f"## {', '.join(merged(places))}\n\n{intro}\n\n"
    text += "| key | value | default | meaning |\n|---|---|---|---|\n"
    for name, field in own_fields(model).items():
        kind = "section" if (model, name) == (schema.Config, "network") else described(hints[name])
        text += f"| `{name}` | {cell(kind)} | {default_of(field)} | {cell(meaning_of(model, name))} |\n"
    return text


def merged(places: list[str]) -> list[str]:
    """Places with the same key as one: `network.critic` (families conv, superres)."""
    keys: dict[str, list[str]] = {}
    for place in places:
        key, _, note = place.partition(" (")
        keys.setdefault(key, []).append(note.removesuffix(")"))
    return [key + noted([note for note in notes if note]) for key, notes in keys.items()]


def noted(notes: list[str]) -> str:
    """The bracket after a key: which families have it."""
    if len(notes) > 1:
        return f" (families {', '.join(note.removeprefix('family ') for note in notes)})"
    return f" ({notes[0]})" if notes else ""


def described(hint: Any) -> str:
    """A type with its range, for people."""
    kind, length = hint, None
    bounds: dict[str, float] = {}
    if typing.get_origin(hint) is typing.Annotated:
        kind, *extras = typing.get_args(hint)
        for extra in extras:
            for part in extra.metadata if isinstance(extra, FieldInfo) else [extra]:
                bounds |= {key: getattr(part, key) for key in ("ge", "gt", "le", "lt") if hasattr(part, key)}
                length = getattr(part, "max_length", length)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("`null`" if part is type(None) else described(part) for part in inner)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is dict:
        return f"map of {described(inner[0])} to {described(inner[1])}"
    if origin is tuple and inner[-1] is Ellipsis:
        return f"list of {described(inner[0])}" + (f", at most {length}" if length else "")
    if origin is tuple:
        return f"list of {len(inner)}: {described(inner[0])}"
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return "section"
    return {int: "integer", float: "number", bool: "`true` or `false`", str: "text"}[kind] + bounded(kind, bounds)


def bounded(kind: type, bounds: dict[str, float]) -> str:
    """A range: ≥ 0, or in [0, 1)."""
    if kind is int and "gt" in bounds:
        bounds = {"ge": bounds["gt"] + 1, **{key: bound for key, bound in bounds.items() if key != "gt"}}
    low = next((f"{sign}{bounds[key]}" for key, sign in (("ge", "["), ("gt", "(")) if key in bounds), "")
    high = next((f"{bounds[key]}{sign}" for key, sign in (("le", "]"), ("lt", ")")) if key in bounds), "")
    if low and high:
        return f" in {low}, {high}"
    return low.replace("[", " ≥ ").replace("(", " > ")


def default_of(field: FieldInfo) -> str:
    """The default of a key as YAML."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, pydantic.BaseModel) and len(type(default).model_fields) > 4:
        return "its defaults"
    return f"`{as_yaml(default)}`"


def as_yaml(value: Any) -> str:
    """A default in YAML's flow style."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, pydantic.BaseModel):
        return as_yaml(value.model_dump())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(as_yaml(inner) for inner in value) + "]"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def meaning_of(model: Model, name: str) -> str:
    """What a key means: the comment on its line in the class that declares it."""
    owner = next(base for base in model.__mro__ if name in vars(base).get("__annotations__", {}))
    text = comments(owner)[name].replace("None:", "`null`:")
    return text.replace("LOSSES", ", ".join(f"`{loss}`" for loss in losses()))


def comments(model: Model) -> dict[str, str]:
    """Field -> the comments on its lines."""
    source = inspect.cleandoc("\n" + inspect.getsource(model))
    by_line = {
        token.start[0]: token.string.lstrip("# ").removeprefix("fmt: skip")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = typing.cast(ast.ClassDef, ast.parse(source).body[0]).body
    found = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found[node.target.id] = "; ".join(by_line[line] for line in lines if line in by_line)
    return found


def losses() -> list[str]:
    """The names of gancli's own losses, from the source: other code may have registered more."""
    for node in ast.parse(inspect.getsource(schema)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LOSSES":
            return [element.value for element in node.value.elts]  # type: ignore[attr-defined]
    raise LookupError("LOSSES is not in gancli/config/schema.py")


# Exit codes


def exit_codes_page() -> str:
    """Every exit code with its class and meaning."""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    rows = [(0, "", "Success."), (1, "", "A bug in gancli. `-vv` shows the traceback.")]
    own = (errors.GancliError, errors.ChildFailed, errors.Interrupted, errors.PipeClosed)
    rows += [(getattr(c, "exit_code", 1), c.__name__, first_line(c)) for c in classes if c not in own]
    rows += [
        (128 + 1, errors.Interrupted.__name__, "Stopped by SIGHUP, after saving."),
        (128 + 2, errors.Interrupted.__name__, "Stopped by SIGINT (Ctrl-C), after saving."),
        (128 + 13, errors.PipeClosed.__name__, first_line(errors.PipeClosed)),
        (128 + 15, errors.Interrupted.__name__, "Stopped by SIGTERM, after saving."),
    ]
    table = "".join(
        f"| {code} | {f'`{name}`' if name else ''} | {cell(meaning)} |\n" for code, name, meaning in sorted(rows)
    )
    return (
        "# Exit codes\n\n"
        "Generated from `gancli/errors.py` by `python docs/generate.py`.\n\n"
        "| code | class in `gancli.errors` | meaning |\n|---|---|---|\n" + table + "\n"
        "A command that starts other training runs, such as `gancli ablate`, ends with the exit code of the run\n"
        f"that failed (`{errors.ChildFailed.__name__}`).\n\n"
        "An error message says what went wrong, where, and how to fix it. With `--json` it is one object on the\n"
        'last line of standard error: `{"schema_version", "error": {"code", "message", "where", "hint"}}`.\n'
        "From Python, every class except\n"
        "`Finding`, `Interrupted` and `PipeClosed` is a subclass of `gancli.errors.GancliError`, with the attributes\n"
        "`what`, `where`, `hint` and `exit_code`.\n"
    )


def first_line(kind: type) -> str:
    """The first line of a docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]


FILES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "config.md": config_page,
    "exit-codes.md": exit_codes_page,
    "figures.md": figures_page,
    "health.schema.json": health_schema,
}


def main() -> None:
    """Write all of them."""
    for name, text in FILES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
