"""What `inspect_stats` returns: panel, verdict, and what both rest on. Part of the JSON contract of results.py."""

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
)  # of figures, as they are shown


@dataclass(frozen=True)
class Figure:
    """One figure of the health panel beside its real-against-real baseline."""

    key: str  # stable, such as batch_std_ratio: one of stats.figures.FIGURES
    label: str  # for people, its part included
    value: float  # fakes against reals
    baseline: float  # one half of the reals against the other, at equal N: what a perfect generator would get
    fake: float | None = None  # the quantity itself, where the value is a ratio or a distance of two
    real: float | None = None
    part: str = ""  # a channel, a level, a network: what one figure of several is of
    note: str = ""  # what it means, in one sentence
    group: str = "values"  # one of GROUPS
    mark: str = ""  # good, watch or bad; empty where nothing is judged by it
    advice: str = ""  # what to try, where the mark is not good


@dataclass(frozen=True)
class Histogram:
    """Values of one channel in 16 equal bins over [-1, 1], as shares."""

    channel: str
    real: tuple[float, ...]
    fake: tuple[float, ...]


@dataclass(frozen=True)
class Spectrum:
    """Mean power of the pictures by spatial frequency, both sides, as its logarithm to base 10."""

    frequency: tuple[float, ...]  # cycles a pixel, 0 to .71: the corner of the plane
    real: tuple[float, ...]
    fake: tuple[float, ...]


@dataclass(frozen=True)
class Nearest:
    """A sample and the training sample that lies nearest to it."""

    fake: int  # its seed, or its place in the set of files
    real: int  # its row in the data
    mirrored: bool  # is it the mirror image that is near?
    distance: float  # over the median distance of reals that were not trained on


@dataclass(frozen=True)
class Health:
    """The panel and the verdict on one set of samples."""

    verdict: str  # one of WORDS
    confidence: str  # high, low
    evidence: tuple[str, ...]
    panel: tuple[Figure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    spectrum: Spectrum | None = None
    nearest: tuple[Nearest, ...] = ()  # the samples that look most like copies, the most suspicious first
    samples: int = 0
    weights: str = "ema"  # ema, raw, or files where no checkpoint was judged
    raw_verdict: str | None = None  # the same judgment on the raw weights
    source: str = ""  # the checkpoint or the files
    reals: str | None = None
    kind: str = "image"  # image, signal or points
    quick: bool = False  # was the slower half of the panel left out?
    history: Mapping[str, Any] = field(default_factory=dict)
