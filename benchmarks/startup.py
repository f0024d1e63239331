"""What a person waits for apart from training: start-up, and the feed. Run by `speed.py W5` and `speed.py feed`."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gancli import config as configs
from gancli import process
from gancli.data import Feed, open_dataset
from gancli.data.images import Shape
from gancli.growth import Schedule
from gancli.training.resolve import resolve

TYPER = """
import typer
app = typer.Typer(add_completion=False)
for number in range(14):
    @app.command(name=f"c{number}")
    def command(a: str = typer.Option("x", help="Some help.")) -> None:
        "Do something."
app()
"""
PICTURES = {128: 2000, 512: 300, 1024: 150}  # number of image files by their size in px
SIDE = 64  # px that they are scanned for


def wall(words: Sequence[str], **variables: str) -> float:
    """Seconds of a process from start to end."""
    started = time.perf_counter()
    subprocess.run(words, env={**os.environ, **variables}, capture_output=True, check=True)
    return time.perf_counter() - started


def timed(action: Callable[[], Any]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def row(what: str, parts: dict[str, Callable[[], float]], rounds: int) -> dict[str, Any]:
    """Median seconds of each part, which run in turn, and of the first part over the second."""
    for part in parts.values():
        part()
    found = [{name: part() for name, part in parts.items()} for _ in range(rounds)]
    first, *others = parts
    return {
        "what": what,
        "seconds": {name: statistics.median(times[name] for times in found) for name in parts},
        "over": {name: statistics.median(times[first] / times[name] for times in found) for name in others},
        "rounds": found,
    }


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """Start-up: the help, beside that of a typer program of as many commands; completion; one sample, cold."""
    gancli = [str(Path(sys.executable).with_name("gancli"))]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(TYPER)
        checkpoint = _checkpoint(Path(folder))
        typer = {"typer program": lambda: wall([sys.executable, str(program), "--help"])}
        torch = {"import torch": lambda: wall([sys.executable, "-c", "import torch"])}
        completing = {"_GANCLI_COMPLETE": "complete_bash", "COMP_WORDS": "gancli train --preset q", "COMP_CWORD": "3"}
        sampling = [*gancli, "sample", str(checkpoint), "--seeds", "0", "--out", f"{folder}/sample.png"]
        yield row("gancli --help", {"gancli": lambda: wall([*gancli, "--help"])} | typer, rounds)
        yield row("Tab", {"gancli": lambda: wall(gancli, **completing)}, rounds)
        yield row("gancli sample, one image", {"gancli": lambda: wall(sampling)} | torch, rounds)


def _checkpoint(folder: Path) -> Path:
    """A checkpoint of progan-64-lite after its first steps."""
    words = ["train", "--preset", "progan-64-lite", "--kimg", "0.008", "--outdir", str(folder), "builtin:shapes"]
    subprocess.run([sys.executable, "-m", "gancli", *words], capture_output=True, check=True)
    return next(folder.glob("*/last.pt"))


def feed_rows(rounds: int) -> Iterator[dict[str, Any]]:
    """The first scan of image files, and batches of 64 from its cache, beside Pillow and numpy alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANCLI_CACHE_DIR"] = f"{folder}/cache"
        shape = Shape(SIDE, SIDE, 3, "crop")
        for side, count in PICTURES.items():
            yield _scan(_pictures(Path(folder) / str(side), side, count), side, shape, rounds)
        yield _batches(f"{folder}/{next(iter(PICTURES))}", shape, rounds)


def _scan(files: Sequence[Path], side: int, shape: Shape, rounds: int) -> dict[str, Any]:
    def decode() -> None:
        for path in files:
            Image.open(path).convert("RGB").load()

    def resize() -> None:
        for path in files:
            Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    parts = {
        "gancli": lambda: timed(lambda: open_dataset(str(files[0].parent), shape, rescan=True)),
        "Pillow's decoder, by cores": lambda: timed(decode) / process.cores(),
        "and its resizing": lambda: timed(resize) / process.cores(),
    }
    found = row(f"first scan of {len(files)} JPEGs of {side} px", parts, rounds)
    return found | {"images_per_s": {name: len(files) / took for name, took in found["seconds"].items()}}


def _batches(place: str, shape: Shape, rounds: int) -> dict[str, Any]:
    data = open_dataset(place, shape)
    config = resolve(configs.load("progan-64-lite", {"train.batch_size": 64}), data, place)
    feed, phase = Feed(data, config), Schedule.of(config).phases[-1]
    rows, count = np.asarray(data.train_rows), 100

    def ours() -> float:
        return timed(lambda: [feed.batch_at(64 * k, phase) for k in range(count)])

    def indexing() -> float:
        return timed(lambda: [data.values[np.sort(np.random.choice(rows, 64))] for _ in range(count)])

    found = row("batches of 64 from the cache", {"gancli": ours, "indexing alone": indexing}, rounds)
    return found | {"images_per_s": {name: 64 * count / took for name, took in found["seconds"].items()}}


def _pictures(folder: Path, side: int, count: int) -> list[Path]:
    """Smooth random pictures as JPEG files."""
    folder.mkdir()
    draw, paths = np.random.RandomState(0), []
    for number in range(count):
        small = Image.fromarray(draw.randint(0, 256, (8, 8, 3)).astype(np.uint8))
        paths.append(folder / f"{number:05}.jpg")
        small.resize((side, side), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    speed = found.get("images_per_s", found["seconds"])
    shown = ", ".join(f"{name} {value:,.4g}" for name, value in speed.items())
    ratio = "; ".join(f"takes {value:.2f}x {name}" for name, value in found["over"].items())
    return f"| {found['what']} | | {shown}{'' if 'images_per_s' in found else ' s'} | {ratio} | |"
