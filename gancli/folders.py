"""Presets and run folders, found by their names. Imports nothing else: the Tab key waits for it."""

from pathlib import Path

_HERE = Path(__file__).parent
PRESETS = (_HERE / "config" / "shipped", _HERE.parent / "presets")  # in a wheel; in a checkout


def preset_names() -> list[str]:
    """Names of the built-in presets, sorted."""
    return sorted({file.stem for folder in PRESETS for file in folder.glob("*.yaml")})


def run_folders(outdir: Path) -> list[Path]:
    """The run folders under `outdir`, in no order."""
    return [file.parent for file in outdir.glob("[!.]*/config.yaml")]  # a hidden one is not complete
