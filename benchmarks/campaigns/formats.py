"""Checkpoints of all earlier formats load and give samples; a newer format is refused with the hint to upgrade."""

# ruff: noqa: TID251  (checkpoints of a future format are written with torch)

import os
from pathlib import Path

import torch

from campaigns import harness
from campaigns.harness import Progress, Row
from gancli import checkpoint

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
REFUSED = 65
TRAINING = ("train --from", "grow")  # they refuse the golden files, whose training had not ended


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """Every golden file with every command, and newer ones. The count is not used."""
    row = Row("11", "formats")
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    files = sorted(GOLDEN.glob("format-*.pt"))
    if not files:
        row.skipped = "the golden files are not here"
        return row
    for file in files:
        for name, words in commands(file, work / f"out-{file.stem}").items():
            if name not in TRAINING:
                row.case(f"{name} {file.name}", harness.run(words, work / "o").problems(0))
    for version in (checkpoint.FORMAT + 1, checkpoint.FORMAT + 1000):
        newer = newer_file(files[-1], work / f"newer-{version}.pt", version)
        for name, words in commands(newer, work / f"out-{version}").items():
            ended = harness.run(words, work / "o")
            hint = [] if "upgrade" in ended.err else [f"no hint to upgrade: {ended.said()}"]
            row.case(f"{name}, format {version}", ended.problems(REFUSED) + hint)
    progress(row.tried)
    row.worst = f"formats 1 to {checkpoint.FORMAT}"
    return row


def newer_file(source: Path, path: Path, version: int) -> Path:
    """A file as a newer gancli may write it."""
    values = torch.load(source, weights_only=True)
    torch.save({**values, "format": version, "gancli": "99.0", "unknown": [1]}, path)
    return path


def commands(file: Path, out: Path) -> dict[str, list[object]]:
    """The commands that open a checkpoint."""
    usual = ["--threads", 1, "--quiet"]
    out.mkdir()
    data = harness.make_pictures(out / "data", 24)
    trained = [data, "--outdir", out / "runs", "--kimg", 0.016, *usual]
    return {
        "sample": ["sample", file, "-o", out / "s", "--seeds", "0-3", *usual],
        "interpolate": ["interpolate", file, out / "i.gif", "--frames", 4, *usual],
        "inspect-stats": ["inspect-stats", file, "--samples", 8, "--quick", *usual],
        "train --from": ["train", "--from", file, *trained],
        "grow": ["grow", file, *trained],
    }
