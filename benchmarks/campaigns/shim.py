"""Compiles and controls shim.c, which makes I/O calls fail. It must be loaded when the process starts."""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
COUNT, FAIL_ONCE, FAIL_FROM, DIE_BEFORE, DIE_WITHIN = range(1, 6)


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th call."""

    mode: int
    errno: int = 0

    @property
    def kills(self) -> bool:
        """Whether the process dies there."""
        return self.mode in (DIE_BEFORE, DIE_WITHIN)


COUNTED = Fault(COUNT)
FAULTS = {
    "EIO once": Fault(FAIL_ONCE, errno.EIO),
    "ENOSPC once": Fault(FAIL_ONCE, errno.ENOSPC),
    "ENOSPC from there on": Fault(FAIL_FROM, errno.ENOSPC),
    "death before": Fault(DIE_BEFORE),
    "death within": Fault(DIE_WITHIN),
}


def missing() -> str:
    """Why the shim cannot be used here; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    return "" if shutil.which("cc") else "needs a C compiler"


def start_again_with_it(work: Path) -> None:
    """Compile the shim and start this process again with it, unless it is loaded or cannot be used."""
    if missing() or is_loaded():
        return
    library = work / "shim.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})


def is_loaded() -> bool:
    """Whether this process was started with the shim."""
    return "shim.so" in os.environ.get("LD_PRELOAD", "")


def setter(fault: Fault, n: int, folder: Path, calls: Path | None = None) -> Callable[[], None]:
    """A function that sets the shim in its process: `fault` at the n-th call below `folder`."""

    def set_it() -> None:
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        library.shim_set(fault.mode, n, fault.errno, str(folder).encode(), str(calls or "").encode())

    return set_it


def for_children(fault: Fault, n: int, folder: Path, calls: Path | None = None) -> Callable[[], None]:
    """A function that sets the shim for the processes that its process starts, but not for itself."""
    values = {"MODE": fault.mode, "NTH": n, "ERRNO": fault.errno, "FOLDER": folder, "CALLS": calls or ""}
    return lambda: os.environ.update({f"SHIM_{name}": str(value) for name, value in values.items()})
