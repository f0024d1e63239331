"""The result of `inspect_stats`: verdict, panel, and supporting data. Part of the JSON contract of results.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WORDS = ("healthy", "low-diversity", "collapsed", "memorizing", "washed-out", "artifacts", "diverged", "undecided")

GROUPS = (
    "modes",
    "spread",
    "neighbors",
    "memorization",
    "distance",
    "texture",
    "values",
)  # groups of figures, in display order


@dataclass(frozen=True)
class Figure:
    """One figure of the health panel with its real-against-real baseline."""

    key: str  # stable, such as batch_std_ratio: one of stats.figures.FIGURES
    label: str  # display name, including the part
    value: float  # fakes compared with reals
    baseline: float  # one half of the reals compared with the other, at equal N: the value for a perfect generator
    fake: float | None = None  # the quantity on the fakes alone, if the value is a ratio or a difference
    real: float | None = None  # the same on the reals
    part: str = ""  # channel, pyramid level or network, if the figure has several
    note: str = ""  # meaning, in one sentence
    group: str = "values"  # one of GROUPS
    mark: str = ""  # good, watch or bad; empty if the figure is informational only
    advice: str = ""  # what to try if the mark is watch or bad


def with_fixed(key: str) -> str:
    """The key of a figure that is computed once more with fixed features where its content has trained ones."""
    return f"{key}_fixed"


@dataclass(frozen=True)
class Histogram:
    """Normalized histogram of one channel, in 16 equal bins over [-1, 1]."""

    channel: str
    real: tuple[float, ...]
    fake: tuple[float, ...]


@dataclass(frozen=True)
class Spectrum:
    """Mean power spectrum of both sides, as logarithm to base 10."""

    frequency: tuple[
        float, ...
    ]  # cycles per pixel, or per value of a signal, up to 0.71, the corner of the frequency plane
    real: tuple[float, ...]
    fake: tuple[float, ...]


@dataclass(frozen=True)
class ClassShare:
    """A class of labeled data."""

    name: str
    real: float  # share of the class in the reals
    fake: float  # estimated share in the samples
    judged: bool  # whether it is frequent and recognizable enough to say that it is missing
    missing: bool  # whether the samples lack it


@dataclass(frozen=True)
class Examples:
    """The samples, or reals, in which a figure shows most."""

    figure: str  # key of the figure: foreign_share or missing_share
    side: str  # samples or reals
    ids: tuple[int, ...]  # seeds or indices in the files; row numbers in the data
    pictures: Any = field(default=(), repr=False, compare=False, metadata={"json": False})  # one (H, W, C) uint8 each

    @property
    def caption(self) -> str:
        """What is shown, for a person."""
        return "Samples most unlike the data" if self.side == "samples" else "Data most unlike the samples"


@dataclass(frozen=True)
class Nearest:
    """A sample and its nearest training sample."""

    fake: int  # its seed, or its index in the files
    real: int  # row number in the data
    mirrored: bool  # whether the mirror image of the sample is nearest
    distance: float  # over the median distance of unseen reals


@dataclass(frozen=True)
class Health:
    """The verdict and the panel of one set of samples."""

    verdict: str  # one of WORDS
    confidence: str  # high, low
    evidence: tuple[str, ...]
    panel: tuple[Figure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    spectrum: Spectrum | None = None
    classes: tuple[ClassShare, ...] = ()  # of labeled data, most frequent first
    examples: tuple[Examples, ...] = ()
    nearest: tuple[Nearest, ...] = ()  # the samples that look most like copies, nearest first
    samples: int = 0  # per side
    weights: str = "ema"  # ema, raw, or files if the target is not a checkpoint
    raw_verdict: str | None = None  # verdict on the raw weights
    source: str = ""  # the checkpoint or the files
    reals: str | None = None  # the data that it was compared with
    kind: str = "image"  # image, signal or points
    quick: bool = False  # whether the slower figures were skipped
    right: float | None = None  # share of the verdicts as sure as this that were right, on other data; None: unknown
    compared_by: str = ""  # which features the content was compared by, and how much they see; a sentence
    history: Mapping[str, Any] = field(default_factory=dict)

    @property
    def certainty(self) -> str:
        """The confidence, for a person."""
        share = "" if self.right is None else f": {self.right:.0%} of such verdicts were right on other data"
        return f"confidence {self.confidence}{share}"
