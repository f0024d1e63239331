"""The limits of the verdict, each from both sides: a limit that moves by a hair gives another word."""

from dataclasses import fields, replace

import pytest
from test_panel import HEALTHY, figure, figures

from gancli.stats.modes import ModeCoverage
from gancli.stats.verdict import Limits, Panel, Verdict, judge

# By limit: the panel just inside, its word, the panel just beyond, its word. Floors: those of test_panel.HEALTHY.
NOTHING = {"coverage": 0.0, "precision": 0.0}
FEW = {"cluster_overlap": 0.9 * 0.459, "coverage_color_matched": 0.95 * 0.459, "effective_rank_ratio": 0.649}
PALE = {"batch_std_ratio": 0.8, "contrast_ratio": 0.9}
BOUNDARIES = {
    "collapsed_spread": ({"batch_std_ratio": 0.301}, "healthy", {"batch_std_ratio": 0.299}, "collapsed"),
    "collapsed_distinct": ({"unique_fraction": 0.131}, "low-diversity", {"unique_fraction": 0.129}, "collapsed"),
    "low_distinct": ({"unique_fraction": 0.781}, "healthy", {"unique_fraction": 0.779}, "low-diversity"),
    "collapsed_parts": (FEW | {"cluster_overlap": 0.9 * 0.461}, "low-diversity", FEW, "collapsed"),
    "narrow": (FEW | {"effective_rank_ratio": 0.651}, "low-diversity", FEW, "collapsed"),
    "alike": (FEW | {"precision": 0.9 * 0.779}, "healthy", FEW | {"precision": 0.9 * 0.781}, "collapsed"),
    "low_parts": (
        {"cluster_overlap_color_matched": 0.9 * 0.881}, "healthy",
        {"cluster_overlap_color_matched": 0.9 * 0.879}, "low-diversity",
    ),
    "thin": (
        {"coverage_color_matched": 0.95 * 0.891}, "healthy", {"coverage_color_matched": 0.95 * 0.889}, "low-diversity"
    ),
    "sharp": (
        {"coverage_color_matched": 0.8, "precision": 0.9 * 0.949}, "healthy",
        {"coverage_color_matched": 0.8, "precision": 0.9 * 0.951}, "low-diversity",
    ),
    "copied": ({"train_nearer_fraction": 0.279}, "healthy", {"train_nearer_fraction": 0.281}, "memorizing"),
    "beside": ({"train_distance_ratio": 0.551}, "healthy", {"train_distance_ratio": 0.549}, "memorizing"),
    "pale": (PALE | {"batch_std_ratio": 0.851}, "healthy", PALE | {"batch_std_ratio": 0.849}, "washed-out"),
    "flat": (PALE | {"contrast_ratio": 0.921}, "healthy", PALE | {"contrast_ratio": 0.919}, "washed-out"),
    "deep": (
        {"batch_std_ratio": 0.651, "contrast_ratio": 0.651, "spectrum_fine": -1.2}, "artifacts",
        {"batch_std_ratio": 0.649, "contrast_ratio": 0.649, "spectrum_fine": -1.2}, "washed-out",
    ),
    "full": (
        PALE | {"cluster_overlap_color_matched": 0.5, "effective_rank_ratio": 0.749}, "low-diversity",
        PALE | {"cluster_overlap_color_matched": 0.5, "effective_rank_ratio": 0.751}, "washed-out",
    ),
    "fine": ({"spectrum_fine": 0.299}, "healthy", {"spectrum_fine": 0.301}, "artifacts"),
    "spike": ({"spectrum_spike": 1.049}, "healthy", {"spectrum_spike": 1.051}, "artifacts"),
    "grain": ({"grain": 4.99}, "healthy", {"grain": 5.01}, "artifacts"),
    "colors": ({"color_distance": 9.9}, "healthy", {"color_distance": 9.95}, "artifacts"),
    "precise": ({"precision": 0.9 * 0.601}, "healthy", {"precision": 0.9 * 0.599}, "artifacts"),
    "covered": (
        {"coverage_color_matched": 0.95 * 0.301, "precision": 0.8}, "healthy",
        {"coverage_color_matched": 0.95 * 0.299, "precision": 0.8}, "artifacts",
    ),
    "lost": (
        {"coverage": 0.95 * 0.031, "precision": 0.9 * 0.031, "batch_std_ratio": 1.7}, "artifacts",
        {"coverage": 0.95 * 0.029, "precision": 0.9 * 0.029, "batch_std_ratio": 1.7}, "diverged",
    ),
    "noise": (NOTHING | {"batch_std_ratio": 1.249}, "artifacts", NOTHING | {"batch_std_ratio": 1.251}, "diverged"),
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


# By limit: the figure that it bounds, and how it is read. test_a_limit_itself_is_no_sign finds out the exact value.
SHARES = {
    "collapsed_spread": "batch_std_ratio", "collapsed_distinct": "unique_fraction", "low_distinct": "unique_fraction",
    "narrow": "effective_rank_ratio", "alike": "precision", "low_parts": "cluster_overlap_color_matched",
    "thin": "coverage_color_matched", "sharp": "precision", "pale": "batch_std_ratio", "flat": "contrast_ratio",
    "deep": "batch_std_ratio", "full": "effective_rank_ratio", "precise": "precision",
    "covered": "coverage_color_matched", "noise": "batch_std_ratio",
}  # fmt: skip
OTHERS = {
    "collapsed_parts": lambda panel: max(panel.share("cluster_overlap"), panel.share("coverage_color_matched")),
    "copied": lambda panel: panel.value("train_nearer_fraction"),
    "beside": lambda panel: panel.value("train_distance_ratio"),
    "fine": lambda panel: abs(panel.excess("spectrum_fine")),
    "spike": lambda panel: panel.excess("spectrum_spike"),
    "grain": lambda panel: panel.value("grain"),
    "colors": Panel.colors,
}


@pytest.mark.parametrize("limit", sorted(SHARES.keys() | OTHERS.keys()))
def test_a_limit_itself_is_no_sign(limit):
    """What lies beyond it is, not what lies on it."""
    _, word, beyond, other = BOUNDARIES[limit]
    panel = Panel(figures(**beyond))
    value = OTHERS[limit](panel) if limit in OTHERS else panel.share(SHARES[limit])
    moved = value - getattr(Limits(), limit)

    on_it, inside = Limits(**{limit: value}), Limits(**{limit: value - moved / 2})

    assert judge(figures(**beyond), 1000, None, on_it).word == word
    assert judge(figures(**beyond), 1000, None, inside).word == other


@pytest.mark.parametrize(
    ("limit", "figure", "changes", "word"),
    [
        ("alike", "precision", {"precision": 0.63, "cluster_overlap_color_matched": 0.45}, "low-diversity"),
        ("low_parts", "cluster_overlap_color_matched", {"precision": 0.63, "cluster_overlap_color_matched": 0.7},
         "healthy"),
        ("low_parts", "cluster_overlap_color_matched",
         PALE | {"cluster_overlap_color_matched": 0.7, "effective_rank_ratio": 0.5}, "healthy"),
        ("deep", "contrast_ratio",
         {"batch_std_ratio": 0.5, "contrast_ratio": 0.6, "precision": 0.8, "cluster_overlap_color_matched": 0.5},
         "low-diversity"),
        ("sharp", "precision", PALE | {"precision": 0.8, "cluster_overlap_color_matched": 0.5}, "low-diversity"),
    ],
)  # fmt: skip
def test_nor_where_it_serves_a_second_rule(limit, figure, changes, word):
    """Five limits are asked twice."""
    value = Panel(figures(**changes)).share(figure)
    assert judge(figures(**changes), 1000, None, Limits(**{limit: value})).word == word


@pytest.mark.parametrize("key", ["coverage", "precision"])
def test_noise_resembles_nothing_and_covers_nothing(key):
    """Both shares are below their limit: one of them alone, or on it, is no noise."""
    on_it = Panel(figures(**NOTHING | {key: 0.02})).share(key)
    found = judge(figures(**NOTHING | {key: 0.02}, batch_std_ratio=1.7), 1000, None, Limits(lost=on_it))
    assert found.word == "artifacts"


def test_clear_grows_with_the_limit():
    """Half as far again: a spike of 2.9 is not clear where 2 is the limit, and grain counts above the data's own."""
    spiky = judge(figures(spectrum_spike=2.9), 1000, None, Limits(spike=2.0))
    coarse = [f if f.key != "grain" else replace(f, fake=9.0, real=2.0) for f in figures()]

    assert (spiky.word, spiky.confidence) == ("artifacts", "low")
    assert judge(coarse, 1000, None) == Verdict(
        "artifacts", "low", ("grain of 9.0 gray levels in flat areas, where the data has 2.0",)
    )


def test_few_samples_decide_nothing_and_250_make_it_sure():
    """64 and 250 a side."""
    bad = figures(unique_fraction=0.01)

    assert [judge(bad, n, None).word for n in (63, 64)] == ["undecided", "collapsed"]
    assert [judge(bad, n, None).confidence for n in (249, 250)] == ["low", "high"]
    assert [judge(figures(), n, None).confidence for n in (249, 250)] == ["low", "high"]


@pytest.mark.parametrize(
    ("covered", "word"), [(10, "collapsed"), (11, "low-diversity"), (60, "low-diversity"), (61, "healthy")]
)
def test_known_modes_are_counted_to_a_tenth_and_to_six_tenths(covered, word):
    """Of a hundred."""
    assert judge(figures(), 1000, ModeCoverage(covered, 100, 0.8, 0.0)).word == word


def test_modes_count_where_three_tenths_are_recognized():
    """Below that, counting says more of the pictures' quality."""
    assert judge(figures(), 1000, ModeCoverage(1, 100, 0.299, 0.0)).word == "undecided"
    assert judge(figures(), 1000, ModeCoverage(1, 100, 0.3, 0.0)).word == "collapsed"


DISTINCT = "% of them are left when near-copies of one another count once"
PARTS = "% of what two halves of the data have in common"
COUNTED = "counted by parts of the data, both sides have "
FEWER = {"effective_rank_ratio": 0.5}
# By sign: a panel that shows it, one that shows it clearly, the word, and the evidence of the second.
SIGNS = {
    "spread": (
        {"batch_std_ratio": 0.151}, {"batch_std_ratio": 0.149},
        "collapsed", "the fakes differ 0.15 times as much from one another as the reals do",
    ),
    "distinct": ({"unique_fraction": 0.0651}, {"unique_fraction": 0.0649}, "collapsed", f"6{DISTINCT}"),
    "few parts": (
        FEWER | {"cluster_overlap": 0.9 * 0.361, "coverage_color_matched": 0.95 * 0.31},
        FEWER | {"cluster_overlap": 0.9 * 0.359, "coverage_color_matched": 0.95 * 0.31},
        "collapsed", f"{COUNTED}36{PARTS}",
    ),
    "few covered": (
        FEWER | {"cluster_overlap": 0.9 * 0.3, "coverage_color_matched": 0.95 * 0.361},
        FEWER | {"cluster_overlap": 0.9 * 0.3, "coverage_color_matched": 0.95 * 0.359},
        "collapsed", f"{COUNTED}30{PARTS}",
    ),
    "copies": (
        {"train_nearer_fraction": 0.379}, {"train_nearer_fraction": 0.381},
        "memorizing", "38% of the samples lie nearer to a training sample than 95 % of unseen reals do",
    ),
    "beside the training set": (
        {"train_distance_ratio": 0.451}, {"train_distance_ratio": 0.449},
        "memorizing", "samples lie 0.45 times as far from the training set as unseen reals do",
    ),
    "blur": (
        {"spectrum_fine": -0.449}, {"spectrum_fine": -0.451},
        "artifacts", "too little fine detail: blur (0.35 times the power)",
    ),
    "noise": (
        {"spectrum_fine": 0.449}, {"spectrum_fine": 0.451},
        "artifacts", "too much fine detail: noise (2.8 times the power)",
    ),
    "spike": (
        {"spectrum_spike": 1.549}, {"spectrum_spike": 1.551},
        "artifacts", "a spike in the spectrum, 32 times the reals': a grid",
    ),
    "grain": (
        {"grain": 7.49}, {"grain": 7.51},
        "artifacts", "grain of 7.5 gray levels in flat areas, where the data has 0.0",
    ),
    "pale": (
        PALE | {"batch_std_ratio": 0.751}, PALE | {"batch_std_ratio": 0.749},
        "washed-out", "spread 0.75 and contrast 0.90 of the reals'",
    ),
    "imprecise": (
        {"precision": 0.9 * 0.361}, {"precision": 0.9 * 0.359},
        "artifacts", "36% of the samples look like the data, 100% of the data has one nearby",
    ),
    "uncovered": (
        {"coverage_color_matched": 0.95 * 0.1801, "precision": 0.9 * 0.9},
        {"coverage_color_matched": 0.95 * 0.1799, "precision": 0.9 * 0.9},
        "artifacts", "90% of the samples look like the data, 18% of the data has one nearby",
    ),
    "fewer": ({"unique_fraction": 0.631}, {"unique_fraction": 0.629}, "low-diversity", f"63{DISTINCT}"),
    "fewer parts": (
        {"cluster_overlap_color_matched": 0.9 * 0.781}, {"cluster_overlap_color_matched": 0.9 * 0.779},
        "low-diversity", f"{COUNTED}78{PARTS}",
    ),
    "thin": (
        {"coverage_color_matched": 0.95 * 0.741}, {"coverage_color_matched": 0.95 * 0.739},
        "low-diversity", "the samples look like the data, but only 74% of it has one nearby",
    ),
    "colors": (
        {"color_distance": 14.38}, {"color_distance": 14.40},
        "artifacts", "other values: a channel lies 0.21 deviations away from the data's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_is_sure_where_it_is_far_beyond_its_limit(sign):
    """And the evidence names the number."""
    shown, clear, word, evidence = SIGNS[sign]

    unsure, sure = (judge(figures(**panel), 1000, None) for panel in (shown, clear))

    assert (unsure.word, unsure.confidence) == (word, "low")
    assert (sure.word, sure.confidence, sure.evidence[0]) == (word, "high", evidence)
    assert all(text.startswith("also: ") for text in sure.evidence[1:])


def test_noise_is_always_sure():
    """Nothing of the data is left."""
    text = "no sample resembles the data, and they differ more than the data does: noise"
    found = judge(figures(**NOTHING, batch_std_ratio=1.26), 1000, None)
    assert found == Verdict("diverged", "high", (text, "also: artifacts"))


def test_only_its_own_signs_make_a_word_sure():
    """A clear color cast says nothing of how few samples are left; of two signs of one word, one is enough."""
    assert judge(figures(unique_fraction=0.1, color_distance=40.0), 1000, None).confidence == "low"
    assert judge(figures(unique_fraction=0.1, batch_std_ratio=0.1), 1000, None).confidence == "high"


def test_all_that_speaks_for_a_word_is_told_and_the_other_words_once():
    """Two signs of low diversity; of artifacts there are two, too."""
    bad = figures(unique_fraction=0.7, cluster_overlap_color_matched=0.9 * 0.8, train_nearer_fraction=0.4,
                  train_distance_ratio=0.5, color_distance=40.0)  # fmt: skip

    assert judge(bad, 1000, None).evidence == (
        "40% of the samples lie nearer to a training sample than 95 % of unseen reals do",
        "samples lie 0.50 times as far from the training set as unseen reals do",
        "also: low-diversity, artifacts",
    )


class TestPale:
    """Less spread and less contrast, and yet all there."""

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"batch_std_ratio": 0.281, "contrast_ratio": 0.8}, "washed-out"),  # spread 0.35 times the contrast
            ({"batch_std_ratio": 0.279, "contrast_ratio": 0.8}, "collapsed"),
            ({"batch_std_ratio": 0.29, "contrast_ratio": 0.58, **FEWER}, "low-diversity"),  # half of it
            ({"batch_std_ratio": 0.29, "contrast_ratio": 0.581, **FEWER}, "collapsed"),
            ({"batch_std_ratio": 0.6, "contrast_ratio": 0.649, "precision": 0.9 * 0.94}, "washed-out"),  # deep
            ({"batch_std_ratio": 0.6, "contrast_ratio": 0.651, "precision": 0.9 * 0.94}, "low-diversity"),
            ({"batch_std_ratio": 0.649, "contrast_ratio": 0.6, "precision": 0.9 * 0.94}, "washed-out"),
            ({"batch_std_ratio": 0.651, "contrast_ratio": 0.6, "precision": 0.9 * 0.94}, "low-diversity"),
        ],
    )
    def test_by_directions_where_parts_are_lost(self, changes, word):
        """As many directions as the data has, and near to it or deeply pale."""
        assert judge(figures(**changes, cluster_overlap_color_matched=0.5), 1000, None).word == word

    def test_pale_samples_are_not_counted_by_parts(self):
        """Parts of the data that paleness hides are not lost, neither most of them nor some."""
        hidden = {"cluster_overlap": 0.3, "coverage_color_matched": 0.38, "effective_rank_ratio": 0.6}

        assert judge(figures(**PALE, **hidden), 1000, None).word == "washed-out"
        assert judge(figures(**hidden), 1000, None).word == "collapsed"
        assert judge(figures(**PALE, **hidden), 1000, None).evidence == ("spread 0.80 and contrast 0.90 of the reals'",)

    @pytest.mark.parametrize(("deep", "word"), [(0.651, "artifacts"), (0.649, "washed-out")])
    def test_blur_takes_contrast_but_never_so_much(self, deep, word):
        """Where both are seen, a spread below 0.65 makes paleness the first of them."""
        both = judge(figures(batch_std_ratio=deep, contrast_ratio=0.7, spectrum_fine=-1.2), 1000, None)
        assert both.word == word
        assert both.evidence[-1].startswith("also: ")


