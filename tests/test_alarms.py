import math
from dataclasses import replace

import pytest
from conftest import tiny_config

from gancli.growth import Schedule
from gancli.results import Tick, Warned, plain
from gancli.training import alarms

HEALTHY = Tick(
    kimg=10, images=10_000, generator_steps=100, resolution=32, alpha=1, batch=8, lr=0.004, critic_loss=0.5,
    d_real=1, d_fake=0, score_gap=1, penalty=0.1, generator_loss=1, std_real=0.5, std_fake=0.5, std_ratio=1.0,
    feature_std_real=1, feature_std_fake=1, feature_std_ratio=1, saturation=0.01, images_per_s=100, memory_mib=500,
    seconds=60,
)  # fmt: skip


def warned(tick, history, *, judged=True):
    rows = [plain(h) for h in history]
    raised = {name: alarm.text for name, alarm in alarms.raised(tick, rows, judged=judged).items()}
    return [warning.partition(":")[0] for warning in alarms.unsaid(raised, rows)]


def test_a_healthy_run_is_not_cried_at():
    """There are no warnings."""
    assert warned(HEALTHY, [HEALTHY] * 10) == []


def test_two_ticks_in_a_row_are_needed_for_collapse():
    """A single outlier does not raise a warning."""
    low = replace(HEALTHY, std_ratio=0.1)

    assert warned(low, [HEALTHY]) == []
    assert warned(low, [low]) == ["collapsed"]


def test_an_alarm_is_said_once_but_rings_on():
    """It is logged once, but --stop-on still sees it, also in a resumed run."""
    low = replace(HEALTHY, std_ratio=0.1)
    said = replace(low, warnings=(Warned("collapsed", "…", 0, None),))

    assert warned(low, [low, said, low]) == []
    assert "collapsed" in alarms.raised(low, [plain(said)], judged=True)


def test_the_spread_is_judged_once_the_second_resolution_is_stable():
    """At 64 images with the tiny preset; a run that starts later is checked after its first fade."""
    fresh, grown = Schedule.of(tiny_config()), Schedule.of(tiny_config(growth__start_at=16))

    assert [alarms.may_judge(fresh, images, 160) for images in (63, 64, 65)] == [False, False, True]
    assert [alarms.may_judge(grown, images, 160) for images in (32, 33)] == [False, True]


def test_nothing_is_judged_before_the_second_resolution_is_stable():
    """Healthy runs have .34 to .46 at 4 px, and less in the first fade."""
    low = replace(HEALTHY, std_ratio=0.1, resolution=4)
    assert warned(low, [low], judged=False) == []


def test_low_diversity_is_not_judged_in_a_fade():
    """Diversity is lower during a fade."""
    low = replace(HEALTHY, std_ratio=0.5)

    assert warned(low, [low]) == ["low-diversity"]
    assert warned(replace(low, alpha=0.9), [low]) == []


