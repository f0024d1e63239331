"""Who has the better pictures after equal minutes? Presets and textbook GANs, trained one after the other.

    python benchmarks/minutes.py train DATA... --contenders progan-64-lite dcgan --minutes 60 --at 5 20 --seeds 0
    python benchmarks/minutes.py judge FOLDER --rows rows.jsonl [--page docs/experiments/minutes.md]

`train` trains one contender after the other for the same wall time, from the start of the process, and stores samples
at the given minutes. A contender is a preset, which may be followed by its own options ("progan-64-lite --mirror"), or
one of rivals.RIVALS with its arguments ("dcgan width=32"). What is in FOLDER is not repeated.

`judge` compares every set with the data, and adds it to the lines of ROWS; the page has a table of all of them. KID,
coverage and 1-NN look at features of a trained network (those of projected-* are left out: its critic has seen them),
then KID and coverage at fixed random features; then follow the sliced Wasserstein distance and the distance to the
nearest training sample over that of other reals. The best of a column is bold: it falls least short of the last row,
which is the data itself, one half against the other.
"""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import wrap
from typing import Any

import numpy as np
import torch
from rivals import RIVALS
from torch import Tensor

import gancli
from gancli.data import Shape, open_dataset, to_unit
from gancli.media import save
from gancli.plots import sheet
from gancli.report import svg

COUNT = 2_048  # samples of a set
SHEET = 32  # samples on a sheet
JUDGES = {  # key of the figure: (name, which way is better)
    "kernel_distance": ("KID", -1),
    "coverage": ("coverage", 1),
    "nn_accuracy_fakes": ("1-NN", -1),
    "kernel_distance_fixed": ("KID, fixed", -1),
    "coverage_fixed": ("coverage, fixed", 1),
    "sliced_wasserstein": ("SWD", -1),
    "train_distance_ratio": ("train distance", 1),
}
TRAINED = ("kernel_distance", "coverage", "nn_accuracy_fakes")  # on the features that projected critics see
ABOUT = (
    "Which contender has the best samples after the same wall time, counted from the start of its process? KID (the "
    "kernel distance), coverage and 1-NN accuracy use features of a trained network (left out for presets that were "
    "trained with it); `fixed` means random features. SWD is the sliced Wasserstein distance; train distance is the "
    "distance to the nearest training sample, divided by that of other reals. Bold: the least worse than the last row, "
    "which compares one half of the data with the other. Presets are measured in the course of one run, whose schedule "
    "ends with the last row; the other contenders have no schedule."
)
Row = dict[str, Any]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("data", type=Path, nargs="+")
    training.add_argument("--contenders", nargs="+", required=True)
    training.add_argument("--minutes", type=float, default=60.0)
    training.add_argument("--at", type=float, nargs="*", default=[])
    training.add_argument("--seeds", type=int, nargs="+", default=[0])
    training.add_argument("--size", type=int, default=64, help="px; presets have their own")
    training.add_argument("--threads", type=int, default=2)
    training.add_argument("--out", type=Path, default=Path("minutes"))
    training.set_defaults(run=train)
    judging = commands.add_parser("judge")
    judging.add_argument("folder", type=Path)
    judging.add_argument("--rows", type=Path, required=True)
    judging.add_argument("--samples", type=int, default=COUNT)
    judging.add_argument("--page", type=Path)
    judging.add_argument("--where", default="", help="what the page says of the machine and its other work")
    judging.set_defaults(run=judge)
    given = parser.parse_args()
    given.run(given)


def train(given: argparse.Namespace) -> None:
    """Every contender on every data set with every seed that is not there yet."""
    for data in given.data:
        for seed in given.seeds:
            for contender in given.contenders:
                folder = given.out / data.stem / plain(contender) / f"seed{seed}"
                if (folder / "done.json").exists():
                    continue
                shutil.rmtree(folder, ignore_errors=True)  # of a training that was interrupted
                folder.mkdir(parents=True)
                name = contender.split()[0]
                points = sorted({*(minute for minute in given.at if minute < given.minutes), given.minutes})
                work = rival if name in RIVALS else preset
                facts = work(contender, data, seed, points, given, folder)
                facts |= {"contender": contender, "data": str(data), "seed": seed, "threads": given.threads}
                facts |= {"size": given.size} if name in RIVALS else {}
                (folder / "done.json").write_text(json.dumps(facts))
                print(f"{data.stem} {contender} seed {seed}: {facts}", flush=True)


