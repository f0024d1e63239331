import numpy as np
import pytest
import torch

from gancli.data import shapes
from gancli.stats import histograms, modes, moments
from gancli.stats.batch_std import batch_std, channel_std, contrast, saturation


def pictures(n, seed=0, low=0, high=256):
    return np.random.RandomState(seed).randint(low, high, (n, 8, 8, 3)).astype(np.uint8)


def unit(pixels):
    """Images scaled for networks: (N, H, W, C) uint8 -> (N, C, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 127.5 - 1


def counts(values):
    return np.bincount(values.ravel(), minlength=256)


class TestBatchStd:
    def test_is_the_mean_of_biased_deviations(self):
        """Against numpy in float64."""
        x = np.random.RandomState(0).normal(size=(10, 3, 4, 4))

        assert batch_std(torch.tensor(x)) == pytest.approx(x.std(axis=0).mean())
        assert channel_std(torch.tensor(x)) == pytest.approx(x.std(axis=0).mean(axis=(1, 2)).tolist())

    def test_of_copies_and_of_one_sample_is_zero(self):
        """Total collapse."""
        x = torch.randn(1, 3, 4, 4)
        assert batch_std(x.repeat(8, 1, 1, 1)) == pytest.approx(0, abs=1e-7)
        assert batch_std(x) == 0

    def test_does_not_depend_on_order(self):
        """A statistic of the set."""
        x = torch.randn(16, 3, 4, 4)
        assert batch_std(x) == pytest.approx(batch_std(x.flip(0)))

    def test_vectors_are_taken(self):
        """(N, D) points are supported."""
        x = torch.tensor([[0.0, 0], [2, 4]])
        assert batch_std(x) == pytest.approx(1.5)
        assert channel_std(x) == pytest.approx([1, 2])


def test_contrast_is_the_deviation_inside_a_sample():
    """Against numpy; constant samples have contrast 0, even if they differ."""
    x = np.random.RandomState(0).normal(size=(10, 3, 4, 4))

    assert contrast(torch.tensor(x)) == pytest.approx(x.reshape(10, 3, 16).std(axis=2).mean())
    assert contrast(torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 4, 4)) == 0


def test_saturation_counts_values_at_the_ends():
    """To within one gray level, and beyond."""
    assert saturation(torch.tensor([-1.5, -1.0, 0.0, 0.99, 1.0, 0.999])) == pytest.approx(4 / 6)


class TestHistograms:
    def test_wasserstein_equals_the_sorted_difference(self):
        """For equal counts: the mean distance between sorted values."""
        a, b = pictures(5)[..., 0], pictures(5, seed=1, high=200)[..., 0]

        expected = np.abs(np.sort(a.ravel().astype(float)) - np.sort(b.ravel().astype(float))).mean()

        assert histograms.wasserstein(counts(a), counts(b)) == pytest.approx(expected)

    def test_a_shift_is_its_own_distance(self):
        """Red + 25 has distance 25."""
        a = pictures(4, high=200)
        assert histograms.wasserstein(counts(a), counts(a + np.uint8(25))) == pytest.approx(25)
        assert histograms.wasserstein(counts(a), counts(a)) == 0

    def test_unequal_counts_are_taken(self):
        """Distributions are compared, so counts may differ."""
        a = pictures(4)
        assert histograms.wasserstein(counts(a), counts(np.concatenate([a, a]))) == pytest.approx(0, abs=1e-9)

    def test_shares_add_up(self):
        """Sixteen equal bins."""
        assert histograms.shares(counts(np.array([0, 15, 16, 255], np.uint8)))[:2] == (0.5, 0.25)


def test_moments_against_numpy():
    """Channel means and variances, and pixel by pixel."""
    f, r = pictures(6), pictures(6, seed=1)
    a, b = f / 127.5 - 1, r / 127.5 - 1

    assert moments.channel_moments(unit(f))[1] == pytest.approx((a[..., 1].mean(), a[..., 1].var()))
    mean, variance = moments.moment_distance(unit(f), unit(r))
    assert mean == pytest.approx(np.abs(a.mean(0) - b.mean(0)).mean())
    assert variance == pytest.approx(np.abs(a.var(0) - b.var(0)).mean())


class TestModes:
    @pytest.mark.parametrize("size", [32, 64])
    def test_every_real_picture_is_recognized(self, size):
        """All twelve modes are classified correctly, at any size."""
        drawn, truth = shapes.draw(size, 600, seed=3)
        np.testing.assert_array_equal(modes.classify(drawn), truth)

    def test_noise_blends_and_the_mean_are_not(self):
        """They are not assigned to a mode."""
        drawn, truth = shapes.draw(32, 600, seed=3)
        noise = np.random.RandomState(0).randint(0, 256, (50, 32, 32, 3)).astype(np.uint8)
        mean = drawn.mean(axis=0, keepdims=True).astype(np.uint8)
        first, second = drawn[truth == 1][:40].astype(int), drawn[truth == 6][:40].astype(int)
        blends = ((first + second) // 2).astype(np.uint8)

        assert (modes.classify(noise) == modes.UNRECOGNIZED).all()
        assert (modes.classify(mean) == modes.UNRECOGNIZED).all()
        assert (modes.classify(blends) == modes.UNRECOGNIZED).mean() > 0.7

    def test_dropped_modes_are_missed(self):
        """Five of twelve modes are counted as five."""
        drawn, truth = shapes.draw(32, 600, seed=3)

        found = modes.count_modes(drawn[truth < 5])

        assert (found.covered, found.modes, found.recognized) == (5, 12, 1.0)
        assert found.reverse_kl == pytest.approx(np.log(12 / 5), abs=0.01)

    def test_reverse_kl_by_hand(self):
        """0 for equal shares, ln K for one mode, nan for none."""
        assert modes.reverse_kl(np.array([5, 5, 5])) == pytest.approx(0)
        assert modes.reverse_kl(np.array([9, 0, 0])) == pytest.approx(np.log(3))
        assert np.isnan(modes.reverse_kl(np.array([0, 0, 0])))


def test_the_set_is_balanced_and_drawn_from_its_seed():
    """Equal mode frequencies; the same seed gives the same images."""
    first, modes_drawn = shapes.draw(16, 120, seed=5)
    second, _ = shapes.draw(16, 120, seed=5)

    assert np.bincount(modes_drawn).tolist() == [10] * 12
    np.testing.assert_array_equal(first, second)


def test_unit_areas_are_what_the_templates_cover():
    """Area and centroid of the formula and of the rendered pixels agree."""
    for shape in shapes.SHAPES:
        mask = shapes.shape_mask(shape, np.array([[64.0, 64.0]], np.float32), np.array([40.0], np.float32), 128)[0]
        assert mask.sum() / 1600 == pytest.approx(shapes.unit_area(shape), rel=0.01)
        down = (mask.sum(1) * (np.arange(128) + 0.5)).sum() / mask.sum() - 64
        assert down / 40 == pytest.approx(shapes.unit_centroid_y(shape), abs=0.01)
