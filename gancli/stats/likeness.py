"""How far samples are from the data, told as a resolution: the one at which the data would be as far from itself.

A distance of features has no unit that a person knows. So the data is made smaller and enlarged again, half the size at
each step, and compared with itself. Of our own design.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import log2, sqrt

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from gancli.stats.kernel import kernel_distance

MOST = 250  # images that are made smaller; the kernel distance is unbiased at any number
SMALLEST = 2  # px

Scale = Sequence[tuple[float, float]]  # (log2 of the height in px, distance), from full size to the smallest


def scale_of(images: Tensor, reals: Tensor, features: Callable[[Tensor], Tensor]) -> Scale:
    """The kernel distances of reals and of other images of the data at lower and lower resolution.

    images: (N, C, H, W). reals: features of others, (M, F). They grow from 0 by definition.
    """
    images = images[:MOST]
    height, found = images.shape[2], [(log2(images.shape[2]), 0.0)]
    while height // 2 >= SMALLEST:
        height //= 2
        distance = kernel_distance(features(shrunk(images, height)), reals)
        found.append((log2(height), max(distance, found[-1][1])))
    return found


def shrunk(images: Tensor, height: int) -> Tensor:
    """Images at a lower height in px, by means over blocks, enlarged again bilinearly. (N, C, H, W) -> the same."""
    size = images.shape[2:]
    small = adaptive_avg_pool2d(images, (height, max(1, round(size[1] * height / size[0]))))
    large: Tensor = interpolate(small, size=tuple(size), mode="bilinear", align_corners=False)
    return large


def equivalent(distance: float, scale: Scale) -> float:
    """The height in px at which the data has this distance; between two steps, linear in log2 and in the root.

    At most the full height, and at least the smallest of the scale.
    """
    root = sqrt(max(distance, 0.0))
    for (size, near), (smaller, far) in pairwise(scale):
        if root <= sqrt(near):
            return float(2**size)
        if root < sqrt(far):
            share = (root - sqrt(near)) / (sqrt(far) - sqrt(near))
            return float(2 ** (size + share * (smaller - size)))
    return float(2 ** scale[-1][0])
