"""The panel: every figure of a set of fakes beside the same figure between two halves of the reals."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gancli.results import Figure, Histogram
from gancli.stats import histograms, moments
from gancli.stats.batch_std import batch_std, channel_std, saturation
from gancli.stats.modes import MIN_HITS, Coverage

Pictures = NDArray[np.uint8]

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


def panel(fakes: Pictures, reals: Pictures, others: Pictures) -> tuple[Figure, ...]:
    """The figures that any pictures have. Fakes and two disjoint halves of the reals, (N, H, W, C) each, equal N."""
    return tuple([*_spread(fakes, reals, others), *_colours(fakes, reals, others), *_pixels(fakes, reals, others)])


def _unit(pictures: Pictures) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _spread(fakes: Pictures, reals: Pictures, others: Pictures) -> list[Figure]:
    f, r, o = _unit(fakes), _unit(reals), _unit(others)
    figures = [ratio("batch std ratio", batch_std(f), batch_std(r), batch_std(o), "1 is as varied as the reals")]
    each = zip(CHANNELS[fakes.shape[3]], channel_std(f), channel_std(r), channel_std(o), strict=True)
    figures += [ratio(f"batch std ratio, {name}", a, b, c, "") for name, a, b, c in each if fakes.shape[3] > 1]
    figures.append(Figure("saturation", saturation(f), saturation(o), note="share of values at black or white"))
    return figures


def ratio(name: str, fake: float, real: float, other: float, note: str) -> Figure:
    """fake / real beside other / real."""
    base = max(real, 1e-12)
    return Figure(name, fake / base, other / base, fake, real, note)


def _colours(fakes: Pictures, reals: Pictures, others: Pictures) -> list[Figure]:
    figures = []
    sides = [moments.channel_moments(side) for side in (fakes, reals, others)]
    for c, name in enumerate(CHANNELS[fakes.shape[3]]):
        (mean_f, var_f), (mean_r, var_r), (mean_o, var_o) = (side[c] for side in sides)
        distance = histograms.wasserstein(fakes[..., c], reals[..., c])
        floor = histograms.wasserstein(others[..., c], reals[..., c])
        figures += [
            Figure(
                f"mean, {name}",
                abs(mean_f - mean_r),
                abs(mean_o - mean_r),
                mean_f,
                mean_r,
                "distance of the means",
            ),
            Figure(
                f"variance, {name}",
                abs(var_f - var_r),
                abs(var_o - var_r),
                var_f,
                var_r,
                "distance of the variances",
            ),
            Figure(f"colour distance, {name}", distance, floor, note="Wasserstein, in grey levels of 255"),
        ]
    return figures


def _pixels(fakes: Pictures, reals: Pictures, others: Pictures) -> list[Figure]:
    (mean_f, var_f), (mean_o, var_o) = (moments.pixel_moment_distance(side, reals) for side in (fakes, others))
    return [
        Figure("pixel means", mean_f, mean_o, note="mean distance, pixel by pixel"),
        Figure("pixel variances", var_f, var_o, note="mean distance, pixel by pixel"),
    ]


def mode_figures(f: Coverage, o: Coverage) -> tuple[Figure, ...]:
    """The figures of a set whose modes are known: of the fakes and of as many reals."""
    return (
        Figure(
            "known modes covered",
            f.covered,
            o.covered,
            note=f"of {f.modes}, {MIN_HITS} pictures each or more",
        ),
        Figure("recognisable share", f.recognised, o.recognised, note="of the pictures"),
        Figure("reverse KL", f.reverse_kl, o.reverse_kl, note="nats; 0 if every mode is drawn equally often"),
    )


def channel_histograms(fakes: Pictures, reals: Pictures) -> tuple[Histogram, ...]:
    """Per channel, the shares of grey levels of both sides. (N, H, W, C) each."""
    return tuple(
        Histogram(name, histograms.shares(reals[..., c]), histograms.shares(fakes[..., c]))
        for c, name in enumerate(CHANNELS[fakes.shape[3]])
    )


def value_of(figures: Sequence[Figure], name: str) -> Figure:
    """The figure of that name."""
    return next(figure for figure in figures if figure.name == name)
