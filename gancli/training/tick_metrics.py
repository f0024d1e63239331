"""The cheap part of the health panel, taken at ticks: the average, near-copies, overfitting, a dead generator.

It may cost 2 % of the training's time and no more: a tick for which that does not suffice goes without it. Where
somebody waits for one of its signs, it is taken at every tick, so that the same command stops at the same image.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gancli.data import Feed
from gancli.growth import Phase
from gancli.networks.base import statistics_kept
from gancli.stats.batch_std import batch_std
from gancli.stats.neighbors import apart, nearest_other
from gancli.training.state import TrainState

SHARE = 0.02  # of the training's time
SAMPLES = 64  # samples
THUMBNAIL = 8  # px
SIDE = 32  # px
LAST_FAKES = "fakes at the last tick"  # in the extra state


@dataclass
class TickMetrics:
    """What it remembers from tick to tick of one session."""

    at_every_tick: bool = False  # whatever it costs
    spent: float = 0.0  # seconds on checkups
    trained: float = 0.0  # seconds on training

    def due(self) -> bool:
        """Is there time for another one?"""
        return self.at_every_tick or self.spent <= SHARE * self.trained

    def take(
        self, state: TrainState, feed: Feed, phase: Phase, real: Tensor, scores: tuple[float, float]
    ) -> dict[str, float]:
        """Three keys of a Tick: of the average, its spread and its near-copies; and overfitting. Each may be NaN.

        real: training samples. scores: the critic's means on training samples and on fakes.
        """
        began = time.monotonic()
        with torch.no_grad():
            fakes = self.average_of(state, feed, phase)
            found = {
                "ema_std_ratio": batch_std(fakes) / max(batch_std(real), 1e-12),
                "ema_nearest_ratio": float(nearness(fakes).median())
                / max(float(apart(nearness(real)).median()), 1e-12),
                "overfitting": overfitting(state, feed, phase, scores),
            }
        self.spent += time.monotonic() - began
        return found

    def average_of(self, state: TrainState, feed: Feed, phase: Phase) -> Tensor:
        """Samples of the averaged generator on the inputs that are always the same. (64, C, *S)."""
        parts = feed.inputs(SAMPLES, phase).to(state.device).split(max(2, phase.batch_size))
        return torch.cat([state.ema(part, phase.stage, phase.alpha) for part in parts])


def change(state: TrainState, fakes: Tensor, std_real: float) -> float:
    """How far the same latents' samples have moved since the last tick, over the deviation of the reals.

    Pictures are compared at 32 px or less. What they were then is part of the state, so a resumed run knows it, too.
    """
    now = _at_most(fakes, SIDE).cpu()
    before, state.extra[LAST_FAKES] = state.extra.get(LAST_FAKES), now
    if before is None or before.shape != now.shape:
        return math.nan
    return float((now - before).abs().mean()) / max(std_real, 1e-12)


def _at_most(x: Tensor, side: int) -> Tensor:
    """Pictures brought to at most so many pixels a side by means of areas; signals and points as they are."""
    return adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3]))) if x.ndim == 4 else x


def nearness(x: Tensor) -> Tensor:
    """How far every sample is from the nearest other one, pictures as thumbnails. (N, C, *S) -> (N,)."""
    return nearest_other(_at_most(x, THUMBNAIL).flatten(1).float().cpu())


def overfitting(state: TrainState, feed: Feed, phase: Phase, scores: tuple[float, float]) -> float:
    """(E D(train) - E D(held-out)) / (E D(train) - E D(fake)): toward 1 where the critic knows the training set.

    NaN without held-out samples. The heuristic r_v of Karras et al. 2020, arXiv:2006.06676.
    """
    held = feed.unseen(SAMPLES, phase, state.images)
    train, fake = scores
    if held is None or abs(train - fake) < 1e-6:
        return math.nan
    with statistics_kept(state.D):
        parts = held.to(state.device).tensor_split(math.ceil(len(held) / max(2, phase.batch_size)))
        scored = torch.cat([state.critic_view(phase).scores(part) for part in parts])
    return (train - float(scored.float().mean())) / (train - fake)
