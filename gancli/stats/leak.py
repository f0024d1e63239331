"""Traces of augmentation in images: what the generator learned from the augmented reals instead of from the data.

Each trace is a number per image, larger if there is more of it: edges that are repeated, gray boxes and borders, and
content in another place or at another angle than usual in the reals. What counts is how many images more than of the
reals have much of it. All of it can be in the reals, too.

Of our own design; that augmentation leaks is known from Karras et al. 2020, arXiv:2006.06676, section 2.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gancli.stats.remembered import remembered

MUCH = (0.9, 0.95, 0.98, 0.99)  # shares of the reals that have less of a trace than is much
REPEATED = 0.25  # difference of adjacent rows, over that of adjacent pixels in them, below which a row is repeated
LEAST = 0.02  # difference of adjacent pixels, at least
BOX = 4  # side of the image over that of the smallest box
STRIP = 16  # the same of the width of a border
GRAY = 0.25  # mean distance from gray below which a box is gray
BLOCK = 256  # images at once


def shares(images: Tensor, reals: Tensor) -> dict[str, float]:
    """The share of the images that have much of each trace, minus that of the reals.

    Shapes: (N, C, H, W), (M, C, H, W) in [-1, 1].
    """
    return {name: _share(trace, images, reals) for name, trace in TRACES.items()}


def _share(trace: Callable[[Tensor], Tensor], images: Tensor, reals: Tensor) -> float:
    """The largest difference of the shares beyond a value that few of the reals exceed."""
    own, theirs = _of_each(images, trace), _of_each(reals, trace)
    if own.shape[1] > 1:
        own, theirs = (_unusual(side, theirs) for side in (own, theirs))
    limits = torch.quantile(theirs, torch.tensor(MUCH, dtype=theirs.dtype)) + 1e-6
    shares = ((side.flatten() > limits[:, None]).double().mean(dim=1) for side in (own, theirs))
    return max(0.0, float(torch.sub(*shares).max()))


def _unusual(x: Tensor, reals: Tensor) -> Tensor:
    """Squared distance from the mean of the reals, by their covariance (Mahalanobis). (N, F), (M, F) -> (N,)."""
    apart = x - reals.mean(dim=0)
    covariance = torch.cov(reals.T) + 1e-9 * torch.eye(reals.shape[1], dtype=reals.dtype)
    distances: Tensor = (apart @ torch.linalg.inv(covariance) * apart).sum(dim=1)
    return distances


@remembered
def _of_each(images: Tensor, trace: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([trace(block.float()) for block in images.split(BLOCK)]).double()


def repeated_edges(x: Tensor) -> Tensor:
    """How far from an edge the rows or columns repeat the one at it, as a share of the side; the longest of the four.

    Rows of one color do not count. (N, C, H, W) -> (N, 1).
    """
    down, across = x.diff(dim=2).abs(), x.diff(dim=3).abs()
    rows = down.mean(dim=(1, 3)), across.mean(dim=(1, 3))  # (N, H - 1), (N, H)
    columns = across.mean(dim=(1, 2)), down.mean(dim=(1, 2))
    sides = [rows, columns, *((steps.flip(1), along.flip(1)) for steps, along in (rows, columns))]
    return torch.stack([_repeated(*side) for side in sides]).amax(dim=0)[:, None]


def _repeated(steps: Tensor, along: Tensor) -> Tensor:
    """The number of lines from the first that repeat the one before, as a share of all: (N, L - 1), (N, L) -> (N,).

    steps: differences to the line before. along: differences of adjacent pixels in each line.
    """
    repeated = (steps < REPEATED * along[:, 1:]) & (along[:, 1:] > LEAST)
    return repeated.int().cumprod(dim=1).sum(dim=1) / along.shape[1]


def gray_boxes(x: Tensor) -> Tensor:
    """How gray (0) the grayest box or border is, alone and compared with the whole image. 1: all gray. -> (N, 1)."""
    distance = x.abs().amax(dim=1, keepdim=True)
    height, width = x.shape[2:]
    means = avg_pool2d(distance, (max(1, height // BOX), 1), stride=1)  # a box is a row of columns
    boxes = avg_pool2d(means, (1, max(1, width // BOX)), stride=1).flatten(1).amin(dim=1)
    rows, columns = distance.mean(dim=(1, 3)), distance.mean(dim=(1, 2))
    borders = [end.mean(dim=1) for side in (rows, columns) for end in _ends(side)]
    grayest = torch.stack([boxes, *borders]).amin(dim=0)
    compared = 1 - grayest / (distance.mean(dim=(1, 2, 3)) + LEAST)
    return torch.minimum(compared, 1 - grayest / GRAY).clamp(min=0)[:, None]


def _ends(values: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last few values of each row."""
    count = max(1, values.shape[1] // STRIP)
    return values[:, :count], values[:, -count:]


def place(x: Tensor) -> Tensor:
    """The center of the detail, as a share of the sides: (x, y). (N, C, H, W) -> (N, 2)."""
    energy, _, _ = _detail(x)
    total = energy.sum(dim=(1, 2)) + 1e-6
    down, across = ((torch.arange(size) + 1) / (size + 1) for size in energy.shape[1:])
    return torch.stack([(energy.sum(1) * across).sum(1) / total, (energy.sum(2) * down).sum(1) / total], dim=1)


def angle(x: Tensor) -> Tensor:
    """The prevailing direction of the edges: mean cosine and sine of twice their angle, by strength. -> (N, 2)."""
    energy, across, down = _detail(x)
    total = energy.sum(dim=(1, 2)) + 1e-6
    cosine, sine = across.square() - down.square(), 2 * across * down
    return torch.stack([cosine.sum(dim=(1, 2)) / total, sine.sum(dim=(1, 2)) / total], dim=1)


def _detail(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared gradient of the gray image, and the gradient, across and down. (N, C, H, W) -> (N, H - 1, W - 1) each."""
    gray = x.mean(dim=1)
    across, down = gray.diff(dim=2)[:, :-1], gray.diff(dim=1)[:, :, :-1]
    return across.square() + down.square(), across, down


TRACES = {
    "repeated edges": repeated_edges,
    "gray boxes": gray_boxes,
    "place": place,
    "angle": angle,
}  # by the part of the figure
