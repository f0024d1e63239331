"""Every figure of the panel, in one table: its key, what it means, when it is good, and how it is computed.

A figure is known by its key, everywhere: in the verdict, the JSON, the plots, the report and the docs. To add one,
add a line to FIGURES; docs/figures.md is made from it by `python docs/generate.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from gancli.health import Figure
from gancli.results import Progress, silent
from gancli.stats import clusters, frechet, kernel, measures, neighbors
from gancli.stats.batch_std import batch_std, inner_std
from gancli.stats.comparison import Comparison
from gancli.stats.measures import Compute, Measured, color_matched, features, in_clusters, on, ratio_of

KINDS = ("image", "signal", "points")


@dataclass(frozen=True)
class Mark:
    """When a figure is to be watched, and when it is bad, in relation to its baseline."""

    rule: Literal["below", "above", "times", "away"]
    watch: float
    bad: float

    def of(self, value: float, baseline: float) -> str:
        """good, watch or bad; empty where the value is no number."""
        if not isfinite(value):
            return ""
        if self._beyond(self.bad, value, baseline):
            return "bad"
        return "watch" if self._beyond(self.watch, value, baseline) else "good"

    def _beyond(self, limit: float, value: float, baseline: float) -> bool:
        match self.rule:
            case "below":
                return value < limit * baseline
            case "above":
                return value > baseline + limit
            case "times":
                return value > limit * baseline
            case _:
                return abs(value - baseline) > limit

    def __str__(self) -> str:
        """For the docs."""
        rule = {
            "below": "< {} baseline",
            "above": "> baseline + {}",
            "times": "> {} baseline",
            "away": "baseline ± {}",
        }[self.rule]
        return f"{rule.format(f'{self.watch:g}')}; {rule.format(f'{self.bad:g}')}"


def below(watch: float, bad: float) -> Mark:
    """Worse the smaller it is in relation to its baseline."""
    return Mark("below", watch, bad)


def above(watch: float, bad: float) -> Mark:
    """Worse the farther it lies above its baseline, in units of its own."""
    return Mark("above", watch, bad)


def times(watch: float, bad: float) -> Mark:
    """Worse the more often its baseline it is."""
    return Mark("times", watch, bad)


def away(watch: float, bad: float) -> Mark:
    """Worse the farther it lies from its baseline on either side."""
    return Mark("away", watch, bad)


@dataclass(frozen=True)
class FigureSpec:
    """One row of the table."""

    key: str  # stable: scripts and the verdict go by it
    label: str  # for people
    group: str  # one of health.GROUPS
    compute: Compute
    meaning: str  # one sentence
    mark: Mark | None = None  # None: nothing is judged by it
    advice: str = ""  # what to try where the mark is not good
    kinds: tuple[str, ...] = KINDS  # of data that have it
    quick: bool = True  # is it cheap enough for --quick?

    def figures(self, c: Comparison) -> Iterator[Figure]:
        """The figure, or one a part, with group, sentence, mark and, where that is not good, advice."""
        for found in self.compute(c):
            yield self.explained(found)

    def explained(self, found: Measured) -> Figure:
        """A figure of what was measured."""
        mark = self.mark.of(found.value, found.baseline) if self.mark else ""
        return Figure(
            key=self.key,
            part=found.part,
            label=f"{self.label}, {found.part}" if found.part else self.label,
            value=found.value,
            baseline=found.baseline,
            fake=found.fake,
            real=found.real,
            group=self.group,
            note=self.meaning,
            mark=mark,
            advice=self.advice if mark in ("watch", "bad") else "",
        )


def panel(c: Comparison, *, quick: bool = False, progress: Progress = silent) -> tuple[Figure, ...]:
    """Every figure that this comparison has, explained and marked. quick: without the slower ones."""
    wanted = [spec for spec in FIGURES.values() if c.kind in spec.kinds and (spec.quick or not quick)]
    found: list[Figure] = []
    for done, spec in enumerate(wanted):
        progress("comparing", done, len(wanted))
        found += spec.figures(c)
    progress("comparing", len(wanted), len(wanted))
    return tuple(found)


def _table(*specs: FigureSpec) -> dict[str, FigureSpec]:
    table = {spec.key: spec for spec in specs}
    assert len(table) == len(specs), "two figures share a key"
    return table


MORE_VARIED = "minibatch std, more regularization of the critic (R1, R2), more data, or an earlier checkpoint"
LESS_COPYING = "more data, --mirror, a smaller network, or an earlier checkpoint"
TEXTURE = "train longer; bilinear or nearest upsampling before a convolution instead of a strided one"
COLORS = "network.output=bn-clip starts from the data's colors; train longer"
WASHED = "train longer; check that the data was scaled to [-1, 1]; --trunc 1"

PICTURES, NOT_POINTS = ("image",), ("image", "signal")

FIGURES = _table(
    FigureSpec(
        "batch_std_ratio", "batch std ratio", "spread", ratio_of(batch_std),
        "how much samples differ, over how much reals do; near 0 is total collapse", below(0.8, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "critic_feature_std_ratio", "critic feature std ratio", "spread", measures.critic_feature_std_ratio,
        "the same spread on what the critic sees; low where the critic already knows", below(0.6, 0.3),
        MORE_VARIED,
    ),
    FigureSpec(
        "channel_std_ratio", "channel std ratio", "spread", measures.channel_std_ratio,
        "how much samples differ, over how much reals do; near 0 is total collapse", below(0.8, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "contrast_ratio", "contrast ratio", "spread", ratio_of(inner_std),
        "contrast inside a sample, over that of reals", below(0.85, 0.7), WASHED, NOT_POINTS,
    ),
    FigureSpec(
        "effective_rank_ratio", "effective rank ratio", "spread", measures.effective_rank_ratio,
        "in how many directions samples vary, over the reals' number", below(0.8, 0.5), MORE_VARIED,
    ),
    FigureSpec(
        "unique_fraction", "unique fraction", "spread", measures.unique_fraction,
        "samples left when near-copies of one another count once", below(0.9, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "cluster_coverage", "cluster coverage", "spread", in_clusters(color_matched, clusters.kept),
        "share of the data in clusters that the fakes have not all but left", below(0.9, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "cluster_overlap", "cluster overlap", "spread", in_clusters(features, clusters.overlap),
        "what both sides have in common when counted by clusters of the data", below(0.87, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "cluster_overlap_color_matched", "cluster overlap, colors matched", "spread",
        in_clusters(color_matched, clusters.overlap),
        "what both sides have in common when counted by clusters of the data", below(0.87, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "coverage", "coverage", "neighbors", on(features, neighbors.coverage),
        "share of the reals with a fake nearby", below(0.7, 0.3), MORE_VARIED,
    ),
    FigureSpec(
        "coverage_color_matched", "coverage, colors matched", "neighbors", on(color_matched, neighbors.coverage),
        "share of the reals with a fake nearby", below(0.7, 0.3), MORE_VARIED,
    ),
    FigureSpec(
        "recall", "recall", "neighbors", on(features, neighbors.recall),
        "share of the reals inside the fakes' reach", below(0.6, 0.2), MORE_VARIED,
    ),
    FigureSpec(
        "precision", "precision", "neighbors", on(features, neighbors.precision),
        "share of the fakes inside the reals' reach; blurred or pale fakes raise it", below(0.7, 0.3), TEXTURE,
    ),
    FigureSpec(
        "density", "density", "neighbors", on(features, neighbors.density),
        "how deep fakes lie among reals; blurred or pale fakes raise it",
    ),
    FigureSpec(
        "nn_accuracy_reals", "1-NN accuracy, reals", "neighbors", measures.nn_accuracy(0),
        "how often a sample's nearest neighbor is of its own side; .5: cannot be told apart, 1: can, 0: copies",
        away(0.25, 0.4), "read with the others: 1 on the fakes' side alone is repetition or blur",
    ),
    FigureSpec(
        "nn_accuracy_fakes", "1-NN accuracy, fakes", "neighbors", measures.nn_accuracy(1),
        "how often a sample's nearest neighbor is of its own side; .5: cannot be told apart, 1: can, 0: copies",
        away(0.25, 0.4), "read with the others: 1 on the fakes' side alone is repetition or blur",
    ),
    FigureSpec(
        "train_distance_ratio", "distance to the training set", "memorization", measures.train_distance,
        "how far the nearest training sample is, over the same for unseen reals", below(0.8, 0.5), LESS_COPYING,
    ),
    FigureSpec(
        "train_nearer_fraction", "share nearer than unseen reals", "memorization", measures.train_nearer,
        "samples nearer to a training sample than 95 % of unseen reals are", above(0.15, 0.35), LESS_COPYING,
    ),
    FigureSpec(
        "kid_random", "KID, random features", "distance", on(features, kernel.kernel_distance),
        "unbiased kernel distance on fixed random features; 0 is the same distribution", above(0.2, 1.0), TEXTURE,
    ),
    FigureSpec(
        "sliced_wasserstein", "sliced Wasserstein", "distance", measures.texture_by_level,
        "texture at this scale, times 1,000; compare at the same N only", times(1.6, 3.0), TEXTURE, PICTURES,
        quick=False,
    ),
    FigureSpec(
        "fid", "FID", "distance", measures.by_network(frechet.frechet_distance),
        "Frechet distance on the features of your file; compare at the same N only", times(2.0, 5.0), TEXTURE,
        PICTURES,
    ),
    FigureSpec(
        "kid", "KID", "distance", measures.by_network(kernel.kernel_distance),
        "unbiased kernel distance on the features of your file", kinds=PICTURES,
    ),
    FigureSpec(
        "spectrum_distance", "spectrum, mean distance", "texture", measures.spectrum_of(measures.size),
        "distance of the spectra, in powers of ten", above(0.2, 0.5), TEXTURE, NOT_POINTS,
    ),
    FigureSpec(
        "spectrum_fine", "spectrum, fine half", "texture", measures.spectrum_of(measures.fine, shape=True),
        "fine detail beside coarse: below 0 is blur, above is noise, in powers of ten", away(0.3, 0.6), TEXTURE,
        NOT_POINTS,
    ),
    FigureSpec(
        "spectrum_spike", "spectrum, highest spike", "texture", measures.spectrum_of(measures.spike),
        "a line that reals have not: a checkerboard or a grid, in powers of ten", above(0.5, 1.0), TEXTURE,
        NOT_POINTS,
    ),
    FigureSpec(
        "grain", "grain", "texture", measures.grain_distance,
        "distance of the noise in flat areas, in gray levels", above(2.0, 5.0), TEXTURE, PICTURES,
    ),
    FigureSpec(
        "ms_ssim", "MS-SSIM of pairs", "texture", measures.pair_similarity,
        "how alike two samples are; sees near-total collapse within a class", above(0.1, 0.3), MORE_VARIED,
        PICTURES, quick=False,
    ),
    FigureSpec(
        "channel_mean_distance", "mean", "values", measures.channel_moment(0),
        "distance of the means", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "channel_variance_distance", "variance", "values", measures.channel_moment(1),
        "distance of the variances", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "color_distance", "color distance", "values", measures.level_distance,
        "Wasserstein, in gray levels of 255", above(6.0, 20.0), COLORS, PICTURES,
    ),
    FigureSpec(
        "value_distance", "value distance", "values", measures.level_distance,
        "Wasserstein, in 255ths of the data's range", above(6.0, 20.0), COLORS, ("signal", "points"),
    ),
    FigureSpec(
        "pixel_mean_distance", "pixel means", "values", measures.value_moment(0),
        "distance of the means, value by value", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "pixel_variance_distance", "pixel variances", "values", measures.value_moment(1),
        "distance of the variances, value by value", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "saturation", "saturation", "values", measures.saturated,
        "share of values at the ends of the range", above(0.1, 0.4), COLORS,
    ),
    FigureSpec(
        "modes_covered", "known modes covered", "modes", measures.modes_covered,
        "modes with three samples or more", below(0.8, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "recognized_fraction", "recognizable share", "modes", measures.recognized,
        "samples that are of one mode beyond doubt", below(0.5, 0.3), TEXTURE,
    ),
    FigureSpec(
        "reverse_kl", "reverse KL", "modes", measures.reverse_kl,
        "nats; 0 if every mode is drawn equally often", above(0.2, 0.7), MORE_VARIED,
    ),
    FigureSpec(
        "mode_std_ratio", "spread inside a mode", "modes", measures.mode_std_ratio,
        "over the data's own; below 1 is too narrow", below(0.7, 0.4), MORE_VARIED,
    ),
)  # fmt: skip
