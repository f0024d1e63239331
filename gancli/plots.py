"""Render samples of any kind as images: signals as line plots, points as scatter plots. Values in [-1, 1]."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from gancli import media

Pictures = NDArray[np.uint8]

LINES = (96, 128)  # (height, width) of the plot of a signal
DOTS = (512, 512)  # (height, width) of a scatter plot
FINER = 3  # supersampling factor for anti-aliased lines
REACH = 1.1  # value at the edge of a plot
PAPER, RULE = (255, 255, 255), (222, 222, 222)
INKS = ((31, 90, 180), (214, 96, 20), (30, 132, 73), (142, 56, 152), (120, 120, 120))  # one per channel, repeated
COUNTS = {"image": 64, "signal": 64, "points": 2_500}  # samples per sheet


def sheet(x: Tensor, kind: str, columns: int | None = None) -> Pictures:
    """All samples in one image: a grid, or one scatter plot for points. (N, C, *S) -> (H, W, C) uint8."""
    found = pictures(x, kind)
    return found[0] if kind == "points" else media.grid(found, columns)


def pictures(x: Tensor, kind: str) -> Pictures:
    """One image per sample; for points, one image of all of them. (N, C, *S) -> (N or 1, H, W, C) uint8."""
    if kind == "image":
        return media.to_bytes(x)
    values = x.detach().float().cpu().numpy()
    return scatter(values)[None] if kind == "points" else np.stack([lines(signal) for signal in values])


def lines(signal: NDArray[np.float32]) -> Pictures:
    """Line plot of one signal, one line per channel, with a zero line. (C, L) -> (H, W, 3)."""
    canvas, draw = _paper(LINES)
    height, width = canvas.height, canvas.width
    draw.line([(0, height / 2), (width, height / 2)], fill=RULE, width=FINER)
    along = (np.arange(signal.shape[1]) + 0.5) / signal.shape[1] * width
    for channel, values in enumerate(signal):
        up = _place(values, height)
        draw.line(list(zip(along, up, strict=True)), fill=INKS[channel % len(INKS)], width=FINER)
    return _finished(canvas, LINES)


def scatter(points: NDArray[np.float32]) -> Pictures:
    """Scatter plot of the first two dimensions of points (the second is 0 if D is 1). (N, D) -> (H, W, 3)."""
    canvas, draw = _paper(DOTS)
    x = _place(-points[:, 0], canvas.width)
    y = _place(points[:, 1] if points.shape[1] > 1 else np.zeros(len(points), np.float32), canvas.height)
    for across, down in zip(x, y, strict=True):
        draw.ellipse([across - 3, down - 3, across + 3, down + 3], fill=INKS[0])
    return _finished(canvas, DOTS)


def _place(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Positions of values on an axis of `size` pixels from REACH (top) to -REACH; larger values are outside it."""
    finite = np.nan_to_num(values, nan=0.0, posinf=2 * REACH, neginf=-2 * REACH)
    placed = (1 - np.clip(finite, -2 * REACH, 2 * REACH) / REACH) / 2 * size
    return placed.astype(np.float32)


def _paper(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (size[1] * FINER, size[0] * FINER), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle([0, 0, canvas.width - 1, canvas.height - 1], outline=RULE, width=FINER)
    return canvas, draw


def _finished(canvas: Image.Image, size: tuple[int, int]) -> Pictures:
    return np.asarray(canvas.resize((size[1], size[0]), Image.Resampling.BOX))
