"""bf16 against fp32 at equal images: is what the samples lose, if anything, more than what another seed changes?

    python benchmarks/precision.py frogs.zip clothes.zip --seeds 0 1 2 --out benchmarks/results/precision.json

Each row is `gancli train --precision P --seed S` and `gancli inspect-stats --json`, as a user gives them. The
rule, set before any run: bf16 is worse in a figure when its mean over the seeds is worse than fp32's by more than a
one-sided t test at 5 % allows, with the variance of both over their seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BETTER = {
    "sliced_wasserstein": -1,
    "kernel_distance": -1,
    "kernel_distance_fixed": -1,
    "coverage": 1,
    "coverage_fixed": 1,
}
# Student's t, one-sided 5 %, by degrees of freedom:
T_95 = {2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833, 10: 1.812}
Row = dict[str, Any]


def gancli(*words: str) -> str:
    """Standard output of a command."""
    return subprocess.run([sys.executable, "-m", "gancli", *words], check=True, stdout=-1, text=True).stdout.strip()


def row(data: Path, preset: str, more: Sequence[str], precision: str, seed: int, samples: int) -> Row:
    """Train one and measure its samples."""
    with tempfile.TemporaryDirectory() as outdir:
        recipe = ("--preset", preset, *more, "--precision", precision, "--seed", str(seed), "--outdir", outdir)
        started = time.monotonic()
        checkpoint = gancli("train", str(data), *recipe)
        seconds = time.monotonic() - started
        health = json.loads(gancli("inspect-stats", checkpoint, "--json", "--samples", str(samples)))
    figures = {key: [f["value"] for f in health["panel"] if f["key"] == key] for key in BETTER}
    return {
        "data": data.stem,
        "preset": preset,
        "options": list(more),
        "precision": precision,
        "seed": seed,
        "seconds": round(seconds, 1),
        "verdict": health["verdict"],
        **{key: statistics.fmean(values) for key, values in figures.items() if values},
    }


def compared(rows: Iterable[Row]) -> list[Row]:
    """Means, deviations over seeds, and whether bf16 is worse, for each data set and figure."""
    rows = list(rows)
    return [
        {"data": data, "figure": key, **compare(*(values(rows, data, p, key) for p in ("fp32", "bf16")), sign)}
        for data in sorted({row["data"] for row in rows})
        for key, sign in BETTER.items()
        if min(len(values(rows, data, p, key)) for p in ("fp32", "bf16")) > 1
    ]


def values(rows: Iterable[Row], data: str, precision: str, key: str) -> list[float]:
    """A figure of all seeds."""
    return [row[key] for row in rows if (row["data"], row["precision"]) == (data, precision) and key in row]


def compare(fp32: Sequence[float], bf16: Sequence[float], sign: int) -> Row:
    """Student's t of bf16's loss in a figure of which more (sign 1) or less (-1) is better."""
    freedom = len(fp32) + len(bf16) - 2
    pooled = sum(statistics.variance(side) * (len(side) - 1) for side in (fp32, bf16)) / freedom
    error = (pooled * (1 / len(fp32) + 1 / len(bf16))) ** 0.5
    lost = sign * (statistics.fmean(fp32) - statistics.fmean(bf16))
    return {
        "fp32": statistics.fmean(fp32),
        "bf16": statistics.fmean(bf16),
        "fp32_deviation": statistics.stdev(fp32),
        "bf16_deviation": statistics.stdev(bf16),
        "t": lost / error if error else 0.0,
        "worse": lost > T_95[freedom] * error,
        "smallest_loss_seen": T_95[freedom] * error,
    }


def main() -> None:
    """Every data set, seed and precision. The file is written after each run; a run that it holds is not repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--preset", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--more", nargs="*", default=[], help="words for train, such as kimg=60 resolution=32")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    more = [part for word in options.more for part in f"--{word}".split("=", 1)]
    rows = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    done = {(r["data"], r["preset"], r["precision"], r["seed"]) for r in rows}
    for seed in options.seeds:
        for data in options.data:
            for precision in ("fp32", "bf16"):
                if (data.stem, options.preset, precision, seed) not in done:
                    rows.append(row(data, options.preset, more, precision, seed, options.samples))
                    options.out.write_text(json.dumps({"compared": compared(rows), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
