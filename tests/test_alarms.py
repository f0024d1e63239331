from dataclasses import replace

import pytest
from conftest import tiny_config

from gancli.growth import Schedule
from gancli.results import Tick, plain
from gancli.training import alarms

HEALTHY = Tick(
    kimg=10, images=10_000, generator_steps=100, resolution=32, alpha=1, batch=8, lr=0.004, critic_loss=0.5,
    score_gap=1, penalty=0.1, generator_loss=1, std_real=0.5, std_fake=0.5, std_ratio=1.0, feature_std_real=1,
    feature_std_fake=1, feature_std_ratio=1, saturation=0.01, images_per_s=100, memory_mib=500, seconds=60,
)  # fmt: skip


def warned(tick, history, *, judged=True):
    rows = [plain(h) for h in history]
    raised = alarms.raised(tick, rows, judged=judged)
    return [warning.partition(":")[0] for warning in alarms.unsaid(raised, rows)]


def test_a_healthy_run_is_not_cried_at():
    """Nothing to say is nothing said."""
    assert warned(HEALTHY, [HEALTHY] * 10) == []


def test_two_ticks_in_a_row_are_needed_for_collapse():
    """One odd batch does not cry."""
    low = replace(HEALTHY, std_ratio=0.1)

    assert warned(low, [HEALTHY]) == []
    assert warned(low, [low]) == ["collapse"]


def test_an_alarm_is_said_once_but_rings_on():
    """Not in every line from then on; --stop-on still hears it, in a run that goes on too."""
    low = replace(HEALTHY, std_ratio=0.1)
    said = replace(low, warnings=("collapse: …",))

    assert warned(low, [low, said, low]) == []
    assert "collapse" in alarms.raised(low, [plain(said)], judged=True)


def test_the_spread_is_judged_once_the_second_resolution_is_stable():
    """At 64 images of the tiny preset; a run that starts later is judged after its first fade."""
    fresh, grown = Schedule.of(tiny_config()), Schedule.of(tiny_config(growth__start_at=16))

    assert [alarms.may_judge(fresh, images, 160) for images in (63, 64, 65)] == [False, False, True]
    assert [alarms.may_judge(grown, images, 160) for images in (32, 33)] == [False, True]


def test_nothing_is_judged_before_the_second_resolution_is_stable():
    """Healthy runs read .34 to .46 at 4 px, and lower in the first fade."""
    low = replace(HEALTHY, std_ratio=0.1, resolution=4)
    assert warned(low, [low], judged=False) == []


def test_low_diversity_is_not_judged_in_a_fade():
    """A new path is narrower while it fades in."""
    low = replace(HEALTHY, std_ratio=0.5)

    assert warned(low, [low]) == ["low diversity"]
    assert warned(replace(low, alpha=0.9), [low]) == []


@pytest.mark.parametrize("field", ["critic_loss", "generator_loss", "std_fake"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_said_at_once(field, value):
    """The next checkpoint will refuse it."""
    assert warned(replace(HEALTHY, **{field: value}), []) == ["non-finite"]


def test_an_exploding_penalty_is_said():
    """Fifty times what it usually was in this run, and large."""
    assert warned(replace(HEALTHY, penalty=6.0), [HEALTHY] * 6) == ["penalty"]
    assert warned(replace(HEALTHY, penalty=0.9), [replace(HEALTHY, penalty=0.001)] * 6) == []


def test_saturation_is_said():
    """Half of all values at black or white; unless the reals have nearly as many, as digits do."""
    assert warned(replace(HEALTHY, saturation=0.6, saturation_real=0.02), []) == ["saturation"]
    assert warned(replace(HEALTHY, saturation=0.6, saturation_real=0.5), []) == []
