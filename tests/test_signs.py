"""The signs of the verdict: one half at the limit, 0 for a perfect generator, and a sentence with the figure."""

import math
import re

import pytest

from gancli.health import Figure, with_fixed
from gancli.stats.signs import SIGNS, Panel, _factor


def test_a_factor_has_no_exponent():
    """Of the spectra, which are in powers of ten."""
    assert [_factor(power) for power in (-1, 0.3, 2.2, 3.5)] == ["0.1", "2", "158", "3,162"]


# By sign: figures (value, baseline, fake, real) that put it exactly at its limit, computed by hand.
AT_LIMIT = {
    "same": {"batch_std_ratio": (2**-2.25, 1.0), "contrast_ratio": (2**-0.25, 1.0)},
    "flat": {"batch_std_ratio": (1.1 * 2**-0.5, 1.1)},
    "loud": {"batch_std_ratio": (1.1 * 2**0.4, 1.1)},
    "pale": {"batch_std_ratio": (2**-0.9, 1.0), "contrast_ratio": (2**-0.3, 1.0)},
    "few": {"unique_fraction": (0.8 * 10**-0.93, 0.8)},
    "repeated": {"unique_fraction": (0.64, 0.8)},
    "close": {"nearest_distance_ratio": (0.6, 1.2)},
    "narrow": {"effective_rank_ratio": (2**-0.6, 1.0)},
    "absent": {"missing_share": (0.1 + 0.8 * 0.9, 0.1)},
    "missing": {"missing_share": (0.1 + 0.15 * 0.9, 0.1)},
    "told": {"classifier_auc": (0.5 + 0.2 * 0.5, 0.5)},
    "bare": {"coverage": (0.3 * 0.9, 0.9)},
    "uncovered": {"coverage": (0.85 * 0.9, 0.9)},
    "uncovered_matched": {"coverage_color_matched": (0.8 * 0.9, 0.9)},
    "foreign": {"foreign_share": (0.2 + 0.15 * 0.8, 0.2)},
    "alien": {"precision": (0.2 * 0.9, 0.9)},
    "imprecise": {"precision": (0.75 * 0.9, 0.9)},
    "distant": {"kernel_distance": (3.1, 0.1)},
    "copied": {"train_nearer_fraction": (0.05 + 0.2 * 0.95, 0.05)},
    "beside": {"train_distance_ratio": (2**-0.7, 1.0)},
    "blurred": {"spectrum_fine": (-0.25, 0.05)},
    "fine": {"spectrum_fine": (0.35, 0.05)},
    "detail": {"spectrum_distance": (0.17, 0.05)},
    "spike": {"spectrum_spike": (0.7, 0.2)},
    "unlike": {"equivalent_resolution": (16.0, 64.0)},
    "leaked": {"leak": (0.11, 0.01)},
    "white": {"roughness": (0.64, 0.0, 0.84, 0.2)},
    "smooth": {"roughness": (-0.06, 0.0, 0.14, 0.2)},
    "tinted": {
        "color_distance": (1.0 + 0.12 * 127.5 * 0.5, 1.0),
        "channel_variance_distance": (0.0, 0.0, 0.0, 0.25),
    },
}
BY_KEY = {sign.key: sign for sign in SIGNS}


def panel(figures):
    return Panel([Figure(key, key, *numbers) for key, numbers in figures.items()])


def scaled(figures, key, factor):
    """The same figures, with the sign's value times a factor; by the formula of a share of what is left."""
    value, baseline = figures[key][:2]
    return figures | {key: (baseline + factor * (value - baseline), baseline, *figures[key][2:])}


def test_every_sign_has_its_limit_here():
    """So that none is left out below."""
    assert AT_LIMIT.keys() == BY_KEY.keys()