def test_other_things_in_the_place_of_a_part_are_artifacts():
    """Samples beside the data and a part of it without any: 0.78 and 0.88."""
    replaced = {"precision": 0.9 * 0.779, "cluster_overlap_color_matched": 0.9 * 0.879}
    found = judge(figures(**replaced), 1000, None)

    assert found.word == "artifacts"
    assert judge(figures(**replaced | {"precision": 0.9 * 0.781}), 1000, None).word == "low-diversity"
    assert judge(figures(**replaced | {"cluster_overlap_color_matched": 0.9 * 0.881}), 1000, None).word == "healthy"


def test_what_all_is_told_of_the_healthy():
    """Spread and coverage; modes first, where they are known."""
    told = (
        "the fakes differ 1.00 times as much from one another as the reals do",
        "95% of the data has a sample nearby, by random features",
    )
    few = "only 20% of the samples are recognizable, too few to count modes"

    assert judge(figures(), 1000, None) == Verdict("healthy", "high", told)
    assert judge(figures(), 1000, ModeCoverage(9, 12, 0.3, 0.0)).evidence == ("9 of 12 known modes are covered", *told)
    assert judge(figures(), 1000, ModeCoverage(9, 12, 0.2, 0.0)) == Verdict("undecided", "low", (*told, few))


