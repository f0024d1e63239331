"""The stop flag that every long loop polls.

A handler only sets a flag; loops check it at safe points. A second signal ends the process
immediately, by the default handler.
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
    if _stop is not None:  # second signal: stop immediately
        die_by(signum)
    _stop = signum


def _on_save(signum: int, frame: FrameType | None) -> None:
    global _save
    _save = True


def from_the_start() -> None:
    """Handlers for process startup: Ctrl-C ends the process at once, and SIGUSR1 is remembered until training starts.

    Signals that were ignored when the process started, such as by nohup, stay ignored.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGUSR1) != signal.SIG_IGN:
        signal.signal(signal.SIGUSR1, _on_save)


@contextmanager
def handled() -> Iterator[None]:
    """Context manager: SIGINT, SIGTERM and SIGHUP request a stop; SIGUSR1 requests a checkpoint.

    Previous handlers are restored on exit. Ignored signals stay ignored. Nested in another such block, or outside the
    main thread, where handlers cannot be set, it does nothing.
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
    """Whether a signal has requested a stop. For loops that save before they stop."""
    return _stop is not None


def save_requested() -> bool:
    """Whether SIGUSR1 has requested a checkpoint since the last call."""
    global _save
    asked, _save = _save, False
    return asked


def poll() -> None:
    """Raise Interrupted if a signal has requested a stop. Cheap: call it once per iteration."""
    if _stop is not None:
        raise Interrupted(_stop)


def die_by(signum: int) -> None:
    """End this process by the signal itself, so that shells and schedulers see the right exit status."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
