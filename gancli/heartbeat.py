"""Ends a worker whose fellow workers are no longer there.

A worker that is killed closes its connections, and the others notice at once. A machine that loses its power or its
network does not: the others would wait in a collective forever. So every worker gives a sign of life every few seconds,
and a thread ends the process if one of them has been silent for a minute.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple, cast

from gancli import process
from gancli.errors import WorkerLost
from gancli.rendezvous import Meeting

EVERY, SILENCE = 5.0, 60.0  # seconds
DONE = "done"


class Heartbeat:
    """Two threads: one talks to the store, over a connection of its own; one watches the clock.

    The first one may wait forever for an answer, if the machine with the store is gone.
    """

    def __init__(self, rank: int, count: int, meeting: Meeting) -> None:
        self.rank, self.where, self.launcher = rank, f"{meeting.address}:{meeting.port}", os.getppid()
        self.store = meeting.store("heartbeat", timedelta(seconds=SILENCE / 2))
        self.store.set(str(rank), "0")
        self.seen = [Sign("", time.monotonic())] * count
        self.answered = time.monotonic()  # by the store
        self.stopped, self.silent_since = threading.Event(), cast(float | None, None)
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self._talk, self._watch)]

    @classmethod
    def start(cls, rank: int, count: int, meeting: Meeting) -> "Heartbeat":
        """Start the threads."""
        found = cls(rank, count, meeting)
        for thread in found.threads:
            thread.start()
        return found

    def be_silent(self) -> None:
        """Give no more signs of life. The others end if they wait for this worker; it ends if it waits for them."""
        self.silent_since = time.monotonic()

    def stop(self) -> None:
        """End the threads."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=EVERY)

    def done(self) -> None:
        """End the threads, and tell the others that this worker has done its work: its silence is no reason to end."""
        self.stop()
        if not self.threads[0].is_alive():
            with suppress(RuntimeError):  # the store is gone, and with it those who would read it
                self.store.set(str(self.rank), DONE)

    def _talk(self) -> None:
        """Give a sign of life, and read those of the others."""
        keys, beat = [str(rank) for rank in range(len(self.seen))], 0
        while not self.stopped.wait(EVERY):
            with suppress(RuntimeError):  # the clock goes on
                if self.silent_since is None:
                    beat += 1
                    self.store.set(str(self.rank), str(beat))
                found, now = self.store.multi_get(keys), time.monotonic()
                self.seen = [sign.after(text.decode(), now) for sign, text in zip(self.seen, found, strict=True)]
                self.answered = now

    def _watch(self) -> None:
        """End the process if others are silent: its main thread waits for them. The last checkpoint is complete."""
        before = time.monotonic()
        while not self.stopped.wait(EVERY):
            now = time.monotonic()
            if now - before > 3 * EVERY:  # this process was suspended
                self.answered, self.seen = now, [Sign("", now)] * len(self.seen)
            before = now
            if self.silent_since is not None and now - self.silent_since > SILENCE:
                self._end(f"the connection to the others could not be closed within {SILENCE:g} s")
            if now - self.answered > SILENCE:
                self._end(f"no answer from {self.where} for {SILENCE:g} s", launcher_waits=True)
            if silent := silent_workers(self.seen, now):
                self._end(f"no sign of life from {silent} for {SILENCE:g} s")

    def _end(self, what: str, *, launcher_waits: bool = False) -> None:
        """Say why, and end the process; and torchrun, too, if it waits for the same store, as it may for 15 minutes."""
        if process.local_rank() == 0:
            hint = "to resume from the last checkpoint, run the same command; fewer workers are allowed"
            sys.stderr.write(f"error: {WorkerLost(what, where=f'worker {self.rank}', hint=hint)}\n")
            sys.stderr.flush()
            if launcher_waits and process.started_by_torchrun() and os.getppid() == self.launcher:
                with suppress(OSError):
                    os.kill(self.launcher, signal.SIGKILL)
        os._exit(WorkerLost.exit_code)


class Sign(NamedTuple):
    """The last sign of life of a worker."""

    text: str
    at: float  # when it changed, by the clock of this process

    def after(self, text: str, now: float) -> "Sign":
        """The sign after another look. A worker that is done stays alive."""
        return self if text == self.text and text != DONE else Sign(text, now)


def silent_workers(signs: Sequence[Sign], now: float) -> str:
    """ "worker 1, worker 3": those whose last sign of life is too old; empty if there are none."""
    return ", ".join(f"worker {rank}" for rank, sign in enumerate(signs) if now - sign.at > SILENCE)
