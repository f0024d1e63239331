"""The rows of the house: who may import whom, and what the command line may not load."""

import ast
import graphlib
from pathlib import Path

import pytest

import gancli

PACKAGE = Path(gancli.__file__).parent
ROWS = [
    {"errors", "files", "folders", "health", "locks", "process", "results", "version"},
    {"config", "runs", "ticks"},
    {
        "activations",
        "annealing",
        "augment",
        "convolution",
        "devices",
        "ema",
        "heartbeat",
        "launch",
        "losses",
        "media",
        "penalties",
        "plots",
        "pool",
        "rendezvous",
        "resampling",
        "safe_archive",
        "safe_load",
        "safe_pickle",
        "seeds",
        "signals",
        "workers",
    },
    {"growth", "latents", "networks"},
    {"checkpoint", "critic_view", "data", "register", "writing"},
    {"sampling", "superres", "stats"},
    {"overview", "training"},
    {"report", "cli"},
    {"__init__", "__main__"},
]
TORCH = {"numpy", "torch", "PIL", "imageio", "imageio_ffmpeg", "pillow_heif"}
ALLOWED = [set(), {"yaml", "pydantic"}, TORCH, TORCH, TORCH, TORCH, TORCH, {"typer", "rich", "jinja2"}, set()]
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def row(name):
    return next(i for i, names in enumerate(ROWS) if name in names)


def imported(path):
    """Every module named in an import of the file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ([f"{base}.{alias.name}" for alias in node.names] if base == "gancli" else [base])


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_row_or_above(path):
    """Libraries accumulate downward; torch is not known where nothing is computed."""
    mine = row(room(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "gancli":
            target = parts[1] if len(parts) > 1 else "__init__"
            if target == "__init__" or target not in {n for names in ROWS for n in names}:
                assert room(path) in ("cli", "__init__", "__main__"), f"{path.name} imports {name}"
            else:
                assert row(target) <= mine, f"{path.name} imports {name}, a row below it"
        elif parts[0] not in STANDARD:
            allowed = set().union(*ALLOWED[: mine + 1])
            assert parts[0] in allowed, f"{path.name} imports {name}"


STANDARD = set(__import__("sys").stdlib_module_names)


def test_no_two_rooms_import_each_other():
    """Within a row, too, arrows run one way: whoever reads a room need not read the others to understand it."""
    known = {n for names in ROWS for n in names}
    needs = {name: set() for name in known}
    for path in MODULES:
        targets = {name.split(".")[1] for name in imported(path) if name.startswith("gancli.")}
        needs[room(path)] |= (targets & known) - {room(path)}
    order = graphlib.TopologicalSorter(needs)

    assert len(list(order.static_order())) == len(known)


def test_losses_know_no_networks_and_networks_no_losses():
    """Within a row, too, some do not speak to one another."""
    for path in MODULES:
        names = {name.split(".")[1] for name in imported(path) if name.startswith("gancli.")}
        if room(path) in ("losses", "penalties"):
            assert "networks" not in names
        if room(path) == "networks":
            assert not names & {"losses", "penalties", "data"}


def test_every_public_name_is_there():
    """`gancli.__all__` is what can be used."""
    for name in gancli.__all__:
        assert getattr(gancli, name) is not None
    assert set(dir(gancli)) == set(gancli.__all__)
    with pytest.raises(AttributeError):
        _ = gancli.nope


def test_every_room_of_the_house_is_in_a_row():
    """A new module finds its place, or makes one here."""
    assert {room(path) for path in MODULES} == {name for names in ROWS for name in names}
