"""How speed and memory grow with resolution, channels, batch, threads and the size of the data set.

    python benchmarks/scaling.py --out benchmarks/results/scaling.json --plot docs/pictures/scaling.svg

Each point is a process of its own: a training step of narrow progressive networks with WGAN-GP, repeated for a second
or more. The table has images per second, seconds per kimg, peak memory and operations. The growth of an axis is the
slope of log(seconds) against log(operations) over its points: 1 if cost grows as the operations do. The points of an
axis are measured in turn, round by round.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gancli import process

BASE = {"resolution": 32, "channels": 64, "batch": 16, "threads": 0, "samples": 256}  # threads 0: all cores
AXES: dict[str, tuple[int, ...]] = {
    "resolution": (4, 8, 16, 32, 64, 128, 256),
    "channels": (16, 32, 64, 128, 256),
    "batch": (4, 8, 16, 32, 64),
    "threads": tuple(range(1, process.cores() + 1)),
    "samples": (256, 2_048, 16_384, 65_536),
}
QUICK = {"resolution": (4, 8), "channels": (8, 16), "batch": (2, 4), "threads": (1,), "samples": (64, 128)}
LEAST = 1.0  # seconds that a point is repeated for
SMALLEST = 0.01  # share of an axis' most operations below which a point is not part of the fit: overhead dominates


def measure(point: dict[str, int], precision: str) -> dict[str, float]:
    """Seconds and operations per image, and the peak memory of this process in MiB."""
    process.wait_politely()
    import contenders
    import torch

    process.keep_memory()
    torch.set_num_threads(point["threads"] or process.cores())
    stages = point["resolution"].bit_length() - 2
    workload = {
        "resolution": point["resolution"],
        "channels": [point["channels"]] * stages,
        "z_dim": 64,
        "batch": point["batch"],
    }
    step = contenders.step_of(contenders.task_of_workload(workload, precision, count=point["samples"]))
    with contenders.Operations() as operations:
        step()
    step()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < LEAST:
        step()
        steps += 1
    seconds = (time.perf_counter() - started) / steps / point["batch"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "operations": operations.total / point["batch"], "memory_mib": memory}


def row(axis: str, value: int, found: list[dict[str, float]]) -> dict[str, Any]:
    """A point: medians over the rounds."""
    seconds = statistics.median(one["seconds"] for one in found)
    return {
        "axis": axis,
        "value": value,
        "images_per_s": 1 / seconds,
        "seconds_per_kimg": 1000 * seconds,
        "gflop_per_image": found[0]["operations"] / 1e9,
        "memory_mib": max(one["memory_mib"] for one in found),
    }


def growth(rows: list[dict[str, Any]]) -> float | None:
    """The slope of log seconds against log operations; None if the operations do not grow."""
    most = max(r["gflop_per_image"] for r in rows)
    x, y = np.log(
        [(r["gflop_per_image"], r["seconds_per_kimg"]) for r in rows if r["gflop_per_image"] > SMALLEST * most]
    ).T
    return float(np.polyfit(x, y, 1)[0]) if np.ptp(x) > 0.5 else None


def axis_rows(axis: str, values: tuple[int, ...], options: argparse.Namespace) -> list[dict[str, Any]]:
    """All points of an axis, measured in turn."""
    found: dict[int, list[dict[str, float]]] = {value: [] for value in values}
    for _ in range(options.rounds):
        for value in values:
            point = json.dumps(BASE | ({"resolution": 8, "channels": 8} if options.quick else {}) | {axis: value})
            words = [sys.executable, __file__, "--point", point, "--precision", options.precision]
            found[value].append(json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout))
    return [row(axis, value, rounds) for value, rounds in found.items()]


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds per kimg against the operations, one line per axis, both as powers of ten."""
    from gancli.report.svg import HEIGHT, WIDTH, Line, bare_chart

    lines = []
    for axis in ("resolution", "channels"):
        own = [r for r in rows if r["axis"] == axis]
        x, y = (np.log10([r[key] for r in own]) for key in ("gflop_per_image", "seconds_per_kimg"))
        lines.append(Line(axis, x, y))
    chart = bare_chart(
        lines, "log10 of GFLOP per image; resolution blue, channels orange; up: log10 of seconds per kimg"
    )
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{chart}</svg>')


def main() -> None:
    """Measure every axis; print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--axes", nargs="+", default=[*AXES], choices=AXES)
    parser.add_argument("--quick", action="store_true", help="a few tiny points, to try it")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--plot", type=Path, help="an SVG file")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(measure(json.loads(options.point), options.precision)))
        return
    rows, slopes = [], {}
    print("| axis | value | images/s | s per kimg | GFLOP per image | peak MiB |\n|---|---|---|---|---|---|")
    for axis in options.axes:
        own = axis_rows(axis, (QUICK if options.quick else AXES)[axis], options)
        for r in own:
            numbers = (r["images_per_s"], r["seconds_per_kimg"], r["gflop_per_image"], r["memory_mib"])
            print(f"| {axis} | {r['value']} | " + " | ".join(f"{number:.4g}" for number in numbers) + " |", flush=True)
        rows += own
        if (slope := growth(own)) is not None:
            slopes[axis] = slope
            print(f"| {axis} | growth: operations to the power of {slope:.2f} | | | | |", flush=True)
    if options.out:
        options.out.write_text(json.dumps({"precision": options.precision, "rows": rows, "growth": slopes}, indent=1))
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
