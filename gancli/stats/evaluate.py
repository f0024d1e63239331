"""Evaluate one set of fakes: the panel, the verdict, and the samples that look most like copies."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gancli import plots
from gancli.health import Examples, Health, Histogram, Nearest, Spectrum
from gancli.results import Progress, silent
from gancli.stats import histograms
from gancli.stats.comparison import Comparison
from gancli.stats.figures import panel
from gancli.stats.verdict import compared_by, decide

SHOWN = 8  # number of samples whose nearest training sample is reported

Rows = NDArray[np.int64]


def evaluate(
    base: Health,
    c: Comparison,
    names: Sequence[int],
    *,
    reals: Sequence[int] = (),
    rows: Rows | None = None,
    quick: bool = False,
    progress: Progress = silent,
) -> Health:
    """`base`, completed with the verdict on the fakes of a comparison and the figures behind it.

    names: one per fake: its seed, or its index in the files. reals: row numbers of both halves of the reals in the
    data. rows: those of the training set.
    """
    if not c.fakes.isfinite().all():
        share = float(c.fakes.flatten(1).isfinite().all(1).float().mean())
        return replace(
            base, verdict="diverged", confidence="high", evidence=(f"only {share:.0%} of the samples are finite",)
        )
    figures = panel(c, quick=quick, progress=progress)
    known = None if c.modes is None else c.modes[0]
    classes = None if c.classes is None else c.classes[0]
    verdict = decide(figures, len(c.fakes), known, classes, trained=c.trained)
    return replace(
        base,
        verdict=verdict.word,
        confidence=verdict.confidence,
        evidence=verdict.evidence,
        right=verdict.right,
        compared_by=base.compared_by or compared_by(c.kind, trained=c.trained),
        panel=figures,
        histograms=channel_histograms(c),
        spectrum=None if c.kind == "points" else spectrum_curves(c),
        classes=() if classes is None else classes.shares,
        examples=examples(c, names, reals),
        nearest=nearest(c, rows, names),
    )


def channel_histograms(c: Comparison) -> tuple[Histogram, ...]:
    """Per channel, the shares of the values of both sides in 16 bins of [-1, 1]."""
    fakes, reals, _ = c.levels
    each = zip(c.channels, reals, fakes, strict=True)
    return tuple(Histogram(name, histograms.shares(real), histograms.shares(fake)) for name, real, fake in each)


def spectrum_curves(c: Comparison) -> Spectrum:
    """The power spectra of both sides."""
    frequency, (fake, real, _) = c.spectra
    return Spectrum(*(tuple(round(float(v), 4) for v in x) for x in (frequency, real, fake)))


def examples(c: Comparison, names: Sequence[int], reals: Sequence[int]) -> tuple[Examples, ...]:
    """The samples that are most unlike the data, and the reals that are most unlike the samples."""
    if c.kind == "points" or not reals:
        return ()
    scores = c.classified[0]
    worst = scores.fakes.argsort(stable=True)[:SHOWN]
    missing = scores.reals.argsort(descending=True, stable=True)[:SHOWN]
    both = torch.cat([c.reference.reals, c.reference.others])
    found = (("foreign_share", "samples", c.fakes, worst, names), ("missing_share", "reals", both, missing, reals))
    return tuple(
        Examples(figure, side, tuple(ids[i] for i in chosen.tolist()), tuple(plots.pictures(x[chosen], c.kind)))
        for figure, side, x, chosen, ids in found
    )


def nearest(c: Comparison, rows: Rows | None, names: Sequence[int]) -> tuple[Nearest, ...]:
    """The fakes that are nearest to a training sample, nearest first."""
    found = c.memorization
    if found is None or rows is None:
        return ()
    scale = float(found.unseen.median())
    order = torch.argsort(found.distance, stable=True)[:SHOWN].tolist()
    return tuple(
        Nearest(names[i], int(rows[found.row[i]]), bool(found.mirrored[i]), round(float(found.distance[i]) / scale, 4))
        for i in order
    )
