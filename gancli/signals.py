"""The stop flag that every long loop polls.

A handler only sets a flag; a loop asks at points where nothing is half done. The second
signal ends the process at once, by the default handler.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gancli.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_stop: int | None = None
_save = False


def _on_stop(signum: int, frame: FrameType | None) -> None:
    global _stop
    if _stop is not None:  # asked twice: do not make the user wait
        die_by(signum)
    _stop = signum


def _on_save(signum: int, frame: FrameType | None) -> None:
    global _save
    _save = True


@contextmanager
def handled() -> Iterator[None]:
    """Within this block, SIGINT, SIGTERM and SIGHUP ask to stop; SIGUSR1 asks to save and go on."""
    global _stop, _save
    before = {s: signal.signal(s, _on_stop) for s in STOPPING}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, _on_save)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop, _save = None, False


def stop_requested() -> bool:
    """Has a signal asked to stop? For loops that have something to save first."""
    return _stop is not None


def save_requested() -> bool:
    """Has SIGUSR1 asked for a checkpoint since this was last asked?"""
    global _save
    asked, _save = _save, False
    return asked


def poll() -> None:
    """Raise Interrupted if a signal has asked to stop. Cheap: call it once an iteration."""
    if _stop is not None:
        raise Interrupted(_stop)


def die_by(signum: int) -> None:
    """End this process by the signal itself, so that the shell and a scheduler see the truth."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