def test_what_all_is_told_of_known_modes():
    """How many of how many; and they make it sure."""
    assert judge(figures(), 1000, ModeCoverage(1, 12, 0.9, 0.0)) == Verdict(
        "collapsed", "high", ("1 of 12 known modes are covered",)
    )
    assert judge(figures(), 1000, ModeCoverage(5, 12, 0.9, 0.0)) == Verdict(
        "low-diversity", "high", ("5 of 12 known modes are covered",)
    )


def test_why_nothing_can_be_decided():
    """Too few samples, or reals that are all the same."""
    few, flat = judge(figures(), 63, None), judge([figure("batch_std_ratio", 0.0, 0.0)], 1000, None)

    assert few == Verdict("undecided", "low", ("63 samples a side are too few; 64 are needed",))
    assert flat == Verdict("undecided", "low", ("the reals do not differ from one another",))
    assert judge([], 1000, None) == flat


def test_what_was_not_measured_is_no_sign():
    """Points have no spectrum and no contrast; without effective rank, few parts are a collapse all the same."""
    spread = figure("batch_std_ratio", 1.0, 1.0)
    assert judge([spread], 1000, None).word == "healthy"
    assert judge([figure("batch_std_ratio", 0.2, 1.0)], 1000, None).word == "collapsed"
    assert judge([figure("batch_std_ratio", 0.84, 1.0)], 1000, None).word == "healthy"
    few = [figure(key, FEW.get(key, HEALTHY[key]), HEALTHY[key]) for key in HEALTHY if key != "effective_rank_ratio"]
    assert judge(few, 1000, None).word == "collapsed"


