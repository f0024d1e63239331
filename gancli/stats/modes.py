"""Count the modes of builtin:shapes in images, with an analytic template classifier that needs no training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gancli.data import shapes

Floats = NDArray[np.float64]

UNRECOGNIZED = -1
MIN_COSINE = 0.94  # between the foreground color and a palette color, both mean-free
MIN_OVERLAP = 0.80  # soft intersection over union with the best template
MIN_MARGIN = 0.015  # of the overlap of the best template over the second best
MIN_CONTRAST = 0.25  # between foreground and background, Euclidean in RGB 0..1
AREA = (70.0, 520.0)  # (least, most) of the shape, in pixels of a 32 px image
FOREGROUND = 60  # number of most chromatic pixels whose mean is the foreground color
MIN_HITS = 3  # images for a mode to count as covered; a single one may be a classification error


@dataclass(frozen=True)
class ModeCoverage:
    """How a set of samples is distributed over the known modes."""

    covered: int  # modes with at least MIN_HITS samples
    modes: int  # number of known modes
    recognized: float  # share of the samples that are assigned to a mode
    reverse_kl: float  # KL(q || uniform) over the recognized samples, in nats; nan if there are none
    spread: float | None = None  # standard deviation within a mode over that of the data, if known


def count_modes(pictures: NDArray[np.uint8]) -> ModeCoverage:
    """Count the modes of builtin:shapes in images (N, H, W, 3)."""
    return counted(classify(pictures), len(shapes.MODES))


def counted(found: NDArray[np.int64], modes: int, spread: float | None = None) -> ModeCoverage:
    """The coverage of samples whose mode, or UNRECOGNIZED, is known. (N,)."""
    hits = np.bincount(found[found != UNRECOGNIZED], minlength=modes)
    covered, recognized = int((hits >= MIN_HITS).sum()), float(hits.sum() / len(found))
    return ModeCoverage(covered, modes, recognized, reverse_kl(hits), spread)


def reverse_kl(hits: NDArray[np.int64]) -> float:
    """KL(q || uniform) = sum q ln(q K), q the shares of K modes, in nats: 0 if uniform, ln K for one mode."""
    if hits.sum() == 0:
        return float("nan")
    q = hits / hits.sum()
    q = q[q > 0]
    return float((q * np.log(q * len(hits))).sum())


def classify(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The mode of each image (N, H, W, 3), or UNRECOGNIZED. Shape (N,).

    1. The foreground color is the mean of the most chromatic pixels; the background color is the mean of
       the outer columns, per row. 2. A soft mask interpolates each pixel between the two colors.
    3. For each shape, the centroid and area of the mask give a center and radius; the analytic
       template rendered there is compared with the mask.
    """
    rgb = pictures.astype(np.float64) / 255
    scale = rgb.shape[1] / shapes.UNIT
    color = _foreground(rgb, scale)  # (N, 3)
    ground = _background(rgb)  # (N, H, 1, 3)
    step = color[:, None, None] - ground  # (N, H, 1, 3)
    mask = np.clip(((rgb - ground) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-9), 0, 1)
    overlap = np.stack([_overlap(mask, shape) for shape in shapes.SHAPES], axis=1)  # (N, shapes)
    cosine = _cosines(color)  # (N, colors)
    sorted_overlap = np.sort(overlap, axis=1)
    area = mask.sum((1, 2)) / scale**2
    certain = (
        (cosine.max(1) > MIN_COSINE)
        & (sorted_overlap[:, -1] > MIN_OVERLAP)
        & (sorted_overlap[:, -1] - sorted_overlap[:, -2] > MIN_MARGIN)
        & (np.linalg.norm(step, axis=-1).mean((1, 2)) > MIN_CONTRAST)
        & (area > AREA[0])
        & (area < AREA[1])
    )
    modes = cosine.argmax(1) * len(shapes.SHAPES) + overlap.argmax(1)
    return np.where(certain, modes, UNRECOGNIZED)


def _foreground(rgb: Floats, scale: float) -> Floats:
    """Mean of the most chromatic pixels. (N, H, W, 3) -> (N, 3)."""
    flat = rgb.reshape(len(rgb), -1, 3)
    chroma = flat.max(-1) - flat.min(-1)
    count = min(flat.shape[1], round(FOREGROUND * scale**2))
    chosen = np.argpartition(-chroma, count - 1, axis=1)[:, :count]
    mean: Floats = np.take_along_axis(flat, chosen[..., None], axis=1).mean(1)
    return mean


def _background(rgb: Floats) -> Floats:
    """Per row, the mean of the two outer columns on each side. (N, H, W, 3) -> (N, H, 1, 3)."""
    sides = np.concatenate([rgb[:, :, :2], rgb[:, :, -2:]], axis=2)
    mean: Floats = sides.mean(2, keepdims=True)
    return mean


def _cosines(color: Floats) -> Floats:
    """Cosine between mean-free colors and the mean-free palette. (N, 3) -> (N, colors)."""
    palette = np.array(list(shapes.COLORS.values()))

    def direction(x: Floats) -> Floats:
        x = x - x.mean(1, keepdims=True)
        unit: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
        return unit

    cosines: Floats = direction(color) @ direction(palette).T
    return cosines


def _overlap(mask: Floats, shape: str) -> Floats:
    """Soft intersection over union of masks with a shape's template at their centroid and area. -> (N,)."""
    area = np.maximum(mask.sum((1, 2)), 1e-9)
    at = np.arange(mask.shape[1]) + 0.5
    x, y = (mask.sum(1) * at).sum(1) / area, (mask.sum(2) * at).sum(1) / area
    radius = np.sqrt(area / shapes.unit_area(shape))
    center = np.stack([x, y - shapes.unit_centroid_y(shape) * radius], axis=1)
    template = shapes.shape_mask(shape, center.astype(np.float32), radius.astype(np.float32), mask.shape[1])
    both: Floats = np.minimum(mask, template).sum((1, 2)) / np.maximum(np.maximum(mask, template).sum((1, 2)), 1e-9)
    return both
