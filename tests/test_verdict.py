"""The limits of the verdict, each from both sides: a limit that moves by a hair gives another word."""

from dataclasses import fields

import pytest
from test_panel import figures

from gancli.stats.modes import Coverage
from gancli.stats.verdict import Limits, by_spread, judge

# By limit: the panel just inside, its word, the panel just beyond, its word. Floors: those of test_panel.HEALTHY.
NOTHING = {"coverage": 0.0, "precision": 0.0}
FEW = {"cluster_overlap": 0.9 * 0.459, "coverage_color_matched": 0.95 * 0.459, "effective_rank_ratio": 0.649}
PALE = {"batch_std_ratio": 0.8, "contrast_ratio": 0.9}
BOUNDARIES = {
    "collapsed_spread": ({"batch_std_ratio": 0.301}, "healthy", {"batch_std_ratio": 0.299}, "collapsed"),
    "collapsed_distinct": ({"unique_fraction": 0.131}, "low diversity", {"unique_fraction": 0.129}, "collapsed"),
    "low_distinct": ({"unique_fraction": 0.781}, "healthy", {"unique_fraction": 0.779}, "low diversity"),
    "collapsed_parts": (FEW | {"cluster_overlap": 0.9 * 0.461}, "low diversity", FEW, "collapsed"),
    "narrow": (FEW | {"effective_rank_ratio": 0.651}, "low diversity", FEW, "collapsed"),
    "alike": (FEW | {"precision": 0.9 * 0.779}, "healthy", FEW | {"precision": 0.9 * 0.781}, "collapsed"),
    "low_parts": (
        {"cluster_overlap_color_matched": 0.9 * 0.881}, "healthy",
        {"cluster_overlap_color_matched": 0.9 * 0.879}, "low diversity",
    ),
    "thin": (
        {"coverage_color_matched": 0.95 * 0.891}, "healthy", {"coverage_color_matched": 0.95 * 0.889}, "low diversity"
    ),
    "sharp": (
        {"coverage_color_matched": 0.8, "precision": 0.9 * 0.949}, "healthy",
        {"coverage_color_matched": 0.8, "precision": 0.9 * 0.951}, "low diversity",
    ),
    "copied": ({"train_nearer_fraction": 0.279}, "healthy", {"train_nearer_fraction": 0.281}, "memorising"),
    "beside": ({"train_distance_ratio": 0.551}, "healthy", {"train_distance_ratio": 0.549}, "memorising"),
    "pale": (PALE | {"batch_std_ratio": 0.851}, "healthy", PALE | {"batch_std_ratio": 0.849}, "washed out"),
    "flat": (PALE | {"contrast_ratio": 0.921}, "healthy", PALE | {"contrast_ratio": 0.919}, "washed out"),
    "deep": (
        {"batch_std_ratio": 0.651, "contrast_ratio": 0.651, "spectrum_fine": -1.2}, "artefacts",
        {"batch_std_ratio": 0.649, "contrast_ratio": 0.649, "spectrum_fine": -1.2}, "washed out",
    ),
    "full": (
        PALE | {"cluster_overlap_color_matched": 0.5, "effective_rank_ratio": 0.749}, "low diversity",
        PALE | {"cluster_overlap_color_matched": 0.5, "effective_rank_ratio": 0.751}, "washed out",
    ),
    "fine": ({"spectrum_fine": 0.299}, "healthy", {"spectrum_fine": 0.301}, "artefacts"),
    "spike": ({"spectrum_spike": 1.049}, "healthy", {"spectrum_spike": 1.051}, "artefacts"),
    "grain": ({"grain": 4.99}, "healthy", {"grain": 5.01}, "artefacts"),
    "colours": ({"color_distance": 9.9}, "healthy", {"color_distance": 9.95}, "artefacts"),
    "precise": ({"precision": 0.9 * 0.601}, "healthy", {"precision": 0.9 * 0.599}, "artefacts"),
    "covered": (
        {"coverage_color_matched": 0.95 * 0.301, "precision": 0.8}, "healthy",
        {"coverage_color_matched": 0.95 * 0.299, "precision": 0.8}, "artefacts",
    ),
    "lost": (
        {"coverage": 0.95 * 0.031, "precision": 0.9 * 0.031, "batch_std_ratio": 1.7}, "artefacts",
        {"coverage": 0.95 * 0.029, "precision": 0.9 * 0.029, "batch_std_ratio": 1.7}, "diverged",
    ),
    "noise": (NOTHING | {"batch_std_ratio": 1.249}, "artefacts", NOTHING | {"batch_std_ratio": 1.251}, "diverged"),
}  # fmt: skip


@pytest.mark.parametrize("limit", sorted(BOUNDARIES))
def test_a_limit_lies_where_it_was_calibrated(limit):
    """A word on one side of it, another on the other."""
    inside, word, beyond, other = BOUNDARIES[limit]

    assert judge(figures(**inside), 1000, None).word == word
    assert judge(figures(**beyond), 1000, None).word == other


def test_every_limit_has_its_boundary_here():
    """A new one cannot be forgotten."""
    assert BOUNDARIES.keys() == {field.name for field in fields(Limits)}


@pytest.mark.parametrize(("limit", "factor"), [(name, by) for name in sorted(BOUNDARIES) for by in (0.9, 1.1)])
def test_a_limit_that_moved_by_a_tenth_would_be_noticed(limit, factor):
    """The boundaries above lie closer than that."""
    inside, word, beyond, other = BOUNDARIES[limit]
    moved = Limits(**{limit: getattr(Limits(), limit) * factor})

    found = [judge(figures(**panel), 1000, None, moved).word for panel in (inside, beyond)]

    assert found != [word, other]


def test_few_samples_decide_nothing_and_250_make_it_sure():
    """64 and 250 a side."""
    bad = figures(unique_fraction=0.01)

    assert [judge(bad, n, None).word for n in (63, 64)] == ["undecided", "collapsed"]
    assert [judge(bad, n, None).confidence for n in (249, 250)] == ["low", "high"]
    assert [judge(figures(), n, None).confidence for n in (249, 250)] == ["low", "high"]


@pytest.mark.parametrize(
    ("covered", "word"), [(10, "collapsed"), (11, "low diversity"), (60, "low diversity"), (61, "healthy")]
)
def test_known_modes_are_counted_to_a_tenth_and_to_six_tenths(covered, word):
    """Of a hundred."""
    assert judge(figures(), 1000, Coverage(covered, 100, 0.8, 0.0)).word == word


def test_modes_count_where_three_tenths_are_recognized():
    """Below that, counting says more of the pictures' quality."""
    assert judge(figures(), 1000, Coverage(1, 100, 0.299, 0.0)).word == "undecided"
    assert judge(figures(), 1000, Coverage(1, 100, 0.301, 0.0)).word == "collapsed"


def test_a_list_of_runs_goes_by_three_and_six_tenths_of_the_spread():
    """As the alarms of training do."""
    words = [by_spread(ratio) for ratio in (0.299, 0.301, 0.599, 0.601)]
    assert words == ["collapsed", "low diversity", "low diversity", "healthy"]
