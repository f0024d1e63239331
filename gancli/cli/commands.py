"""The commands by name. One is imported when it runs, so that `gancli --help` and the Tab key are fast."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gancli.cli.help import Command

SUMMARIES = {  # the first line of the docstring of each, in the order of the help
    "train": "Train a GAN.",
    "resume": "Resume a run from its last checkpoint, with its own config and data.",
    "grow": "Add blocks to a trained progressive network and train it at a higher resolution.",
    "sample": "Generate samples from a checkpoint, one per seed.",
    "interpolate": "Interpolate between seeds and write an animation or a folder of frames.",
    "inspect-stats": "Diagnose mode collapse and other problems of generated samples.",
    "report": "Write a self-contained HTML report of a run.",
    "ablate": "Train variants of a preset and compare them.",
    "data": "Scan a data set: sizes, duplicates and rejected files, and a sheet of samples.",
    "runs": "List the runs.",
    "doctor": "Show versions, device, threads, memory and optional dependencies.",
    "presets": "List, show and check presets.",
}


class Commands(TyperGroup):
    """All commands with their summaries. What is run is loaded."""

    def __init__(self, **given: Any) -> None:
        outline = {name: TyperCommand(name, help=text) for name, text in SUMMARIES.items()}
        super().__init__(**given | {"commands": outline})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and command else command, rest


def load(name: str) -> Any:
    """The command with its options, or the group of commands, of the module with its name."""
    module = import_module(f"gancli.cli.{name.replace('-', '_')}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    app = typer.Typer(add_completion=False)
    app.command(name, cls=Command)(getattr(module, module.__name__.rpartition(".")[2]))
    return typer.main.get_command(app)
