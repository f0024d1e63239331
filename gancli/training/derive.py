"""Configs made from other configs: by the data, by growing a checkpoint, by transfer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import checkpoint, growth
from gancli import config as configs
from gancli.checkpoint import Checkpoint
from gancli.config import Config, combinations
from gancli.config.family import MAX_RESOLUTION
from gancli.config.networks import ProgressiveConfig
from gancli.data import Dataset
from gancli.errors import ConfigError
from gancli.growth import Schedule
from gancli.networks import features, on_meta


def resolve(config: Config, dataset: Dataset, source: str) -> Config:
    """The config with everything that depends on the data: place, fingerprint, shape, scale, moments, duration."""
    kind, kinds = dataset.kind, config.network.kinds
    if kind not in kinds:
        raise ConfigError(
            f"{config.network.family} networks take {' and '.join(kinds)} data, and {source} holds {kind} data",
            where="network.family",
            mend="take a preset for this kind of data: see `gancli presets list`",
        )
    refuse_other_shape(config, dataset, source)
    values = config.model_dump()
    values["data"] |= {"source": _absolute(source), "fingerprint": dataset.fingerprint, **_units(dataset)}
    clips = config.network.output == "bn-clip"
    values["data"] |= _channel_moments(dataset, values["data"]) if clips else {"mean": None, "std": None}
    values["network"] |= config.network.of_data(dataset.sample_shape)
    if config.loss.perceptual is not None:
        values["loss"]["perceptual"] |= features.identified(config.loss.perceptual)
    values["train"]["duration"] = config.train.duration or _duration(config, len(dataset.train_rows))
    resolved = configs.presets.build(values, "the resolved config")
    largest = max(phase.batch_size for phase in Schedule.of(resolved).phases)
    if largest > len(dataset.train_rows):
        raise ConfigError(
            f"a batch of {largest} is larger than the {len(dataset.train_rows)} training samples",
            where="growth.batch_size",
            mend=f"--batch {max(1, len(dataset.train_rows) // 4)}, or more data",
        )
    combinations.refuse(resolved, kind)
    on_meta(resolved)  # what does not fit is said before a run is made
    return resolved


def refuse_other_shape(config: Config, dataset: Dataset, source: str) -> None:
    """Weights that came from another run fit samples of its own shape alone. Raises ConfigError."""
    if config.origin is not None and config.network.shape != dataset.sample_shape:
        raise ConfigError(
            f"the source's networks take samples of {config.network.shape}, and these have {dataset.sample_shape}",
            where=source,
            mend="give data of the same kind and size",
        )


def _units(dataset: Dataset) -> dict[str, float]:
    """One affine for signals and points: the middle of their range, and half of it. Pictures need none."""
    if dataset.kind == "image":
        return {"centre": 0.0, "scale": 1.0}
    chunks = [dataset.values[rows] for rows in _chunks(dataset.train_rows)]
    low, high = min(float(c.min()) for c in chunks), max(float(c.max()) for c in chunks)
    return {"centre": (low + high) / 2, "scale": (high - low) / 2 or 1.0}


def _chunks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(rows, max(1, len(rows) // 256))


def _channel_moments(dataset: Dataset, data: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Mean and deviation of each channel over the training samples, as the networks see them."""
    count, sums, squares = 0, np.zeros(1), np.zeros(1)
    for chunk in _chunks(dataset.train_rows):
        values = np.asarray(dataset.values[chunk], dtype=np.float64)
        x = values / 127.5 - 1 if dataset.kind == "image" else (values - data["centre"]) / data["scale"]
        x = x if dataset.kind == "image" else np.moveaxis(x, 1, -1)
        x = x.reshape(-1, x.shape[-1])
        sums, squares, count = sums + x.sum(0), squares + (x**2).sum(0), count + len(x)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}


def _duration(config: Config, samples: int) -> int:
    """The whole run in images, from what its source says. Raises ConfigError where it says nothing."""
    train = config.train
    if train.epochs is not None:
        return train.epochs * samples
    if train.generator_steps is not None:
        steps = sum(growth.critic_steps(config, step) for step in range(train.generator_steps))
        return steps * config.growth.batch_size
    if total := Schedule.of(config).total:
        return total
    raise ConfigError("how long is not said", where="train.duration", mend="--kimg 100, or --set train.epochs=10")


def _absolute(source: str) -> str:
    return source if source.startswith("builtin:") else str(Path(source).absolute())


