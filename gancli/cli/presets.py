"""gancli presets list | show | validate."""

from typing import Annotated

import typer

from gancli import config
from gancli.cli import show
from gancli.cli.options import JsonOption, SetOption
from gancli.config import overrides, presets

app = typer.Typer(help="List, show and check presets.", no_args_is_help=True)


@app.command("list")
def list_presets(json: JsonOption = False) -> None:
    """The presets that came with gancli, with the first line of each one's story.

    Example: gancli presets list
    """
    rows = [{"name": name, "story": presets.story(name).partition("\n")[0]} for name in presets.names()]
    if json:
        show.out(show.as_json(rows))
        return
    show.out("".join(f"{row['story'] or row['name']}\n" for row in rows))


@app.command("show")
def show_preset(
    preset: Annotated[str, typer.Argument(help="Name or .yaml file.", show_default=False)],
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """One preset as YAML, every default filled in, below its story.

    Example: gancli presets show progan-64
    """
    resolved = config.load(preset, overrides.parse(set_ or []))
    if json:
        show.out(show.as_json(resolved.model_dump(mode="json")))
        return
    story = "".join(f"# {line}".rstrip() + "\n" for line in presets.story(preset).splitlines())
    show.out(story + config.as_text(resolved))


@app.command("validate")
def validate_preset(
    preset: Annotated[str, typer.Argument(help="Name or .yaml file.", show_default=False)],
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Check a preset; exit 78 and one sentence where it is wrong.

    Example: gancli presets validate my.yaml
    """
    resolved = config.load(preset, overrides.parse(set_ or []))
    show.out(show.as_json({"preset": resolved.preset, "valid": True}) if json else f"{resolved.preset}: valid\n")
