"""The README says what is so."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from gancli.config import presets
from gancli.results import Tick

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def tree():
    """The paths in the README's tree."""
    block = README.split("## The tree")[1].split("```")[1]
    folders, paths = [], set()
    for line in block.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        paths.add("/".join(folders))
    return paths


def test_the_tree_is_the_tree():
    """Every module and every top-level file stands in it, one line each, and nothing else."""
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "gancli").rglob("*.py") if p.name != "__init__.py"}
    folders = {str(p.parent.relative_to(ROOT)) for p in (ROOT / "gancli").rglob("__init__.py")}
    shown = tree()

    assert modules | folders <= shown
    assert not [path for path in shown if not (ROOT / path).exists()]


def test_every_line_of_the_tree_says_what_is_in_the_file():
    """A name alone is no line."""
    block = README.split("## The tree")[1].split("```")[1]
    assert all(len(line.split()) >= 3 for line in block.strip("\n").splitlines())


def test_every_field_of_the_log_is_documented():
    """And none that is not there."""
    table = README.split("A line of `stats.jsonl`")[1].split("\n## ")[0]
    names = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))

    assert set(names) == {field.name for field in fields(Tick)} | {"schema_version"}


def test_every_preset_and_every_command_stands_in_it():
    """A user finds them all."""
    from gancli.cli import app

    commands = [c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands]
    assert not [name for name in presets.names() if f"`{name}`" not in README]
    assert not [name for name in commands if f"gancli {name}" not in README]


def test_the_commands_of_the_readme_exist():
    """Every `gancli ...` in a code block names a command and flags that are there."""
    blocks = re.findall(r"^(?:\$ |    )(gancli [^\n#]*)", README, re.MULTILINE)
    helps = {}
    for words in (part.split() for block in blocks for part in re.split(r"\s{3,}", block) if part):
        if words[1] not in helps:
            done = subprocess.run(
                [sys.executable, "-m", "gancli", words[1], "--help"], stdout=-1, text=True, check=True
            )
            helps[words[1]] = done.stdout
        for flag in (w for w in words[2:] if w.startswith("-") and len(w) > 1):
            assert flag.split("=")[0] in helps[words[1]], f"{flag} of {words}"


def test_pictures_of_the_readme_are_there():
    """A link leads somewhere."""
    links = re.findall(r"(?:src=\"|\]\()([^\")#:]+\.(?:png|gif|svg|md))", README)
    assert links
    assert not [link for link in links if not (ROOT / link).is_file()]


def test_every_path_in_the_changelog_s_format():
    """Keep a Changelog, with our own heading allowed."""
    headings = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    allowed = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed", "Numbers"]
    assert headings
    assert set(headings) <= set(allowed)


@pytest.mark.parametrize("name", ["figures.md", "health.schema.json"])
def test_what_is_made_from_the_code_is_current(name):
    """Written anew by `python docs/generate.py`."""
    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)

    assert (ROOT / "docs" / name).read_text() == generate.FILES[name]()
