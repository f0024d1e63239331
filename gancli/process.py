"""Process settings of the command line: available cores, OpenMP waiting, and the memory allocator.

Cores: the number that CPU affinity, control groups and OMP_NUM_THREADS allow, which may be fewer than the machine has.
Threads: libgomp threads spin while they wait for one another. That is fastest on an idle machine; on a busy one the
spinning takes CPU time from the threads that are waited for, and a training step takes many times as long.
Memory: glibc returns large blocks to the system after each training step and requests them again in the next one.
"""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SPINS = "8000"  # the default of libgomp is 300,000
CHECK_SECONDS = 2.0  # between two decisions on the number of threads
CALM_SECONDS = 30.0  # for which cores must be idle before they are used again
WAITED = 0.15  # share of the time that threads wait for a core, above which there are too many
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from malloc.h
CGROUPS = Path("/sys/fs/cgroup")
PARENT, WATCH_SECONDS = "GANCLI_PARENT", 0.5
NOTES = "GANCLI_NOTES"  # a folder of `gancli --processes`, in which its first worker leaves notes
FIRST_WORKER, RUN = "first-worker", "run"  # the notes: its process number, and the folder of the run


def cores() -> int:
    """Number of usable cores: OMP_NUM_THREADS, else the number that affinity and control groups allow."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(math.floor(quota) for quota in quotas())]))


def quotas(own: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> Iterator[float]:
    """CPU limits, in cores, of all control groups (v1 or v2) of this process."""
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            mount = root if controllers == "" else root / controllers
            if controllers == "" or "cpu" in controllers.split(","):
                group = mount / path.lstrip("/")
                inside = [folder for folder in (group, *group.parents) if folder.is_relative_to(mount)]
                yield from (limit for folder in inside if (limit := _limit(folder)) > 0)


def _limit(group: Path) -> float:
    """CPU limit of one control group, in cores; 0 if it has none."""
    with suppress(OSError, ValueError):  # version 2: "200000 100000", or "max 100000"
        quota, period = (group / "cpu.max").read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):  # version 1: -1 means no limit
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return max(0.0, int(quota) / int(period))
    return 0.0


def wait_politely() -> None:
    """Make waiting OpenMP threads sleep sooner. Call before importing torch. The user's settings take precedence."""
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


class Neighbors:
    """How many threads to use while other processes use the same cores.

    The threads of a training step wait for one another: one that has to wait for a core delays them all, so that two
    trainings with two threads each on two cores are ten times as slow as one. With one thread each, both are fast.
    Linux only; elsewhere the number never changes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.calm, self._at = most, 0.0, math.inf

    def threads(self, now: int) -> int:
        """The number of threads from now on, at most `most`. Call it after every step; it decides every 2 seconds."""
        if self._at == math.inf:  # the first step: what the start of the program waited for does not count
            self._start()
        elapsed = time.monotonic() - self._at
        if elapsed < CHECK_SECONDS:
            return now
        share = (_waited() - self._waited) / (elapsed * now)
        idle = (_idle() - self._idle) / elapsed
        self._start()
        if now > 1 and share > WAITED:
            self.calm = 0.0
            return max(1, int(now * (1 - share)))
        self.calm = self.calm + elapsed if idle > 0.8 * (self.most - now) else 0.0
        return self.most if self.calm >= CALM_SECONDS else now

    def _start(self) -> None:
        self._at, self._waited, self._idle = time.monotonic(), _waited(), _idle()


def _waited() -> float:
    """Seconds that the threads of this process have waited for a core."""
    total = 0
    with suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError, ValueError, IndexError):  # a thread that has ended
                total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9


def _idle() -> float:
    """Seconds that the cores of this process have been idle since the system started, in all."""
    with suppress(OSError, ValueError, IndexError, AttributeError):  # AttributeError: not on this system
        own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        rows = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        ticks = sum(int(row[4]) + int(row[5]) for row in rows if row[0] in own)  # idle, and waiting for a disk
        return ticks / os.sysconf("SC_CLK_TCK")
    return 0.0


def rank() -> int:
    """The number of this process among the workers that torchrun has started; 0 for a single process."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def local_rank() -> int:
    """The same, among the workers of this machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0


def world_size() -> int:
    """The number of workers that torchrun has started, on all machines; 1 for a single process."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_world_size() -> int:
    """The number of workers on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world_size() > 1 else 1


def restarted_by_torchrun() -> bool:
    """Whether torchrun has started the workers again."""
    return world_size() > 1 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def started_by_torchrun() -> bool:
    """Whether the parent process is torchrun, or `gancli --processes`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def end_with_parent() -> None:
    """Send SIGTERM to this process when its parent has ended: the one in GANCLI_PARENT, or torchrun.

    A killed `ablate` or torchrun would otherwise leave its training runs behind. They save a checkpoint, as on any
    SIGTERM.
    """
    parent = os.environ.pop(PARENT, "") or (str(os.getppid()) if started_by_torchrun() else "")
    if parent.isdecimal():
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def leave_note(name: str, text: str) -> None:
    """In the first worker of `gancli --processes`, leave a note for its launcher, or for workers that come later."""
    if (folder := os.environ.get(NOTES)) and world_size() > 1 and rank() == 0:
        with suppress(OSError):
            Path(folder, name).write_text(text)


def note(name: str) -> str | None:
    """The note that a first worker has left; None without one."""
    with suppress(OSError):
        return Path(os.environ[NOTES], name).read_text() if NOTES in os.environ and world_size() > 1 else None
    return None


def keep_memory() -> bool:
    """Make glibc keep freed memory for the next step. Returns False if the allocator is not glibc's."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another libc
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 256 * 2**20))
    return all(mallopt(key, value) == 1 for key, value in settings)