class TestFiguresByKey:
    def test_shares_are_of_the_floor_and_excesses_above_it(self):
        """Where there is neither, a default: 1 and 0, or what is asked for."""
        panel = Panel([figure("coverage", 0.4, 0.8), figure("spectrum_fine", 0.5, 0.2), figure("grain", 2.0, 0.0)])

        assert (panel.share("coverage"), panel.value("coverage")) == (0.5, 0.4)
        assert panel.excess("spectrum_fine") == pytest.approx(0.3)
        assert (panel.share("grain"), panel.share("grain", 0.5)) == (1.0, 0.5)
        assert (panel.share("precision"), panel.share("precision", 0.25)) == (1.0, 0.25)
        assert (panel.value("precision"), panel.value("precision", 3.0), panel.excess("precision")) == (0.0, 3.0, 0.0)

    def test_the_farthest_channel_counts_by_the_deviation_of_the_reals(self):
        """By hand: (30.5 - 5) / 127.5 / 0.4 = 0.5, where the other channel has (56 - 5) / 127.5 / 1."""
        far = [
            figure("color_distance", 30.5, 5.0, None, None, "red"),
            figure("color_distance", 56.0, 5.0, None, None, "blue"),
        ]
        spreads = [
            figure("channel_variance_distance", 0.0, 0.0, None, real, part)
            for real, part in ((0.16, "red"), (1.0, "blue"))
        ]
        assert Panel([*far, *spreads]).colors() == pytest.approx(0.5)
        assert Panel([]).colors() == 0.0

    def test_channels_of_signals_count_as_colors_do(self):
        """Their figure has another key. Reals that do not vary: far away, no division by zero; below the baseline 0."""
        values = [
            figure("value_distance", 6.0, 5.0, None, None, "1"),
            figure("value_distance", 4.0, 5.0, None, None, "2"),
        ]
        spreads = [
            figure("channel_variance_distance", 0.0, 0.0, None, real, part) for real, part in ((0.0, "1"), (1.0, "2"))
        ]

        assert Panel([*values, *spreads]).colors() == pytest.approx(1 / 127.5 / 1e-6)
        assert Panel([values[1], spreads[1]]).colors() == 0.0
