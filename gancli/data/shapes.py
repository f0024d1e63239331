"""builtin:shapes: colored shapes on backgrounds, with a known number of modes that can be counted.

A mode is a combination of shape and color; `stats/modes.py` recognizes them from the same geometry, without training.
Lengths are in pixels of a 32 px image and scale with the size. The y axis points down.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CIRCLE_RADIUS = 0.95  # in units of the radius r of the shape, as the corners below
POLYGONS: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)),
    "triangle": ((0.0, -1.05), (1.08, 0.86), (-1.08, 0.86)),
    "cross": (
        *((-0.36, -1.0), (0.36, -1.0), (0.36, -0.36), (1.0, -0.36), (1.0, 0.36), (0.36, 0.36)),
        *((0.36, 1.0), (-0.36, 1.0), (-0.36, 0.36), (-1.0, 0.36), (-1.0, -0.36), (-0.36, -0.36)),
    ),
}
SHAPES = ("circle", *POLYGONS)
COLORS = {"red": (0.90, 0.18, 0.20), "yellow": (0.98, 0.80, 0.15), "blue": (0.15, 0.42, 0.92)}
MODES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)  # mode = color * 4 + shape

COUNT = 9_600  # images
UNIT = 32  # px; lengths are given for this size


def shape_mask(shape: str, center: Floats, radius: Floats, size: int) -> Floats:
    """Coverage of each pixel by a shape, with an anti-aliased edge of one pixel.

    Shapes: center (N, 2) as (x, y) in pixels, radius (N,) in pixels -> (N, size, size), 0..1.
    """
    at = np.arange(size, dtype=np.float32) + 0.5
    x = at[None, None, :] - center[:, 0, None, None]  # (N, 1, size)
    y = at[None, :, None] - center[:, 1, None, None]  # (N, size, 1)
    r = radius[:, None, None]
    distance = np.hypot(x, y) - CIRCLE_RADIUS * r if shape == "circle" else _to_polygon(x, y, r, POLYGONS[shape])
    covered: Floats = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return covered


def _to_polygon(x: Floats, y: Floats, r: Floats, corners: tuple[tuple[float, float], ...]) -> Floats:
    """Signed distance to a polygon, negative inside: distance to the nearest edge, sign by the parity of crossings."""
    nearest = np.float32(np.inf)
    inside = np.bool_(False)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = (bx - ax) * r, (by - ay) * r
        px, py = x - ax * r, y - ay * r
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (px - along * ex) ** 2 + (py - along * ey) ** 2)
        straddles = (py >= 0) != (y - by * r >= 0)
        inside = inside ^ (straddles & ((ex * py - ey * px < 0) == (ey < 0)))
    distance: Floats = np.sqrt(nearest) * np.where(inside, -1, 1)
    return distance


def draw(size: int, count: int = COUNT, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, size, size, 3) and their modes (count,), with equal mode frequencies, shuffled."""
    rng = np.random.RandomState(seed)
    modes = rng.permutation(np.arange(count) % len(MODES))
    pictures = np.empty((count, size, size, 3), np.uint8)
    for mode in range(len(MODES)):
        chosen = np.flatnonzero(modes == mode)
        pictures[chosen] = _draw_mode(mode, len(chosen), size, rng)
    return pictures, modes


def _draw_mode(mode: int, count: int, size: int, rng: np.random.RandomState) -> NDArray[np.uint8]:
    color, shape = divmod(mode, len(SHAPES))
    scale = size / UNIT
    center = (UNIT / 2 + rng.uniform(-0.5, 0.5, (count, 2))).astype(np.float32) * scale
    radius = rng.uniform(10.5, 11.5, count).astype(np.float32) * scale
    mask = shape_mask(SHAPES[shape], center, radius, size)[..., None]
    ground = _background(rng.uniform(0, 1, count), size)[:, :, None, :]  # (N, size, 1, 3)
    shade = np.linspace(1.06, 0.90, size)[None, :, None]
    bright = rng.uniform(0.92, 1.04, count)[:, None, None]
    paint = np.clip(np.array(list(COLORS.values())[color]) * bright * shade, 0, 1)[:, :, None, :]
    return np.rint((ground + mask * (paint - ground)) * 255).astype(np.uint8)


def _background(t: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """A vertical gradient, from dark blue (t = 0) to light gray (t = 1). (N,) -> (N, size, 3)."""
    night, pale = np.array([0.10, 0.12, 0.20]), np.array([0.86, 0.88, 0.92])
    top = night + t[:, None] * (pale - night)
    bottom = np.clip((top + 0.14) * np.array([1, 0.985, 0.95]), 0, 1)
    down = np.linspace(0, 1, size)[None, :, None]
    ground: NDArray[np.float64] = top[:, None] + down * (bottom - top)[:, None]
    return ground


def unit_area(shape: str) -> float:
    """Area of a shape of radius 1."""
    return math.pi * CIRCLE_RADIUS**2 if shape == "circle" else _shoelace(POLYGONS[shape])[0]


def unit_centroid_y(shape: str) -> float:
    """y of the centroid of a shape of radius 1, relative to its center (x is always 0)."""
    return 0.0 if shape == "circle" else _shoelace(POLYGONS[shape])[1]


def _shoelace(corners: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """(area, y of the centroid) of a polygon."""
    area = moment = 0.0
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        cross = ax * by - bx * ay
        area += cross / 2
        moment += (ay + by) * cross / 6
    return area, moment / area
