"""Two habits of this process that cost nothing and save much, on Linux only.

Threads: libgomp's threads spin while they wait for one another. That is quickest on an idle machine; beside a
busy neighbour each wait burns the time that the other thread needs, and a step takes many times as long.
Memory: glibc gives large blocks back to the system after every step, to ask for them again in the next one.
"""

import ctypes
import os
import sys

SPINS = "20000"  # libgomp's own choice is 300,000
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from malloc.h


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