@pytest.mark.parametrize("key", AT_LIMIT)
def test_strength_is_one_half_at_the_limit(key):
    """With a baseline that is not that of a perfect figure, where it can differ."""
    assert BY_KEY[key].strength(panel(AT_LIMIT[key])) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("key", "factor", "expected"),
    [
        ("missing", 2.0, 4 / 5),  # the square of the ratio to the limit, r, as r / (1 + r)
        ("missing", 0.5, 1 / 5),
        ("bare", 0.5, 1 / 17),  # the fourth power
        ("absent", 0.5, 1 / 257),  # the eighth
        ("uncovered", 2.0, 4 / 5),
        ("spike", 0.5, 1 / 17),
        ("blurred", 2.0, 16 / 17),
    ],
)
def test_strength_grows_with_a_power(key, factor, expected):
    """Two for most signs, more for those of the extremes."""
    figures = AT_LIMIT[key]
    assert BY_KEY[key].strength(panel(scaled(figures, next(iter(figures)), factor))) == pytest.approx(expected)


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.key)
def test_a_perfect_generator_has_no_sign(sign):
    """Every figure at its baseline; and none of the figures computed."""
    figures = {key: (numbers[1], numbers[1], 3.0, 3.0) for key, numbers in AT_LIMIT[sign.key].items()}
    assert sign.strength(panel(figures)) == 0
    assert sign.strength(panel({})) == 0


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.key)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0])
def test_any_number_has_a_strength(sign, value):
    """From 0 to 1."""
    figures = {key: (value, *numbers[1:]) for key, numbers in AT_LIMIT[sign.key].items()}
    if sign.figure == "roughness":
        figures = {sign.figure: (value, 0.0, value, 0.2)}
    assert 0 <= sign.strength(panel(figures)) <= 1


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.key)
def test_the_sentence_has_the_figure(sign):
    """And no share above 100%."""
    text = sign.text(panel(AT_LIMIT[sign.key]))
    assert re.search(r"\d", text)
    assert all(int(share) <= 100 for share in re.findall(r"(\d+)%", text))
    assert text == text.strip()
    assert not text.endswith(".")


def test_the_farthest_channel_counts():
    """Of several, each by the standard deviation of its own reals."""
    figures = [
        Figure("color_distance", "", 11.0, 1.0, part="red"),
        Figure("color_distance", "", 11.0, 1.0, part="blue"),
        Figure("channel_variance_distance", "", 0.0, 0.0, 0.0, 0.25, part="red"),
        Figure("channel_variance_distance", "", 0.0, 0.0, 0.0, 0.01, part="blue"),
    ]
    assert Panel(figures).colors() == pytest.approx(10 / 127.5 / 0.1)


def test_where_all_looks_foreign_nothing_is_known_to_be_missing():
    """Half of the data, with samples that a classifier finds unlike the data to a growing share."""
    half = {"missing_share": (0.5, 0.0), "classifier_auc": (0.9, 0.5)}
    found = [panel(half | {"foreign_share": (x, 0.0)}) for x in (0.0, 0.2, 0.5)]
    values = {key: [BY_KEY[key].value(each) for each in found] for key in ("absent", "missing", "told")}
    assert values["absent"] == pytest.approx([0.5, 0.5 * 0.8, 0.5 * 0.5])
    assert values["missing"] == pytest.approx([0.5, 0.3 * 0.8, 0.0])
    assert values["told"] == pytest.approx([0.8, 0.8 * 0.64, 0.8 * 0.25])


def test_where_all_is_missing_nothing_is_known_to_be_foreign():
    """Samples of a small generator are told from the data by their texture: both shares are 1."""
    found = [panel({"missing_share": (x, 0.0), "foreign_share": (0.6, 0.0)}) for x in (0.0, 0.5, 1.0)]
    assert [BY_KEY["foreign"].value(each) for each in found] == pytest.approx([0.6, 0.3, 0.0])


@pytest.mark.parametrize("key", ["imprecise", "alien", "distant", "bare"])
def test_fixed_features_go_before_trained_ones(key):
    """To the trained ones no sample of a small generator has a real nearby; the sentence has the same figure."""
    (figure, numbers), sign = next(iter(AT_LIMIT[key].items())), BY_KEY[key]
    both = {figure: (1e9, 1.0), with_fixed(figure): numbers}
    assert sign.strength(panel(both)) == pytest.approx(0.5, abs=1e-6)
    assert sign.text(panel(both)) == sign.text(panel(AT_LIMIT[key]))


def test_an_unknown_key_raises():
    """A figure that was respelled would otherwise never be a sign."""
    with pytest.raises(KeyError):
        Panel([]).relative("coverge")
    with pytest.raises(KeyError):
        Panel([Figure("coverge", "", 1.0, 1.0)])
