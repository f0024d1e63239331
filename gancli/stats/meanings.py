"""What each figure of the panel means, in one sentence; when it is good; and what to try where it is not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

from gancli.health import Figure

Mark = Callable[[Figure], str]


@dataclass(frozen=True)
class Meaning:
    """Of one figure, or of all whose name starts so."""

    group: str
    note: str
    advice: str = ""
    mark: Mark | None = None


def explained(figure: Figure) -> Figure:
    """The figure with its group, its sentence, its mark and, where that is not good, what to try."""
    meaning = MEANINGS.get(figure.name) or MEANINGS[figure.name.partition(",")[0]]
    mark = meaning.mark(figure) if meaning.mark and isfinite(figure.value) else ""
    advice = meaning.advice if mark in ("watch", "bad") else ""
    return replace(figure, group=meaning.group, note=meaning.note, mark=mark, advice=advice)


def below(watch: float, bad: float) -> Mark:
    """Worse the smaller it is in relation to its floor."""
    return lambda f: _marked(f.value < watch * f.floor, f.value < bad * f.floor)


def above(watch: float, bad: float) -> Mark:
    """Worse the farther it lies above its floor, in units of its own."""
    return lambda f: _marked(f.value > f.floor + watch, f.value > f.floor + bad)


def times(watch: float, bad: float) -> Mark:
    """Worse the more often its floor it is."""
    return lambda f: _marked(f.value > watch * f.floor, f.value > bad * f.floor)


def away(watch: float, bad: float) -> Mark:
    """Worse the farther it lies from its floor on either side."""
    return lambda f: _marked(abs(f.value - f.floor) > watch, abs(f.value - f.floor) > bad)


def _marked(watch: bool, bad: bool) -> str:
    return "bad" if bad else "watch" if watch else "good"


MORE_VARIED = "minibatch std, more regularisation of the critic (R1, R2), more data, or an earlier checkpoint"
LESS_COPYING = "more data, --mirror, a smaller network, or an earlier checkpoint"
TEXTURE = "train longer; bilinear or nearest upsampling before a convolution instead of a strided one"
COLOURS = "network.output=bn-clip starts from the data's colours; train longer"
WASHED = "train longer; check that the data was scaled to [-1, 1]; --trunc 1"

MEANINGS = {
    "batch std ratio": Meaning(
        "spread",
        "how much samples differ, over how much reals do; near 0 is total collapse",
        MORE_VARIED,
        below(0.8, 0.6),
    ),
    "contrast ratio": Meaning("spread", "contrast inside a sample, over that of reals", WASHED, below(0.85, 0.7)),
    "critic feature std ratio": Meaning(
        "spread",
        "the same spread on what the critic sees; low where the critic already knows",
        MORE_VARIED,
        below(0.6, 0.3),
    ),
    "effective rank ratio": Meaning(
        "spread", "in how many directions samples vary, over the reals' number", MORE_VARIED, below(0.8, 0.5)
    ),
    "distinct share": Meaning(
        "spread", "samples left when near-copies of one another count once", MORE_VARIED, below(0.9, 0.6)
    ),
    "parts kept": Meaning(
        "spread", "share of the data in parts that the fakes have not all but left", MORE_VARIED, below(0.9, 0.6)
    ),
    "parts overlap": Meaning(
        "spread", "what both sides have in common when counted by parts of the data", MORE_VARIED, below(0.87, 0.6)
    ),
    "coverage": Meaning("neighbours", "share of the reals with a fake nearby", MORE_VARIED, below(0.7, 0.3)),
    "recall": Meaning("neighbours", "share of the reals inside the fakes' reach", MORE_VARIED, below(0.6, 0.2)),
    "precision": Meaning(
        "neighbours",
        "share of the fakes inside the reals' reach; blurred or pale fakes raise it",
        TEXTURE,
        below(0.7, 0.3),
    ),
    "density": Meaning("neighbours", "how deep fakes lie among reals; blurred or pale fakes raise it"),
    "1-NN accuracy": Meaning(
        "neighbours",
        "how often a sample's nearest neighbour is of its own side; .5: cannot be told apart, 1: can, 0: copies",
        "read with the others: 1 on the fakes' side alone is repetition or blur",
        away(0.25, 0.4),
    ),
    "kernel distance": Meaning(
        "distance", "KID on fixed random features; 0 is the same distribution", TEXTURE, above(0.2, 1.0)
    ),
    "Frechet distance": Meaning(
        "distance", "FID on the features of your file; compare at the same N only", TEXTURE, times(2.0, 5.0)
    ),
    "KID": Meaning("distance", "unbiased kernel distance on the features of your file"),
    "sliced Wasserstein": Meaning(
        "distance", "texture at this scale, times 1,000; compare at the same N only", TEXTURE, times(1.6, 3.0)
    ),
    "distance to the training set": Meaning(
        "copies",
        "how far the nearest training sample is, over the same for unseen reals",
        LESS_COPYING,
        below(0.8, 0.5),
    ),
    "share nearer than unseen reals": Meaning(
        "copies", "samples nearer to a training sample than 95 % of unseen reals are", LESS_COPYING, above(0.15, 0.35)
    ),
    "spectrum": Meaning("texture", "distance of the spectra, in powers of ten", TEXTURE, above(0.2, 0.5)),
    "spectrum, fine half": Meaning(
        "texture",
        "fine detail beside coarse: below 0 is blur, above is noise, in powers of ten",
        TEXTURE,
        away(0.3, 0.6),
    ),
    "spectrum, highest spike": Meaning(
        "texture", "a line that reals have not: a checkerboard or a grid, in powers of ten", TEXTURE, above(0.5, 1.0)
    ),
    "grain": Meaning("texture", "distance of the noise in flat areas, in grey levels", TEXTURE, above(2.0, 5.0)),
    "MS-SSIM of pairs": Meaning(
        "texture", "how alike two samples are; sees near-total collapse within a class", MORE_VARIED, above(0.1, 0.3)
    ),
    "mean": Meaning("values", "distance of the means", COLOURS, above(0.05, 0.15)),
    "variance": Meaning("values", "distance of the variances", COLOURS, above(0.05, 0.15)),
    "colour distance": Meaning("values", "Wasserstein, in grey levels of 255", COLOURS, above(6.0, 20.0)),
    "value distance": Meaning("values", "Wasserstein, in 255ths of the data's range", COLOURS, above(6.0, 20.0)),
    "pixel means": Meaning("values", "distance of the means, value by value", COLOURS, above(0.05, 0.15)),
    "pixel variances": Meaning("values", "distance of the variances, value by value", COLOURS, above(0.05, 0.15)),
    "saturation": Meaning("values", "share of values at the ends of the range", COLOURS, above(0.1, 0.4)),
    "known modes covered": Meaning("modes", "modes with three samples or more", MORE_VARIED, below(0.8, 0.6)),
    "recognisable share": Meaning("modes", "samples that are of one mode beyond doubt", TEXTURE, below(0.5, 0.3)),
    "reverse KL": Meaning("modes", "nats; 0 if every mode is drawn equally often", MORE_VARIED, above(0.2, 0.7)),
    "spread inside a mode": Meaning(
        "modes", "over the data's own; below 1 is too narrow", MORE_VARIED, below(0.7, 0.4)
    ),
}
