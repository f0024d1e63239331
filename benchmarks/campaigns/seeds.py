"""The same seed gives the same pixels, whatever the number of samples in a command, and whatever the others are."""

import os
import random
from pathlib import Path
from typing import Any

from campaigns import harness
from campaigns.harness import BATCH_NORM, Progress, Row

SIZES = (1, 4, 16, 40)  # samples in one command
PRESETS: dict[str, dict[str, Any]] = {
    "progressive": {"growth": {"fade": 16, "stable": 16}},
    "batch norm": {**BATCH_NORM, "train.duration": 80},
}


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` seeds for each network, each alone and in other companies."""
    row, draw, data = Row("14", "seeds"), random.Random(seed), harness.make_pictures(work / "data", 60)
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    for name, changes in PRESETS.items():
        preset = harness.write_preset(work / f"{name}.yaml", data, changes)
        harness.must(harness.train(preset, work / name), work / "o")
        for number in range(count):
            wanted = draw.randrange(1 << 32)
            pixels = {size: drawn(work, work / name / "x", wanted, size, draw) for size in SIZES}
            odd = [f"other pixels among {size}" for size in SIZES if pixels[size] != pixels[1]]
            row.case(f"{name}, seed {wanted}", odd)
            progress(number + 1)
    row.worst = f"{row.failed} of {row.tried} seeds differ"
    return row


def drawn(work: Path, run: Path, seed: int, size: int, draw: random.Random) -> bytes:
    """The picture of a seed that is drawn with others, at a random place among them."""
    seeds = [draw.randrange(1 << 32) for _ in range(size - 1)]
    seeds.insert(draw.randrange(size), seed)
    folder = harness.new_folder(work / "drawn")
    words = ["sample", run, "--seeds", ",".join(map(str, seeds)), "-o", folder, "--threads", 1, "--quiet"]
    harness.must(words, work / "o")
    return (folder / f"seed{seed:04d}.png").read_bytes()