def preset(
    contender: str, data: Path, seed: int, points: Sequence[float], given: argparse.Namespace, folder: Path
) -> Row:
    """`gancli train --minutes`; SIGUSR1 has it save at the points, and SIGTERM ends it at the last one.

    With --kimg among the options, it ends when it is done.
    """
    name, *options = shlex.split(contender)
    command = [sys.executable, "-m", "gancli", "train", "--preset", name, str(data.resolve()), *options]
    command += ["--seed", str(seed), "--threads", str(given.threads)]
    command += [] if "--kimg" in options else ["--minutes", f"{points[-1]:g}"]
    command += ["--set", "train.keep=100", "--set", "train.checkpoint_every=0", "--outdir", str(folder), "--run", "run"]
    started, run, at = time.monotonic(), folder / "run", []
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        for minute in points:
            waits(process, started + minute * 60)
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1 if minute < points[-1] else signal.SIGTERM)
            at.append((minute, time.time()))
        process.wait()
    seconds = time.monotonic() - started
    saved = sorted((run / "checkpoints").glob("*.pt"), key=lambda path: path.stat().st_mtime)
    chosen = {points[-1]: run / "last.pt"}
    for minute, moment in at[:-1]:
        after = [path for path in saved if path.stat().st_mtime >= moment]
        chosen |= {minute: after[0]} if after else {}
    images = {f"{minute:g}": from_checkpoint(folder, minute, path) for minute, path in chosen.items()}
    return {"images": images, "seconds": round(seconds)}


def waits(process: subprocess.Popen[bytes], until: float) -> None:
    """Wait for a moment, or for the end of a process."""
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)


def from_checkpoint(folder: Path, minute: float, path: Path) -> int:
    """Store samples of the averaged generator at full size; after how many images it was saved."""
    model = gancli.load(path)
    samples = as_bytes(model.sample(range(COUNT)))
    larger = model.checkpoint.config.full_height // samples.shape[1]  # of a network that has not grown yet
    store(folder, minute, samples.repeat(larger, axis=1).repeat(larger, axis=2))
    return model.checkpoint.images


def rival(
    contender: str, data: Path, seed: int, points: Sequence[float], given: argparse.Namespace, folder: Path
) -> Row:
    """One of RIVALS in this process. The time for sampling is not counted."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(seed)
    name, *options = contender.split()
    arguments = {key: float(value) if "." in value or "e" in value else int(value) for key, value in map(pair, options)}
    started, images, left, at = time.monotonic(), 0, list(points), {}
    model = RIVALS[name](given.size, **arguments)
    batches = batches_of(data, given.size, model.batch, seed)

    def reals() -> Tensor:
        nonlocal images
        images += model.batch
        return next(batches)

    while left:
        model.step(reals)
        if time.monotonic() - started >= left[0] * 60:
            paused = time.monotonic()
            at[f"{left[0]:g}"] = images
            store(folder, left.pop(0), as_bytes(model.sample(COUNT)))
            started += time.monotonic() - paused
    return {"images": at, "seconds": round(time.monotonic() - started)}


def plain(contender: str) -> str:
    """The name of a contender as a part of a path."""
    return contender.replace(" ", "_").replace("/", "_")


def pair(text: str) -> tuple[str, str]:
    """("width", "32") from "width=32"."""
    key, _, value = text.partition("=")
    return key, value


def batches_of(data: Path, size: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches of the training samples of gancli, mirrored at random, without end."""
    dataset = open_dataset(str(data), Shape(size, size, 3, "crop"))
    rows, draw = dataset.train_rows, np.random.RandomState(seed)
    while True:
        x = to_unit(np.asarray(dataset.values[np.sort(draw.choice(rows, batch, replace=len(rows) < batch))]))
        flipped = torch.from_numpy(draw.rand(batch) < 0.5).view(-1, 1, 1, 1)
        yield torch.where(flipped, x.flip(3), x)


