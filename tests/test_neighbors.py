"""Nearest-neighbor statistics, compared with loops, analytic cases and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from gancli.stats import clusters, fixed_features, kernel, neighbors, rank


def normal(n, seed=0, shift=0.0, dim=6):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def distances(a, b):
    return np.linalg.norm(a.numpy()[:, None] - b.numpy()[None], axis=2)


class TestCoverage:
    def test_against_a_loop_over_all_pairs(self):
        """The definition, in numpy."""
        reals, fakes = normal(40).numpy(), normal(30, 1, 0.8).numpy()
        hits = 0
        for x in reals:
            own = np.sort(np.linalg.norm(reals - x, axis=1))[5]  # 0 is the sample itself
            hits += np.linalg.norm(fakes - x, axis=1).min() <= own
        assert neighbors.coverage(torch.tensor(reals), torch.tensor(fakes)) == pytest.approx(hits / 40)

    def test_of_equal_sets_of_one_distribution(self):
        """1 - 2^-5; 1 - 2^-15 if k is 15, 1% of the set."""
        assert neighbors.coverage(normal(500), normal(500, 1)) == pytest.approx(0.969, abs=0.02)
        assert neighbors.coverage(normal(1500), normal(1500, 1), 5) == pytest.approx(0.969, abs=0.02)
        assert neighbors.coverage(normal(1500), normal(1500, 1)) > 0.99

    def test_falls_with_what_is_left_out(self):
        """One repeated sample; half of the data; data elsewhere."""
        reals = normal(600)
        half = normal(1200, 1)
        half = half[half[:, 0] > 0][:600]
        assert neighbors.coverage(reals, reals[:1].expand(600, -1)) < 0.05
        assert 0.4 < neighbors.coverage(reals, half) < 0.85
        assert neighbors.coverage(reals, normal(600, 1, 50.0)) == 0


class TestPrecisionRecallDensity:
    def test_against_all_pairs(self):
        """The three definitions in numpy."""
        reals, fakes = normal(40), normal(30, 1, 0.8)
        radius_r = np.sort(distances(reals, reals), axis=1)[:, 5]
        radius_f = np.sort(distances(fakes, fakes), axis=1)[:, 5]
        apart = distances(fakes, reals)

        assert neighbors.precision(reals, fakes) == pytest.approx((apart <= radius_r).any(1).mean())
        assert neighbors.recall(reals, fakes) == pytest.approx((radius_f >= apart.T).any(1).mean())
        assert neighbors.density(reals, fakes) == pytest.approx((apart <= radius_r).sum(1).mean() / 5)

    def test_one_repeated_sample_has_precision_1_and_recall_0(self):
        """Precision does not detect repetition."""
        reals = normal(300)
        fakes = reals[:1].expand(300, -1)

        assert neighbors.precision(reals, fakes) == 1
        assert neighbors.recall(reals, fakes) == pytest.approx(1 / 300)

    def test_density_of_one_distribution_is_one(self):
        """By its definition."""
        assert neighbors.density(normal(1000), normal(1000, 1)) == pytest.approx(1, abs=0.05)


def test_balls_keep_their_size_as_sets_grow():
    """Samples near a surface have the same precision at N = 2,000 and 500; with k = 5 they would not."""

    def near_a_surface(n, seed, off):
        return torch.cat([normal(n, seed, dim=3), off * normal(n, seed + 100, dim=30)], dim=1)

    sets = {n: (near_a_surface(n, 0, 0.0), near_a_surface(n, 1, 0.08)) for n in (500, 2000)}
    few, many = (neighbors.precision(*sets[n]) for n in (500, 2000))
    assert many == pytest.approx(few, abs=0.07)
    assert neighbors.precision(*sets[2000], k=5) < few - 0.2


class TestTwoSample:
    def test_equal_distributions_are_indistinguishable(self):
        """0.5 on both sides."""
        assert neighbors.nn_accuracy(normal(800), normal(800, 1)) == pytest.approx((0.5, 0.5), abs=0.04)

    def test_detects_separated_and_repeated_samples(self):
        """1 without overlap; 1 on the fakes if few samples are repeated."""
        reals = normal(400)
        assert neighbors.nn_accuracy(reals, normal(400, 1, 50.0)) == (1, 1)
        assert neighbors.nn_accuracy(reals, normal(8, 1).repeat(50, 1))[1] == 1

    def test_copies_read_zero(self):
        """The nearest neighbor of each sample is its copy on the other side."""
        reals = normal(200)
        assert neighbors.nn_accuracy(reals, reals + 1e-9) == (0, 0)

    def test_a_tie_counts_half(self):
        """On a line: reals at 0 and 2, fakes at -2 and 4."""
        reals, fakes = (torch.tensor(x, dtype=torch.float64)[:, None] for x in ([0, 2], [-2, 4]))
        assert neighbors.nn_accuracy(reals, fakes) == (0.5, 0)

    def test_against_a_loop(self):
        """Leave-one-out over the union of both sets."""
        reals, fakes = normal(30), normal(30, 1, 0.5)
        both, side = torch.cat([reals, fakes]), np.arange(60) < 30
        apart = distances(both, both) + np.diag(np.full(60, np.inf))
        same = side[apart.argmin(1)] == side

        assert neighbors.nn_accuracy(reals, fakes) == pytest.approx((same[:30].mean(), same[30:].mean()))


class TestDistinctShare:
    @pytest.mark.parametrize("k", [1, 7, 50])
    def test_counts_repeated_samples_once(self, k):
        """k repeated samples, exact and with a little noise."""
        reals, chosen = normal(400), normal(k, 1).repeat(400 // k, 1)
        varied = chosen + 0.001 * normal(len(chosen), 2)

        assert neighbors.unique_fraction(chosen, reals) == pytest.approx(k / len(chosen))
        assert neighbors.unique_fraction(varied, reals) == pytest.approx(k / len(chosen))

    def test_independent_samples_are_nearly_all_unique(self):
        """Near-duplicates are closer than almost all reals are to one another."""
        assert neighbors.unique_fraction(normal(500), normal(500, 1)) > 0.97

    def test_duplicates_in_the_data_do_not_disable_it(self):
        """The limit is computed from reals without duplicates."""
        reals = normal(300)
        twinned = torch.cat([reals, reals[:60]])
        assert neighbors.unique_fraction(normal(10, 1).repeat(30, 1), twinned) == pytest.approx(10 / 300)

    def test_a_long_chain_is_one_cluster(self):
        """Connected components of any diameter."""
        chain = torch.zeros(300, 6, dtype=torch.float64)
        chain[:, 0] = torch.arange(300) * 0.01
        shuffled = chain[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
        assert neighbors.unique_fraction(shuffled, normal(300)) == pytest.approx(1 / 300)


class TestKernelDistance:
    def test_equals_torchmetrics(self):
        """Its unbiased polynomial MMD with the whole set as the only subset."""
        a, b = normal(90, dim=32), normal(90, 1, 0.2, dim=32)
        assert kernel.kernel_distance(a, b) == pytest.approx(float(poly_mmd(a, b)), rel=1e-9)

    def test_is_unbiased(self):
        """About 0 for sets of one distribution, also at small N."""
        found = [kernel.kernel_distance(normal(50, 2 * i), normal(50, 2 * i + 1)) for i in range(40)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)

    def test_grows_with_a_shift(self):
        """It is large for another distribution."""
        reals = normal(200)
        small, large = (kernel.kernel_distance(reals, normal(200, 1, shift)) for shift in (0.3, 1.0))
        assert 0 < small < large


class TestClusters:
    def centers(self):
        return torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]], dtype=torch.float64)

    def around(self, which, n=200, seed=0):
        rows = self.centers()[which].repeat(n, 1)
        return rows + 0.3 * normal(len(rows), seed, dim=2)

    def test_finds_what_is_there(self):
        """Four clusters, four centers."""
        found = clusters.centers(self.around([0, 1, 2, 3]), 4)
        assert torch.cdist(found, self.centers()).min(1).values.max() < 0.2

    def test_a_lost_cluster_is_detected(self):
        """Three of four clusters give 3/4; overlap compares shares, coverage counts covered clusters."""
        parts, reals = self.centers(), self.around([0, 1, 2, 3])
        three = self.around([0, 1, 2], 267, 1)
        thin = torch.cat([self.around([0, 1, 2], 260, 1), self.around([3], 20, 1)])

        assert clusters.coverage(parts, reals, three) == pytest.approx(0.75)
        assert clusters.coverage(parts, reals, thin) == pytest.approx(0.75)
        assert clusters.coverage(parts, reals, reals) == 1
        assert clusters.overlap(parts, reals, three) == pytest.approx(0.75)

    def test_the_same_reals_give_the_same_clusters(self):
        """The seed is fixed."""
        reals = normal(300)
        torch.testing.assert_close(clusters.centers(reals), clusters.centers(reals.clone()), rtol=0, atol=0)


class TestEffectiveRank:
    def test_by_hand(self):
        """k for equal standard deviations in k directions; 1 in one direction or none."""
        basis = torch.eye(8, dtype=torch.float64)
        corners = torch.cat([basis[:3], -basis[:3]])
        assert rank.effective_rank(corners) == pytest.approx(3)
        assert rank.effective_rank(torch.arange(9.0)[:, None] * basis[:1]) == pytest.approx(1, abs=1e-6)
        assert rank.effective_rank(torch.ones(5, 8)) == pytest.approx(1)

    def test_against_singular_values(self):
        """The definition in numpy, for more samples than features and for fewer."""
        for n in (40, 5):
            x = normal(n, dim=12).numpy()
            values = np.linalg.svd(x - x.mean(0), compute_uv=False)
            p = values / values.sum()
            expected = np.exp(-(p[p > 1e-12] * np.log(p[p > 1e-12])).sum())
            assert rank.effective_rank(torch.tensor(x)) == pytest.approx(expected, rel=1e-4)


class TestRandomFeatures:
    def pictures(self, n, seed=0):
        return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1

    def test_do_not_depend_on_batch_or_order(self):
        """The features of a sample do not depend on other samples, and are fixed."""
        x = self.pictures(70)
        rows = fixed_features.of_samples(x, "image")
        torch.testing.assert_close(fixed_features.of_samples(x.flip(0)[:30], "image"), rows.flip(0)[:30])
        assert rows.shape == (70, 704)
        assert rows.std(0).min() > 0

    def test_gray_pictures_and_signals_have_features_too(self):
        """All kinds of data."""
        assert fixed_features.of_samples(torch.zeros(3, 1, 16, 16), "image").shape == (3, 704)
        assert fixed_features.of_samples(torch.zeros(3, 2, 50), "signal").shape == (3, 168)


@pytest.mark.parametrize(
    "figure",
    [
        neighbors.coverage, neighbors.precision, neighbors.recall, neighbors.density, neighbors.nn_accuracy,
        neighbors.unique_fraction, kernel.kernel_distance,
        lambda a, b: clusters.coverage(clusters.centers(a), a, b), lambda a, b: rank.effective_rank(b),
    ],
)  # fmt: skip
def test_neither_order_nor_parts_change_a_figure(figure, monkeypatch):
    """Shuffled fakes, and matrices computed in other blocks."""
    reals, fakes = normal(150), normal(120, 1, 0.3)
    before = figure(reals, fakes)
    monkeypatch.setattr(neighbors, "ROWS", 17)

    after = figure(reals, fakes[torch.randperm(120, generator=torch.Generator().manual_seed(0))])

    assert after == pytest.approx(before, rel=1e-9)
