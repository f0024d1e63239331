"""The sample sheets of a run for a page: selected, cropped to whole tiles, and encoded as data: URLs."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli import runs
from gancli.config import ResolvedConfig
from gancli.media import default_columns
from gancli.plots import COUNTS
from gancli.runs import Run

Pixels = NDArray[np.uint8]  # (H, W) or (H, W, C)

MOST_SHEETS = 24  # sheets on a page, at most
SIDE = 640  # px; longest side of a sheet on a page
BYTES = 5_000_000  # of all sheets of a page as PNG; base64 adds a third


@dataclass(frozen=True)
class SheetImage:
    """A sheet of samples on a page."""

    caption: str
    picture: str  # a data: URL


@dataclass(frozen=True)
class Gallery:
    """The sheets of a run, oldest first, and the reals in the same layout."""

    sheets: tuple[SheetImage, ...] = ()
    reals: str | None = None  # a data: URL
    cut: bool = False  # whether only the upper left part of the sheets is shown


def address(pixels: Pixels, at_most: int | None = None) -> str:
    """An image as a data: URL. at_most: longest side in px; larger images are reduced by an integer factor."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    if at_most is not None:
        picture = picture.reduce(math.ceil(max(picture.size) / at_most))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def read(path: Path) -> Pixels | None:
    """The pixels of an image file; None if it is missing, damaged or not a regular file."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            known = picture if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGB")
            return np.asarray(known)
    except Exception:  # the decoders of Pillow raise errors of many types
        return None


def images_of(path: Path) -> int:
    """Training position from the file name: fakes-000020.png is from 20,000 images."""
    return runs.images_of(path.stem.removeprefix("fakes-"))


def caption(path: Path, steps: Mapping[int, int]) -> str:
    """Caption of a sheet, such as "20 kimg, step 900". steps: generator steps by images, from the log."""
    if path.stem == "untrained":
        return "untrained"
    images = images_of(path)
    near = min(steps, key=lambda at: abs(at - images), default=None)
    return f"{images / 1000:g} kimg" + (f", step {steps[near]}" if near is not None else "")


def sheets_of(run: Run) -> list[Path]:
    """Sample sheets of a run, oldest first."""
    found = (path for path in run.path.glob("samples/fakes-*.png") if path.is_file())
    return sorted((path for path in found if path.stem.removeprefix("fakes-").isdecimal()), key=images_of)


def evenly(paths: Sequence[Path], most: int = MOST_SHEETS) -> list[Path]:
    """At most `most` evenly spaced paths, including the first and the last."""
    places = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
    return [paths[i] for i in places]


def gallery(run: Run, config: ResolvedConfig, steps: Mapping[int, int]) -> Gallery:
    """The sheets of a run for a page. Image sheets are cropped equally, so that each latent keeps its position."""
    untrained = run.path / "samples" / "untrained.png"
    paths = evenly([*([untrained] if untrained.is_file() else []), *sheets_of(run)])
    tiles = _tiles(config, sum(path.stat().st_size for path in paths))
    sheets = [
        SheetImage(caption(path, steps), address(_cut(pixels, config, tiles, grown=config.network.stages == 1)))
        for path in paths
        if (pixels := read(path)) is not None
    ]
    reals = read(run.path / "reals.png")
    shown = None if reals is None else address(_cut(reals, config, tiles, grown=True))
    return Gallery(tuple(sheets), shown, cut=tiles is not None and tiles != _layout(config))


def _layout(config: ResolvedConfig) -> tuple[int, int]:
    """(rows, columns) of a whole sheet."""
    columns = default_columns(COUNTS["image"], *(config.picture_size or (1, 1)))
    return math.ceil(COUNTS["image"] / columns), columns


def _tiles(config: ResolvedConfig, size: int) -> tuple[int, int] | None:
    """(rows, columns) of each sheet that are shown. size: total bytes of the sheets. None: no cropping."""
    if config.picture_size is None:
        return None
    share = math.sqrt(BYTES / max(size, BYTES))  # of each side
    pairs = zip(_layout(config), config.picture_size, strict=True)
    rows, columns = (min(count, max(1, int(min(SIDE, count * pixels * share)) // pixels)) for count, pixels in pairs)
    return rows, columns


def _cut(pixels: Pixels, config: ResolvedConfig, tiles: tuple[int, int] | None, *, grown: bool) -> Pixels:
    """The upper left tiles of a sheet. grown: False if the tiles can be smaller than at full resolution."""
    if tiles is None or config.picture_size is None:
        return pixels
    whole = _layout(config)[1] * config.picture_size[1]
    scale = 1 if grown else max(1, round(whole / pixels.shape[1]))
    bottom, right = (max(1, count * side // scale) for count, side in zip(tiles, config.picture_size, strict=True))
    return pixels[:bottom, :right]