def as_bytes(x: Any) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] as (N, H, W, C) uint8."""
    values = torch.as_tensor(x).float().add(1).mul(127.5).round().clamp(0, 255).byte()
    return values.movedim(1, 3).contiguous().numpy()


def store(folder: Path, minute: float, samples: np.ndarray) -> None:
    """Samples after so many minutes."""
    np.save(folder / f"{minute:g}.npy", samples)


def judge(given: argparse.Namespace) -> None:
    """Measure what has not been measured, and write the page."""
    rows = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows.exists() else []
    known = {identity(row) for row in rows}
    for done in sorted(given.folder.rglob("done.json")):
        for file in sorted(done.parent.glob("*.npy"), key=lambda path: float(path.stem)):
            facts = json.loads(done.read_text())
            data, facts["data"] = facts["data"], Path(facts["data"]).stem
            row = {**facts, "minutes": float(file.stem), "images": facts["images"][file.stem]}
            if identity(row) not in known:
                rows.append({**row, **judged(file, data, facts, given.samples)})
                with given.rows.open("a") as lines:
                    lines.write(json.dumps(rows[-1]) + "\n")
    text = page(rows, given.where)
    print(text)
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        given.page.write_text(text)
        pictures = given.page.parent.parent / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        sheets(given.folder, pictures)
        for data in {row["data"] for row in rows}:
            curves([row for row in rows if row["data"] == data], pictures / f"minutes-{data}.svg")


def identity(row: Row) -> tuple[Any, ...]:
    """What a set of samples is known by."""
    return tuple(row[key] for key in ("data", "contender", "seed", "threads", "minutes"))


def judged(file: Path, data: str, facts: Row, samples: int) -> Row:
    """The figures of a set of samples and of the data, [value, baseline], and the verdict."""
    health = gancli.inspect_stats(file, data, samples=samples, threads=facts["threads"])
    seen = TRAINED if facts["contender"].startswith("projected") else ()
    figures = {key: [f for f in health.panel if f.key == key] for key in JUDGES if key not in seen}
    found = {key: [fmean(f.value for f in fs), fmean(f.baseline for f in fs)] for key, fs in figures.items() if fs}
    return {"n": health.samples, "verdict": health.verdict, "figures": found}


def page(rows: Sequence[Row], where: str) -> str:
    """A table per data set: contenders and minutes, means over the seeds."""
    lines = ["# Equal minutes", "", *wrap(f"{ABOUT} {where}", 125), "", "```sh", *commands(rows), "```", ""]
    names = " | ".join(name for name, _ in JUDGES.values())
    for data, threads in sorted({(row["data"], row["threads"]) for row in rows}):
        own = [row for row in rows if (row["data"], row["threads"]) == (data, threads)]
        counts = " or ".join(f"{n:,}" for n in sorted({row["n"] for row in own}))
        head = f"{data}, {threads} thread{'s' if threads > 1 else ''}"
        lines += [f"## {head}", "", f"{counts} samples; means over the seeds.", ""]
        lines += [f"| minutes | contender | seeds | kimg | {names} | verdicts |"]
        lines += ["|---:|---|---:|---:|" + "---:|" * len(JUDGES) + "---|"]
        for minutes in sorted({row["minutes"] for row in own}):
            lines += table([row for row in own if row["minutes"] == minutes])
        data_itself = {key: mean(own, key, 1) for key in JUDGES}
        cells = ["", "the data itself", "", "", *(number(data_itself[key]) for key in JUDGES), ""]
        lines += ["| " + " | ".join(cells) + " |", "", f"![KID](../pictures/minutes-{data}.svg)", ""]
        for contender in sorted({row["contender"] for row in own}):
            last = max(row["minutes"] for row in own if row["contender"] == contender)
            picture = f"../pictures/minutes-{data}-{plain(contender)}.png"
            lines += [f"`{contender}` after {last:g} minutes, the first {SHEET} samples:", "", f"![]({picture})", ""]
    return "\n".join(lines)


def commands(rows: Sequence[Row]) -> list[str]:
    """What trained the contenders, and wrote the page."""
    lines = []
    runs = sorted({(row["data"], row["threads"], row["contender"]) for row in rows})
    for data, threads, contender in runs:
        own = [row for row in rows if (row["data"], row["threads"], row["contender"]) == (data, threads, contender)]
        *before, last = (f"{minutes:g}" for minutes in sorted({row["minutes"] for row in own}))
        at, seeds = " ".join(["--at", *before]) if before else "", " ".join(sorted({str(row["seed"]) for row in own}))
        words = [f'python benchmarks/minutes.py train {data}.zip --contenders "{contender}" --minutes {last}', at]
        size = f"--size {own[0]['size']}" if own[0].get("size", 64) != 64 else ""
        lines.append(" ".join(filter(None, [*words, size, f"--seeds {seeds} --threads {threads}"])))
    return [*lines, "python benchmarks/minutes.py judge minutes --rows rows.jsonl --page minutes.md"]


def table(rows: Sequence[Row]) -> list[str]:
    """The rows of one data set after equal minutes, the best of each column in bold."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["contender"]):
        groups.setdefault(row["contender"], []).append(row)
    best = {key: best_of(groups, key) if len(groups) > 1 else [] for key in JUDGES}
    lines = []
    for name, own in groups.items():
        figures = [number(mean(own, key)) for key in JUDGES]
        bold = [f"**{figure}**" if name in best[key] else figure for key, figure in zip(JUDGES, figures, strict=True)]
        kimg, verdicts = fmean(row["images"] for row in own) / 1000, ", ".join(sorted({row["verdict"] for row in own}))
        cells = [f"{own[0]['minutes']:g}", name, str(len(own)), f"{kimg:.0f}", *bold, verdicts]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def best_of(groups: Mapping[str, Sequence[Row]], key: str) -> list[str]:
    """Whose figure falls least short of the data itself."""
    short = {}
    for name, own in groups.items():
        value, base = mean(own, key), mean(own, key, 1)
        if value is not None and base is not None:
            short[name] = max(0.0, JUDGES[key][1] * (base - value))
    return [name for name, by in short.items() if by == min(short.values())]


