"""The HTML page of an ablation: a table, curves, samples at a few points, and color histograms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli import files
from gancli.report import pages, pictures, svg
from gancli.results import Ablation, AblationRow
from gancli.runs import Run
from gancli.stats.histograms import shares
from gancli.training import curves
from gancli.version import __version__

POINTS = 4  # number of points of training at which samples are shown, besides untrained
TILES = 4  # rows and columns of a sheet that are shown
BINS = 32
INKS = {1: ("#444444",), 3: ("#c43131", "#2e8b3d", "#2f5fc4"), 4: ("#c43131", "#2e8b3d", "#2f5fc4", "#888888")}


@dataclass(frozen=True)
class Sheet:
    """One sheet of samples, and the histograms of its channels compared with the data."""

    caption: str
    picture: str  # a data: URL
    histograms: tuple[str, ...]  # SVG


def page(ablation: Ablation, points: Sequence[float] = ()) -> str:
    """The page as HTML text. points: kimg at which samples are shown; empty: four evenly spaced ones."""
    values = {
        "ablation": ablation,
        "presets_vary": any("preset" in row.changes for row in ablation.rows),
        "table": table(ablation),
        "charts": [chart(ablation, key) for key in ablation.quantities],
        "sheets": {row.variant: sheets(row, points) for row in ablation.rows},
        "version": __version__,
    }
    return pages.render("ablation.html", values)


def write(ablation: Ablation, path: Path, points: Sequence[float] = ()) -> None:
    """Write the page. Raises StorageError."""
    files.replace_text(path, page(ablation, points))


def table(ablation: Ablation) -> list[tuple[str, list[str]]]:
    """The rows (heading, one cell per variant): mean and standard deviation over seeds."""
    return [(head.replace("_", " "), cells) for head, cells in ablation.table()]


def chart(ablation: Ablation, key: str) -> str:
    """Running mean of a quantity, averaged over seeds, with a band from the lowest to the highest seed."""
    lines = [line for row in ablation.rows if (line := _line(row, key, ablation.window))]
    return svg.line_chart(
        lines, "generator steps", f"{key.replace('_', ' ')}, running mean over {ablation.window} steps"
    )


def _line(row: AblationRow, key: str, window: int) -> svg.Line | None:
    found = [curve for curve in curves.of_row(row, key) if np.isfinite(curve.values).any()]
    if not found:
        return None
    longest = max(found, key=lambda curve: len(curve.steps)).steps
    smooth = [np.interp(longest, curve.steps, curves.running(curve, window), right=np.nan) for curve in found]
    stacked = np.stack(smooth)
    some = np.isfinite(stacked).any(0)
    stacked, steps = stacked[:, some], longest[some]
    mean, low, high = (reduce(stacked, axis=0) for reduce in (np.nanmean, np.nanmin, np.nanmax))
    return svg.Line(row.variant, steps, mean, *((low, high) if len(found) > 1 else (None, None)))


def sheets(row: AblationRow, points: Sequence[float] = ()) -> list[Sheet]:
    """Sheets of the first seed: untrained, at a few points of training, and the data last.

    points: kimg; the nearest existing sheet is used for each. Empty: evenly spaced sheets.
    """
    if not row.runs:
        return []
    run = Run(row.runs[0])
    steps = {tick["images"]: tick["generator_steps"] for tick in run.stats()}
    drawn = pictures.sheets_of(run)
    even = [pictures.images_of(drawn[round(i)]) for i in np.linspace(0, len(drawn) - 1, POINTS)] if drawn else []
    wanted = [point * 1000 for point in points] or even
    nearest = {min(drawn, key=lambda path: abs(pictures.images_of(path) - at)) for at in wanted} if drawn else set()
    chosen = sorted(nearest)
    places = [*((pictures.caption(path, steps), path) for path in chosen), ("real data", run.path / "reals.png")]
    places.insert(0, ("untrained", run.path / "samples" / "untrained.png"))
    return [_sheet(run, caption, path) for caption, path in places if path.exists()]


def _sheet(run: Run, caption: str, path: Path) -> Sheet:
    reals, pixels = (np.asarray(Image.open(file)) for file in (run.path / "reals.png", path))
    size = run.config().picture_size
    found: tuple[str, ...] = ()
    shown = pixels
    if size is not None:
        height, width = size
        real, fake = (levels(side) for side in (reals, pixels))
        inks = INKS[len(real)]
        found = tuple(svg.histogram(r, f, ink, caption) for r, f, ink in zip(real, fake, inks, strict=True))
        shown = pixels[: height * TILES, : width * TILES]
    return Sheet(caption, pictures.address(shown), found)


def levels(pixels: NDArray[np.uint8]) -> list[tuple[float, ...]]:
    """Normalized histogram of each channel. (H, W) or (H, W, C) -> C tuples."""
    channels = pixels.reshape(-1, 1 if pixels.ndim == 2 else pixels.shape[2]).T
    return [shares(np.bincount(channel, minlength=256), BINS) for channel in channels]
