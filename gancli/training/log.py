"""stats.jsonl: one line per tick. During training, values are copied from the device only here."""

import json
import math
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gancli import files, signals
from gancli.config import ResolvedConfig
from gancli.data import Feed
from gancli.growth import Phase
from gancli.networks.base import statistics_kept
from gancli.results import SCHEMA_VERSION, Tick, plain
from gancli.runs import Run
from gancli.stats.batch_std import batch_std, saturation
from gancli.stats.histograms import Levels, levels, levels_distance
from gancli.training.state import TrainState
from gancli.training.tick_metrics import TickMetrics, change

SAMPLES = 64  # samples for batch std; a batch of 8 is too noisy for warnings
REFERENCE, MOST_VALUES = 1_000, 1 << 22  # limits for the histograms of the training data: samples; positions in all


def cut(run: Run, images: int) -> list[dict[str, Any]]:
    """Remove the ticks after `images`, and damaged lines, so that the log matches the weights; return the others."""
    kept = [tick for tick in run.stats() if tick["images"] <= images]
    if kept or run.stats_file.exists():
        files.replace_text(run.stats_file, "".join(json.dumps(tick) + "\n" for tick in kept))
    return kept


def append(run: Run, tick: Tick) -> dict[str, Any]:
    """Append one line. NaN is written as null."""
    row: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **plain(tick)}
    files.append_text(run.stats_file, json.dumps(row) + "\n")
    return row


def reference_levels(feed: Feed, phase: Phase) -> Levels:
    """Histograms of the channels of up to 1,000 training samples, at the size of a phase."""
    values = phase.height * phase.width
    count = max(SAMPLES, min(REFERENCE, MOST_VALUES // max(1, values)))
    return levels(feed.sample(count, replace(phase, fading=False), 0, name="reference"))


def measure(
    state: TrainState,
    config: ResolvedConfig,
    feed: Feed,
    phase: Phase,
    losses: Mapping[str, Tensor],
    reference: Levels,
    tick_metrics: TickMetrics,
    *,
    images_per_s: float,
) -> Tick:
    """Measure one tick: the losses of the last step, and statistics of 64 fakes (raw weights) and 64 reals.

    The fakes are generated as for the critic: with batch statistics, or with critic_fakes: eval with moving ones.
    """
    spread = _spreads(state, config, feed, phase, reference, tick_metrics)
    number = {name: float(value.detach()) for name, value in losses.items()}
    return Tick(
        kimg=state.images / 1000,
        images=state.images,
        generator_steps=state.generator_steps,
        resolution=phase.height,
        alpha=round(phase.alpha, 6),
        batch=phase.batch_size,
        lr=_rate(state, config),
        critic_loss=number.get("critic_loss", math.nan),
        d_real=number.get("d_real", math.nan),
        d_fake=number.get("d_fake", math.nan),
        score_gap=number.get("score_gap", math.nan),
        penalty=number.get("penalty", math.nan),
        generator_loss=number.get("generator_loss", math.nan),
        moments=number.get("moments", math.nan),
        consistency=number.get("consistency", math.nan),
        perceptual=number.get("perceptual", math.nan),
        augment_p=state.augment_p(config),
        images_per_s=images_per_s,
        memory_mib=memory_mib(state.device),
        seconds=state.seconds,
        **spread,
    )


def _rate(state: TrainState, config: ResolvedConfig) -> float:
    """The critic's learning rate in the last step, before any factor; the generator's if no critic is trained."""
    alone = config.loss.adversarial == "none"
    group = (state.opt_G if alone else state.opt_D).param_groups[0]
    rate: float = group["lr"] / group["factor"]
    return rate / config.optimizer.generator_lr_factor if alone else rate


@torch.no_grad()
def _spreads(
    state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, reference: Levels, tick_metrics: TickMetrics
) -> dict[str, Any]:
    real = feed.sample(SAMPLES, phase, state.images).to(state.device)
    fake = fakes_seen(state, config, feed, phase)
    std_real, std_fake = batch_std(real), batch_std(fake)
    with statistics_kept(state.D):
        (feature_real, score_real), (feature_fake, score_fake) = (_critics_view(state, x, phase) for x in (real, fake))
    taken = tick_metrics.take(state, feed, phase, real, (score_real, score_fake)) if tick_metrics.due() else {}
    return {
        "std_real": std_real,
        "std_fake": std_fake,
        "std_ratio": std_fake / max(std_real, 1e-12),
        "feature_std_real": feature_real,
        "feature_std_fake": feature_fake,
        "feature_std_ratio": feature_fake / max(feature_real, 1e-12),
        "saturation": saturation(fake),
        "saturation_real": saturation(real),
        "color_distance": levels_distance(levels(fake), reference),
        "change": change(state, fake, std_real),
        **taken,
    }


@torch.no_grad()
def fakes_seen(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase) -> Tensor:
    """64 fakes on fixed inputs, generated as for a critic step; moving statistics do not change. (64, C, *S)."""
    inputs = feed.inputs(SAMPLES, phase).to(state.device)
    with statistics_kept(state.G):
        state.G.train(config.train.critic_fakes == "train")
        try:
            return torch.cat([state.G(part, phase.stage, phase.alpha) for part in like_batches(inputs, phase)])
        finally:
            state.G.train()


def like_batches(x: Tensor, phase: Phase) -> Iterator[Tensor]:
    """Split into equal parts that are not larger than a batch and have at least two samples, for batch norm.

    Raises Interrupted between two of them if a signal has arrived: at 512 channels, a tick takes longer than a step.
    """
    for part in x.tensor_split(math.ceil(len(x) / max(2, phase.batch_size))):
        signals.poll()
        yield part


def _critics_view(state: TrainState, images: Tensor, phase: Phase) -> tuple[float, float]:
    """Batch std of the critic's features before the minibatch-std layer, over all images; and their mean score."""
    view = state.critic_view(phase)
    parts = [view.features(part) for part in like_batches(images, phase)]
    scores = torch.cat([view.scores_of(part) for part in parts])
    return batch_std(torch.cat(parts)), float(scores.mean())


def memory_mib(device: torch.device) -> float:
    """Peak memory in MiB: of the GPU if there is one, otherwise of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
