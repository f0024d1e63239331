"""The only writer and the only reader of .pt files.

A checkpoint is data: tensors and plain values. Writing is atomic, and what was written is read
back before it replaces anything. Reading decides by content, never by suffix, and never runs code.
"""

import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancli import files
from gancli.config import Config, presets
from gancli.errors import CheckpointError, ConfigError, InputMissing
from gancli.networks import on_meta
from gancli.results import printable
from gancli.version import __version__

FORMAT = 1  # raise it when the layout changes, and add a migration from the old one
MAX_PICKLE_BYTES = 16_000_000  # names and shapes only; the numbers lie in files of their own

# What the pickle inside may name. None of these runs anything of the file's choosing.
ALLOWED_GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    "torch FloatStorage",
    "torch DoubleStorage",
    "torch BFloat16Storage",
    "torch LongStorage",
}
FORBIDDEN_OPCODES = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}


@dataclass(frozen=True)
class Checkpoint:
    """All that must survive of a training: the config, the clock, the weights, Adam's memory."""

    config: Config
    images: int
    generator_steps: int
    seconds: float
    weights: Mapping[str, Mapping[str, Tensor]]  # of "G", "D" and "ema"
    optimizers: Mapping[str, Mapping[str, Mapping[str, Tensor]]]  # "G", "D" -> parameter -> Adam's tensors
    path: Path | None = None
    version: str = field(default_factory=lambda: __version__)  # of gancli, for people


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
        raise InputMissing("no such checkpoint", where=printable(str(path)), mend="give a .pt file or a run folder")
    return path


def digest(path: Path) -> str:
    """A hash of the file, by which a grown run knows its source."""
    whole = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def read(path: str | Path) -> Checkpoint:
    """Open a checkpoint, on the CPU. Raises InputMissing or CheckpointError; never runs code from the file.

    Guards, in order: a regular zip file whose entries are stored, unique and as long as they say; every
    checksum; a pickle that names nothing but tensors; torch's own restricted loader; the config through
    the schema, with its bounds; every tensor against the networks that the config describes.
    """
    path = locate(path)
    return _from_values(_values(path), path)


def _values(path: Path) -> Any:
    """What the file holds, through every guard but the last two."""
    _check_zip(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # eleven kinds come out, and their advice is to switch the guard off
        raise _refusal(path, "its content is not that of a checkpoint") from error


def read_tensors(file: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of these names and shapes from a state dict of somebody else's, through the same guards.

    The file may hold more. Raises InputMissing or CheckpointError; never runs code from the file.
    """
    return fitting(read_state_dict(file), shapes, where=file, mend="give the state dict of another file")


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Every named tensor of somebody else's file, through the same guards. Raises InputMissing or CheckpointError."""
    path = Path(file)
    if not path.exists():
        raise InputMissing("no such file of weights", where=printable(str(path)), mend="give a PyTorch state dict")
    try:
        values = _values(path)
    except CheckpointError as error:
        mend = (
            "give a plain state dict: torch.save(model.state_dict(), FILE); from an older one: "
            "torch.save({k: v.detach() for k, v in torch.load(OLD, weights_only=True).items()}, FILE)"
        )
        raise CheckpointError(error.what, where=error.where, mend=mend) from error
    found = values if isinstance(values, dict) else {}
    return {name: tensor for name, tensor in found.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def fitting(
    found: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, where: str | Path, mend: str
) -> dict[str, Tensor]:
    """The tensors of these names and shapes. Raises CheckpointError where one is missing, misshapen or not finite."""
    for name, shape in shapes.items():
        tensor = found.get(name)
        if tensor is None or tuple(tensor.shape) != shape or not tensor.isfinite().all():
            what = f"it holds no finite tensor {name!r} of shape {shape}"
            raise CheckpointError(what, where=printable(str(where)), mend=mend)
    return {name: found[name] for name in shapes}


def _refusal(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"not a checkpoint that can be opened: {why}",
        where=printable(str(path)),
        mend="take another one from the run's checkpoints/ folder",
    )


def _check_zip(path: Path) -> None:
    if not path.is_file():
        raise _refusal(path, "it is not a regular file")
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise _refusal(path, "it is not a zip, as torch writes since version 1.6")
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path)
            _check_pickle(archive, path)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, KeyError) as error:
        raise _refusal(path, "it is cut short or damaged") from error


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    infos = archive.infolist()
    if any("/code/" in info.filename or info.filename.endswith("/constants.pkl") for info in infos):
        raise _refusal(path, "it is TorchScript, which is refused because it holds code")
    if len({info.filename for info in infos}) != len(infos):
        raise _refusal(path, "two entries have the same name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise _refusal(path, "an entry is compressed or encrypted")
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise _refusal(path, "its entries claim more than the file holds")
    if archive.testzip() is not None:
        raise _refusal(path, "a checksum is wrong, so it is damaged")


def _check_pickle(archive: zipfile.ZipFile, path: Path) -> None:
    pickles = [info for info in archive.infolist() if info.filename.endswith(".pkl")]
    if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl") or pickles[0].file_size > MAX_PICKLE_BYTES:
        raise _refusal(path, "it has no data.pkl of its own, or other code beside it")
    for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
        if opcode.name in FORBIDDEN_OPCODES or (opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS):
            raise _refusal(path, f"it names {printable(str(argument or opcode.name))}, which is no tensor")


def _from_values(values: Any, path: Path) -> Checkpoint:
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise _refusal(path, "it was not written by gancli")
    if values["format"] > FORMAT:
        newer = printable(str(values.get("gancli")))
        raise CheckpointError(
            f"written by a newer gancli ({newer})",
            where=printable(str(path)),
            mend="upgrade: pip install -U gancli",
        )
    try:
        opened = Checkpoint(
            config=presets.build(values["config"], str(path)),
            images=_count(values["images"]),
            generator_steps=_count(values["generator_steps"]),
            seconds=float(values["seconds"]),
            weights={name: _tensors(values["weights"][name]) for name in ("G", "D", "ema")},
            optimizers={n: {k: _tensors(v) for k, v in values["optimizers"][n].items()} for n in ("G", "D")},
            path=path,
            version=str(values["gancli"]),
        )
        _check_tensors(opened)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
        raise _refusal(path, f"a part is missing or wrong ({printable(str(error))[:200]})") from error
    return opened


def _check_tensors(opened: Checkpoint) -> None:
    """Every weight and all of Adam's memory has the shape and type of the config's own networks. Raises ValueError."""
    if not opened.config.network.is_resolved or opened.config.train.duration is None:
        raise ValueError("the config was never resolved")
    pair = on_meta(opened.config)
    for name, network in (("G", pair.G), ("D", pair.D), ("ema", pair.G)):
        if odd := first_misfit(network, opened.weights[name]):
            raise ValueError(odd)
        known = dict(network.named_parameters())
        for parameter, memory in opened.optimizers.get(name, {}).items():
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
        if tensors[name].shape != expected[name].shape or tensors[name].dtype != expected[name].dtype:
            return f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
    return None


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count of images")
    return value


def _tensors(values: Any) -> dict[str, Tensor]:
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in values.items()):
        raise TypeError("something else where a tensor belongs")
    return dict(values)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: Path | None) -> None:
    """Copy weights into a network.

    Raises CheckpointError where a name, shape or type differs, or a value is not finite.
    """
    place = where or Path("checkpoint")
    if odd := first_misfit(network, tensors):
        raise _refusal(place, odd)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise _refusal(place, f"{name} holds a value that is not finite")
    network.load_state_dict(dict(tensors))
