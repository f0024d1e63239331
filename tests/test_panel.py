import numpy as np
import pytest
import torch

from gancli.health import GROUPS, WORDS, Figure
from gancli.stats import verdict
from gancli.stats.meanings import MEANINGS, explained
from gancli.stats.modes import Coverage
from gancli.stats.panel import channel_histograms, copy_figures, panel, spectrum_of, value_of
from gancli.stats.sides import Reference, Sides
from gancli.stats.verdict import by_spread, judge


def pictures(n, seed=0, channels=3, size=16, low=-1.0, high=1.0):
    """Smooth pictures, all different, in whole grey levels."""
    coarse = torch.from_numpy(np.random.RandomState(seed).uniform(low, high, (n, channels, 4, 4))).float()
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return x.add(1).mul(127.5).round().div(127.5).sub(1)


def sides(fakes, n=300, kind="image", **more):
    channels = fakes.shape[1]
    halves = (pictures(n, 1, channels), pictures(n, 2, channels)) if kind == "image" else more.pop("halves")
    return Sides(fakes, Reference(*halves, kind, **more))


class TestPanel:
    def test_honest_samples_read_as_their_floor(self):
        """Fakes drawn like the reals: every figure near that of another half, none marked."""
        figures = panel(sides(pictures(300)))

        assert {figure.mark for figure in figures} <= {"good", ""}
        assert value_of(figures, "batch std ratio").value == pytest.approx(1, abs=0.05)
        assert value_of(figures, "distinct share").value > 0.98
        assert value_of(figures, "kernel distance").value == pytest.approx(0, abs=0.1)

    def test_a_colour_cast_shows_in_its_channel_alone(self):
        """Red + 40 grey levels."""
        cast = pictures(300, low=-0.6, high=0.4)
        halves = pictures(300, 1, low=-0.6, high=0.4), pictures(300, 2, low=-0.6, high=0.4)
        cast[:, 0] += 40 / 127.5

        figures = panel(Sides(cast, Reference(*halves)))

        assert value_of(figures, "colour distance, red").value == pytest.approx(40, abs=2)
        assert value_of(figures, "colour distance, red").mark == "bad"
        assert value_of(figures, "colour distance, blue").value < 3
        assert value_of(figures, "coverage, colours matched").value > 2 * value_of(figures, "coverage").value

    def test_the_quick_panel_has_the_same_figures_but_the_slow_ones(self):
        """No figure changes its value by being asked for quickly."""
        both = sides(pictures(100), n=100)
        quick, full = ({f.name: f for f in panel(both, quick=flag)} for flag in (True, False))
        assert quick.items() <= full.items()
        assert {name.partition(",")[0] for name in full.keys() - quick.keys()} == {
            "sliced Wasserstein", "MS-SSIM of pairs"
        }  # fmt: skip

    def test_copies_are_figures_where_the_training_set_is_at_hand(self):
        """A set made of it reads 0 and 1."""
        train = pictures(300, 5)
        bytes_ = train.add(1).mul(127.5).byte()
        found = {f.name: explained(f) for f in copy_figures(sides(train[:100], n=100, train=bytes_, unseen=None))}
        assert found["share nearer than unseen reals"].value > 0.95
        assert found["share nearer than unseen reals"].mark == "bad"
        assert copy_figures(sides(train[:100], n=100)) == []

    @pytest.mark.parametrize("size", [(4, 4), (7, 5), (20, 33), (45, 45), (8, 30), (64, 65)])
    def test_any_size_of_picture_is_taken(self, size):
        """Odd ones, flat ones, those of a network that has hardly grown."""
        draws = [torch.rand(70, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in range(3)]
        figures = panel(Sides(draws[0], Reference(draws[1], draws[2])))
        assert all(np.isfinite(figure.value) for figure in figures)
        assert judge(figures, 70, None).word == "healthy"

    def test_padding_of_signals_is_not_made_more_of(self):
        """Positions that are always zero do not decide, whatever small noise a generator has there."""
        draws = [torch.randn(150, 1, 30, generator=torch.Generator().manual_seed(seed)) * 0.3 for seed in range(3)]
        for x in draws:
            x[..., 20:] = 0
        draws[0][..., 20:] = 1e-3 * torch.randn(150, 1, 10)
        figures = panel(Sides(draws[0], Reference(*draws[1:], kind="signal")))
        assert judge(figures, 150, None).word == "healthy"

    def test_grey_pictures_have_one_channel(self):
        """And no colour names."""
        grey = sides(pictures(80, channels=1), n=80)
        assert [h.channel for h in channel_histograms(grey)] == ["grey"]
        assert not [f for f in panel(grey) if "red" in f.name]

    @pytest.mark.parametrize(("kind", "shape"), [("signal", (2, 40)), ("points", (2,))])
    def test_signals_and_points_have_the_panel_that_makes_sense(self, kind, shape):
        """Neighbours and values of both; no texture of either, no contrast inside a point."""
        draws = [
            torch.randn(150, *shape, generator=torch.Generator().manual_seed(seed)).mul(0.3).clamp(-1, 1)
            for seed in range(3)
        ]
        names = {f.name for f in panel(sides(draws[0], kind=kind, halves=draws[1:]))}
        assert {"coverage", "distinct share", "1-NN accuracy, fakes", "value distance, " + (
            "axis 1" if kind == "points" else "channel 1"
        )} <= names  # fmt: skip
        assert not any("grain" in name or "SSIM" in name for name in names)
        assert ("contrast ratio" in names) == ("spectrum, fine half" in names) == (kind == "signal")

    def test_the_spectrum_is_given_for_curves(self):
        """Three equal columns, up to the corner of the plane."""
        found = spectrum_of(sides(pictures(50), n=50))
        assert len(found.frequency) == len(found.real) == len(found.fake)
        assert max(found.frequency) > 0.6


class TestMeanings:
    def test_every_figure_has_a_sentence_and_a_group(self):
        """Nobody is left alone with a number; and a mark that is not good comes with what to try."""
        assert {meaning.group for meaning in MEANINGS.values()} <= set(GROUPS)
        for meaning in MEANINGS.values():
            assert len(meaning.note) > 10
            assert meaning.advice or meaning.mark is None

    @pytest.mark.parametrize(
        ("name", "value", "floor", "mark"),
        [
            ("coverage", 0.9, 0.97, "good"), ("coverage", 0.5, 0.97, "watch"), ("coverage", 0.1, 0.97, "bad"),
            ("kernel distance", 0.1, 0.0, "good"), ("kernel distance", 2.0, 0.0, "bad"),
            ("1-NN accuracy, fakes", 0.52, 0.5, "good"), ("1-NN accuracy, fakes", 1.0, 0.5, "bad"),
            ("1-NN accuracy, reals", 0.0, 0.5, "bad"), ("sliced Wasserstein, 16 px", 40.0, 10.0, "bad"),
            ("density", 3.0, 1.0, ""),
        ],
    )  # fmt: skip
    def test_marks_go_by_the_floor(self, name, value, floor, mark):
        """What is good is what a perfect generator would get."""
        figure = explained(Figure(name, value, floor))
        assert figure.mark == mark
        assert bool(figure.advice) == (mark in ("watch", "bad"))


def test_what_is_no_number_is_not_good():
    """Nor bad: nothing is known."""
    assert explained(Figure("reverse KL", float("nan"), 0.0)).mark == ""


HEALTHY = {
    "batch std ratio": 1.0, "contrast ratio": 1.0, "distinct share": 1.0, "parts overlap": 0.9,
    "parts overlap, colours matched": 0.9, "coverage": 0.95, "coverage, colours matched": 0.95, "precision": 0.9,
    "effective rank ratio": 1.0,
}  # fmt: skip
ADDED = {
    "share nearer than unseen reals": (0.05, 0.05), "distance to the training set": (1.0, 1.0),
    "spectrum, fine half": (0.0, 0.0),
    "spectrum, highest spike": (0.05, 0.05), "grain": (0.0, 0.0), "colour distance, grey": (1.0, 1.0),
    "variance, grey": (0.0, 0.0),
}  # fmt: skip


def figures(**changes):
    """A healthy panel with other values, by names with _ for spaces and __ for commas."""
    changed = {key.replace("__", ", ").replace("_", " ").replace("1 NN", "1-NN"): v for key, v in changes.items()}
    made = [Figure(name, changed.pop(name, floor), floor) for name, floor in HEALTHY.items()]
    for name, (usual, floor) in ADDED.items():
        value = changed.pop(name, usual)
        made.append(Figure(name, value, floor, value if name == "grain" else None, 0.0 if name == "grain" else 0.25))
    assert not changed, changed
    return made


class TestVerdict:
    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({}, "healthy"),
            ({"batch_std_ratio": 0.06}, "collapsed"),
            ({"distinct_share": 0.05}, "collapsed"),
            ({"distinct_share": 0.5}, "low diversity"),
            ({"parts_overlap": 0.2, "coverage__colours_matched": 0.2, "effective_rank_ratio": 0.3}, "collapsed"),
            ({"parts_overlap": 0.2, "coverage__colours_matched": 0.2}, "artefacts"),
            ({"parts_overlap": 0.6, "parts_overlap__colours_matched": 0.6}, "low diversity"),
            ({"share_nearer_than_unseen_reals": 0.9}, "memorising"),
            ({"distance_to_the_training_set": 0.3}, "memorising"),
            ({"batch_std_ratio": 0.5, "contrast_ratio": 0.5}, "washed out"),
            ({"batch_std_ratio": 0.25, "contrast_ratio": 0.25}, "washed out"),
            ({"batch_std_ratio": 0.3, "contrast_ratio": 0.6, "parts_overlap": 0.1,
              "parts_overlap__colours_matched": 0.5, "coverage__colours_matched": 0.3}, "washed out"),
            ({"batch_std_ratio": 0.2, "contrast_ratio": 0.5}, "washed out"),
            ({"coverage__colours_matched": 0.8}, "low diversity"),
            ({"coverage__colours_matched": 0.8, "precision": 0.75}, "healthy"),
            ({"grain": 12.0}, "artefacts"),
            ({"spectrum__fine_half": -1.2}, "artefacts"),
            ({"spectrum__fine_half": 0.9}, "artefacts"),
            ({"spectrum__highest_spike": 3.0}, "artefacts"),
            ({"colour_distance__grey": 30.0}, "artefacts"),
            ({"precision": 0.01, "coverage__colours_matched": 0.01, "coverage": 0.01}, "artefacts"),
            ({"coverage": 0.0, "precision": 0.0, "batch_std_ratio": 1.7}, "diverged"),
        ],
    )  # fmt: skip
    def test_one_word_for_what_is_wrong(self, changes, word):
        """Each sign by itself."""
        found = judge(figures(**changes), 1000, None)
        assert found.word == word
        assert found.word in WORDS
        assert found.evidence

    def test_few_samples_decide_nothing(self):
        """Whatever they look like; and what is decided on few is not sure."""
        assert judge(figures(distinct_share=0.01), 40, None).word == "undecided"
        assert judge(figures(distinct_share=0.01), 100, None).confidence == "low"
        assert judge(figures(distinct_share=0.01), 1000, None).confidence == "high"

    def test_reals_that_do_not_differ_decide_nothing(self):
        """A floor of zero is no measure."""
        flat = [Figure("batch std ratio", 0.0, 0.0)]
        assert judge(flat, 1000, None).word == "undecided"

    @pytest.mark.parametrize(
        ("known", "word"),
        [
            (Coverage(12, 12, 0.8, 0.0), "healthy"),
            (Coverage(9, 12, 0.8, 0.2), "healthy"),
            (Coverage(6, 12, 0.8, 0.7), "low diversity"),
            (Coverage(1, 12, 0.9, 2.48), "collapsed"),
            (Coverage(0, 12, 0.05, float("nan")), "undecided"),
        ],
    )
    def test_known_modes_are_counted(self, known, word):
        """At most a tenth is collapsed, at most six tenths low diversity; where few are recognised nothing is."""
        assert judge(figures(), 1000, known).word == word

    def test_known_modes_stand_in_for_parts_of_the_data(self):
        """Where modes can be counted nothing is guessed."""
        lost = figures(parts_overlap=0.6, parts_overlap__colours_matched=0.6)
        few = figures(
            parts_overlap=0.4,
            parts_overlap__colours_matched=0.4,
            coverage__colours_matched=0.4,
            effective_rank_ratio=0.4,
        )
        for guessed, word in ((lost, "low diversity"), (few, "collapsed")):
            assert judge(guessed, 1000, None).word == word
            assert judge(guessed, 1000, Coverage(12, 12, 0.8, 0.0)).word == "healthy"

    def test_the_gravest_word_wins_and_the_others_are_told(self):
        """Copies of few samples in pale colours."""
        found = judge(figures(distinct_share=0.02, colour_distance__grey=40.0), 1000, None)
        assert found.word == "collapsed"
        assert found.evidence[-1] == "also: artefacts"

    def test_everything_is_judged_against_its_floor(self):
        """A set that is half duplicates is not blamed on the generator."""
        halved = [Figure(f.name, 0.5, 0.52) if f.name == "distinct share" else f for f in figures()]
        assert judge(halved, 1000, None).word == "healthy"

    def test_a_list_of_runs_goes_by_the_spread(self):
        """The two limits that the alarms of training have."""
        assert [by_spread(ratio) for ratio in (0.1, 0.5, 0.9)] == ["collapsed", "low diversity", "healthy"]

    def test_limits_can_be_changed_to_calibrate_them(self):
        """As the benchmark does."""
        strict = verdict.Limits(fine=0.01)
        assert judge(figures(spectrum__fine_half=-0.05), 1000, None, strict).word == "artefacts"
