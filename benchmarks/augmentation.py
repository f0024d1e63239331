"""What does augmentation change on a few images? `auto` with it and without it, judged by the images left out.

    python benchmarks/augmentation.py train IMAGES.zip --count 500 --seeds 0 1 2 --out FOLDER
    python benchmarks/augmentation.py judge FOLDER --rows rows.jsonl

`train` splits the images at random into COUNT for training and the rest, and trains on the first part. A training that
was stopped goes on. `judge` appends a line for every run to ROWS, and prints a table of all:

- critic's gap: (E D(train) - E D(rest)) / (E D(train) - E D(samples)), near 1 if the critic has memorized the training
  set; beside it the mean of `overfitting` in the last lines of the log, which uses the few held-out images of the run
- train distance: of the samples to the nearest training image, over that of the rest: as in `inspect-stats`, and a
  plain comparison of images of 16 px
- KID, coverage and leak: of the samples against the rest. leak is the largest trace, and in parentheses its baseline
"""

import argparse
import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

import gancli
from gancli import checkpoint
from gancli.critic_view import CriticView
from gancli.data import Shape, open_dataset, to_unit
from gancli.networks import build

Row = dict[str, Any]
WAYS: dict[str, dict[str, Any]] = {"augmented": {}, "plain": {"augment": None}}
SAMPLES = 1_000
PIXELS = 16
TICKS = 5
COLUMNS = {
    "gap": "critic's gap",
    "overfitting": "overfitting",
    "train_distance": "train distance",
    "train_distance_pixels": "of pixels",
    "kernel_distance": "KID",
    "coverage": "coverage",
    "leak": "leak",
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("data", type=Path, help="a zip of images")
    training.add_argument("--count", type=int, default=500)
    training.add_argument("--seeds", type=int, nargs="+", default=[0])
    training.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    training.add_argument("--kimg", type=float, default=80.0)
    training.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="more")
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--out", type=Path, required=True)
    training.set_defaults(run=train)
    judging = commands.add_parser("judge")
    judging.add_argument("folder", type=Path)
    judging.add_argument("--rows", type=Path, required=True)
    judging.add_argument("--samples", type=int, default=SAMPLES)
    judging.set_defaults(run=judge)
    given = parser.parse_args()
    given.run(given)


def train(given: argparse.Namespace) -> None:
    """Train both ways with every seed, on the same images."""
    given.out.mkdir(parents=True, exist_ok=True)
    few = split(given.data, given.count, given.out)
    more = gancli.config.overrides.parse(given.more)
    for seed in given.seeds:
        for way in given.ways:
            changes = {"train.seed": seed, "train.duration": round(1_000 * given.kimg), **WAYS[way], **more}
            outdir = given.out / f"{way}-{seed}"
            gancli.train("auto", str(few), changes=changes, outdir=outdir, threads=given.threads)


def split(data: Path, count: int, folder: Path) -> Path:
    """Write train.zip with so many images, and rest.zip with the others."""
    with zipfile.ZipFile(data) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        order = np.random.RandomState(0).permutation(len(names))
        for part, rows in (("train", order[:count]), ("rest", order[count:])):
            with zipfile.ZipFile(folder / f"{part}.zip", "w") as own:
                for row in sorted(rows):
                    own.writestr(zipfile.ZipInfo(names[row]), archive.read(names[row]))
    return folder / "train.zip"


def judge(given: argparse.Namespace) -> None:
    """Measure the runs that are not in the file, and print the table."""
    rows = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows.exists() else []
    known = {(row["way"], row["seed"]) for row in rows}
    for config in sorted(given.folder.glob("*-*/*/config.yaml")):
        run, (way, _, seed) = config.parent, config.parts[-3].rpartition("-")
        if (way, int(seed)) not in known:
            rows.append({"way": way, "seed": int(seed), **measured(run, given.folder, given.samples)})
            with given.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(table(sorted(rows, key=lambda row: (row["seed"], row["way"]))))


def measured(run: Path, folder: Path, count: int) -> Row:
    """All figures of a run."""
    model = gancli.load(run)
    side = model.phase.height
    sets = [open_dataset(str(folder / f"{part}.zip"), Shape(side, side, 3, "crop")) for part in ("train", "rest")]
    samples = torch.as_tensor(model.sample(range(count)))
    trained, rest = (to_unit(np.array(data.values)) for data in sets)
    trained = trained[torch.as_tensor(np.asarray(sets[0].train_rows))]
    own, against = gancli.inspect_stats(run, samples=count), gancli.inspect_stats(samples, rest.numpy(), samples=count)
    figures = {f.key: f for f in against.panel}
    leaks = {f.part: [f.value, f.baseline] for f in against.panel if f.key == "leak"}
    return {
        "images": model.checkpoint.images,
        "verdict": own.verdict,
        "gap": gap(model, samples, trained, rest),
        "overfitting": last(run / "stats.jsonl", "overfitting"),
        "train_distance": next(f.value for f in own.panel if f.key == "train_distance_ratio"),
        "train_distance_pixels": nearest(samples, trained) / nearest(rest, trained),
        **{key: [figures[key].value, figures[key].baseline] for key in ("kernel_distance", "coverage")},
        "leak": max(leaks.values()),
        "leaks": leaks,
    }


@torch.no_grad()
def gap(model: Any, samples: Tensor, trained: Tensor, rest: Tensor) -> float:
    """How far the critic tells the images of training from the others, over how far from samples."""
    critic = build(model.checkpoint.config).D
    checkpoint.fill(critic, model.checkpoint.weights["D"], model.checkpoint.path)
    view = CriticView(critic.eval(), model.phase)
    fake, seen, unseen = (
        float(torch.cat([view.scores(part) for part in x.split(8)]).float().mean()) for x in (samples, trained, rest)
    )
    return (seen - unseen) / (seen - fake)


def nearest(x: Tensor, trained: Tensor) -> float:
    """Median distance to the nearest training image or its mirror image, at 16 px."""
    both = torch.cat([trained, trained.flip(3)])
    a, b = (avg_pool2d(side, max(1, side.shape[2] // PIXELS)).flatten(1).double() for side in (x, both))
    return float(torch.cdist(a, b).min(1).values.median())


def last(log: Path, key: str) -> float:
    """The mean of the last values of a field of a log; NaN if there are none."""
    values = [json.loads(line).get(key) for line in log.read_text().splitlines()]
    return fmean([value for value in values if value is not None][-TICKS:] or [math.nan])


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line per run."""
    names = " | ".join(COLUMNS.values())
    lines = [f"| seed | | kimg | {names} | verdict |", f"|---:|---|{'---:|' * (len(COLUMNS) + 1)}---|"]
    for row in rows:
        cells = (str(row["seed"]), row["way"], f"{row['images'] / 1000:.0f}", *(cell(row[key]) for key in COLUMNS))
        lines.append(f"| {' | '.join(cells)} | {row['verdict']} |")
    return "\n".join(lines)


def cell(value: float | Sequence[float]) -> str:
    """A value, and in parentheses its baseline if it has one."""
    return f"{value:.3g}" if isinstance(value, int | float) else f"{value[0]:.3g} ({value[1]:.2g})"


if __name__ == "__main__":
    main()