def mean(rows: Sequence[Row], key: str, which: int = 0) -> float | None:
    """The mean over the rows of a figure, or of its baseline; None if no row has it."""
    values = [row["figures"][key][which] for row in rows if key in row["figures"]]
    return fmean(values) if values else None


def number(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:.3g}"


def curves(rows: Sequence[Row], path: Path) -> None:
    """KID against minutes: a line for each contender, as an SVG."""
    lines = []
    for contender in sorted({row["contender"] for row in rows}):
        own = [row for row in rows if row["contender"] == contender and "kernel_distance" in row["figures"]]
        if not own:
            continue
        minutes = sorted({row["minutes"] for row in own})
        kid = [mean([row for row in own if row["minutes"] == at], "kernel_distance") for at in minutes]
        lines.append(svg.Line(contender, np.array(minutes), np.array(kid, dtype=float)))
    keys = "".join(
        f'<text x="{svg.WIDTH - 20}" y="{40 + 18 * i}" text-anchor="end" fill="{svg.COLORS[i % len(svg.COLORS)]}">'
        f"{svg.label(line.name)}</text>"
        for i, line in enumerate(lines)
    )
    size = f'viewBox="0 0 {svg.WIDTH} {svg.HEIGHT}" font-family="sans-serif" font-size="12"'
    chart = svg.bare_chart(lines, "minutes; up: KID on trained features")
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{chart}{keys}</svg>\n')


def sheets(folder: Path, pictures: Path) -> None:
    """The first samples of the last set of every training with the first seed, side by side."""
    for data in sorted(path for path in folder.iterdir() if path.is_dir()):
        for contender in sorted(path for path in data.iterdir() if path.is_dir()):
            first = sorted(contender.iterdir())[0]
            last = max(first.glob("*.npy"), key=lambda path: float(path.stem))
            made: Callable[..., Any] = sheet
            grid = made(to_unit(np.load(last)[:SHEET]), "image", 8)
            save(pictures / f"minutes-{data.name}-{contender.name}.png", grid)


if __name__ == "__main__":
    main()
