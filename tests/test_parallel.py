import os
import signal
import threading
import time
from collections import Counter

import pytest
import torch

from gancli import signals
from gancli.data.parallel import in_order
from gancli.data.sources import Entry, Files
from gancli.errors import Interrupted


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_results_come_in_the_order_of_the_items(count):
    """Even if later ones are ready before."""

    def slow_at_first(i):
        time.sleep(0.002 if i % 16 == 0 else 0)
        return i * i

    assert list(in_order(slow_at_first, range(count), 16)) == [i * i for i in range(count)]


def test_every_thread_gets_work(monkeypatch):
    """A few items are spread over all threads; they are not one batch of one thread."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = threading.Barrier(3)

    def meets(i):
        together.wait(10)  # raises unless three run at the same time
        return i

    assert list(in_order(meets, range(6), 16)) == list(range(6))


def test_few_results_wait(monkeypatch):
    """However many items there are: a slow consumer does not fill the memory."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = []
    results = in_order(done.append, range(10_000), 8)
    next(results)
    time.sleep(0.2)
    assert len(done) <= 3 * 2 * 8
    results.close()


def test_a_stop_ends_it_between_two_items():
    """What was not begun is not computed."""
    done = []

    def note(i):
        done.append(i)
        if i == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)

    with signals.handled(), pytest.raises(Interrupted):
        list(in_order(note, range(10_000), 4))
    assert len(done) < 1000


def test_large_files_are_read_one_at_a_time(monkeypatch):
    """However many threads there are: the memory for files is that of the largest one."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    at_once, most = [], []

    def read():
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.005)
        at_once.pop()
        return b"x"

    for nbytes, expected in ((200_000_000, 1), (10, 6)):
        most.clear()
        entries = tuple(Entry(f"{i}.png", nbytes, read) for i in range(24))
        Files("x", "", entries, (), Counter()).digest(lambda *_: None)
        assert max(most) == expected
