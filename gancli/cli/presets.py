"""gancli presets list | show | validate."""

from typing import Annotated, Any

import typer

from gancli import config
from gancli.cli import show
from gancli.cli.options import JsonOption, SetOption, complete_preset
from gancli.config import overrides, presets
from gancli.folders import preset_names
from gancli.growth import Schedule

app = typer.Typer(help="List, show and check presets.", no_args_is_help=True)


PresetArgument = Annotated[
    str, typer.Argument(help="Preset name or .yaml file.", show_default=False, autocompletion=complete_preset)
]


@app.command("list")
def list_presets(json: JsonOption = False) -> None:
    """List the built-in presets, each with a one-line description.

    Example: gancli presets list
    """
    if json:
        show.out(show.as_json([summary(name) for name in preset_names()]))
        return
    lines = [presets.story(name).partition("\n")[0] or name for name in preset_names()]
    show.out("".join(f"{line}\n" for line in lines))


def summary(name: str) -> dict[str, Any]:
    """Properties of a preset for scripts: data, size, length and measured cost."""
    preset, story = config.load(name), presets.story(name)
    sizes = preset.network.sizes(preset.network.picture_size or (1, 1))
    images = preset.train.duration or Schedule.planned(preset, sizes).total or None
    return {
        "name": name,
        "title": story.partition("\n")[0].removeprefix(f"{name}: "),
        "family": preset.network.family,
        "kinds": list(preset.network.kinds),  # supported kinds of data
        "data": preset.data.source,  # None: DATA is required
        "size": preset.network.picture_size,  # (height, width) in pixels; None: as in the data
        "kimg": None if images is None else images / 1000,  # None: depends on the data
        "epochs": preset.train.epochs,
        "generator_steps": preset.train.generator_steps,
        "batch_size": preset.train.batch_size,
        "cost": presets.paragraph(story, "Cost"),
        "result": presets.paragraph(story, "Result"),
    }


@app.command("show")
def show_preset(
    preset: PresetArgument,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show a preset as YAML with all defaults, after its description.

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
    preset: PresetArgument,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Check a preset. An invalid one exits with code 78 and an error message.

    Example: gancli presets validate my.yaml
    """
    resolved = config.load(preset, overrides.parse(set_ or []))
    show.out(show.as_json({"preset": resolved.preset, "valid": True}) if json else f"{resolved.preset}: valid\n")
