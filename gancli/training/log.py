"""stats.jsonl: one line a tick. The one place where numbers leave the device."""

import json
import resource
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gancli import files
from gancli.config import Config
from gancli.data import Feed
from gancli.growth import Phase
from gancli.latents import from_seeds
from gancli.results import SCHEMA_VERSION, Tick, plain
from gancli.runs import Run
from gancli.stats.batch_std import batch_std, saturation
from gancli.training.state import TrainState

JUDGED = 64  # samples for batch std: one batch of 8 is too noisy to warn by


def cut(run: Run, images: int) -> list[dict[str, Any]]:
    """Drop the ticks after `images`, so that the log matches the weights that were loaded; return what is left."""
    kept = [tick for tick in run.stats() if tick["images"] <= images]
    if kept or run.stats_file.exists():
        files.replace_text(run.stats_file, "".join(json.dumps(tick) + "\n" for tick in kept))
    return kept


def append(run: Run, tick: Tick) -> dict[str, Any]:
    """Add one line; NaN is written as null."""
    row: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **plain(tick)}
    with run.stats_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row


def measure(
    state: TrainState,
    config: Config,
    feed: Feed,
    phase: Phase,
    losses: Mapping[str, Tensor],
    *,
    images_per_s: float,
) -> Tick:
    """One tick: the losses of the last step, and the spread of 64 fresh fakes beside 64 reals, raw weights."""
    spread = _spreads(state, config, feed, phase)
    return Tick(
        kimg=state.images / 1000,
        images=state.images,
        generator_steps=state.generator_steps,
        resolution=phase.height,
        alpha=round(phase.alpha, 6),
        batch=phase.batch_size,
        lr=state.opt_D.param_groups[0]["lr"],
        critic_loss=_number(losses["critic_loss"]),
        score_gap=_number(losses["score_gap"]),
        penalty=_number(losses["penalty"]) if "penalty" in losses else float("nan"),
        generator_loss=_number(losses["generator_loss"]),
        images_per_s=images_per_s,
        memory_mib=memory_mib(state.device),
        seconds=state.seconds,
        **spread,
    )


def _number(value: Tensor) -> float:
    return float(value.detach())


@torch.no_grad()
def _spreads(state: TrainState, config: Config, feed: Feed, phase: Phase) -> dict[str, Any]:
    real = feed.sample(JUDGED, phase, state.images).to(state.device)
    z = from_seeds(range(JUDGED), config.network.latent).to(state.device)
    chunks = z.split(max(1, phase.batch_size))
    fake = torch.cat([state.G(part, phase.stage, phase.alpha) for part in chunks])
    std_real, std_fake = batch_std(real), batch_std(fake)
    feature_real, feature_fake = (_feature_std(state, images, phase) for images in (real, fake))
    return {
        "std_real": std_real,
        "std_fake": std_fake,
        "std_ratio": std_fake / max(std_real, 1e-12),
        "feature_std_real": feature_real,
        "feature_std_fake": feature_fake,
        "feature_std_ratio": feature_fake / max(feature_real, 1e-12),
        "saturation": saturation(fake),
    }


def _feature_std(state: TrainState, images: Tensor, phase: Phase) -> float:
    """The minibatch-std statistic over all the images, on the critic's features before that layer."""
    parts = [state.D.features(part, phase.stage, phase.alpha) for part in images.split(max(1, phase.batch_size))]
    return batch_std(torch.cat(parts))


def memory_mib(device: torch.device) -> float:
    """Peak memory: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
