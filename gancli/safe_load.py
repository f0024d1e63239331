"""The only reader of .pt files: loads tensors and plain values, and never runs code from the file.

Files are checked by content, not by suffix. The meaning of the tensors is handled in `checkpoint`. Checks, in order:
a regular zip file with stored, unique entries, nothing between them, and correct checksums (`safe_archive`); a pickle
that references only tensors, whose sizes are those of the entries (`safe_pickle`); the restricted loader of torch,
which gets a copy of what was checked.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancli import safe_archive
from gancli.errors import CheckpointError, InputMissing
from gancli.results import printable
from gancli.safe_pickle import Refused


def digest(path: Path) -> str:
    """A hash of the file, which identifies the source of a grown run."""
    whole = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def values(path: Path) -> Any:
    """Load the tensors and plain values of a file. Raises CheckpointError. Never runs code from the file."""
    try:
        return torch.load(safe_archive.repacked(path), map_location="cpu", weights_only=True)
    except Refused as error:
        raise refusal(path, str(error)) from error
    except OSError as error:
        raise refusal(path, f"it cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise refusal(path, "it needs more memory than is free") from error
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


def read_pinned(path: Path, sha256: str) -> dict[str, Tensor]:
    """All named tensors of a file that is known by its SHA-256, in any format of torch. Raises CheckpointError.

    These bytes were examined when the digest was written down, so that the format need not be checked again.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refusal(path, f"it cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise refusal(path, "it is not the file that was published: its SHA-256 differs")
    found: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return found


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
