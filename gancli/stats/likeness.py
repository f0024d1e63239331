"""How far samples are from the data, told as a resolution: the one at which the data would be as far from itself.

A distance of features has no unit that a person knows. So the data is made smaller and enlarged again, half the size at
each step, and compared with itself. Of our own design.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from math import log2, sqrt

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from gancli.stats.kernel import kernel_distance

MOST = 250  # images that are made smaller; the kernel distance is unbiased at any number
SMALLEST = 2  # px
ENOUGH = 32  # px; more are not needed to recognize what a picture shows

Step = tuple[float, float]  # log2 of the height in px, distance


class Scale:
    """The kernel distances of reals and of other images of the data at lower and lower resolution.

    images: (N, C, H, W). reals: features of others, (M, F). Iterates over (log2 of the height in px, distance), from
    full size to the smallest. The distances grow from 0 by definition. A step is computed when it is first reached:
    good samples are compared with the first ones only.
    """

    def __init__(self, images: Tensor, reals: Tensor, features: Callable[[Tensor], Tensor]) -> None:
        self._images, self._reals, self._features = images[:MOST], reals, features
        self._known = [(log2(images.shape[2]), 0.0)]

    def __iter__(self) -> Iterator[Step]:
        for step in count():
            if step == len(self._known):
                height = self._images.shape[2] >> step
                if height < SMALLEST:
                    return
                distance = kernel_distance(self._features(shrunk(self._images, height)), self._reals)
                self._known.append((log2(height), max(distance, self._known[-1][1])))
            yield self._known[step]


def shrunk(images: Tensor, height: int) -> Tensor:
    """Images at a lower height in px, by means over blocks, enlarged again bilinearly. (N, C, H, W) -> the same."""
    size = images.shape[2:]
    small = adaptive_avg_pool2d(images, (height, max(1, round(size[1] * height / size[0]))))
    large: Tensor = interpolate(small, size=tuple(size), mode="bilinear", align_corners=False)
    return large


def equivalent(distance: float, scale: Iterable[Step]) -> float:
    """The height in px at which the data has this distance; between two steps, linear in log2 and in the root.

    At most the full height, and at least the smallest of the scale.
    """
    root, steps = sqrt(max(distance, 0.0)), iter(scale)
    size, near = next(steps)
    if root <= sqrt(near):
        return float(2**size)
    for smaller, far in steps:
        if root <= sqrt(far):
            share = (root - sqrt(near)) / (sqrt(far) - sqrt(near))
            return float(2 ** (size + share * (smaller - size)))
        size, near = smaller, far
    return float(2**size)
