"""The estimate of a run's time: what it times, for how long, and that it never stops a run."""

import pytest
import torch
from conftest import tiny_config, write_preset

import gancli
from gancli.training import forecast, step

TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


class Clock:
    """Time that passes only when a step says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def costing(monkeypatch):
    """costing(critic, penalty, generator): seconds of the parts of a step, as functions of the batch size."""
    clock = Clock()
    monkeypatch.setattr(forecast, "time", clock)

    def install(critic, penalty, generator):
        def critic_step(state, config, feed, phase, mine, *, penalize, shared):
            clock.now += critic(phase.batch_size) + penalize * penalty(phase.batch_size)
            return {}, {}

        def train_generator(state, config, phase, inputs):
            clock.now += generator(phase.batch_size)

        monkeypatch.setattr(forecast, "critic_step", critic_step)
        monkeypatch.setattr(forecast, "train_generator", train_generator)
        return clock

    return install


@pytest.mark.parametrize(("interval", "steps", "seconds"), [(1, 1, 0.1), (8, 1, 0.05625), (8, 5, 0.04025)])
def test_a_lazy_penalty_and_the_generator_count_by_their_share(tiny, pictures, costing, interval, steps, seconds):
    """Critic 30 ms, penalty 50 ms, generator 20 ms: per critic step 30 + 50 / interval + 20 / steps."""
    assert 0.03 + 0.05 / interval + 0.02 / steps == pytest.approx(seconds)
    costing(lambda n: 0.03, lambda n: 0.05, lambda n: 0.02)
    changes = {"loss.penalty_interval": interval, "train.critic_steps": {"base": steps}, "train.batch_size": 8}
    found = gancli.plan(tiny, str(pictures), changes=changes, device="cpu")
    assert found.seconds == pytest.approx(found.duration / 8 * seconds)


def test_a_network_that_does_not_grow_is_timed_within_the_budget(pictures, tmp_path, costing):
    """One sample takes 2 s: eight of them at once, several times, would take minutes."""
    clock = costing(lambda n: 2.0 * n, lambda n: 0.0, lambda n: 0.0)
    preset = write_preset(tmp_path / "p.yaml", {"growth.start_at": 16})
    found = gancli.plan(preset, str(pictures), device="cpu")
    assert clock.now < 3 * forecast.BUDGET
    assert found.seconds == pytest.approx(2.0 * found.duration)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_that_does_not_fit_is_estimated_by_a_smaller_one(tiny, pictures, monkeypatch, count):
    """Training itself says what fits; the estimate does not stop it."""
    before = step.critic_loss

    def limited(view, x, *arguments, **options):
        if len(x) > count:
            raise RuntimeError(TORCH_SAYS)
        return before(view, x, *arguments, **options)

    monkeypatch.setattr(step, "critic_loss", limited)
    found = gancli.plan(tiny, str(pictures), device="cpu")
    assert 0 < found.seconds < float("inf")


def test_more_threads_than_cores_are_advised_against(tiny, pictures, monkeypatch):
    """Only then."""
    monkeypatch.setattr(forecast.process, "cores", lambda: 2)
    for threads, warned in ((2, False), (3, True)):
        advice = gancli.plan(tiny, str(pictures), threads=threads).advice
        assert any("share 2 cores" in line for line in advice) == warned


def test_only_a_shard_is_timed(tiny, pictures, costing):
    """The whole batch may not fit where a shard of it does."""
    sizes = []
    costing(lambda n: sizes.append(n) or 0.001, lambda n: 0.0, lambda n: 0.0)
    gancli.plan(tiny, str(pictures), changes={"train.shards": 4, "network.minibatch_std": None}, device="cpu")
    assert max(sizes) == tiny_config().train.batch_size // 4


def test_random_numbers_are_left_alone(tiny, pictures):
    """Those of torch's global generator, which dropout seeds."""
    changes = {"network": {"family": "mlp", "resolution": 16, "generator": {"hidden": [8], "dropout": [0.5]}}}
    changes["network"]["critic"] = {"hidden": [8]}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    gancli.plan(tiny, str(pictures), changes={**changes, "growth": {}, "train.duration": 64}, device="cpu")
    assert torch.equal(torch.rand(3), expected)
