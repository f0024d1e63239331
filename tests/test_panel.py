import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gancli.health import GROUPS
from gancli.stats import signs
from gancli.stats.comparison import Comparison, Reference
from gancli.stats.evaluate import channel_histograms, spectrum_curves
from gancli.stats.figures import FIGURES, KINDS, panel
from gancli.stats.measures import Measured
from gancli.stats.signs import SIGNS
from gancli.stats.verdict import decide


def by_key(figures):
    """The figures by (key, part), or by key if there is no part."""
    return {(figure.key, figure.part) if figure.part else figure.key: figure for figure in figures}


def pictures(n, seed=0, channels=3, size=16, low=-1.0, high=1.0):
    """Smooth, distinct images in whole gray levels."""
    coarse = torch.from_numpy(np.random.RandomState(seed).uniform(low, high, (n, channels, 4, 4))).float()
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return x.add(1).mul(127.5).round().div(127.5).sub(1)


def compared(fakes, n=300, kind="image", **more):
    channels = fakes.shape[1]
    halves = (pictures(n, 1, channels), pictures(n, 2, channels)) if kind == "image" else more.pop("halves")
    return Comparison(fakes, Reference(*halves, kind, **more))


class TestPanel:
    def test_independent_samples_are_near_their_baselines(self):
        """Fakes from the distribution of the reals: all figures are near their baselines, none is marked."""
        figures = panel(compared(pictures(300)))

        assert {figure.mark for figure in figures} <= {"good", ""}
        assert by_key(figures)["batch_std_ratio"].value == pytest.approx(1, abs=0.05)
        assert by_key(figures)["unique_fraction"].value > 0.98
        assert by_key(figures)["kernel_distance"].value == pytest.approx(0, abs=0.1)

    def test_a_color_cast_shows_in_its_channel_alone(self):
        """Red + 40 gray levels."""
        cast = pictures(300, low=-0.6, high=0.4)
        halves = pictures(300, 1, low=-0.6, high=0.4), pictures(300, 2, low=-0.6, high=0.4)
        cast[:, 0] += 40 / 127.5

        figures = panel(Comparison(cast, Reference(*halves)))

        assert by_key(figures)["color_distance", "red"].value == pytest.approx(40, abs=2)
        assert by_key(figures)["color_distance", "red"].mark == "bad"
        assert by_key(figures)["color_distance", "blue"].value < 3
        assert by_key(figures)["coverage_color_matched"].value > 2 * by_key(figures)["coverage"].value

    def test_the_quick_panel_has_the_same_figures_but_the_slow_ones(self):
        """--quick does not change the value of a figure."""
        both = replace(compared(pictures(100), n=100), critic=lambda x: x)
        quick, full = (panel(both, quick=flag) for flag in (True, False))
        assert by_key(quick).items() <= by_key(full).items()
        slow = {"sliced_wasserstein", "ms_ssim", "critic_feature_std_ratio"}
        assert {f.key for f in full} - {f.key for f in quick} == slow

    def test_the_features_of_a_critic_that_changes_nothing_are_the_samples(self):
        """So their ratio of batch stds is that of the samples."""
        found = by_key(panel(replace(compared(pictures(100), n=100), critic=lambda x: x)))
        assert found["critic_feature_std_ratio"].value == pytest.approx(found["batch_std_ratio"].value)

    def test_copies_are_figures_where_the_training_set_is_at_hand(self):
        """A set of copies is marked bad."""
        train = pictures(300, 5)
        bytes_ = train.add(1).mul(127.5).byte()
        found = by_key(panel(compared(train[:100], n=100, train=bytes_, unseen=None)))
        assert found["train_nearer_fraction"].value > 0.95
        assert found["train_nearer_fraction"].mark == "bad"
        assert not [f for f in panel(compared(train[:100], n=100)) if f.group == "memorization"]

    @pytest.mark.parametrize("size", [(4, 4), (7, 5), (20, 33), (45, 45), (8, 30), (64, 65)])
    def test_any_size_of_picture_is_taken(self, size):
        """Odd, wide and very small ones."""
        draws = [torch.rand(70, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in range(3)]
        figures = panel(Comparison(draws[0], Reference(draws[1], draws[2])))
        assert all(np.isfinite(figure.value) for figure in figures)
        assert decide(figures, 70, None).word == "healthy"

    def test_padding_of_signals_is_not_amplified(self):
        """Small noise at positions that are always zero does not affect the verdict."""
        draws = [torch.randn(150, 1, 30, generator=torch.Generator().manual_seed(seed)) * 0.3 for seed in range(3)]
        for x in draws:
            x[..., 20:] = 0
        draws[0][..., 20:] = 1e-3 * torch.randn(150, 1, 10)
        figures = panel(Comparison(draws[0], Reference(*draws[1:], kind="signal")))
        assert decide(figures, 150, None).word == "healthy"

    def test_gray_pictures_have_one_channel(self):
        """Its name is gray."""
        gray = compared(pictures(80, channels=1), n=80)
        assert [h.channel for h in channel_histograms(gray)] == ["gray"]
        assert not [f for f in panel(gray) if f.part == "red"]

    @pytest.mark.parametrize(("kind", "shape"), [("signal", (2, 40)), ("points", (2,))])
    def test_signals_and_points_have_the_panel_that_makes_sense(self, kind, shape):
        """Both have neighbors and values; neither has image texture, and points have no contrast."""
        draws = [
            torch.randn(150, *shape, generator=torch.Generator().manual_seed(seed)).mul(0.3).clamp(-1, 1)
            for seed in range(3)
        ]
        found = panel(compared(draws[0], kind=kind, halves=draws[1:]))
        keys = {f.key for f in found}
        assert {"coverage", "unique_fraction", "nn_accuracy_fakes", "value_distance"} <= keys
        assert by_key(found)["value_distance", "axis 1" if kind == "points" else "channel 1"].value < 30
        assert not keys & {"grain", "ms_ssim", "color_distance"}
        assert ("contrast_ratio" in keys) == ("spectrum_fine" in keys) == (kind == "signal")

    def test_the_spectrum_is_given_for_curves(self):
        """Three columns of equal length, up to the corner of the frequency plane."""
        found = spectrum_curves(compared(pictures(50), n=50))
        assert len(found.frequency) == len(found.real) == len(found.fake)
        assert max(found.frequency) > 0.6


ASKED = sorted({sign.figure for sign in SIGNS} | set(re.findall(r'p\.\w+\("(\w+)"', Path(signs.__file__).read_text())))


def dots(n, seed, cut=0.01, size=32, sigma=2.5):
    """Smooth dots on black; only the few that are cut off at the upper edge have fine detail."""
    draw = np.random.RandomState(seed)
    at = np.arange(size) + 0.5
    middles = draw.uniform(0.3 * size, 0.7 * size, (n, 2))
    middles[:, 0] = np.where(draw.rand(n) < cut, draw.uniform(0, 3, n), middles[:, 0])
    down, right = (np.exp(-((at[None] - middles[:, i, None]) ** 2) / (2 * sigma**2)) for i in (0, 1))
    x = torch.from_numpy(down[:, :, None] * right[:, None]).float()[:, None]
    return x.mul(255).round().div(127.5).sub(1)


@pytest.mark.parametrize("seed", range(4))
def test_dots_with_almost_no_fine_detail_are_not_artifacts(seed):
    """Differences at frequencies where the reals have almost no power are ignored."""
    compared = Comparison(dots(200, 3 * seed), Reference(dots(200, 3 * seed + 1), dots(200, 3 * seed + 2)))
    assert decide(panel(compared, quick=True), 200, None).word == "healthy"


class TestTheTable:
    def test_every_figure_has_a_sentence_and_a_group(self):
        """And each figure with a mark has advice."""
        assert {spec.group for spec in FIGURES.values()} == set(GROUPS)
        for key, spec in FIGURES.items():
            assert re.fullmatch(r"[a-z][a-z0-9_]*", key)
            assert len(spec.meaning) > 10
            assert spec.advice or spec.mark is None
            assert set(spec.kinds) <= set(KINDS)

    @pytest.mark.parametrize("key", ASKED)
    def test_the_verdict_asks_for_figures_that_are_there(self, key):
        """All keys used in its rules."""
        assert key in FIGURES

    @pytest.mark.parametrize(
        ("key", "value", "baseline", "mark"),
        [
            ("coverage", 0.9, 0.97, "good"), ("coverage", 0.5, 0.97, "watch"), ("coverage", 0.1, 0.97, "bad"),
            ("kernel_distance", 0.1, 0.0, "good"), ("kernel_distance", 2.0, 0.0, "bad"),
            ("nn_accuracy_fakes", 0.52, 0.5, "good"), ("nn_accuracy_fakes", 1.0, 0.5, "bad"),
            ("nn_accuracy_reals", 0.0, 0.5, "bad"), ("sliced_wasserstein", 40.0, 10.0, "bad"),
            ("density", 3.0, 1.0, ""),
            ("equivalent_resolution", 17.0, 64.0, "good"), ("equivalent_resolution", 15.0, 64.0, "watch"),
            ("equivalent_resolution", 15.0, 28.0, "good"), ("equivalent_resolution", 13.0, 28.0, "watch"),
            ("equivalent_resolution", 7.0, 64.0, "bad"),
        ],
    )  # fmt: skip
    def test_marks_go_by_the_baseline(self, key, value, baseline, mark):
        """A value at the baseline is good."""
        figure = FIGURES[key].explained(Measured(value, baseline))
        assert figure.mark == mark
        assert bool(figure.advice) == (mark in ("watch", "bad"))


def test_signals_of_one_value_have_no_spectrum():
    """And the other figures are there."""
    draw = [torch.from_numpy(np.random.RandomState(seed).randn(300, 1, 1)).float() for seed in range(3)]
    found = by_key(panel(compared(draw[0], kind="signal", halves=draw[1:]), quick=True))
    assert "batch_std_ratio" in found
    assert not [figure for figure in found.values() if figure.key.startswith("spectrum")]


def test_a_value_that_is_not_finite_has_no_mark():
    """It has no mark."""
    assert FIGURES["reverse_kl"].explained(Measured(float("nan"), 0.0)).mark == ""
