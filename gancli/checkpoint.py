"""The content of a checkpoint, and the only code that writes one. `safe_load` reads the bytes.

A checkpoint contains tensors and plain values, no code. Writing is atomic, and the file is verified before it
replaces an older one. A file may contain only a generator: it can be sampled, but not trained further.
"""

import math
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
from gancli.results import MAX_COUNT, printable
from gancli.version import __version__

FORMAT = 3  # raise it when the layout changes, and add a migration from the old one
NETWORKS = ("G", "D", "ema")  # generator, critic, EMA of the generator
MAX_EXTRA_VALUES = 1 << 26  # limit on the total number of values in `extra`
ADAM_KEYS = {"step", "exp_avg", "exp_avg_sq"}

AdamState = Mapping[str, Mapping[str, Tensor]]  # parameter name -> tensors of the Adam state


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that is needed to resume training: config, progress, weights, Adam state and extra tensors.

    If only a generator was imported, `weights` has "ema", "G" or both, and `optimizers` is empty.
    """

    config: ResolvedConfig
    images: int  # images shown so far
    generator_steps: int = 0
    seconds: float = 0.0  # training time
    weights: Mapping[str, Mapping[str, Tensor]]  # keys are from NETWORKS
    optimizers: Mapping[str, AdamState] = field(default_factory=dict)  # keys are "G" and "D"
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # other state, such as a running estimate
    version: str = __version__  # version of gancli that wrote it, for information only

    @property
    def can_train(self) -> bool:
        """Whether it contains all networks and Adam states, so that training can resume from it."""
        return set(NETWORKS) <= self.weights.keys() and {"G", "D"} <= self.optimizers.keys()


@dataclass(frozen=True, kw_only=True)
class Opened(Checkpoint):
    """A checkpoint that was read from a file."""

    path: Path

    def generator_weights(self, *, raw: bool) -> Mapping[str, Tensor]:
        """The EMA weights of the generator, or with `raw` the raw ones. Raises CheckpointError if they are missing."""
        name = "G" if raw else "ema"
        if name not in self.weights:
            hint = "leave out --raw" if raw else "give --raw to use the raw weights"
            what = f"the checkpoint has no {'raw' if raw else 'EMA'} weights"
            raise CheckpointError(what, where=printable(str(self.path)), hint=hint)
        return self.weights[name]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: if the process is killed, `path` is either the old or the new complete file.

    Raises StorageError if the disk is full or not writable.
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
    files.make_folder(path.parent)
    files.replace(path, lambda temporary: _save(values, temporary), needed=_size_of(values))


def _save(values: dict[str, Any], temporary: Path) -> None:
    torch.save(values, temporary)
    try:
        with zipfile.ZipFile(temporary) as archive:
            damaged = archive.testzip() is not None
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        raise OSError("the written file could not be read back")


def _size_of(values: Any) -> int:
    """Size of all tensors in bytes, with an allowance for their names."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size() + 1_000
    if isinstance(values, Mapping):
        return sum(_size_of(inner) for inner in values.values())
    return 100


def locate(path: str | Path) -> Path:
    """The .pt file of a CKPT argument: the file itself, or `last.pt` of a run folder. Raises InputMissing."""
    where, hint = printable(str(path)), "give a .pt file or a run folder"
    try:
        is_folder = Path(path).is_dir()
        found = Path(path) / "last.pt" if is_folder else Path(path)
        exists = found.exists()
    except OSError as error:  # such as a name that is too long
        raise InputMissing(f"cannot read the checkpoint: {error.strerror}", where=where, hint=hint) from error
    if not exists:
        what = "no checkpoint in this folder" if is_folder else "no such checkpoint"
        raise InputMissing(what, where=where, hint=hint)
    return found


def read(path: str | Path) -> Opened:
    """Read a checkpoint to the CPU. Raises InputMissing or CheckpointError; never runs code from the file.

    After the checks of `safe_load`, the config is validated against its schema and its limits, and every tensor
    against the networks that the config describes.
    """
    path = locate(path)
    values = _migrated(safe_load.values(path), path)
    try:
        opened = _opened(values, path)
        _check_tensors(opened)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RuntimeError,
        MemoryError,
        ConfigError,
    ) as error:
        raise safe_load.refusal(path, f"a part is missing or wrong ({printable(str(error))[:200]})") from error
    return opened


def _migrated(values: Any, path: Path) -> dict[str, Any]:
    """Migrate the values to the current layout. Raises CheckpointError for a foreign file or a newer layout."""
    if not isinstance(values, dict) or type(values.get("format")) is not int:
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
    except renamed.MALFORMED as error:
        raise safe_load.refusal(path, "a part is missing or wrong") from error


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    """Facts about the samples were in the sections `data` and `network`."""
    return {**values, "config": renamed.with_samples(values["config"]), "extra": {}}


def _from_2(values: dict[str, Any]) -> dict[str, Any]:
    """Some config keys had other names."""
    return {**values, "config": renamed.translated(values["config"])}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}


def _opened(values: Mapping[str, Any], path: Path) -> Opened:
    optimizers = values["optimizers"]
    return Opened(
        config=presets.build_resolved(values["config"], str(path)),
        images=_count(values["images"]),
        generator_steps=_count(values["generator_steps"]),
        seconds=_seconds(values["seconds"]),
        weights={name: _tensors(weights) for name, weights in values["weights"].items()},
        optimizers={name: {k: _tensors(v) for k, v in memory.items()} for name, memory in optimizers.items()},
        extra=_tensors(values["extra"]),
        version=str(values["gancli"]),
        path=path,
    )


def _check_tensors(opened: Opened) -> None:
    """Check the shapes and types of weights and Adam states against the config's networks. Raises ValueError."""
    if not {"G", "ema"} & opened.weights.keys() or not opened.weights.keys() <= set(NETWORKS):
        raise ValueError(f"weights of {', '.join(map(str, opened.weights)) or 'nothing'}")
    if not opened.optimizers.keys() <= opened.weights.keys() & {"G", "D"}:
        raise ValueError("Adam state of a network that is not in the file")
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
        if memory.keys() != ADAM_KEYS:
            raise ValueError(f"the Adam state of {parameter} does not consist of {', '.join(sorted(ADAM_KEYS))}")
        if any(t.shape != (() if k == "step" else known[parameter].shape) for k, t in memory.items()):
            raise ValueError(f"the Adam state of {parameter} has the wrong shape")
        if not all(t.is_floating_point() and t.isfinite().all() for t in memory.values()):
            raise ValueError(f"the Adam state of {parameter} is not finite")
        if memory["step"] < 0 or (memory["exp_avg_sq"] < 0).any():
            raise ValueError(f"the Adam state of {parameter} is negative")


def first_misfit(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """Describe the first weight that is missing, unknown, or of another shape or type; None if all weights fit."""
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            return f"the weights are from another network ({printable(name)})"
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            return f"{name} has shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
        if found.dtype != wanted.dtype:
            return f"{name} has type {found.dtype}, not {wanted.dtype}"
    return None


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("the number of images or steps is not a valid number")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError("the training time is not a valid number")
    return float(value)


def _tensors(values: Any) -> dict[str, Tensor]:
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in values.items()):
        raise TypeError("a value is not a tensor")
    return dict(values)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a network.

    Raises CheckpointError if a name, shape or type differs, or a value is not finite.
    """
    if odd := first_misfit(network, tensors):
        raise safe_load.refusal(where, odd)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise safe_load.refusal(where, f"{name} has a value that is not finite")
    network.load_state_dict(dict(tensors))
