"""The stop flag that every long loop polls.

A handler only sets a flag; loops check it at safe points. A second signal ends the process at once.

Workers that train together must stop at the same step: inside `agreeing`, a signal is only heard, and acted upon once
the workers have told one another, see `heard` and `agree`.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from gancli.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = b"\x1b[?25h"  # terminal sequence; live tables and progress bars hide the cursor

_stop: int | None = None
_save = False
_active = False
_agreeing = False
_heard_stop, _heard_save = 0, False  # what has arrived in this process, while it is agreed with other workers


def _on_stop(signum: int, frame: FrameType | None) -> None:
    global _stop, _heard_stop
    if _heard_stop:  # second signal
        _stop_at_once(signum)
    _heard_stop = signum
    if not _agreeing:
        _stop = signum


def _stop_at_once(signum: int) -> None:
    """Say so and end the process, without any cleanup but that of the terminal."""
    with suppress(OSError):  # a terminal that was closed
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + b"\nstopped at once, without saving\n")
    die_by(signum)


def _on_save(signum: int, frame: FrameType | None) -> None:
    request_save()


def request_save() -> None:
    """Request a checkpoint, as SIGUSR1 does."""
    global _save, _heard_save
    if _agreeing:
        _heard_save = True
    else:
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
    global _stop, _save, _active, _heard_stop
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
        _stop, _save, _active, _heard_stop = None, False, False, 0


@contextmanager
def immediate() -> Iterator[None]:
    """Context manager: a signal ends the process at once, while there is nothing to save. For calls that block."""
    before = {s: signal.getsignal(s) for s in STOPPING if signal.getsignal(s) != signal.SIG_IGN}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def agreeing() -> Iterator[None]:
    """Context manager: signals only count once `agree` is called with them."""
    global _agreeing, _stop, _save, _heard_save
    _agreeing, _stop, _save, _heard_save = True, None, False, _save  # what came before is told to the others, too
    try:
        yield
    finally:
        _agreeing, _stop = False, _stop or _heard_stop or None


def heard() -> tuple[int, bool]:
    """The signal that has asked this process to stop (0: none), and whether a checkpoint was requested since."""
    global _heard_save
    asked, _heard_save = _heard_save, False
    return _heard_stop, asked


def agree(stop: int, save: bool) -> None:
    """Act on what any of the workers has heard."""
    global _stop, _save
    _stop, _save = stop or _stop, _save or save


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
