"""The classifier two-sample test."""

import numpy as np
import pytest
import torch

from gancli.stats import classifier
from gancli.stats.classifier import Scores, scores


def normal(n, shift=0.0, seed=0, dim=8):
    rows = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows[:, 0] += shift
    return rows


def test_auc_is_the_probability_of_a_higher_score():
    """Counted pair by pair in numpy; equal scores count half."""
    draw = np.random.RandomState(0)
    reals, fakes = draw.randint(0, 5, 30).astype(float), draw.randint(1, 7, 20).astype(float)
    pairs = [(r > f) + 0.5 * (r == f) for r in reals for f in fakes]
    assert Scores(torch.tensor(reals), torch.tensor(fakes)).auc == pytest.approx(np.mean(pairs))


def test_scores_are_those_of_kernel_ridge_regression():
    """The dual solution in numpy, fold by fold: the fold of a sample is the rank of a fixed direction, modulo 5."""
    reals, fakes = normal(24, seed=1).numpy(), normal(11, 1.0, seed=2).numpy()
    x = np.concatenate([reals, fakes])
    squares = ((x[:, None] - x[None]) ** 2).sum(2)
    flat = np.sort(squares.ravel())
    kernel = np.exp(-squares / flat[(len(flat) - 1) // 2])
    y = np.array([1.0] * 24 + [-1.0] * 11)
    weight = np.where(y > 0, 35 / 48, 35 / 22)
    direction = np.cos(np.linspace(-1, 1, 8))
    folds = np.concatenate([np.argsort(np.argsort(side @ direction)) % 5 for side in (reals, fakes)])
    expected = np.empty(35)
    for fold in range(5):
        a, b = folds != fold, folds == fold
        dual = np.linalg.solve(kernel[np.ix_(a, a)] + np.diag(1 / weight[a]), y[a])
        expected[b] = kernel[np.ix_(b, a)] @ dual
    found = scores(torch.tensor(reals), torch.tensor(fakes))
    np.testing.assert_allclose(torch.cat([found.reals, found.fakes]).numpy(), expected, atol=1e-7)


def test_equal_distributions_cannot_be_told_apart():
    """AUC near one half, and the shares near a tenth, which is their meaning."""
    found = [scores(normal(400, seed=3 * i), normal(200, seed=3 * i + 1)) for i in range(5)]
    assert np.mean([each.auc for each in found]) == pytest.approx(0.5, abs=0.03)
    for shares in ([each.missing for each in found], [each.foreign for each in found]):
        assert np.mean([share.double().mean() for share in shares]) == pytest.approx(0.1, abs=0.05)


def test_a_missing_part_is_found():
    """Reals have two clusters, fakes one: the missing reals are those of the other, and no fake is foreign."""
    reals = torch.cat([normal(150, 0, seed=1), normal(50, 9, seed=2)])
    found = scores(reals, normal(100, 0, seed=3))
    assert found.missing[150:].double().mean() > 0.95
    assert found.missing[:150].double().mean() < 0.2
    assert found.foreign.double().mean() < 0.2
    swapped = scores(normal(200, 0, seed=1), torch.cat([normal(75, 0, seed=3), normal(25, 9, seed=4)]))
    assert swapped.foreign[75:].double().mean() > 0.95


def test_neither_order_nor_scale_matters():
    """The same scores for shuffled rows; the width of the kernel follows the data."""
    reals, fakes = normal(60, seed=1), normal(30, 0.5, seed=2)
    found, moved = scores(reals, fakes), scores(1000 * reals.flip(0), 1000 * fakes.flip(0))
    torch.testing.assert_close(found.reals, moved.reals.flip(0))
    torch.testing.assert_close(found.fakes, moved.fakes.flip(0))


def test_identical_samples_are_no_error(monkeypatch):
    """All at one point: there is no distance to divide by. And large sets are limited."""
    assert scores(torch.zeros(20, 3), torch.zeros(10, 3)).auc == pytest.approx(0.5, abs=0.2)
    monkeypatch.setattr(classifier, "MOST", 20)
    found = scores(normal(50), normal(50, seed=1))
    assert (len(found.reals), len(found.fakes)) == (40, 20)
