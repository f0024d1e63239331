"""What this process may use, and two habits that cost nothing and save much. For the command line: it owns its process.

Cores: as many as affinity, control groups and OMP_NUM_THREADS leave it, which may be fewer than the machine has.
Threads: libgomp's threads spin while they wait for one another. That is quickest on an idle machine; beside a
busy neighbor each wait burns the time that the other thread needs, and a step takes many times as long.
Memory: glibc gives large blocks back to the system after every step, to ask for them again in the next one.
"""

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SPINS = "20000"  # libgomp's own choice is 300,000
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from malloc.h
CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """How many threads can compute at once here: OMP_NUM_THREADS, else what affinity and control groups allow."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(math.floor(quota) for quota in quotas())]))


def quotas(own: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> Iterator[float]:
    """The limits, in cores, of every control group that this process is in, of version 1 or 2."""
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            mount = root if controllers == "" else root / controllers
            if controllers == "" or "cpu" in controllers.split(","):
                group = mount / path.lstrip("/")
                inside = [folder for folder in (group, *group.parents) if folder.is_relative_to(mount)]
                yield from (limit for folder in inside if (limit := _limit(folder)) > 0)


def _limit(group: Path) -> float:
    """That of one control group; 0 where it has none."""
    with suppress(OSError, ValueError):  # version 2: "200000 100000", or "max 100000"
        quota, period = (group / "cpu.max").read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):  # version 1: -1 where there is no limit
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return max(0.0, int(quota) / int(period))
    return 0.0


def wait_politely() -> None:
    """Let threads sleep soon when they wait. Must come before torch is imported; the user's own setting wins."""
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def keep_memory() -> bool:
    """Let glibc keep large blocks for the next step; False where there is no such allocator."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another libc
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 256 * 2**20))
    return all(mallopt(key, value) == 1 for key, value in settings)
