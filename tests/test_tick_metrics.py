"""What a checkup measures, written once more in numpy with float64."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import tiny_config

from gancli import growth
from gancli.checkpoint import MAX_EXTRA_VALUES
from gancli.data import Feed
from gancli.data.cache import Dataset
from gancli.latents import from_seeds
from gancli.stats.batch_std import batch_std
from gancli.training import tick_metrics
from gancli.training.state import TrainState
from gancli.training.tick_metrics import SAMPLES, TickMetrics, change, nearness


def overfitting(*given):
    """The ratio alone."""
    return tick_metrics.overfitting(*given)["overfitting"]


def noise(*shape, seed=0):
    """Values between -1 and 1."""
    return torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, shape)).float()


def areas(x, side):
    """Means of equal square areas, side x side of them. (N, C, H, W) -> (N, C, side, side)."""
    x = x.double().numpy()
    n, channels, height, width = x.shape
    return x.reshape(n, channels, side, height // side, side, width // side).mean((3, 5))


def nearest(x):
    """How far every row is from the nearest other, pair by pair."""
    rows = np.asarray(x, np.float64).reshape(len(x), -1)
    apart = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(-1))
    np.fill_diagonal(apart, np.inf)
    return apart.min(1)


def trained(held_out=8, images=40, **changes):
    """A tiny state in the middle of its first fade, its feed, and its phase."""
    config = tiny_config(**changes)
    values = np.random.RandomState(0).randint(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    state = TrainState.fresh(config, torch.device("cpu"))
    state.images = images
    feed = Feed(Dataset("image", values, np.arange(24) < held_out, "none", None), config)
    return state, feed, growth.Schedule.of(config).phase_at(images)


class TestNearness:
    @pytest.mark.parametrize("size", [16, 8, 24])
    def test_pictures_are_compared_as_thumbnails_of_8_pixels(self, size):
        """Means of areas, Euclidean distances."""
        x = noise(6, 3, size, size)
        np.testing.assert_allclose(nearness(x), nearest(areas(x, 8)), rtol=1e-5)

    @pytest.mark.parametrize("shape", [(6, 3, 4, 4), (6, 2, 40), (6, 5)])
    def test_small_pictures_signals_and_points_as_they_are(self, shape):
        """Nothing to make smaller."""
        x = noise(*shape)
        np.testing.assert_allclose(nearness(x), nearest(x), rtol=1e-5)

    def test_either_side_of_a_picture_is_at_most_8(self):
        """A strip of 4 x 16 becomes 4 x 8, one of 16 x 4 becomes 8 x 4."""
        x = noise(6, 1, 4, 16)
        strip = x.double().numpy().reshape(6, 1, 4, 8, 2).mean(-1)

        np.testing.assert_allclose(nearness(x), nearest(strip), rtol=1e-5)
        np.testing.assert_allclose(nearness(x.mT), nearest(strip), rtol=1e-5)

    def test_in_float32_whatever_the_training_computes_in(self):
        """Half precision has no such operation on a CPU, and would be too coarse for twins."""
        x = noise(6, 3, 4, 4).bfloat16()
        assert nearness(x).dtype == torch.float32
        np.testing.assert_allclose(nearness(x), nearest(x.float()), rtol=1e-5)


class TestChange:
    def test_is_the_mean_way_of_a_value_over_the_deviation_of_the_reals(self):
        """Unknown at first; then since the tick before, not since the first."""
        state, walk = SimpleNamespace(extra={}), [noise(4, 3, 8, 8, seed=seed) for seed in range(3)]

        found = [change(state, x, 0.4) for x in walk]

        way = [float(np.abs(b.double().numpy() - a.double().numpy()).mean()) / 0.4 for a, b in pairwise(walk)]
        assert math.isnan(found[0])
        assert found[1:] == pytest.approx(way, rel=1e-5)

    def test_pictures_are_compared_at_32_pixels(self):
        """What is finer may move."""
        state, a, b = SimpleNamespace(extra={}), noise(4, 1, 64, 64), noise(4, 1, 64, 64, seed=1)
        change(state, a, 1.0)
        assert change(state, b, 2.0) == pytest.approx(np.abs(areas(b, 32) - areas(a, 32)).mean() / 2, rel=1e-5)

    def test_what_long_signals_leave_in_a_checkpoint_is_bounded(self):
        """64 signals of 2^20 values reach the limit of what a checkpoint may hold: means over 256 values are kept."""
        state, x = SimpleNamespace(extra={}), noise(2, 1, 1 << 20)
        change(state, x, 1.0)
        by_hand = x.numpy().astype(np.float64).reshape(2, 1, 4096, 256).mean(3)
        np.testing.assert_allclose(state.extra[tick_metrics.LAST_FAKES].numpy(), by_hand, atol=1e-6)
        assert SAMPLES * 4096 < MAX_EXTRA_VALUES

    def test_is_unknown_when_the_pictures_have_grown(self):
        """And known again at the next tick; reals that do not vary divide by next to nothing, not by zero."""
        state = SimpleNamespace(extra={})
        change(state, noise(4, 1, 4, 4), 1.0)

        assert math.isnan(change(state, noise(4, 1, 8, 8), 1.0))
        assert change(state, noise(4, 1, 8, 8) + 1e-3, 0.0) == pytest.approx(1e9, rel=1e-3)

    def test_what_is_remembered_is_what_a_checkpoint_keeps(self):
        """Under a name in the state's extra tensors, on the CPU."""
        state, x = SimpleNamespace(extra={}), noise(4, 1, 8, 8)
        change(state, x, 1.0)
        assert state.extra.keys() == {"fakes at the last tick"}
        torch.testing.assert_close(state.extra["fakes at the last tick"], x, rtol=0, atol=0)


