"""quickstart and quickstart-collapse over seeds: time, modes covered, recognizable share, verdict.

    python benchmarks/quickstart.py --seeds 0 1 2 > benchmarks/results/quickstart.json

Each row is `gancli train --preset P --seed S` and `gancli inspect-stats --json`, as a user gives them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time


def gancli(*words: str) -> tuple[float, str]:
    """Seconds of the whole command, start included, and its standard output."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "gancli", *words], check=True, stdout=-1, stderr=-1, text=True)
    return time.monotonic() - started, done.stdout


def row(preset: str, seed: int, outdir: str, samples: int) -> dict[str, object]:
    """Train one and judge it."""
    seconds, checkpoint = gancli("train", "--preset", preset, "--seed", str(seed), "--outdir", outdir)
    inspect_seconds, out = gancli("inspect-stats", checkpoint.strip(), "--json", "--samples", str(samples))
    health = json.loads(out)
    figures = {figure["key"]: figure["value"] for figure in health["panel"]}
    return {
        "preset": preset,
        "seed": seed,
        "seconds": round(seconds, 1),
        "inspect_seconds": round(inspect_seconds, 1),
        "modes": figures["modes_covered"],
        "recognizable": figures["recognized_fraction"],
        "reverse_kl": figures["reverse_kl"],
        "std_ratio": figures["batch_std_ratio"],
        "verdict": health["verdict"],
        "verdict_of_raw_weights": health["raw_verdict"],
        "warned": health["history"]["warnings"],
    }


def main() -> None:
    """All seeds of both presets, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", default=["quickstart", "quickstart-collapse"])
    parser.add_argument("--samples", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as outdir:
        rows = [row(preset, seed, outdir, options.samples) for preset in options.presets for seed in options.seeds]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
