import pytest
import torch
from torch import nn

from gancli import ema


def test_the_distance_halves_after_a_half_life():
    """For any number of steps."""
    for batch in (1, 8, 64):
        average, current = nn.Linear(3, 3), nn.Linear(3, 3)
        distance = (average.weight - current.weight).norm().item()
        for _ in range(64 // batch):
            ema.update(average, current, keep=ema.decay(batch, half_life=64))
        torch.testing.assert_close((average.weight - current.weight).norm().item(), distance / 2, rtol=1e-4, atol=0)


def test_the_average_is_weighted_value_by_value():
    """keep * average + (1 - keep) * current for each parameter; the current weights do not change."""
    average, current = nn.Linear(3, 2), nn.Linear(3, 2)
    olds, news = ([p.detach().clone() for p in network.parameters()] for network in (average, current))

    ema.update(average, current, keep=0.75)

    for averaged, kept, old, new in zip(average.parameters(), current.parameters(), olds, news, strict=True):
        torch.testing.assert_close(averaged.detach(), 0.75 * old + 0.25 * new)
        assert torch.equal(kept, new)


def test_a_half_life_of_one_image_halves_at_each():
    """1/2 after one image, 1/8 after three."""
    assert [ema.decay(batch, 1) for batch in (1, 3)] == [0.5, 0.125]


def test_buffers_are_copied():
    """Running statistics are not averaged."""
    average, current = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    current.running_mean += 3
    current.num_batches_tracked += 7

    ema.update(average, current, keep=0.99)

    torch.testing.assert_close(average.running_mean, current.running_mean)
    assert average.num_batches_tracked == 7


def test_networks_of_different_kinds_are_refused():
    """Equal parameter shapes are not enough: batch norm has buffers, layer norm has none."""
    with pytest.raises(ValueError, match="argument"):
        ema.update(nn.LayerNorm(2), nn.BatchNorm1d(2), keep=0.5)


def test_the_half_life_is_ramped_and_never_longer_than_asked():
    """5% of the images shown, at most the half-life; without a ramp, the half-life."""
    assert ema.half_life_at(1_000, 10_000, 0.05) == 50
    assert ema.half_life_at(10**9, 10_000, 0.05) == 10_000
    assert ema.half_life_at(1_000, 10_000, 0) == 10_000


def test_no_half_life_means_no_averaging():
    """The average equals the current weights."""
    assert ema.decay(8, 0) == 0