class TestACheckup:
    def test_is_of_the_average_on_64_seeds(self):
        """Spread and near-copies of its samples, over those of the reals, twins among them left out."""
        state, feed, phase = trained()
        with torch.no_grad():
            for parameter in state.ema.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            fakes = state.ema(from_seeds(range(64), feed.prior), phase.stage, phase.alpha)
        real = noise(20, 3, 8, 8)
        real[1] = real[0]  # a twin in the data
        own = nearest(areas(real, 8))

        found = TickMetrics().take(state, feed, phase, real, (1.0, -1.0))

        assert 0 < phase.alpha < 1
        assert found.keys() == {"ema_std_ratio", "ema_nearest_ratio", "overfitting", "held_out_gap"}
        spread = [x.double().numpy().std(0).mean() for x in (fakes, real)]
        assert found["ema_std_ratio"] == pytest.approx(spread[0] / spread[1], rel=1e-5)
        middle = np.sort(nearest(areas(fakes, fakes.shape[2])))[31]  # torch's median: the lower of the two
        assert found["ema_nearest_ratio"] == pytest.approx(middle / np.sort(own[own > 0])[8], rel=1e-4)
        with torch.no_grad():
            assert found["overfitting"] == overfitting(state, feed, phase, (1.0, -1.0))

    def test_leaves_no_graph_and_divides_by_no_zero(self):
        """Reals that are all the same."""
        state, feed, phase = trained()
        state.ema.requires_grad_(True)
        flat = torch.zeros(8, 3, 8, 8)

        found = TickMetrics().take(state, feed, phase, flat, (1.0, -1.0))

        with torch.no_grad():
            spread = batch_std(TickMetrics().average_of(state, feed, phase))
        assert found["ema_std_ratio"] == pytest.approx(spread / 1e-12)
        assert found["ema_nearest_ratio"] > 1e6
        assert not any(p.grad is not None for p in state.D.parameters())

    def test_is_due_while_checkups_took_a_fiftieth_of_the_time(self, monkeypatch):
        """0.02 s of 1 s, not more; at once when nothing was spent; always where somebody waits."""
        assert TickMetrics(spent=0.02, trained=1.0).due()
        assert not TickMetrics(spent=0.0201, trained=1.0).due()
        assert TickMetrics().due()
        assert TickMetrics(at_every_tick=True, spent=5.0, trained=1.0).due()

        clock = iter([10.0, 13.0, 20.0, 24.0])
        monkeypatch.setattr(tick_metrics.time, "monotonic", lambda: next(clock))
        state, feed, phase = trained()
        counted = TickMetrics()
        for _ in range(2):
            counted.take(state, feed, phase, noise(8, 3, 8, 8), (1.0, -1.0))
        assert counted.spent == 7.0

    @pytest.mark.parametrize("batch", [1, 24, 64])
    def test_goes_through_the_average_in_the_batches_of_the_training(self, batch):
        """So it needs no more memory; but never one by one, which a batch statistic would not survive."""
        state, feed, phase = trained(train__batch_size=batch)
        sizes, ema = [], state.ema
        state.ema = lambda z, stage, alpha: sizes.append(len(z)) or ema(z, stage, alpha)

        samples = TickMetrics().average_of(state, feed, phase)

        assert sizes == {1: [2] * 32, 24: [24, 24, 16], 64: [64]}[batch]
        assert samples.shape == (64, 3, 8, 8)


