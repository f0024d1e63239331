"""The only reader of .pt files: from bytes to vetted tensors and plain values, without ever running the file's code.

It decides by content, never by suffix, and knows nothing of what the tensors mean: that is `checkpoint`'s part.
Guards, in order: a regular zip file whose entries are stored, unique and as long as they say; every checksum; a
pickle that names nothing but tensors; torch's own restricted loader.
"""

import pickletools
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancli.errors import CheckpointError, InputMissing
from gancli.results import printable

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


def digest(path: Path) -> str:
    """A hash of the file, by which a grown run knows its source."""
    whole = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def values(path: Path) -> Any:
    """What a file holds: tensors and plain values. Raises CheckpointError; never runs code from the file."""
    _check_zip(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # eleven kinds come out, and their advice is to switch the guard off
        raise refusal(path, "its content is not that of a checkpoint") from error


def read_tensors(file: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of these names and shapes from a state dict of somebody else's, through the same guards.

    The file may hold more. Raises InputMissing or CheckpointError; never runs code from the file.
    """
    return fitting(read_state_dict(file), shapes, where=file, hint="give the state dict of another file")


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Every named tensor of somebody else's file, through the same guards. Raises InputMissing or CheckpointError."""
    path = Path(file)
    if not path.exists():
        raise InputMissing("no such file of weights", where=printable(str(path)), hint="give a PyTorch state dict")
    try:
        found = values(path)
    except CheckpointError as error:
        hint = (
            "give a plain state dict: torch.save(model.state_dict(), FILE); from an older one: "
            "torch.save({k: v.detach() for k, v in torch.load(OLD, weights_only=True).items()}, FILE)"
        )
        raise CheckpointError(error.what, where=error.where, hint=hint) from error
    named = found if isinstance(found, dict) else {}
    return {name: tensor for name, tensor in named.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def fitting(
    found: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, where: str | Path, hint: str
) -> dict[str, Tensor]:
    """The tensors of these names and shapes. Raises CheckpointError where one is missing, misshapen or not finite."""
    for name, shape in shapes.items():
        tensor = found.get(name)
        if tensor is None or tuple(tensor.shape) != shape or not tensor.isfinite().all():
            what = f"it holds no finite tensor {name!r} of shape {shape}"
            raise CheckpointError(what, where=printable(str(where)), hint=hint)
    return {name: found[name] for name in shapes}


def refusal(path: Path, why: str) -> CheckpointError:
    """The one error of every guard: what is the matter, and what to take instead."""
    return CheckpointError(
        f"not a checkpoint that can be opened: {why}",
        where=printable(str(path)),
        hint="take another one from the run's checkpoints/ folder",
    )


def _check_zip(path: Path) -> None:
    if not path.is_file():
        raise refusal(path, "it is not a regular file")
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise refusal(path, "it is not a zip, as torch writes since version 1.6")
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path)
            _check_pickle(archive, path)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, KeyError) as error:
        raise refusal(path, "it is cut short or damaged") from error


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    infos = archive.infolist()
    if any("/code/" in info.filename or info.filename.endswith("/constants.pkl") for info in infos):
        raise refusal(path, "it is TorchScript, which is refused because it holds code")
    if len({info.filename for info in infos}) != len(infos):
        raise refusal(path, "two entries have the same name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise refusal(path, "an entry is compressed or encrypted")
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise refusal(path, "its entries claim more than the file holds")
    if archive.testzip() is not None:
        raise refusal(path, "a checksum is wrong, so it is damaged")


def _check_pickle(archive: zipfile.ZipFile, path: Path) -> None:
    pickles = [info for info in archive.infolist() if info.filename.endswith(".pkl")]
    if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl") or pickles[0].file_size > MAX_PICKLE_BYTES:
        raise refusal(path, "it has no data.pkl of its own, or other code beside it")
    for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
        if opcode.name in FORBIDDEN_OPCODES or (opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS):
            raise refusal(path, f"it names {printable(str(argument or opcode.name))}, which is no tensor")
