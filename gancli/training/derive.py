"""Configs made from other configs: by the data, by growing a checkpoint, by transfer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gancli import checkpoint
from gancli import config as configs
from gancli.checkpoint import Checkpoint
from gancli.config import Config
from gancli.config.schema import MAX_RESOLUTION
from gancli.data import Dataset
from gancli.errors import ConfigError
from gancli.growth import Schedule
from gancli.networks import on_meta


def resolve(config: Config, dataset: Dataset, source: str) -> Config:
    """The config with everything that depends on the data: its place, its fingerprint, channels, duration."""
    if dataset.kind != "image":
        raise ConfigError(
            f"the progressive networks take pictures, and {source} holds {dataset.kind}",
            where="network.family",
            mend="no network of gancli takes this kind of data yet; give pictures",
        )
    values = config.model_dump()
    values["data"] |= {"source": _absolute(source), "fingerprint": dataset.fingerprint}
    values["network"]["image_channels"] = dataset.values.shape[3]
    values["train"]["duration"] = config.train.duration or Schedule.of(config).total
    resolved = configs.presets.build(values, "the resolved config")
    largest = max(phase.batch_size for phase in Schedule.of(resolved).phases)
    if largest > len(dataset.train_rows):
        raise ConfigError(
            f"a batch of {largest} is larger than the {len(dataset.train_rows)} training samples",
            where="growth.batch_size",
            mend=f"--batch {max(1, len(dataset.train_rows) // 4)}, or more data",
        )
    return resolved


def _absolute(source: str) -> str:
    return source if source.startswith("builtin:") else str(Path(source).absolute())


def grown(source: Checkpoint, to: int | None, changes: Mapping[str, Any]) -> Config:
    """The source's config with stages added up to `to` pixels. Raises ConfigError where that is no doubling."""
    refuse_unfinished(source, "grow")
    network = source.config.network
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
            mend=f"train it to the end of its fade at {source.config.network.resolution} px first",
        )


def _copied_stages(config: Config, to: int) -> dict[int, dict[str, Any]]:
    """What the last stage did differently, for every stage that is added."""
    last = config.growth.at.get(config.network.resolution)
    height, added = config.network.resolution * 2, {}
    while height <= to and last is not None:
        added[height] = last.model_dump()
        height *= 2
    return added


def transferred(source: Checkpoint, changes: Mapping[str, Any]) -> Config:
    """The source's config with a fresh clock that stays at its last resolution: all its stages are trained."""
    refuse_unfinished(source, "transfer from")
    values = source.config.model_dump()
    height = source.config.network.resolution
    values["growth"]["start_at"] = height
    own = values["growth"]["at"].get(height) or {}
    values["growth"]["at"] = {**values["growth"]["at"], height: {**own, "fade": 0}}
    return _derived(source, values, "transfer", changes)


def _derived(source: Checkpoint, values: dict[str, Any], verb: str, changes: Mapping[str, Any]) -> Config:
    assert source.path is not None, "a checkpoint that was read has a path"
    values["preset"] = f"{source.config.preset.removesuffix(f'-{verb}')}-{verb}"
    values["train"]["duration"] = None
    values["data"] |= {"fingerprint": None, "channels": source.config.network.image_channels}
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


def _refuse_misfit(source: Checkpoint, config: Config, where: str) -> None:
    """A --set that changes the network leaves the source's weights without a place. Raises ConfigError."""
    network = on_meta(config).G
    theirs = source.weights["G"]
    own = {name: tensor for name, tensor in network.state_dict().items() if name not in theirs}
    if odd := checkpoint.first_misfit(network, {**own, **theirs}):
        raise ConfigError(f"the source's weights do not fit: {odd}", where=where, mend="leave network.* as it is")
