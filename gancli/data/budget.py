"""How much memory the decoding threads may use together, and how much memory there is."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READING = 256_000_000  # bytes of image files in memory at once: one of the largest


class Budget:
    """Bytes that several threads may use together; a thread waits until its share is free.

    A request larger than the whole budget is admitted alone.
    """

    def __init__(self, total: int) -> None:
        self._free, self._total = total, total
        self._changed = threading.Condition()

    @contextmanager
    def share(self, nbytes: int) -> Iterator[None]:
        """Hold `nbytes` of the budget within a `with` block."""
        nbytes = min(nbytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= nbytes)
            self._free -= nbytes
        try:
            yield
        finally:
            with self._changed:
                self._free += nbytes
                self._changed.notify_all()


def available() -> int:
    """Bytes of memory that can be used: what Linux calls MemAvailable; elsewhere all of the machine's memory."""
    with suppress(OSError):
        if found := re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text()):
            return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
