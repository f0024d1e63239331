"""Reads a data.pkl without calling anything that it names: plain values, and the sizes that its tensors claim.

torch trusts those sizes: a storage may claim more bytes than its zip entry has, and a tensor may repeat one value
10^12 times (stride 0). So they are checked here, before torch sees the file.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gancli.results import printable

MAX_BYTES = 16_000_000  # names and shapes only; the values are in other zip entries
MAX_VALUES = 2_000_000  # values in all, counted at every place where they occur
MAX_INT = 1 << 63

FORBIDDEN_OPCODES = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}
MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}


class Refused(ValueError):
    """The file is not a checkpoint, or not safe to open. The text says why."""


@dataclass(frozen=True)
class _Storage:
    """A claim: so many values of a type in the zip entry data/<key>."""

    key: str
    count: int
    itemsize: int


@dataclass(frozen=True)
class _Type:
    """Stands in for a storage type of torch."""

    itemsize: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor that lies within its storage, and does not use a value twice."""

    storage: _Storage
    count: int


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any
) -> _Tensor:  # the arguments of torch._utils._rebuild_tensor_v2
    numbers = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or hooks or len(size) != len(stride) or requires_grad not in (True, False):
        raise Refused("a tensor is not well-formed")
    if not all(type(number) is int and 0 <= number < MAX_INT for number in numbers):
        raise Refused("the size of a tensor is not a number")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if count else 0
    if count > storage.count or (count and last >= storage.count):
        raise Refused(f"a tensor of shape {tuple(size)} does not fit into its storage of {storage.count} values")
    return _Tensor(storage, count)


# Everything that the pickle may name, and what is used in its place. None of them can run arbitrary code.
STAND_INS: Mapping[str, Any] = {
    "torch._utils _rebuild_tensor_v2": _tensor,
    "collections OrderedDict": OrderedDict,
    "torch FloatStorage": _Type(4),
    "torch DoubleStorage": _Type(8),
    "torch BFloat16Storage": _Type(2),
    "torch LongStorage": _Type(8),
}


class _Unpickler(pickle.Unpickler):
    """Looks up the stand-ins only."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in STAND_INS:
            raise Refused(f"it references {printable(f'{module} {name}')}, which is not a tensor type")
        return STAND_INS[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, stored, key, _, count = pid
        if kind != "storage" or not isinstance(stored, _Type) or type(count) is not int or not 0 <= count < MAX_INT:
            raise Refused("a storage is not well-formed")
        return _Storage(str(key), count, stored.itemsize)


def check(data: bytes, entries: Mapping[str, int]) -> None:
    """Check a data.pkl. entries: size in bytes of each zip entry of data/, by key. Raises Refused; runs no code.

    Every storage must have exactly the size of its entry. All tensors together must not be larger than the storages.
    """
    _check_opcodes(data)
    storages: dict[str, _Storage] = {}
    nbytes = 0
    for value in _values(_unpickled(data)):
        if isinstance(value, _Tensor):
            storages[value.storage.key] = value.storage
            nbytes += value.count * value.storage.itemsize
            if value.storage.count * value.storage.itemsize != entries.get(value.storage.key):
                raise Refused("a storage does not have the size of its zip entry")
    if nbytes > sum(entries[key] for key in storages):
        raise Refused("its tensors are larger than the file")


def _check_opcodes(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise Refused(f"its data.pkl has {len(data):,} bytes, which is too many")
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in FORBIDDEN_OPCODES or (opcode.name == "GLOBAL" and argument not in STAND_INS):
                raise Refused(f"it references {printable(str(argument or opcode.name))}, which is not a tensor type")
            if opcode.name in MEMO_OPCODES and int(argument or 0) > len(data):  # memory is allocated up to this number
                raise Refused("its data.pkl is damaged")
    except Refused:
        raise
    except Exception as error:  # pickletools raises many types on damaged data
        raise Refused("its data.pkl is damaged") from error


def _unpickled(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except Refused:
        raise
    except Exception as error:  # any type: a damaged pickle calls the stand-ins with wrong arguments
        raise Refused("its data.pkl is damaged") from error


def _values(root: Any) -> Any:
    """Yield every value, containers included. A container is visited at each place where it occurs. Raises Refused."""
    waiting, seen = [root], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise Refused(f"it has more than {MAX_VALUES:,} values")
        yield value
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, int) and not -MAX_INT <= value < MAX_INT:
            raise Refused("a number is too large")
        elif not isinstance(value, str | int | float | _Tensor | None):
            raise Refused(f"it contains a value of type {type(value).__name__}")