def grown(source: Checkpoint, to: int | None, changes: Mapping[str, Any]) -> Config:
    """The source's config with stages added up to `to` pixels. Raises ConfigError where that is no doubling."""
    refuse_unfinished(source, "grow")
    network = source.config.network
    if not isinstance(network, ProgressiveConfig):
        what = f"{network.family} networks do not grow"
        raise ConfigError(what, where=f"grow {source.path}", mend="train a progressive preset, such as progan-64-lite")
    to = to or network.resolution * 2
    if to <= network.resolution:
        raise ConfigError(
            f"the network draws {network.resolution} px already",
            where="--to",
            mend=f"--to {network.resolution * 2}",
        )
    doublings = {network.resolution << i for i in range(1, 12) if network.resolution << i <= MAX_RESOLUTION}
    if to not in doublings:
        sizes = ", ".join(map(str, sorted(doublings)))
        raise ConfigError(f"{to} px is not {network.resolution} px doubled", where="--to", mend=f"one of {sizes}")
    values = source.config.model_dump()
    values["network"]["resolution"] = to
    if network.channels is not None:
        added = (to // network.resolution).bit_length() - 1
        tail = [max(8, network.channels[-1] >> (i + 1)) for i in range(added)]
        values["network"]["channels"] = [*network.channels, *tail]
    values["growth"]["start_at"] = network.resolution * 2
    values["growth"]["at"] |= _copied_stages(source.config, to)
    return _derived(source, values, "grow", changes)


def refuse_unfinished(source: Checkpoint, verb: str) -> None:
    """What has not reached its last resolution has stages that nothing has trained. Raises ConfigError."""
    phase = Schedule.of(source.config).phase_at(source.images)
    if phase.stage < source.config.network.stages - 1 or phase.alpha < 1:
        raise ConfigError(
            f"after {source.images / 1000:g} kimg it draws {phase.height} px at alpha {phase.alpha:.2f}",
            where=f"{verb} {source.path}",
            mend="train it to the end of its last fade first",
        )


def _copied_stages(config: Config, to: int) -> dict[int, dict[str, Any]]:
    """What the last stage did differently, for every stage that is added."""
    reached = config.network.size_at(config.network.stages - 1)[0]
    last, height = config.growth.at.get(reached), reached * 2
    added = {}
    while height <= to and last is not None:
        added[height] = last.model_dump()
        height *= 2
    return added


def transferred(source: Checkpoint, changes: Mapping[str, Any]) -> Config:
    """The source's config with a fresh clock that stays at its last resolution: all its stages are trained."""
    refuse_unfinished(source, "transfer from")
    values = source.config.model_dump()
    if isinstance(source.config.network, ProgressiveConfig):
        height = source.config.network.resolution
        values["growth"]["start_at"] = height
        own = values["growth"]["at"].get(height) or {}
        values["growth"]["at"] = {**values["growth"]["at"], height: {**own, "fade": 0}}
    return _derived(source, values, "transfer", changes)


def _derived(source: Checkpoint, values: dict[str, Any], verb: str, changes: Mapping[str, Any]) -> Config:
    assert source.path is not None, "a checkpoint that was read has a path"
    values["preset"] = f"{source.config.preset.removesuffix(f'-{verb}')}-{verb}"
    if isinstance(source.config.network, ProgressiveConfig):
        values["train"]["duration"] = None  # that of the new schedule
    channels = source.config.network.shape[0]
    values["data"] |= {"fingerprint": None, **_some_moments(source.config)}
    values["data"]["channels"] = channels if source.config.network.picture_size else None
    values["origin"] = {
        "verb": verb,
        "checkpoint": str(source.path.absolute()),
        "digest": checkpoint.digest(source.path),
        "images": source.images + (source.config.origin.images if source.config.origin else 0),
    }
    where = f"{verb} {source.path}"
    config = configs.presets.build(configs.overrides.apply(values, changes), where, changes)
    _refuse_misfit(source, config, where)
    return config


def _some_moments(config: Config) -> dict[str, tuple[float, ...]]:
    """Those of the source's data, or any: the networks need some to be built, and `resolve` measures the new ones."""
    channels = config.network.shape[0]
    return {"mean": config.data.mean or (0.0,) * channels, "std": config.data.std or (1.0,) * channels}


def _refuse_misfit(source: Checkpoint, config: Config, where: str) -> None:
    """A --set that changes the network leaves the source's weights without a place. Raises ConfigError."""
    network = on_meta(config).G
    theirs = source.weights["G"]
    own = {name: tensor for name, tensor in network.state_dict().items() if name not in theirs}
    if odd := checkpoint.first_misfit(network, {**own, **theirs}):
        raise ConfigError(f"the source's weights do not fit: {odd}", where=where, mend="leave network.* as it is")
