import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from gancli.stats import memorization
from gancli.stats.comparison import Comparison, Reference


def pictures(n, seed=0, size=32):
    """Smooth, all different."""
    coarse = torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, (n, 3, 6, 6))).float()
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def moved(x):
    """Mirrored, moved by a pixel, a little brighter."""
    return (pad(x.flip(3), (1, 0, 0, 1), mode="replicate")[..., 1:, :-1] + 0.02).clamp(-1, 1)


def compared(fakes, train, unseen=None):
    return memorization.compare(*(x if x is None else memorization.small(x) for x in (fakes, train, unseen)))


def test_copies_are_found_mirrored_and_moved_ones_too():
    """With the index of the copied sample."""
    train, unseen, rows = pictures(300), pictures(60, 1), torch.tensor([5, 250, 17])

    exact, turned = compared(train[rows], train, unseen), compared(moved(train[rows]), train, unseen)

    assert exact.distance.max() == 0
    assert exact.row.tolist() == turned.row.tolist() == rows.tolist()
    assert not exact.mirrored.any()
    assert turned.mirrored.all()
    assert turned.ratio < 0.2


def test_share_and_ratio_of_independent_samples():
    """0.05, and about 1."""
    found = compared(pictures(400, 10), pictures(500), pictures(400, 11))
    assert found.share == pytest.approx(0.05, abs=0.05)
    assert found.ratio == pytest.approx(1, abs=0.1)


def test_half_copies_are_half():
    """The share is the fraction of copies."""
    train = pictures(400)
    assert compared(torch.cat([train[:100], pictures(100, 2)]), train, pictures(150, 1)).share == pytest.approx(
        0.5, abs=0.05
    )


def test_without_unseen_samples_the_training_set_is_its_own_measure():
    """Each is compared with the others; duplicates in the data are ignored."""
    train = pictures(300)
    alone, twins = compared(pictures(50, 2), train), compared(pictures(50, 2), torch.cat([train, train[:100]]))
    assert alone.unseen.min() > 0
    assert alone.ratio == pytest.approx(1, abs=0.15)
    assert twins.ratio == pytest.approx(1, abs=0.15)
    assert compared(train[:50], torch.cat([train, train[:100]])).share == 1


def test_low_contrast_copies_are_copies_and_independent_low_contrast_samples_are_not():
    """Brightness, contrast and tint are ignored per image, not per set."""
    train, unseen = pictures(300), pictures(100, 1)
    dark = train[train.mean((1, 2, 3)).argsort()[:60]]
    tint = torch.tensor([0.2, 0, -0.1]).view(3, 1, 1)
    for copied in (dark, 0.4 * dark, (0.7 * dark + tint).clamp(-1, 1)):
        found = compared(copied, train, unseen)
        assert found.share > 0.95
    assert compared(0.4 * pictures(200, 2), train, unseen).share < 0.15


def test_against_a_loop():
    """Over all training samples, mirrored or not, and nine shifts, in numpy."""
    train, fakes = pictures(memorization.CANDIDATES), pictures(3, 1)  # so few that all are candidates
    t, f = (memorization.normalized(memorization.small(x)).numpy().astype(float) for x in (train, fakes))
    expected = [
        min(
            np.sqrt(((g[:, 1 + a : 31 + a, 1 + b : 31 + b] - r[:, 1:31, 1:31]) ** 2).mean())
            for r in t
            for g in (x, x[:, :, ::-1])
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
        )
        for x in f
    ]
    assert compared(fakes, train, fakes).distance.tolist() == pytest.approx(expected, rel=1e-5)


def test_signals_and_points_are_compared_as_they_are():
    """Without mirroring and shifts."""
    train = torch.randn(40, 2, 30, generator=torch.Generator().manual_seed(0))
    found = compared(train[3:5], train)
    assert found.distance.tolist() == [0, 0]
    assert not found.mirrored.any()
    assert compared(train[3:5].flip(2), train).distance.min() > 0.5


def test_larger_pictures_are_compared_at_32_px():
    """As bytes, so that a long training set fits into memory."""
    assert memorization.small(pictures(2, size=64)).shape == (2, 3, 32, 32)
    assert memorization.small(pictures(2, size=64)).dtype == torch.uint8
    assert memorization.small(torch.zeros(2, 1, 28, 28)).shape == (2, 1, 28, 28)


def test_data_of_duplicates_only_is_not_measured():
    """If all images are duplicated, memorization cannot be measured."""
    train = pictures(60)
    twins = memorization.small(torch.cat([train, train]))
    halves = pictures(40, 1), pictures(40, 2)
    assert Comparison(train[:40], Reference(*halves, train=twins)).memorization is None
    assert Comparison(train[:40], Reference(*halves, train=memorization.small(train))).memorization is not None
