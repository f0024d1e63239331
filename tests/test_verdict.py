"""The limits of the verdict, tested on both sides: a small change of a limit changes the verdict."""

from dataclasses import fields, replace

import pytest
from test_panel import HEALTHY, figure, figures

from gancli.stats.modes import ModeCoverage
from gancli.stats.verdict import Limits, Panel, Verdict, decide

# By limit: a panel just inside, its verdict, a panel just beyond, its verdict. Baselines: test_panel.HEALTHY.
NOTHING = {"coverage": 0.0, "precision": 0.0}
FEW = {"cluster_overlap": 0.9 * 0.459, "coverage_color_matched": 0.95 * 0.459, "effective_rank_ratio": 0.649}
PALE = {"batch_std_ratio": 0.8, "contrast_ratio": 0.9}
BOUNDARIES = {
    "collapsed_spread": ({"batch_std_ratio": 0.301}, "healthy", {"batch_std_ratio": 0.299}, "collapsed"),
    "collapsed_unique": ({"unique_fraction": 0.131}, "low-diversity", {"unique_fraction": 0.129}, "collapsed"),
    "low_unique": ({"unique_fraction": 0.781}, "healthy", {"unique_fraction": 0.779}, "low-diversity"),
    "collapsed_overlap": (FEW | {"cluster_overlap": 0.9 * 0.461}, "low-diversity", FEW, "collapsed"),
    "narrow": (FEW | {"effective_rank_ratio": 0.651}, "low-diversity", FEW, "collapsed"),
    "alike": (FEW | {"precision": 0.9 * 0.779}, "healthy", FEW | {"precision": 0.9 * 0.781}, "collapsed"),
    "low_overlap": (
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
def test_each_limit_has_its_calibrated_value(limit):
    """The verdict differs between the two sides of the limit."""
    inside, word, beyond, other = BOUNDARIES[limit]

    assert decide(figures(**inside), 1000, None).word == word
    assert decide(figures(**beyond), 1000, None).word == other


def test_every_limit_has_a_boundary_test():
    """BOUNDARIES covers all fields of Limits."""
    assert BOUNDARIES.keys() == {field.name for field in fields(Limits)}


@pytest.mark.parametrize(("limit", "factor"), [(name, by) for name in sorted(BOUNDARIES) for by in (0.9, 1.1)])
def test_changing_a_limit_by_ten_percent_is_detected(limit, factor):
    """The panels of BOUNDARIES are closer to the limit than that."""
    inside, word, beyond, other = BOUNDARIES[limit]
    moved = Limits(**{limit: getattr(Limits(), limit) * factor})

    found = [decide(figures(**panel), 1000, None, moved).word for panel in (inside, beyond)]

    assert found != [word, other]


# By limit: the figure that it applies to. test_a_value_equal_to_the_limit_is_not_a_sign uses the exact value.
SHARES = {
    "collapsed_spread": "batch_std_ratio", "collapsed_unique": "unique_fraction", "low_unique": "unique_fraction",
    "narrow": "effective_rank_ratio", "alike": "precision", "low_overlap": "cluster_overlap_color_matched",
    "thin": "coverage_color_matched", "sharp": "precision", "pale": "batch_std_ratio", "flat": "contrast_ratio",
    "deep": "batch_std_ratio", "full": "effective_rank_ratio", "precise": "precision",
    "covered": "coverage_color_matched", "noise": "batch_std_ratio",
}  # fmt: skip
OTHERS = {
    "collapsed_overlap": lambda panel: max(panel.relative("cluster_overlap"), panel.relative("coverage_color_matched")),
    "copied": lambda panel: panel.value("train_nearer_fraction"),
    "beside": lambda panel: panel.value("train_distance_ratio"),
    "fine": lambda panel: abs(panel.excess("spectrum_fine")),
    "spike": lambda panel: panel.excess("spectrum_spike"),
    "grain": lambda panel: panel.value("grain"),
    "colors": Panel.colors,
}


@pytest.mark.parametrize("limit", sorted(SHARES.keys() | OTHERS.keys()))
def test_a_value_equal_to_the_limit_is_not_a_sign(limit):
    """Only values beyond the limit are."""
    _, word, beyond, other = BOUNDARIES[limit]
    panel = Panel(figures(**beyond))
    value = OTHERS[limit](panel) if limit in OTHERS else panel.relative(SHARES[limit])
    moved = value - getattr(Limits(), limit)

    on_it, inside = Limits(**{limit: value}), Limits(**{limit: value - moved / 2})

    assert decide(figures(**beyond), 1000, None, on_it).word == word
    assert decide(figures(**beyond), 1000, None, inside).word == other


@pytest.mark.parametrize(
    ("limit", "figure", "changes", "word"),
    [
        ("alike", "precision", {"precision": 0.63, "cluster_overlap_color_matched": 0.45}, "low-diversity"),
        ("low_overlap", "cluster_overlap_color_matched", {"precision": 0.63, "cluster_overlap_color_matched": 0.7},
         "healthy"),
        ("low_overlap", "cluster_overlap_color_matched",
         PALE | {"cluster_overlap_color_matched": 0.7, "effective_rank_ratio": 0.5}, "healthy"),
        ("deep", "contrast_ratio",
         {"batch_std_ratio": 0.5, "contrast_ratio": 0.6, "precision": 0.8, "cluster_overlap_color_matched": 0.5},
         "low-diversity"),
        ("sharp", "precision", PALE | {"precision": 0.8, "cluster_overlap_color_matched": 0.5}, "low-diversity"),
    ],
)  # fmt: skip
def test_nor_in_a_second_rule_with_the_same_limit(limit, figure, changes, word):
    """Five limits are used twice."""
    value = Panel(figures(**changes)).relative(figure)
    assert decide(figures(**changes), 1000, None, Limits(**{limit: value})).word == word


@pytest.mark.parametrize("key", ["coverage", "precision"])
def test_noise_resembles_nothing_and_covers_nothing(key):
    """Both must be below the limit: one of them alone, or equal to the limit, is not noise."""
    on_it = Panel(figures(**NOTHING | {key: 0.02})).relative(key)
    found = decide(figures(**NOTHING | {key: 0.02}, batch_std_ratio=1.7), 1000, None, Limits(lost=on_it))
    assert found.word == "artifacts"


def test_clear_grows_with_the_limit():
    """A sign is clear beyond 1.5 times its limit: 2.9 is not, for a limit of 2. Grain counts relative to the data."""
    spiky = decide(figures(spectrum_spike=2.9), 1000, None, Limits(spike=2.0))
    coarse = [f if f.key != "grain" else replace(f, fake=9.0, real=2.0) for f in figures()]

    assert (spiky.word, spiky.confidence) == ("artifacts", "low")
    assert decide(coarse, 1000, None) == Verdict(
        "artifacts", "low", ("noise in flat areas is 9.0 gray levels; in the data it is 2.0",)
    )


def test_sample_counts_of_64_and_250():
    """Below 64 per side the verdict is undecided; below 250 the confidence is low."""
    bad = figures(unique_fraction=0.01)

    assert [decide(bad, n, None).word for n in (63, 64)] == ["undecided", "collapsed"]
    assert [decide(bad, n, None).confidence for n in (249, 250)] == ["low", "high"]
    assert [decide(figures(), n, None).confidence for n in (249, 250)] == ["low", "high"]


@pytest.mark.parametrize(
    ("covered", "word"), [(10, "collapsed"), (11, "low-diversity"), (60, "low-diversity"), (61, "healthy")]
)
def test_known_modes_are_counted_to_a_tenth_and_to_six_tenths(covered, word):
    """At most 10% covered: collapsed; at most 60%: low-diversity."""
    assert decide(figures(), 1000, ModeCoverage(covered, 100, 0.8, 0.0)).word == word


def test_modes_count_if_thirty_percent_are_recognized():
    """Below that the count would measure image quality instead."""
    assert decide(figures(), 1000, ModeCoverage(1, 100, 0.299, 0.0)).word == "undecided"
    assert decide(figures(), 1000, ModeCoverage(1, 100, 0.3, 0.0)).word == "collapsed"


UNIQUE = "% of the samples are unique (near-duplicates count once)"


def overlap(percent):
    return f"cluster overlap is {percent}% of that between two halves of the data"


FEWER = {"effective_rank_ratio": 0.5}
# By sign: a panel that shows it, one that shows it clearly, the verdict, and the evidence of the second.
SIGNS = {
    "spread": (
        {"batch_std_ratio": 0.151}, {"batch_std_ratio": 0.149},
        "collapsed", "batch std of the fakes is 0.15 times that of the reals",
    ),
    "distinct": ({"unique_fraction": 0.0651}, {"unique_fraction": 0.0649}, "collapsed", f"6{UNIQUE}"),
    "few parts": (
        FEWER | {"cluster_overlap": 0.9 * 0.361, "coverage_color_matched": 0.95 * 0.31},
        FEWER | {"cluster_overlap": 0.9 * 0.359, "coverage_color_matched": 0.95 * 0.31},
        "collapsed", overlap(36),
    ),
    "few covered": (
        FEWER | {"cluster_overlap": 0.9 * 0.3, "coverage_color_matched": 0.95 * 0.361},
        FEWER | {"cluster_overlap": 0.9 * 0.3, "coverage_color_matched": 0.95 * 0.359},
        "collapsed", overlap(30),
    ),
    "copies": (
        {"train_nearer_fraction": 0.379}, {"train_nearer_fraction": 0.381},
        "memorizing", "38% of the samples are nearer to a training sample than 95% of unseen reals are",
    ),
    "beside the training set": (
        {"train_distance_ratio": 0.451}, {"train_distance_ratio": 0.449},
        "memorizing", "distance of the samples to the training set is 0.45 times that of unseen reals",
    ),
    "blur": (
        {"spectrum_fine": -0.449}, {"spectrum_fine": -0.451},
        "artifacts", "too little fine detail: blur (0.35 times the power of the reals)",
    ),
    "noise": (
        {"spectrum_fine": 0.449}, {"spectrum_fine": 0.451},
        "artifacts", "too much fine detail: noise (2.8 times the power of the reals)",
    ),
    "spike": (
        {"spectrum_spike": 1.549}, {"spectrum_spike": 1.551},
        "artifacts", "a spike in the spectrum, 32 times that of the reals: a checkerboard or grid",
    ),
    "grain": (
        {"grain": 7.49}, {"grain": 7.51},
        "artifacts", "noise in flat areas is 7.5 gray levels; in the data it is 0.0",
    ),
    "pale": (
        PALE | {"batch_std_ratio": 0.751}, PALE | {"batch_std_ratio": 0.749},
        "washed-out", "batch std is 0.75 and contrast 0.90 times that of the reals",
    ),
    "imprecise": (
        {"precision": 0.9 * 0.361}, {"precision": 0.9 * 0.359},
        "artifacts", "36% of the samples look like the data, 100% of the data has a sample nearby",
    ),
    "uncovered": (
        {"coverage_color_matched": 0.95 * 0.1801, "precision": 0.9 * 0.9},
        {"coverage_color_matched": 0.95 * 0.1799, "precision": 0.9 * 0.9},
        "artifacts", "90% of the samples look like the data, 18% of the data has a sample nearby",
    ),
    "fewer": ({"unique_fraction": 0.631}, {"unique_fraction": 0.629}, "low-diversity", f"63{UNIQUE}"),
    "fewer parts": (
        {"cluster_overlap_color_matched": 0.9 * 0.781}, {"cluster_overlap_color_matched": 0.9 * 0.779},
        "low-diversity", overlap(78),
    ),
    "thin": (
        {"coverage_color_matched": 0.95 * 0.741}, {"coverage_color_matched": 0.95 * 0.739},
        "low-diversity", "the samples look like the data, but only 74% of the data has a sample nearby",
    ),
    "colors": (
        {"color_distance": 14.38}, {"color_distance": 14.40},
        "artifacts", "colors or values are off: a channel differs from the data by 0.21 standard deviations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sign", SIGNS)
def test_confidence_is_high_far_beyond_the_limit(sign):
    """And the evidence contains the number."""
    shown, clear, word, evidence = SIGNS[sign]

    unsure, sure = (decide(figures(**panel), 1000, None) for panel in (shown, clear))

    assert (unsure.word, unsure.confidence) == (word, "low")
    assert (sure.word, sure.confidence, sure.evidence[0]) == (word, "high", evidence)
    assert all(text.startswith("also: ") for text in sure.evidence[1:])


def test_noise_always_has_high_confidence():
    """No sample resembles the data."""
    text = "no sample resembles the data, and batch std is above that of the reals: the samples look like noise"
    found = decide(figures(**NOTHING, batch_std_ratio=1.26), 1000, None)
    assert found == Verdict("diverged", "high", (text, "also: artifacts"))


def test_confidence_depends_only_on_signs_of_the_verdict():
    """A clear color cast does not count toward `collapsed`; of two signs of one verdict, one is enough."""
    assert decide(figures(unique_fraction=0.1, color_distance=40.0), 1000, None).confidence == "low"
    assert decide(figures(unique_fraction=0.1, batch_std_ratio=0.1), 1000, None).confidence == "high"


def test_evidence_lists_all_signs_of_the_verdict_and_names_other_verdicts_once():
    """Two signs of `memorizing`, and signs of two other verdicts."""
    bad = figures(unique_fraction=0.7, cluster_overlap_color_matched=0.9 * 0.8, train_nearer_fraction=0.4,
                  train_distance_ratio=0.5, color_distance=40.0)  # fmt: skip

    assert decide(bad, 1000, None).evidence == (
        "40% of the samples are nearer to a training sample than 95% of unseen reals are",
        "distance of the samples to the training set is 0.50 times that of unseen reals",
        "also: low-diversity, artifacts",
    )


class TestPale:
    """Washed-out: lower spread and contrast, but the variety of the data is kept."""

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
    def test_effective_rank_decides_if_overlap_is_low(self, changes, word):
        """As many directions as the data, with high precision or very low spread and contrast."""
        assert decide(figures(**changes, cluster_overlap_color_matched=0.5), 1000, None).word == word

    def test_cluster_overlap_does_not_apply_to_washed_out_samples(self):
        """Low contrast lowers the overlap without a loss of modes."""
        hidden = {"cluster_overlap": 0.3, "coverage_color_matched": 0.38, "effective_rank_ratio": 0.6}

        assert decide(figures(**PALE, **hidden), 1000, None).word == "washed-out"
        assert decide(figures(**hidden), 1000, None).word == "collapsed"
        assert decide(figures(**PALE, **hidden), 1000, None).evidence == (
            "batch std is 0.80 and contrast 0.90 times that of the reals",
        )

    @pytest.mark.parametrize(("deep", "word"), [(0.651, "artifacts"), (0.649, "washed-out")])
    def test_blur_lowers_contrast_only_to_a_limit(self, deep, word):
        """With both signs, `washed-out` comes first if the spread is below 0.65."""
        both = decide(figures(batch_std_ratio=deep, contrast_ratio=0.7, spectrum_fine=-1.2), 1000, None)
        assert both.word == word
        assert both.evidence[-1].startswith("also: ")


def test_content_that_replaces_a_cluster_is_an_artifact():
    """Precision below 0.78 and cluster overlap below 0.88."""
    replaced = {"precision": 0.9 * 0.779, "cluster_overlap_color_matched": 0.9 * 0.879}
    found = decide(figures(**replaced), 1000, None)

    assert found.word == "artifacts"
    assert decide(figures(**replaced | {"precision": 0.9 * 0.781}), 1000, None).word == "low-diversity"
    assert decide(figures(**replaced | {"cluster_overlap_color_matched": 0.9 * 0.881}), 1000, None).word == "healthy"


def test_evidence_of_healthy():
    """Spread and coverage; modes first, if they are known."""
    evidence = (
        "batch std of the fakes is 1.00 times that of the reals",
        "95% of the data has a sample nearby (coverage, random features)",
    )
    few = "only 20% of the samples are recognizable, too few to count modes"

    assert decide(figures(), 1000, None) == Verdict("healthy", "high", evidence)
    assert decide(figures(), 1000, ModeCoverage(9, 12, 0.3, 0.0)).evidence == (
        "9 of 12 known modes are covered",
        *evidence,
    )
    assert decide(figures(), 1000, ModeCoverage(9, 12, 0.2, 0.0)) == Verdict("undecided", "low", (*evidence, few))


def test_evidence_of_known_modes():
    """The number of covered modes; the confidence is high."""
    assert decide(figures(), 1000, ModeCoverage(1, 12, 0.9, 0.0)) == Verdict(
        "collapsed", "high", ("1 of 12 known modes are covered",)
    )
    assert decide(figures(), 1000, ModeCoverage(5, 12, 0.9, 0.0)) == Verdict(
        "low-diversity", "high", ("5 of 12 known modes are covered",)
    )


def test_reasons_for_undecided():
    """Too few samples, or identical reals."""
    few, flat = decide(figures(), 63, None), decide([figure("batch_std_ratio", 0.0, 0.0)], 1000, None)

    assert few == Verdict("undecided", "low", ("63 samples per side are too few; 64 are needed",))
    assert flat == Verdict("undecided", "low", ("the reals are all identical",))
    assert decide([], 1000, None) == flat


def test_few_samples_soften_the_evidence():
    """Below 250 per side it says that estimates are rough, unless the verdict is undecided anyway."""
    rough = "rough estimates: 249 samples per side, 250 or more are better"
    for panel in (figures(), figures(unique_fraction=0.01)):
        assert decide(panel, 249, None).evidence[-1] == rough
        assert "rough" not in decide(panel, 250, None).evidence[-1]
    assert "rough" not in decide(figures(), 249, ModeCoverage(9, 12, 0.2, 0.0)).evidence[-1]


def test_a_missing_figure_is_not_a_sign():
    """Points have no spectrum and no contrast; without effective rank, low overlap is still a collapse."""
    spread = figure("batch_std_ratio", 1.0, 1.0)
    assert decide([spread], 1000, None).word == "healthy"
    assert decide([figure("batch_std_ratio", 0.2, 1.0)], 1000, None).word == "collapsed"
    assert decide([figure("batch_std_ratio", 0.84, 1.0)], 1000, None).word == "healthy"
    few = [figure(key, FEW.get(key, HEALTHY[key]), HEALTHY[key]) for key in HEALTHY if key != "effective_rank_ratio"]
    assert decide(few, 1000, None).word == "collapsed"


class TestFiguresByKey:
    def test_relative_divides_by_the_baseline_and_excess_subtracts_it(self):
        """Missing figures give a default: 1 and 0, or the argument."""
        panel = Panel([figure("coverage", 0.4, 0.8), figure("spectrum_fine", 0.5, 0.2), figure("grain", 2.0, 0.0)])

        assert (panel.relative("coverage"), panel.value("coverage")) == (0.5, 0.4)
        assert panel.excess("spectrum_fine") == pytest.approx(0.3)
        assert (panel.relative("grain"), panel.relative("grain", 0.5)) == (1.0, 0.5)
        assert (panel.relative("precision"), panel.relative("precision", 0.25)) == (1.0, 0.25)
        assert (panel.value("precision"), panel.value("precision", 3.0), panel.excess("precision")) == (0.0, 3.0, 0.0)

    def test_the_farthest_channel_counts_by_the_deviation_of_the_reals(self):
        """Computed by hand: (30.5 - 5) / 127.5 / 0.4 = 0.5; the other channel has (56 - 5) / 127.5 / 1."""
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
        """Their figure has another key. Constant reals do not divide by zero; values below the baseline give 0."""
        values = [
            figure("value_distance", 6.0, 5.0, None, None, "1"),
            figure("value_distance", 4.0, 5.0, None, None, "2"),
        ]
        spreads = [
            figure("channel_variance_distance", 0.0, 0.0, None, real, part) for real, part in ((0.0, "1"), (1.0, "2"))
        ]

        assert Panel([*values, *spreads]).colors() == pytest.approx(1 / 127.5 / 1e-6)
        assert Panel([values[1], spreads[1]]).colors() == 0.0