@pytest.mark.parametrize("field", ["critic_loss", "generator_loss", "std_fake"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_said_at_once(field, value):
    """The next checkpoint would fail."""
    assert warned(replace(HEALTHY, **{field: value}), []) == ["diverged"]


def test_an_exploding_penalty_is_said():
    """More than 50 times the median of the run, and larger than 1."""
    assert warned(replace(HEALTHY, penalty=6.0), [HEALTHY] * 6) == ["penalty"]
    assert warned(replace(HEALTHY, penalty=0.9), [replace(HEALTHY, penalty=0.001)] * 6) == []


def test_saturation_is_said():
    """More than half of the values at -1 or 1, unless the reals have nearly as many, as digits do."""
    assert warned(replace(HEALTHY, saturation=0.6, saturation_real=0.02), []) == ["saturation"]
    assert warned(replace(HEALTHY, saturation=0.6, saturation_real=0.5), []) == []


def test_the_average_is_watched_too():
    """Its batch std and repeated samples, each in two consecutive ticks that measured it."""
    smeared, twins = replace(HEALTHY, ema_std_ratio=0.1), replace(HEALTHY, ema_nearest_ratio=0.05)
    assert warned(smeared, [smeared]) == ["collapsed"]
    assert warned(twins, [twins, HEALTHY]) == ["collapsed"]  # HEALTHY was not looked at
    assert warned(twins, [replace(HEALTHY, ema_nearest_ratio=0.9)]) == []


def test_an_alarm_knows_when_it_began():
    """At the first of the consecutive ticks, not at the one that raised the alarm."""
    rows = [
        replace(HEALTHY, images=images, std_ratio=ratio) for images, ratio in ((1, 0.1), (2, 0.9), (3, 0.2), (4, 0.1))
    ]
    raised = alarms.raised(replace(HEALTHY, images=5, std_ratio=0.1), [plain(row) for row in rows], judged=True)
    assert raised["collapsed"].began == 3


def test_overfitting_is_an_average_over_ticks():
    """A single value is too noisy; five are required. Without held-out samples there is no warning."""
    knows = replace(HEALTHY, overfitting=0.9)
    assert warned(knows, [knows] * 3) == []
    assert warned(knows, [knows] * 4) == ["overfitting"]
    assert warned(replace(HEALTHY, overfitting=0.3), [knows, *[replace(HEALTHY, overfitting=0.1)] * 4]) == []
    assert warned(HEALTHY, [HEALTHY] * 9) == []


def test_a_ratio_of_two_noises_is_no_overfitting():
    """The critic scores everything alike: the gaps are near zero and change their signs, only their ratio is large."""
    gaps = (0.012, -0.004, 0.009, -0.006, 0.011)
    noise = [replace(HEALTHY, overfitting=0.9, held_out_gap=gap) for gap in gaps]
    assert warned(noise[-1], noise[:-1]) == []
    clear = [replace(HEALTHY, overfitting=0.9, held_out_gap=1 + gap) for gap in gaps]
    assert warned(clear[-1], clear[:-1]) == ["overfitting"]


def test_noise_in_the_gap_to_the_fakes_counts_as_well():
    """The critic knows the training set, but hardly tells fakes from it."""
    rows = [replace(HEALTHY, overfitting=share, held_out_gap=0.01) for share in (0.9, 9.0, -2.0, 0.7, 5.0)]
    assert warned(rows[-1], rows[:-1]) == []


def test_four_standard_errors_are_sure():
    """Five gaps with mean 1 and standard error 0.245 or 0.255."""
    for error, names in ((0.245, ["overfitting"]), (0.255, [])):
        gaps = [1 + error * 8**0.5 * x for x in (-1, -0.5, 0, 0.5, 1)]  # of these x, 1 / sqrt(8)
        rows = [replace(HEALTHY, overfitting=0.9, held_out_gap=gap) for gap in gaps]
        assert warned(rows[-1], rows[:-1]) == names


@pytest.mark.parametrize(
    ("changes", "judged", "word"),
    [
        ({}, True, "healthy"),
        ({"std_ratio": 0.1}, False, "early"),
        ({"std_ratio": 0.1}, True, "collapsed"),
        ({"ema_std_ratio": 0.1}, True, "collapsed"),
        ({"ema_nearest_ratio": 0.1}, True, "collapsed"),
        ({"std_ratio": 0.5}, True, "low-diversity"),
        ({"std_ratio": 0.5, "alpha": 0.5}, True, "healthy"),  # lower during a fade
        ({"critic_loss": math.nan}, False, "diverged"),
    ],
)
def test_each_tick_has_a_word(changes, judged, word):
    """What this tick alone shows; a warning comes later, when it lasts."""
    assert alarms.verdict(replace(HEALTHY, **changes), [], judged=judged) == word
    assert word in alarms.VERDICTS


def test_the_word_of_a_lasting_sign():
    """Overfitting and a dead generator are seen in several ticks only."""
    knows, still = replace(HEALTHY, overfitting=0.9), replace(HEALTHY, change=0.0)
    assert alarms.verdict(knows, [plain(knows)] * 4, judged=True) == "overfitting"
    assert alarms.verdict(still, [plain(still)] * 2, judged=True) == "dead"


def test_a_dead_generator_is_said():
    """After three ticks without any change."""
    still = replace(HEALTHY, change=0.0)
    assert warned(still, [still]) == []
    assert warned(still, [still] * 2) == ["dead"]
    assert warned(replace(HEALTHY, change=0.5), [still] * 2) == []


def test_logs_of_earlier_versions_are_read():
    """They lack the keys of the tick metrics, which are not required."""
    keys = ("ema_std_ratio", "ema_nearest_ratio", "change", "overfitting")
    old = {key: value for key, value in plain(HEALTHY).items() if key not in keys}
    knows = replace(HEALTHY, overfitting=0.9, images=20_000)
    assert alarms.raised(HEALTHY, [old] * 5, judged=True) == {}
    raised = alarms.raised(knows, [old] * 5 + [plain(knows)] * 4, judged=True)
    assert raised["overfitting"].began == 20_000


def test_an_outlier_is_no_overfitting():
    """A gap near zero makes one value huge, but not the median."""
    rows = [replace(HEALTHY, overfitting=value) for value in (0.05, -0.1, 40.0, 0.1)]
    assert warned(replace(HEALTHY, overfitting=0.0), rows) == []


def test_the_words_say_whose_spread_it_is():
    """Of the raw or the EMA weights."""
    smeared = replace(HEALTHY, ema_std_ratio=0.1)
    rows = [plain(smeared), plain(HEALTHY)]
    assert "EMA generator's fakes is 0.10 times" in alarms.raised(smeared, rows[:1], judged=True)["collapsed"].text