class TestOverfitting:
    def scores_of_held_out(self, state, feed, phase, parts):
        """Means of the critic's scores, batch by batch as minibatch std needs it."""
        held = feed.unseen(64, phase, state.images)
        with torch.no_grad():
            scores = [state.critic_view(phase).scores(part) for part in np.array_split(held, parts)]
        return float(torch.cat(scores).double().mean())

    @pytest.mark.parametrize(("batch", "parts"), [(8, 8), (64, 1), (24, 3), (1, 32)])
    def test_is_the_held_out_samples_place_between_training_samples_and_fakes(self, batch, parts):
        """0 where they score like training samples, 1 where they score like fakes."""
        state, feed, phase = trained(train__batch_size=batch)
        held = self.scores_of_held_out(state, feed, phase, parts)

        with torch.no_grad():
            assert overfitting(state, feed, phase, (held + 1, held - 3)) == pytest.approx(1 / 4, abs=1e-5)
            assert overfitting(state, feed, phase, (held - 2, held + 2)) == pytest.approx(1 / 2, abs=1e-5)
            gap = tick_metrics.overfitting(state, feed, phase, (held - 2, held + 2))["held_out_gap"]
            assert gap == pytest.approx(-2, abs=1e-5)

    def test_is_unknown_without_held_out_samples_or_a_gap(self):
        """Nothing to compare, or nothing to divide by: less than a millionth, either way."""
        state, feed, phase = trained(held_out=0)
        assert math.isnan(overfitting(state, feed, phase, (1.0, -1.0)))

        state, feed, phase = trained()
        with torch.no_grad():
            assert math.isnan(overfitting(state, feed, phase, (0.5, 0.5)))
            assert math.isnan(overfitting(state, feed, phase, (0.0, 9e-7)))
            assert not math.isnan(overfitting(state, feed, phase, (0.0, 1.1e-6)))
            assert not math.isnan(overfitting(state, feed, phase, (0.0, -1.1e-6)))

    def test_changes_no_moving_statistics_of_the_critic(self):
        """It is a look, not a step."""
        state, feed, phase = trained()
        layer = torch.nn.BatchNorm2d(3)
        state.D.add_module("looked", layer)
        state.D.features, plain = (lambda x, *at: plain(layer(x), *at)), state.D.features
        with torch.no_grad():
            overfitting(state, feed, phase, (1.0, -1.0))
        assert not layer.running_mean.any()
        assert layer.num_batches_tracked == 0
