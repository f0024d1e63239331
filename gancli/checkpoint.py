"""What a checkpoint means, and the only writer of one. `safe_load` reads the bytes.

A checkpoint is data: tensors and plain values. Writing is atomic, and what was written is read
back before it replaces anything. A file may hold a generator alone: it can be sampled, not trained on.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancli import files, safe_load
from gancli.config import ResolvedConfig, presets, renamed
from gancli.errors import CheckpointError, ConfigError, InputMissing
from gancli.networks import on_meta
from gancli.results import printable
from gancli.version import __version__

FORMAT = 3  # raise it when the layout changes, and add a migration from the old one
NETWORKS = ("G", "D", "ema")  # "ema" is the averaged generator
MAX_EXTRA_VALUES = 1 << 26  # in all of `extra`

AdamState = Mapping[str, Mapping[str, Tensor]]  # parameter -> Adam's tensors


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that must survive of a training: the config, the clock, the weights, Adam's memory, and what else there is.

    Of a generator alone, as an importer makes it, `weights` has "ema", "G" or both, and `optimizers` is empty.
    """

    config: ResolvedConfig
    images: int
    generator_steps: int = 0
    seconds: float = 0.0
    weights: Mapping[str, Mapping[str, Tensor]]  # some of NETWORKS
    optimizers: Mapping[str, AdamState] = field(default_factory=dict)  # of "G" and "D"
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # neither weights nor optimizer: a running estimate ...
    version: str = __version__  # of gancli, for people

    @property
    def can_train(self) -> bool:
        """Does it hold all networks and Adam's memory, so that a training can go on from it?"""
        return set(NETWORKS) <= self.weights.keys() and {"G", "D"} <= self.optimizers.keys()


@dataclass(frozen=True, kw_only=True)
class Opened(Checkpoint):
    """A checkpoint that was read from a file."""

    path: Path

    def generator_weights(self, *, raw: bool) -> Mapping[str, Tensor]:
        """Those of the average, or with `raw` of the last step. Raises CheckpointError where it has not got them."""
        name = "G" if raw else "ema"
        if name not in self.weights:
            hint = "leave out --raw" if raw else "give --raw for those of the last step"
            what = f"it holds no {'raw' if raw else 'averaged'} weights"
            raise CheckpointError(what, where=printable(str(self.path)), hint=hint)
        return self.weights[name]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that whatever instant the process dies, `path` holds a whole one, old or new.

    Raises StorageError where the disk is full or cannot be written.
    """
    values = {
        "format": FORMAT,
        "gancli": checkpoint.version,
        "config": checkpoint.config.model_dump(mode="json"),
        "images": checkpoint.images,
        "generator_steps": checkpoint.generator_steps,
        "seconds": checkpoint.seconds,
        "weights": checkpoint.weights,
        "optimizers": checkpoint.optimizers,
        "extra": checkpoint.extra,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, lambda temporary: _save(values, temporary), needed=_size_of(values))


def _save(values: dict[str, Any], temporary: Path) -> None:
    torch.save(values, temporary)
    try:
        with zipfile.ZipFile(temporary) as archive:
            damaged = archive.testzip() is not None
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        raise OSError("what was written could not be read back")


def _size_of(values: Any) -> int:
    """Bytes of all tensors, and a little for their names."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size() + 1_000
    if isinstance(values, Mapping):
        return sum(_size_of(inner) for inner in values.values())
    return 100


def locate(path: str | Path) -> Path:
    """The .pt file that CKPT names: itself, or the `last.pt` of a run folder. Raises InputMissing."""
    path = Path(path)
    if path.is_dir():
        path = path / "last.pt"
    if not path.exists():
        raise InputMissing("no such checkpoint", where=printable(str(path)), hint="give a .pt file or a run folder")
    return path


def read(path: str | Path) -> Opened:
    """Open a checkpoint, on the CPU. Raises InputMissing or CheckpointError; never runs code from the file.

    The guards of `safe_load`, then: the config through the schema, with its bounds; every tensor against the
    networks that the config describes.
    """
    path = locate(path)
    values = _migrated(safe_load.values(path), path)
    try:
        opened = _opened(values, path)
        _check_tensors(opened)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
        raise safe_load.refusal(path, f"a part is missing or wrong ({printable(str(error))[:200]})") from error
    return opened


