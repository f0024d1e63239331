"""The documentation matches the code."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from gancli.cli.commands import SUMMARIES
from gancli.folders import preset_names
from gancli.results import Tick

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def load_generate():
    """docs/generate.py as a module."""
    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate


GENERATE = load_generate()


def tree_lines():
    """The lines of the tree in CONTRIBUTING.md."""
    block = (ROOT / "CONTRIBUTING.md").read_text().split("## The tree")[1].split("```")[1]
    return block.strip("\n").splitlines()


def tree():
    """The paths in the tree."""
    folders, paths = [], set()
    for line in tree_lines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        paths.add("/".join(folders))
    return paths


def test_the_tree_is_the_tree():
    """It lists every module, and nothing that does not exist."""
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "gancli").rglob("*.py") if p.name != "__init__.py"}
    folders = {str(p.parent.relative_to(ROOT)) for p in (ROOT / "gancli").rglob("__init__.py")}
    shown = tree()

    assert modules | folders <= shown
    assert not [path for path in shown if not (ROOT / path).exists()]


def test_every_line_of_the_tree_says_what_is_in_the_file():
    """Every name has a description."""
    assert not [line for line in tree_lines() if len(line.split()) < 3]


def test_every_field_of_the_log_is_documented():
    """docs/log.md lists the fields of Tick, no more and no fewer."""
    table = (ROOT / "docs" / "log.md").read_text().split("## Fields")[1].split("\n## ")[0]
    names = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))

    assert set(names) == {field.name for field in fields(Tick)} | {"schema_version"}


def test_the_readme_names_every_preset_and_every_command():
    """Users find them all."""
    assert not [name for name in preset_names() if f"`{name}`" not in README]
    assert not [name for name in SUMMARIES if f"gancli {name}" not in README]


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


def test_the_readme_is_short():
    """Reference material belongs in docs/."""
    assert len(README.splitlines()) <= 250


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page):
    """Every file that a page links to exists, and so does the heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"(?:src=\"|\]\()([^\")\s]+)", text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_path_in_the_changelog_s_format():
    """Keep a Changelog, with our own heading allowed."""
    headings = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    allowed = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed", "Numbers"]
    assert headings
    assert set(headings) <= set(allowed)


@pytest.mark.parametrize("name", GENERATE.FILES)
def test_what_is_generated_from_the_code_is_current(name):
    """Run `python docs/generate.py` where this fails."""
    assert (ROOT / "docs" / name).read_text() == GENERATE.FILES[name]()


def test_every_config_key_has_a_meaning():
    """The comment on its line."""
    page = (ROOT / "docs" / "config.md").read_text()
    assert not re.findall(r"^\|.*\| *\|$", page, re.MULTILINE)


@pytest.mark.parametrize("job", sorted((ROOT / "docs" / "slurm").glob("*.sbatch")), ids=lambda path: path.name)
def test_the_job_files_are_valid_shell(job):
    """And run gancli."""
    subprocess.run(["bash", "-n", str(job)], check=True)
    assert "gancli" in job.read_text()
