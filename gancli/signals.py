"""The stop flag that every long loop polls.

A handler only sets a flag; a loop asks at points where nothing is half done. The second
signal ends the process at once, by the default handler.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gancli.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_stop: int | None = None
_save = False
_active = False


def _on_stop(signum: int, frame: FrameType | None) -> None:
    global _stop
    if _stop is not None:  # asked twice: do not make the user wait
        die_by(signum)
    _stop = signum


def _on_save(signum: int, frame: FrameType | None) -> None:
    global _save
    _save = True


def from_the_start() -> None:
    """For the first moments of a process: Ctrl-C ends it at once, and a wish to save is kept until training begins.

    A signal that was ignored when the process began, as by nohup or in the background, stays ignored.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGUSR1) != signal.SIG_IGN:
        signal.signal(signal.SIGUSR1, _on_save)


@contextmanager
def handled() -> Iterator[None]:
    """Within this block, SIGINT, SIGTERM and SIGHUP ask to stop; SIGUSR1 asks to save and go on.

    Handlers are as before when it ends. Signals that are ignored stay so. Inside another such block, and in a
    thread, where no handler can be set, it does nothing.
    """
    global _stop, _save, _active
    if _active or threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = {**dict.fromkeys(STOPPING, _on_stop), signal.SIGUSR1: _on_save}
    before = {s: signal.getsignal(s) for s in wanted if signal.getsignal(s) != signal.SIG_IGN}
    _active = True
    for number in before:
        signal.signal(number, wanted[number])
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        _stop, _save, _active = None, False, False


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
