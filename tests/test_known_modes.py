import numpy as np
import pytest
import torch

from gancli.data import builtin
from gancli.stats import known_modes
from gancli.stats.modes import UNRECOGNIZED


@pytest.mark.parametrize(("name", "centers"), [("ring8", builtin.RING), ("grid25", builtin.GRID)])
def test_a_perfect_sampler_has_the_expected_values(name, centers):
    """1 - exp(-9/2) = 98.89% of high quality, spread 0.974, all modes, KL 0."""
    points = builtin.draw(name, 0).values

    found = known_modes.of_points(points.astype(np.float64), centers, builtin.SPREAD[name])

    assert found.covered == len(centers)
    assert found.recognized == pytest.approx(1 - np.exp(-4.5), abs=0.001)
    assert found.spread == pytest.approx(0.974, abs=0.005)
    assert found.reverse_kl == pytest.approx(0, abs=0.001)


def test_one_mode_is_one_mode():
    """A collapsed sampler: one of eight, KL ln 8."""
    found = known_modes.of_points(np.repeat(builtin.RING[:1], 100, 0), builtin.RING, 0.01)
    assert (found.covered, found.recognized, found.spread) == (1, 1.0, 0.0)
    assert found.reverse_kl == pytest.approx(np.log(8))


def test_units_are_undone():
    """Scaled samples are first converted to the units of the data."""
    x = torch.tensor((builtin.GRID - 1) / 3, dtype=torch.float32)
    assert known_modes.mode_counter("builtin:grid25", 1.0, 3.0)(x.repeat(3, 1)).covered == 25
    assert known_modes.mode_counter("builtin:grid25", 0.0, 1.0)(x.repeat(3, 1)).covered < 25


def test_every_burst_is_recognized_by_its_frequency():
    """All signals of the data set, with equal frequencies."""
    signals = builtin.draw("signals", 0).values.astype(np.float64)
    found = known_modes.frequencies(signals)
    assert np.bincount(found).tolist() == [500] * 6


def test_noise_and_silence_have_no_frequency():
    """They are not assigned to a mode."""
    noise = np.random.RandomState(0).normal(size=(200, 3, 300))
    assert (known_modes.frequencies(noise) == UNRECOGNIZED).all()
    assert (known_modes.frequencies(np.zeros((3, 3, 300))) == UNRECOGNIZED).all()


def test_other_data_has_no_known_modes():
    """Data of the user."""
    assert known_modes.mode_counter("data/", 0.0, 1.0)(torch.zeros(4, 3, 8, 8)) is None
    assert known_modes.mode_counter("builtin:shapes", 0.0, 1.0)(torch.zeros(4, 1, 8, 8)) is None
