"""Distances from the data told as a resolution."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from gancli.stats.comparison import Comparison, Reference
from gancli.stats.figures import FIGURES
from gancli.stats.kernel import kernel_distance
from gancli.stats.likeness import Scale, equivalent, shrunk

SCALE = [(4.0, 0.0), (3.0, 1.0), (2.0, 9.0), (1.0, 9.0)]  # 16 px to 2 px


@pytest.mark.parametrize(
    ("distance", "px"),
    [(-1.0, 16), (0.0, 16), (0.25, 2**3.5), (1.0, 8), (4.0, 2**2.5), (9.0, 4), (100.0, 2)],
)
def test_equivalent_is_linear_in_the_root_and_in_log2(distance, px):
    """Halfway in the root is half a halving; beyond the scale its smallest, below 0 its largest."""
    assert equivalent(distance, SCALE) == pytest.approx(px)


def test_of_equal_distances_the_largest_size_counts():
    """Enlarged pictures are no farther from the data at half the size."""
    assert equivalent(0.0, [(7.0, 0.0), (6.0, 0.0), (5.0, 2.0)]) == 128
    assert equivalent(2.0, [(7.0, 0.0), (6.0, 2.0), (5.0, 2.0), (4.0, 3.0)]) == 64


def test_a_scale_starts_at_0_and_never_falls():
    """From full size by halves to 2 px, by the kernel distance of the features."""
    draw = torch.Generator().manual_seed(0)
    images, others = (torch.rand(40, 3, 16, 8, generator=draw) * 2 - 1 for _ in range(2))

    def features(x):
        return x.flatten(1).double() * 3

    found = list(Scale(images, features(others), features))

    assert [height for height, _ in found] == [4, 3, 2, 1]
    distances = [distance for _, distance in found]
    assert distances == sorted(distances)
    assert distances[0] == 0
    assert distances[1] == kernel_distance(features(shrunk(images, 8)), features(others))


def test_a_size_that_is_nearer_counts_like_the_one_before():
    """Features may be less far from the data at 4 px than at 8 px, as those of single colors are."""
    reals = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    far, near = reals + 3, reals.flip(0)
    rest = iter((far, near))
    found = list(Scale(torch.zeros(30, 3, 8, 8), reals, lambda x: next(rest)))
    assert found[1][1] == found[2][1] == kernel_distance(far, reals) > kernel_distance(near, reals)


def test_a_step_is_computed_once_and_when_it_is_reached():
    """Good samples need the features of few sizes; the raw weights are compared with the same scale."""
    draw, computed = torch.Generator().manual_seed(0), []

    def features(x):
        computed.append(x)
        return x.flatten(1).double()

    images, others = (torch.randn(40, 3, 16, 16, generator=draw) for _ in range(2))
    scale = Scale(images, others.flatten(1).double(), features)
    for distance, px, steps in ((0.0, 16, 0), (1e-9, pytest.approx(16, rel=0.01), 1), (1e9, 2, 3), (1e9, 2, 3)):
        assert equivalent(distance, scale) == px
        assert len(computed) == steps


def test_shrunk_images_keep_their_means():
    """Of every block; the aspect ratio is kept, and a single color stays as it is."""
    x = torch.rand(2, 1, 16, 8, generator=torch.Generator().manual_seed(0))
    found = shrunk(x, 4)
    assert found.shape == x.shape
    assert torch.equal(shrunk(x, 16), x)
    torch.testing.assert_close(shrunk(torch.full((1, 1, 8, 8), 0.3), 2), torch.full((1, 1, 8, 8), 0.3))
    assert found.std() < 0.6 * x.std()


def detailed(count, draw):
    """Images with random detail of every size."""
    each = (torch.rand(count, 3, n, n, generator=draw) for n in (2, 4, 8, 16))
    return sum(interpolate(x, size=(16, 16), mode="nearest") for x in each) / 2 - 1


def layout(x):
    """Features that see how much detail of each size there is."""
    parts = [(x - shrunk(x, n)).abs().mean(dim=(2, 3)) for n in (8, 4, 2)]
    return torch.cat([*parts, x.mean(dim=(2, 3))], dim=1).double()


class TestFigure:
    @pytest.fixture
    def reference(self):
        draw = torch.Generator().manual_seed(0)
        reals, others = detailed(80, draw), detailed(80, draw)
        return Reference(reals, others, extractor=layout)

    @pytest.mark.parametrize("px", [16, 8, 4])
    def test_of_smaller_reals_is_their_size(self, reference, monkeypatch, px):
        """By definition; the baseline is the full height."""
        monkeypatch.setattr("gancli.stats.comparison.kept", lambda extractor: extractor)
        (found,) = FIGURES["equivalent_resolution"].figures(Comparison(shrunk(reference.others, px), reference))
        assert math.log2(found.value) == pytest.approx(math.log2(px), abs=0.3)
        assert found.baseline == 16

    def test_needs_trained_features(self, reference):
        """Fixed ones do not know what a picture shows."""
        fixed = Reference(reference.reals, reference.others)
        assert list(FIGURES["equivalent_resolution"].figures(Comparison(fixed.others, fixed))) == []