def _migrated(values: Any, path: Path) -> dict[str, Any]:
    """The values in the present layout. Raises CheckpointError where they are not ours, or of a layout to come."""
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise safe_load.refusal(path, "it was not written by gancli")
    if values["format"] > FORMAT:
        newer = printable(str(values.get("gancli")))
        raise CheckpointError(
            f"written by a newer gancli ({newer})",
            where=printable(str(path)),
            hint="upgrade: pip install -U gancli",
        )
    try:
        while values["format"] < FORMAT:
            values = {**MIGRATIONS[values["format"]](values), "format": values["format"] + 1}
        return dict(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise safe_load.refusal(path, "a part is missing or wrong") from error


FACTS_OF_1 = ("fingerprint", "centre", "scale", "mean", "std")


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    """What the data had settled stood in the sections `data` and `network`."""
    config = {name: dict(part) if isinstance(part, dict) else part for name, part in values["config"].items()}
    network, data, train = config["network"], config["data"], config["train"]
    shape, channels = network.pop("sample_shape", None), network.pop("image_channels", None)
    if shape is None:
        height, width = network.get("base", (4, 4))
        shape = (channels, network["resolution"], network["resolution"] * width // height)
    facts = {"fingerprint": "unknown"}
    facts |= {key: value for key in FACTS_OF_1 if (value := data.pop(key, None)) is not None}
    data["source"] = data.get("source") or "unknown"
    config["samples"] = {"kind": ("points", "signal", "image")[len(shape) - 1], "shape": shape, **facts}
    train["precision"] = "bf16" if train.get("precision") == "bf16" else "fp32"
    return {**values, "config": config, "extra": {}}


def _from_2(values: dict[str, Any]) -> dict[str, Any]:
    """Some keys of the config had other names."""
    return {**values, "config": renamed.translated(values["config"])}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}


def _opened(values: Mapping[str, Any], path: Path) -> Opened:
    optimizers = values["optimizers"]
    return Opened(
        config=presets.build_resolved(values["config"], str(path)),
        images=_count(values["images"]),
        generator_steps=_count(values["generator_steps"]),
        seconds=float(values["seconds"]),
        weights={name: _tensors(weights) for name, weights in values["weights"].items()},
        optimizers={name: {k: _tensors(v) for k, v in memory.items()} for name, memory in optimizers.items()},
        extra=_tensors(values["extra"]),
        version=str(values["gancli"]),
        path=path,
    )


def _check_tensors(opened: Opened) -> None:
    """Every weight and all of Adam's memory has the shape and type of the config's own networks. Raises ValueError."""
    if not {"G", "ema"} & opened.weights.keys() or not opened.weights.keys() <= set(NETWORKS):
        raise ValueError(f"weights of {', '.join(map(str, opened.weights)) or 'nothing'}")
    if not opened.optimizers.keys() <= opened.weights.keys() & {"G", "D"}:
        raise ValueError("Adam's memory of networks that are not there")
    pair = on_meta(opened.config)
    networks: dict[str, nn.Module] = {"G": pair.G, "D": pair.D, "ema": pair.G}
    for name, weights in opened.weights.items():
        if odd := first_misfit(networks[name], weights):
            raise ValueError(odd)
    for name, memories in opened.optimizers.items():
        _check_memory(networks[name], memories)
    if sum(tensor.numel() for tensor in opened.extra.values()) > MAX_EXTRA_VALUES:
        raise ValueError("too many values in extra")
    if not all(tensor.isfinite().all() for tensor in opened.extra.values()):
        raise ValueError("a value in extra is not finite")


def _check_memory(network: nn.Module, memories: AdamState) -> None:
    known = dict(network.named_parameters())
    for parameter, memory in memories.items():
        if any(k != "step" and t.shape != known[parameter].shape for k, t in memory.items()):
            raise ValueError(f"Adam's memory of {parameter}")
        if not all(t.is_floating_point() and t.isfinite().all() for t in memory.values()):
            raise ValueError(f"Adam's memory of {parameter} is not finite")


def first_misfit(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """What is the matter with the first weight that is missing, unknown, of another shape or type; None if all fit."""
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            return f"its weights are of another network ({printable(name)})"
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            return f"{name} has shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
        if found.dtype != wanted.dtype:
            return f"{name} has type {found.dtype}, not {wanted.dtype}"
    return None


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count of images")
    return value


def _tensors(values: Any) -> dict[str, Tensor]:
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in values.items()):
        raise TypeError("something else where a tensor belongs")
    return dict(values)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a network.

    Raises CheckpointError where a name, shape or type differs, or a value is not finite.
    """
    if odd := first_misfit(network, tensors):
        raise safe_load.refusal(where, odd)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise safe_load.refusal(where, f"{name} holds a value that is not finite")
    network.load_state_dict(dict(tensors))
