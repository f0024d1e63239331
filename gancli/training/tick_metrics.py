"""The cheap part of the health panel, computed at ticks: diversity of the EMA generator, overfitting, change of fakes.

It may take at most 2 % of the training time; it is skipped at ticks that would exceed this. If --stop-on or the
strength of augmentation depends on it, it is computed at every tick, so that the same command gives the same result.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from gancli import signals
from gancli.data import Feed
from gancli.growth import Phase
from gancli.networks.base import statistics_kept
from gancli.stats.batch_std import batch_std
from gancli.stats.neighbors import apart, nearest_other
from gancli.training.state import TrainState

SHARE = 0.02  # maximum share of the training time
SAMPLES = 64  # number of samples
THUMBNAIL = 8  # side in pixels at which nearest samples are searched
LONGEST = 4_096  # values of a signal that are compared and saved in checkpoints, which have a limit
SIDE = 32  # side in pixels at which fakes of two ticks are compared
LAST_FAKES = "fakes at the last tick"  # key in TrainState.extra


@dataclass
class TickMetrics:
    """Computes the metrics, and keeps track of their cost in this session."""

    at_every_tick: bool = False  # compute them at every tick, regardless of the cost; steered augmentation needs them
    spent: float = 0.0  # seconds spent on metrics
    trained: float = 0.0  # seconds spent on training

    def due(self) -> bool:
        """Whether the metrics are computed at this tick."""
        return self.at_every_tick or self.spent <= SHARE * self.trained

    def take(
        self, state: TrainState, feed: Feed, phase: Phase, real: Tensor, scores: tuple[float, float]
    ) -> dict[str, float]:
        """The fields ema_std_ratio, ema_nearest_ratio, overfitting and held_out_gap of a Tick. Each may be NaN.

        real: training samples. scores: mean critic scores of training samples and of fakes.
        """
        began = time.monotonic()
        with torch.no_grad():
            fakes = self.average_of(state, feed, phase)
            found = {
                "ema_std_ratio": batch_std(fakes) / max(batch_std(real), 1e-12),
                "ema_nearest_ratio": float(nearness(fakes).median())
                / max(float(apart(nearness(real)).median()), 1e-12),
                **overfitting(state, feed, phase, scores),
            }
        self.spent += time.monotonic() - began
        return found

    def average_of(self, state: TrainState, feed: Feed, phase: Phase) -> Tensor:
        """Samples of the EMA generator on the fixed inputs. (64, C, *S)."""
        found = []
        for part in feed.inputs(SAMPLES, phase).to(state.device).split(max(2, phase.batch_size)):
            signals.poll()
            found.append(state.ema(part, phase.stage, phase.alpha))
        return torch.cat(found)


def change(state: TrainState, fakes: Tensor, std_real: float) -> float:
    """Mean absolute change of the samples of the fixed latents since the last tick, over the batch std of the reals.

    Images are compared at 32 px or less. The samples of the last tick are saved in checkpoints, for resumed runs.
    """
    now = _at_most(fakes, SIDE).cpu()
    before, state.extra[LAST_FAKES] = state.extra.get(LAST_FAKES), now
    if before is None or before.shape != now.shape:
        return math.nan
    return float((now - before).abs().mean()) / max(std_real, 1e-12)


def _at_most(x: Tensor, side: int) -> Tensor:
    """Images averaged to at most `side` pixels, signals to at most LONGEST values; points are not changed."""
    if x.ndim == 3:
        return adaptive_avg_pool1d(x, min(LONGEST, x.shape[2]))
    return adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3]))) if x.ndim == 4 else x


def nearness(x: Tensor) -> Tensor:
    """Distance of every sample to the nearest other one, with images as thumbnails. (N, C, *S) -> (N,)."""
    return nearest_other(_at_most(x, THUMBNAIL).flatten(1).float().cpu())


def overfitting(state: TrainState, feed: Feed, phase: Phase, scores: tuple[float, float]) -> dict[str, float]:
    """The fields overfitting and held_out_gap of a Tick. NaN without held-out samples.

    (E D(train) - E D(held-out)) / (E D(train) - E D(fake)), near 1 if the critic has memorized the training set, and
    its numerator. The heuristic r_v of Karras et al. 2020, arXiv:2006.06676.
    """
    held = feed.unseen(SAMPLES, phase, state.images)
    train, fake = scores
    if held is None or abs(train - fake) < 1e-6:
        return {"overfitting": math.nan, "held_out_gap": math.nan}
    with statistics_kept(state.D):
        parts = held.to(state.device).tensor_split(math.ceil(len(held) / max(2, phase.batch_size)))
        scored = torch.cat([state.critic_view(phase).scores(part) for part in parts])
    gap = train - float(scored.float().mean())
    return {"overfitting": gap / (train - fake), "held_out_gap": gap}
