"""Fit a run to a time: its schedule is scaled so that this machine trains it in so many minutes.

The result is a fixed number of images in the config of the run, so that it resumes exactly, on any machine.
"""

import torch

from gancli import config as configs
from gancli.config import ResolvedConfig
from gancli.data import Dataset
from gancli.growth import Schedule
from gancli.runs import Run
from gancli.training.forecast import forecast

SHARE = 0.95  # of the time is for training; the rest for start, ticks, samples and checkpoints


def fitted(config: ResolvedConfig, dataset: Dataset, device: torch.device, workers: int = 1) -> ResolvedConfig:
    """The config with all durations scaled to end after `train.minutes`, by steps that are timed now."""
    assert config.train.minutes is not None, "checked by the caller"
    estimate = forecast(config, dataset, device, workers).seconds
    assert estimate is not None, "forecast has timed it"
    return scaled(config, SHARE * config.train.minutes * 60 / max(estimate, 1e-9))


def scaled(config: ResolvedConfig, factor: float) -> ResolvedConfig:
    """The config with the length of the run, of fades and of stable phases multiplied by `factor`."""
    found = with_scale(config, config.growth.scale * factor)
    whole = config.train.duration == Schedule.of(config).total
    duration = Schedule.of(found).total if whole else round(config.train.duration * factor)
    return found.with_train(duration=max(config.train.batch_size, duration))


def as_begun(config: ResolvedConfig, run: Run) -> ResolvedConfig:
    """The config with the durations that were fitted when the run began."""
    begun = run.config()
    return with_scale(config, begun.growth.scale).with_train(duration=begun.train.duration)


def with_scale(config: ResolvedConfig, scale: float) -> ResolvedConfig:
    """The config with another scale of its fades and stable phases. Raises ConfigError for one that is too large."""
    values = config.model_dump()
    values["growth"]["scale"] = scale
    return configs.presets.build_resolved(values, "the resolved config")
