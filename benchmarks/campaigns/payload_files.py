"""Files that run code, or write where they should not, when a careless program opens them.

Each one would create a file in the canary folder, whose path is in its code.
"""

# ruff: noqa: TID251  (payloads are pickles)

import builtins
import codecs
import functools
import importlib
import io
import operator
import os
import pickle
import runpy
import subprocess
import tarfile
import timeit
import webbrowser
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def calls(canary: Path) -> dict[str, object]:
    """Objects whose pickles run code, or are of types that no checkpoint has."""

    def shell(name: str) -> str:
        return f"touch {canary}/{name}"

    def source(name: str) -> str:
        return f"open({str(canary / name)!r}, 'w')"

    script = canary.with_name("payload-script.py")
    script.write_text(source("runpy"))
    system = os.system
    return {
        "os.system": Call(system, (shell("os.system"),)),
        "os.popen": Call(os.popen, (shell("os.popen"),)),
        "eval": Call(eval, (source("eval"),)),
        "exec": Call(exec, (source("exec"),)),
        "subprocess": Call(subprocess.Popen, (["touch", f"{canary}/subprocess"],)),
        "check_output": Call(subprocess.check_output, (["touch", f"{canary}/check_output"],)),
        "runpy": Call(runpy.run_path, (str(script),)),
        "importlib": Call(importlib.import_module, ("antigravity",)),
        "__import__": Call(builtins.__import__, ("antigravity",)),
        "getattr": Call(getattr, (Call(importlib.import_module, ("os",)), "system")),
        "attrgetter": Call(operator.attrgetter, ("system",)),
        "partial": Call(functools.partial, (system, shell("partial"))),
        "reduce": Call(functools.reduce, (system, [shell("reduce")])),
        "map": Call(list, (Call(map, (system, [shell("map")])),)),
        "timeit": Call(timeit.timeit, (source("timeit"),)),
        "webbrowser": Call(webbrowser.open, ("http://127.0.0.1:9/",)),
        "open": Call(open, (str(canary / "open"), "w")),
        "codecs": Call(codecs.open, (str(canary / "codecs"), "w")),
        "torch.load": Call(torch.load, (str(canary.with_name("nested.pt")),)),
        "torch.hub": Call(torch.hub.load, ("x/y", "z")),
        "from_file": Call(torch.FloatStorage.from_file, (str(canary / "from_file"), True, 4)),
        "numpy object": np.array([Call(system, (shell("numpy"),))], dtype=object),
        "numpy array": np.zeros(3),
        "module": torch.nn.Linear(2, 2),
        "path": Path("/x"),
    }


def payloads(canary: Path) -> dict[str, bytes]:
    """File name -> content."""
    found, objects = {}, calls(canary)
    for name, value in objects.items():
        buffer = io.BytesIO()
        torch.save({"format": 3, "gancli": "x", "config": {}, "weights": {"G": value}}, buffer)
        found[f"{name}.pt"] = buffer.getvalue()
    found |= other_containers(objects["os.system"], objects["exec"])
    found |= opcodes(canary, objects["os.system"])
    return found | torchscript() | yaml_tags(canary) | {"names.zip": names_zip(canary), "links.tar": links_tar(canary)}


def other_containers(system: object, code: object) -> dict[str, bytes]:
    """The same in older and other formats, under names that hide them."""
    legacy, npy, npz, nested = (io.BytesIO() for _ in range(4))
    torch.save(system, legacy, _use_new_zipfile_serialization=False)
    np.save(npy, np.array([system], dtype=object), allow_pickle=True)
    np.savez(npz, images=np.array([code], dtype=object))
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("inner.pt", zip_of(pickle.dumps(system)))
    raw = pickle.dumps(system)
    return {
        "legacy.pt": legacy.getvalue(),
        "legacy tar.pt": legacy_tar(raw),
        "raw.pkl": raw,
        "raw.png": raw,
        "raw.npy": raw,
        "objects.npy": npy.getvalue(),
        "objects.npz": npz.getvalue(),
        "objects.npz.zip": npz.getvalue(),
        "nested.zip": nested.getvalue(),
        "checkpoint.png": zip_of(raw),
    }


def zip_of(data: bytes) -> bytes:
    """A .pt file with this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (("data.pkl", data), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def legacy_tar(raw: bytes) -> bytes:
    """The format of torch 0.1: a tar of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


def opcodes(canary: Path, system: object) -> dict[str, bytes]:
    """Pickles of all protocols, and written by hand with rare opcodes."""
    touch = f"touch {canary}/opcode".encode()
    system_of_os = b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(S'os'\ntRS'system'\ntR"
    text = b"X" + len(touch).to_bytes(4, "little") + touch
    by_hand = {
        "INST": b"(S'" + touch + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "getattr chain": system_of_os + b"(S'" + touch + b"'\ntR.",
        "EXT": b"\x80\x02\x82\x01.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + text + b"\x85\x81.",
        "BUILD": b"\x80\x02ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__cos\nsystem\nsb.",
        "two pickles": pickle.dumps({"format": 3}) + pickle.dumps(system),
        "memo": b"\x80\x02cos\nsystem\nq\x00" + text + b"\x85R.",
    }
    found = {f"opcode {name}.pt": zip_of(data) for name, data in by_hand.items()}
    return found | {f"protocol {p}.pt": zip_of(pickle.dumps(system, p)) for p in (0, 2, 4)}


def torchscript() -> dict[str, bytes]:
    """A compiled module."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return {"torchscript.pt": buffer.getvalue()}


def yaml_tags(canary: Path) -> dict[str, bytes]:
    """Presets with tags that build Python objects."""
    tags = {
        "apply": f"!!python/object/apply:os.system ['touch {canary}/yaml']",
        "new": f"!!python/object/new:os.system ['touch {canary}/yaml']",
        "name": "!!python/name:os.system",
        "module": "!!python/module:antigravity",
    }
    return {f"tag {name}.yaml": f"network: {text}\n".encode() for name, text in tags.items()}


def names_zip(canary: Path) -> bytes:
    """Entries whose names lead out of the folder."""
    buffer = io.BytesIO()
    names = ("../up.png", f"{canary}/absolute.png", "..\\windows.png", "a/../../middle.png", "\x1b]0;x\x07.png")
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in (*names, "<script>.png", "nul\0.png", "x" * 300 + ".png"):
            archive.writestr(name, b"\x89PNG\r\n\x1a\n")
    return buffer.getvalue()


def links_tar(canary: Path) -> bytes:
    """The same in a tar, with links and devices."""
    buffer = io.BytesIO()
    kinds = {"l.png": tarfile.SYMTYPE, "h.png": tarfile.LNKTYPE, "c.png": tarfile.CHRTYPE, "f.png": tarfile.FIFOTYPE}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("../up.png", f"{canary}/absolute.png", *kinds):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kinds.get(name, tarfile.REGTYPE), "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()
