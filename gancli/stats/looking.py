"""One look at a set of fakes: the panel, the verdict, and the samples that look most like copies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.health import Figure, Health, Nearest
from gancli.networks.judges import Judge
from gancli.results import Progress
from gancli.sampling import Generator
from gancli.stats import frechet, gathering, kernel
from gancli.stats.gathering import Reals
from gancli.stats.meanings import explained
from gancli.stats.modes import Coverage
from gancli.stats.panel import channel_histograms, mode_figures, panel, ratio, spectrum_of
from gancli.stats.sides import Reference, Sides
from gancli.stats.verdict import judge

SHOWN = 8  # samples of which the nearest training sample is named

Known = Callable[..., Coverage | None]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Gathered:
    """The reals' side of a comparison, the same for every set of fakes."""

    reference: Reference
    rows: Rows | None = None  # of the training set, where copies are looked for


def look(
    base: Health,
    fakes: Tensor,
    gathered: Gathered,
    known: Known,
    *,
    names: Sequence[int],
    quick: bool,
    network: Judge | None,
    progress: Progress,
    generator: Generator | None = None,
) -> Health:
    """One set of fakes: panel, verdict, histograms, spectrum, and the samples that look most like copies."""
    if not fakes.isfinite().all():
        share = float(fakes.flatten(1).isfinite().all(1).float().mean())
        return replace(base, verdict="diverged", confidence="high", evidence=(f"only {share:.0%} of it is finite",))
    sides = Sides(fakes, gathered.reference)
    figures = panel(sides, quick=quick, progress=progress)
    if generator is not None and (stds := gathering.critic_stds(generator, sides)):
        figures = (figures[0], explained(ratio("critic feature std ratio", *stds)), *figures[1:])
    if network is not None and sides.kind == "image":
        figures += _by_network(network, sides)
    covered, of_reals = known(x=fakes), known(x=sides.reference.others)
    if covered and of_reals:
        figures += mode_figures(covered, of_reals)
    verdict = judge(figures, len(fakes), covered)
    return replace(
        base,
        verdict=verdict.word,
        confidence=verdict.confidence,
        evidence=verdict.evidence,
        panel=figures,
        histograms=channel_histograms(sides),
        spectrum=None if sides.kind == "points" else spectrum_of(sides),
        nearest=_nearest(sides, gathered.rows, names),
    )


def gather(reals: Reals, count: int, *, quick: bool, progress: Progress) -> Gathered:
    """Two halves of the reals, and where copies are looked for the training set with the rows that it has."""
    halves = reals.halves(count)
    if quick or not reals.trained:
        return Gathered(Reference(*halves, reals.kind))
    rows, train, unseen = reals.training_set(progress)
    return Gathered(Reference(*halves, reals.kind, train, unseen), rows)


def _by_network(network: Judge, sides: Sides) -> tuple[Figure, ...]:
    """Frechet and kernel distance on the features of the user's network."""
    f, r, o = (network(x) for x in sides.each)
    figures = (
        Figure(f"Frechet distance, {network.name}", frechet.frechet_distance(f, r), frechet.frechet_distance(o, r)),
        Figure(f"KID, {network.name}", kernel.kernel_distance(f, r), kernel.kernel_distance(o, r)),
    )
    return tuple(explained(figure) for figure in figures)


def _nearest(sides: Sides, rows: Rows | None, names: Sequence[int]) -> tuple[Nearest, ...]:
    """The fakes that lie nearest to a training sample, the nearest first. rows: of the training set in the data."""
    found = sides.copies
    if found is None or rows is None:
        return ()
    scale = float(found.unseen.median())
    order = torch.argsort(found.distance, stable=True)[:SHOWN].tolist()
    return tuple(
        Nearest(names[i], int(rows[found.row[i]]), bool(found.mirrored[i]), round(float(found.distance[i]) / scale, 4))
        for i in order
    )
