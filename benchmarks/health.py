"""inspect-stats of every run of a folder, as a Markdown table: one line a variant, mean and range over seeds.

    python benchmarks/health.py ablations/ --by network.output --figures batch_std_ratio,pixel_mean_distance

--by: dotted keys of the config that tell variants apart. Figures are those of the averaged generator, beside the
baseline: the same figure between two halves of the reals. docs/figures.md lists the keys; one of several channels is
written color_distance.red.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import gancli
from gancli.runs import Run, all_runs

SAMPLES = 2_500


def value_at(run: Run, key: str) -> str:
    """What a run's config says at a dotted key, in few words."""
    value = run.config().model_dump()
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else None
    return "on" if isinstance(value, dict) else "off" if value is None else str(value)


def spread(values: list[float]) -> str:
    """The mean, and the range where there are several."""
    mean = sum(values) / len(values)
    return f"{mean:.3g}" if len(values) == 1 else f"{mean:.3g} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", default="preset")
    parser.add_argument("--figures", default="batch_std_ratio")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--raw", action="store_true")
    given = parser.parse_args()
    names = given.figures.split(",")
    found, baselines = defaultdict(list), {}
    for run in all_runs(given.folder):
        variant = ", ".join(value_at(run, key) for key in given.by.split(","))
        health = gancli.inspect_stats(run.path, samples=given.samples, raw=given.raw)
        figures = {".".join(filter(None, (f.key, f.part))): f for f in health.panel}
        found[variant].append((health.verdict, [figures[name].value for name in names]))
        baselines = {name: figures[name].baseline for name in names}
    print(f"| {given.by} | seeds | verdicts | " + " | ".join(names) + " |")
    print("|---" * (3 + len(names)) + "|")
    for variant, rows in sorted(found.items()):
        columns = zip(*(values for _, values in rows), strict=True)
        verdicts = ", ".join(sorted({word for word, _ in rows}))
        print(f"| {variant} | {len(rows)} | {verdicts} | " + " | ".join(spread(list(c)) for c in columns) + " |")
    print("| baseline (reals) | | | " + " | ".join(f"{baselines[name]:.3g}" for name in names) + " |")


if __name__ == "__main__":
    main()
