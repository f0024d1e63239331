"""The only reader of .pt files: loads tensors and plain values, and never runs code from the file.

Files are checked by content, not by suffix. The meaning of the tensors is handled in `checkpoint`. Checks, in order:
a regular zip file with stored, unique entries of the stated length; all checksums; a pickle that references only
tensors; the restricted loader of torch.
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

MAX_PICKLE_BYTES = 16_000_000  # names and shapes only; the values are in other zip entries

# Globals that the pickle may reference. None of them can run arbitrary code.
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
    """A hash of the file, which identifies the source of a grown run."""
    whole = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def values(path: Path) -> Any:
    """Load the tensors and plain values of a file. Raises CheckpointError. Never runs code from the file."""
    _check_zip(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # many types, and their messages recommend weights_only=False
        raise refusal(path, "its content is not a checkpoint") from error


def read_tensors(file: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Load tensors of the given names and shapes from a third-party state dict, with the same checks.

    The file may contain more tensors. Raises InputMissing or CheckpointError. Never runs code from the file.
    """
    return fitting(read_state_dict(file), shapes, where=file, hint="give another state dict")


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """All named tensors of a third-party file, with the same checks. Raises InputMissing or CheckpointError."""
    path = Path(file)
    if not path.exists():
        raise InputMissing("no such weights file", where=printable(str(path)), hint="give a PyTorch state dict")
    try:
        found = values(path)
    except CheckpointError as error:
        hint = (
            "give a plain state dict: torch.save(model.state_dict(), FILE); to convert an older file: "
            "torch.save({k: v.detach() for k, v in torch.load(OLD, weights_only=True).items()}, FILE)"
        )
        raise CheckpointError(error.what, where=error.where, hint=hint) from error
    named = found if isinstance(found, dict) else {}
    return {name: tensor for name, tensor in named.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def fitting(
    found: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, where: str | Path, hint: str
) -> dict[str, Tensor]:
    """Tensors of the given names and shapes. Raises CheckpointError if one is missing, misshapen or not finite."""
    for name, shape in shapes.items():
        tensor = found.get(name)
        if tensor is None or tuple(tensor.shape) != shape or not tensor.isfinite().all():
            what = f"it contains no finite tensor {name!r} of shape {shape}"
            raise CheckpointError(what, where=printable(str(where)), hint=hint)
    return {name: found[name] for name in shapes}


def refusal(path: Path, why: str) -> CheckpointError:
    """The error of all checks: the reason, and a hint."""
    return CheckpointError(
        f"cannot open the checkpoint: {why}",
        where=printable(str(path)),
        hint="give a .pt file that gancli wrote, such as one from the checkpoints/ folder of a run",
    )


def _check_zip(path: Path) -> None:
    if not path.is_file():
        raise refusal(path, "it is not a regular file")
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise refusal(path, "it is not in the zip format that torch writes since version 1.6")
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path)
            _check_pickle(archive, path)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, KeyError) as error:
        raise refusal(path, "it is truncated or damaged") from error


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    infos = archive.infolist()
    if any("/code/" in info.filename or info.filename.endswith("/constants.pkl") for info in infos):
        raise refusal(path, "it is TorchScript, which is not accepted because it contains code")
    if len({info.filename for info in infos}) != len(infos):
        raise refusal(path, "two entries have the same name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise refusal(path, "an entry is compressed or encrypted")
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise refusal(path, "its entries are larger than the file")
    if archive.testzip() is not None:
        raise refusal(path, "a checksum does not match: the file is damaged")


def _check_pickle(archive: zipfile.ZipFile, path: Path) -> None:
    pickles = [info for info in archive.infolist() if info.filename.endswith(".pkl")]
    if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl") or pickles[0].file_size > MAX_PICKLE_BYTES:
        raise refusal(path, "it does not have exactly one pickle, data.pkl")
    for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
        if opcode.name in FORBIDDEN_OPCODES or (opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS):
            raise refusal(path, f"it references {printable(str(argument or opcode.name))}, which is not a tensor type")
