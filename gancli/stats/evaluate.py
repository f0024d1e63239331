"""Evaluate one set of fakes: the panel, the verdict, and the samples that look most like copies."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gancli.health import Health, Histogram, Nearest, Spectrum
from gancli.results import Progress, silent
from gancli.stats import histograms
from gancli.stats.comparison import Comparison
from gancli.stats.figures import panel
from gancli.stats.verdict import decide

SHOWN = 8  # number of samples whose nearest training sample is reported

Rows = NDArray[np.int64]


def evaluate(
    base: Health,
    c: Comparison,
    names: Sequence[int],
    *,
    rows: Rows | None = None,
    quick: bool = False,
    progress: Progress = silent,
) -> Health:
    """`base`, completed with the verdict on the fakes of a comparison and the figures behind it.

    names: one per fake: its seed, or its index in the files. rows: row numbers of the training set in the data.
    """
    if not c.fakes.isfinite().all():
        share = float(c.fakes.flatten(1).isfinite().all(1).float().mean())
        return replace(
            base, verdict="diverged", confidence="high", evidence=(f"only {share:.0%} of the samples are finite",)
        )
    figures = panel(c, quick=quick, progress=progress)
    verdict = decide(figures, len(c.fakes), None if c.modes is None else c.modes[0])
    return replace(
        base,
        verdict=verdict.word,
        confidence=verdict.confidence,
        evidence=verdict.evidence,
        panel=figures,
        histograms=channel_histograms(c),
        spectrum=None if c.kind == "points" else spectrum_curves(c),
        classes=() if c.classes is None else c.classes[0].shares,
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
