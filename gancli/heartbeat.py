"""Ends a worker whose fellow workers are no longer there.

A worker that is killed closes its connections, and the others notice at once. A machine that loses its power or its
network does not: the others would wait in a collective forever. So every worker gives a sign of life every few seconds,
and a thread ends the process if one of them has been silent for a minute.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from gancli import process
from gancli.errors import WorkerLost

EVERY, SILENCE = 5.0, 60.0  # seconds
DONE = "done"


class Heartbeat:
    """The thread. Its signs of life are in the store of torchrun, over a connection of its own."""

    def __init__(self, rank: int, count: int, address: str, port: int) -> None:
        self.rank, self.count, self.where = rank, count, f"{address}:{port}"
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=SILENCE / 2))
        self.store = PrefixStore(f"gancli/heartbeat/{process.restarts()}", store)
        self.stopped = threading.Event()
        self.store.set(str(rank), "0")
        self.thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    def start(cls, rank: int, count: int) -> "Heartbeat":
        """Start the thread, with the address from the environment."""
        found = cls(rank, count, os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        found.thread.start()
        return found

    def stop(self) -> None:
        """End the thread, and tell the others that this worker is done."""
        self.stopped.set()
        self.thread.join(timeout=SILENCE)
        try:
            self.store.set(str(self.rank), DONE)
        except RuntimeError:  # the store is gone, and with it those who would read it
            return

    def _run(self) -> None:
        keys = [str(rank) for rank in range(self.count)]
        seen, since, beat = [""] * self.count, [time.monotonic()] * self.count, 0
        while not self.stopped.wait(EVERY):
            beat += 1
            try:
                self.store.set(str(self.rank), str(beat))
                now = [value.decode() for value in self.store.multi_get(keys)]
            except RuntimeError:
                return self._end(f"the connection to {self.where} is lost")
            seen, since = now, [self._since(*pair) for pair in zip(seen, now, since, strict=True)]
            if silent := silent_workers(since, time.monotonic()):
                return self._end(f"no sign of life from {silent} for {SILENCE:g} s")

    @staticmethod
    def _since(before: str, now: str, since: float) -> float:
        return since if now == before and now != DONE else time.monotonic()

    def _end(self, what: str) -> None:
        """End the process: its main thread waits for those who are gone. The last checkpoint is complete."""
        if self.stopped.is_set():
            return
        if process.local_rank() == 0:
            hint = "to resume from the last checkpoint, run the same command; fewer workers are allowed"
            sys.stderr.write(f"error: {WorkerLost(what, where=f'worker {self.rank}', hint=hint)}\n")
            sys.stderr.flush()
        os._exit(WorkerLost.exit_code)


def silent_workers(since: Sequence[float], now: float) -> str:
    """ "worker 1, worker 3": those whose last sign of life is too old; empty if there are none."""
    return ", ".join(f"worker {rank}" for rank, at in enumerate(since) if now - at > SILENCE)
