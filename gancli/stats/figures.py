"""Every figure of the panel in one table: its key, meaning, thresholds, and how it is computed.

The verdict, the JSON, the plots, the report and the docs all refer to a figure by its key. To add one, add a line to
FIGURES; `python docs/generate.py` generates docs/figures.md from it. The file is long because the table is.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Literal

from gancli.health import Figure, with_fixed
from gancli.results import Progress, silent
from gancli.stats import clusters, frechet, kernel, likeness, measures, neighbors
from gancli.stats.batch_std import batch_std, contrast
from gancli.stats.comparison import Comparison
from gancli.stats.measures import Compute, Measured, color_matched, content, fixed, in_clusters, on, ratio_of

KINDS = ("image", "signal", "points")


@dataclass(frozen=True)
class Mark:
    """Thresholds of a figure, relative to its baseline: `watch`, then `bad`."""

    rule: Literal["below", "above", "times", "away"]
    watch: float
    bad: float
    most: float = inf  # of the baseline: a larger one counts as this

    def of(self, value: float, baseline: float) -> str:
        """good, watch or bad; an empty string if the value is not finite."""
        if not isfinite(value):
            return ""
        if self._beyond(self.bad, value, baseline):
            return "bad"
        return "watch" if self._beyond(self.watch, value, baseline) else "good"

    def _beyond(self, limit: float, value: float, baseline: float) -> bool:
        match self.rule:
            case "below":
                return value < limit * min(baseline, self.most)
            case "above":
                return value > baseline + limit
            case "times":
                return value > limit * baseline
            case _:
                return abs(value - baseline) > limit

    def __str__(self) -> str:
        """The thresholds as text, for the docs."""
        rule = {
            "below": "< {} baseline",
            "above": "> baseline + {}",
            "times": "> {} baseline",
            "away": "baseline ± {}",
        }[self.rule]
        capped = f"; baseline at most {self.most:g}" if isfinite(self.most) else ""
        return f"{rule.format(f'{self.watch:g}')}; {rule.format(f'{self.bad:g}')}{capped}"


def below(watch: float, bad: float, most: float = inf) -> Mark:
    """Lower is worse. Thresholds are multiples of the baseline, or of `most` if that is smaller."""
    return Mark("below", watch, bad, most)


def above(watch: float, bad: float) -> Mark:
    """Higher is worse. Thresholds are added to the baseline."""
    return Mark("above", watch, bad)


def times(watch: float, bad: float) -> Mark:
    """Higher is worse. Thresholds are multiples of the baseline."""
    return Mark("times", watch, bad)


def away(watch: float, bad: float) -> Mark:
    """Farther from the baseline, in either direction, is worse. Thresholds are distances from it."""
    return Mark("away", watch, bad)


@dataclass(frozen=True)
class FigureSpec:
    """One row of the table."""

    key: str  # stable: scripts and the verdict refer to it
    label: str  # shown to users
    group: str  # one of health.GROUPS
    compute: Compute
    meaning: str  # one sentence
    mark: Mark | None = None  # None: informational only
    advice: tuple[str, ...] = ()  # what to try if the mark is watch or bad: alternatives
    kinds: tuple[str, ...] = KINDS  # kinds of data that it is computed for
    quick: bool = True  # cheap enough for --quick?
    content: bool = False  # computed on the features of content: trained ones if there are any

    def figures(self, c: Comparison) -> Iterator[Figure]:
        """The figure, or one per part, with its group, meaning, mark and, if the mark is not good, advice."""
        for found in self.compute(c):
            yield self.explained(found)

    def explained(self, found: Measured) -> Figure:
        """The figure of one measurement."""
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
            advice=", or ".join(self.advice) if mark in ("watch", "bad") else "",
        )


def panel(c: Comparison, *, quick: bool = False, progress: Progress = silent) -> tuple[Figure, ...]:
    """All figures of a comparison, with meanings and marks. quick: skip the slower ones."""
    wanted = [spec for spec in FIGURES.values() if c.kind in spec.kinds and (spec.quick or not quick)]
    found: list[Figure] = []
    for done, spec in enumerate(wanted):
        progress("comparing", done, len(wanted))
        found += spec.figures(c)
    progress("comparing", len(wanted), len(wanted))
    return tuple(found)


def advised(figures: Sequence[Figure], used: Container[str]) -> tuple[Figure, ...]:
    """The figures with advice that leaves out what is used already, such as MINIBATCH_STD."""
    found = []
    for figure in figures:
        left = [text for text in FIGURES[figure.key].advice if text not in used]
        found.append(replace(figure, advice=", or ".join(left)) if figure.advice else figure)
    return tuple(found)


def _table(*specs: FigureSpec) -> dict[str, FigureSpec]:
    table = {spec.key: spec for spec in specs}
    assert len(table) == len(specs), "two figures share a key"
    return table


MINIBATCH_STD = "minibatch std (network.minibatch_std)"
MIRROR = "--mirror"
BN_CLIP = "network.output=bn-clip, which starts from the colors of the data"
LONGER, MORE_DATA, EARLIER = "train longer", "more data", "an earlier checkpoint"
MORE_VARIED = (MINIBATCH_STD, "more regularization of the critic (loss.r1, loss.r2)", MORE_DATA, EARLIER)
LESS_COPYING = (MORE_DATA, MIRROR, "a smaller network", EARLIER)
SMOOTHER = "bilinear upsampling and noise in the generator (network.upsampling, network.noise)"
TEXTURE = (LONGER, SMOOTHER)
LESS_AUGMENTATION = "less augmentation (augment.p)"
COLORS = (LONGER, BN_CLIP)
TRUNCATED = "sample without truncation"
WASHED = (LONGER, TRUNCATED)

PICTURES, NOT_POINTS = ("image",), ("image", "signal")

FIGURES = _table(
    FigureSpec(
        "batch_std_ratio", "batch std ratio", "spread", ratio_of(batch_std),
        "batch std of the samples over that of the reals; near 0 is total collapse", below(0.8, 0.6),
        MORE_VARIED,
    ),
    FigureSpec(
        "critic_feature_std_ratio", "critic feature std ratio", "spread", measures.critic_feature_std_ratio,
        "batch std ratio on the features of the critic; low if the critic already detects a collapse", below(0.6, 0.3),
        MORE_VARIED, quick=False,
    ),
    FigureSpec(
        "channel_std_ratio", "channel std ratio", "spread", measures.channel_std_ratio,
        "batch std of the samples over that of the reals, per channel; near 0 is total collapse", below(0.8, 0.6),
        MORE_VARIED,
    ),
    FigureSpec(
        "contrast_ratio", "contrast ratio", "spread", ratio_of(contrast),
        "contrast within a sample, over that of the reals", below(0.85, 0.7), WASHED, NOT_POINTS,
    ),
    FigureSpec(
        "effective_rank_ratio", "effective rank ratio", "spread", measures.effective_rank_ratio,
        "number of directions in which the samples vary, over that of the reals", below(0.8, 0.5), MORE_VARIED,
        content=True,
    ),
    FigureSpec(
        "unique_fraction", "unique fraction", "spread", measures.unique_fraction,
        "fraction of unique samples; near-duplicates count once", below(0.9, 0.6), MORE_VARIED,
        content=True,
    ),
    FigureSpec(
        "cluster_coverage", "cluster coverage", "spread", in_clusters(content, clusters.coverage),
        "share of the data in clusters that the fakes cover", below(0.9, 0.6), MORE_VARIED, content=True,
    ),
    FigureSpec(
        "cluster_overlap", "cluster overlap", "spread", in_clusters(content, clusters.overlap),
        "overlap of the two histograms over clusters of the data; 1 if they are equal", below(0.87, 0.6), MORE_VARIED,
        content=True,
    ),
    FigureSpec(
        "cluster_overlap_color_matched", "cluster overlap, colors matched", "spread",
        in_clusters(color_matched, clusters.overlap),
        "cluster overlap after matching colors and contrast", below(0.87, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "nearest_distance_ratio", "distance between samples", "spread", measures.nearest_distance,
        "distance to the nearest other sample, over that of the reals; near 0: repetition", below(0.7, 0.4),
        MORE_VARIED,
    ),
    FigureSpec(
        "classifier_auc", "classifier AUC", "neighbors", measures.classifier_auc,
        "how well a classifier tells samples from reals; 0.5: not at all, 1: always", above(0.1, 0.3), TEXTURE,
        content=True,
    ),
    FigureSpec(
        "missing_share", "missing share", "neighbors", measures.missing_share,
        "share of the reals that a classifier finds unlike nine in ten samples; above the foreign share: left out",
        above(0.1, 0.3), MORE_VARIED, content=True,
    ),
    FigureSpec(
        "foreign_share", "foreign share", "neighbors", measures.foreign_share,
        "share of the samples that a classifier finds unlike nine in ten reals; if both shares are high: texture",
        above(0.1, 0.3), TEXTURE, content=True,
    ),
    FigureSpec(
        "coverage", "coverage", "neighbors", on(content, neighbors.coverage),
        "share of the reals with a fake nearby", below(0.7, 0.3), MORE_VARIED, content=True,
    ),
    FigureSpec(
        "coverage_color_matched", "coverage, colors matched", "neighbors", on(color_matched, neighbors.coverage),
        "coverage after matching colors and contrast", below(0.7, 0.3), MORE_VARIED,
    ),
    FigureSpec(
        "recall", "recall", "neighbors", on(content, neighbors.recall),
        "share of the reals within a nearest-neighbor ball of a fake", below(0.6, 0.2), MORE_VARIED, content=True,
    ),
    FigureSpec(
        "precision", "precision", "neighbors", on(content, neighbors.precision),
        "share of the fakes within a nearest-neighbor ball of a real; blur or low contrast raises it",
        below(0.7, 0.3), TEXTURE, content=True,
    ),
    FigureSpec(
        with_fixed("coverage"), "coverage, fixed features", "neighbors", on(fixed, neighbors.coverage),
        "coverage without the trained features, to which all samples of a small generator look unlike the data",
        below(0.7, 0.3), MORE_VARIED, PICTURES,
    ),
    FigureSpec(
        with_fixed("precision"), "precision, fixed features", "neighbors", on(fixed, neighbors.precision),
        "precision without the trained features", below(0.7, 0.3), TEXTURE, PICTURES,
    ),
    FigureSpec(
        "density", "density", "neighbors", on(content, neighbors.density),
        "number of nearest-neighbor balls of reals that a fake is in, over k; blur or low contrast raises it",
        content=True,
    ),
    FigureSpec(
        "nn_accuracy_reals", "1-NN accuracy, reals", "neighbors", measures.nn_accuracy(0),
        "how often the nearest neighbor is on the same side; 0.5: indistinguishable, 1: distinguishable, 0: copies",
        away(0.25, 0.4), ("read with the other metrics: near 1 for the fakes only means repetition or blur",),
        content=True,
    ),
    FigureSpec(
        "nn_accuracy_fakes", "1-NN accuracy, fakes", "neighbors", measures.nn_accuracy(1),
        "how often the nearest neighbor is on the same side; 0.5: indistinguishable, 1: distinguishable, 0: copies",
        away(0.25, 0.4), ("read with the other metrics: near 1 for the fakes only means repetition or blur",),
        content=True,
    ),
    FigureSpec(
        "train_distance_ratio", "distance to the training set", "memorization", measures.train_distance,
        "distance to the nearest training sample, over that of unseen reals", below(0.8, 0.5), LESS_COPYING,
    ),
    FigureSpec(
        "train_nearer_fraction", "share nearer than unseen reals", "memorization", measures.train_nearer,
        "share of samples nearer to a training sample than 95% of unseen reals are", above(0.15, 0.35), LESS_COPYING,
    ),
    FigureSpec(
        "kernel_distance", "kernel distance", "distance", on(content, kernel.kernel_distance),
        "unbiased kernel distance of the features; 0 for equal distributions", above(0.2, 1.0), TEXTURE, content=True,
    ),
    FigureSpec(
        with_fixed("kernel_distance"), "kernel distance, fixed features", "distance", on(fixed, kernel.kernel_distance),
        "kernel distance without the trained features", above(0.2, 1.0), TEXTURE, PICTURES,
    ),
    FigureSpec(
        "equivalent_resolution", "equivalent resolution, px", "distance", measures.equivalent_resolution,
        "height to which the data must be downscaled to be as far from itself as the samples are; by trained features",
        below(0.5, 0.25, most=likeness.ENOUGH), TEXTURE, PICTURES, content=True,
    ),
    FigureSpec(
        "sliced_wasserstein", "sliced Wasserstein", "distance", measures.texture_by_level,
        "distance of texture at this scale, times 1,000; compare only at equal N", times(1.6, 3.0), TEXTURE, PICTURES,
        quick=False,
    ),
    FigureSpec(
        "fid", "FID", "distance", measures.on_network_features(frechet.frechet_distance),
        "Frechet distance on the features of the given network; compare only at equal N", times(2.0, 5.0), TEXTURE,
        PICTURES,
    ),
    FigureSpec(
        "kid", "KID", "distance", measures.on_network_features(kernel.kernel_distance),
        "unbiased kernel distance on the features of the given network", kinds=PICTURES,
    ),
    FigureSpec(
        "spectrum_distance", "spectrum, mean distance", "texture", measures.spectrum_of(measures.mean_size),
        "mean distance of the log power spectra, in powers of ten", above(0.2, 0.5), TEXTURE, NOT_POINTS,
    ),
    FigureSpec(
        "spectrum_fine", "spectrum, fine half", "texture", measures.spectrum_of(measures.fine, shape=True),
        "power of fine detail relative to coarse, in powers of ten; below 0: blur, above 0: noise",
        away(0.3, 0.6), TEXTURE, NOT_POINTS,
    ),
    FigureSpec(
        "spectrum_spike", "spectrum, highest spike", "texture", measures.spectrum_of(measures.spike),
        "highest peak that the reals do not have (a checkerboard or grid), in powers of ten", above(0.5, 1.0), TEXTURE,
        NOT_POINTS,
    ),
    FigureSpec(
        "roughness", "roughness", "texture", measures.roughness,
        "how little adjacent values have in common, minus that of the reals; white noise has 1", above(0.1, 0.3),
        TEXTURE, NOT_POINTS,
    ),
    FigureSpec(
        "grain", "grain", "texture", measures.grain_distance,
        "difference of the noise level in flat areas, in gray levels", above(2.0, 5.0), TEXTURE, PICTURES,
    ),
    FigureSpec(
        "leak", "traces of augmentation", "texture", measures.leaked,
        "share of samples with repeated edges, gray boxes, or content out of place, beyond that of the reals",
        above(0.05, 0.2), (LESS_AUGMENTATION, MORE_DATA), PICTURES,
    ),
    FigureSpec(
        "ms_ssim", "MS-SSIM of pairs", "texture", measures.pair_similarity,
        "similarity of pairs of samples; detects only near-total collapse within a class", above(0.1, 0.3), MORE_VARIED,
        PICTURES, quick=False,
    ),
    FigureSpec(
        "channel_mean_distance", "mean", "values", measures.channel_moment(0),
        "difference of the channel means", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "channel_variance_distance", "variance", "values", measures.channel_moment(1),
        "difference of the channel variances", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "color_distance", "color distance", "values", measures.level_distance,
        "1-D Wasserstein distance of the channel values, in gray levels (0 to 255)", above(6.0, 20.0), COLORS, PICTURES,
    ),
    FigureSpec(
        "value_distance", "value distance", "values", measures.level_distance,
        "1-D Wasserstein distance of the channel values, in 255ths of the range of the data", above(6.0, 20.0),
        COLORS, ("signal", "points"),
    ),
    FigureSpec(
        "pixel_mean_distance", "pixel means", "values", measures.value_moment(0),
        "mean difference of the per-pixel (or per-value) means", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "pixel_variance_distance", "pixel variances", "values", measures.value_moment(1),
        "mean difference of the per-pixel (or per-value) variances", above(0.05, 0.15), COLORS,
    ),
    FigureSpec(
        "saturation", "saturation", "values", measures.saturated,
        "share of values at the limits of the range", above(0.1, 0.4), COLORS,
    ),
    FigureSpec(
        "modes_covered", "known modes covered", "modes", measures.modes_covered,
        "number of modes with at least three samples", below(0.8, 0.6), MORE_VARIED,
    ),
    FigureSpec(
        "classes_covered", "classes covered", "modes", measures.classes_covered,
        "number of classes of the labeled data that the samples have, of those that can be recognized",
        below(0.999, 0.6), MORE_VARIED, content=True,
    ),
    FigureSpec(
        "class_overlap", "class overlap", "modes", measures.class_overlap,
        "overlap of the class histograms of samples and data; 1 if they are equal", below(0.8, 0.6), MORE_VARIED,
        content=True,
    ),
    FigureSpec(
        "recognized_fraction", "recognizable share", "modes", measures.recognized,
        "share of samples that are assigned to a mode with certainty", below(0.5, 0.3), TEXTURE,
    ),
    FigureSpec(
        "reverse_kl", "reverse KL", "modes", measures.reverse_kl,
        "KL divergence to uniform mode frequencies, in nats; 0 if all modes are equally frequent",
        above(0.2, 0.7), MORE_VARIED,
    ),
    FigureSpec(
        "mode_std_ratio", "spread within a mode", "modes", measures.mode_std_ratio,
        "standard deviation within a mode, over that of the data; below 1 is too narrow", below(0.7, 0.4), MORE_VARIED,
    ),
)  # fmt: skip
