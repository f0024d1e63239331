"""Apply a function to many items in threads, with the results in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from gancli import signals

A = TypeVar("A")
B = TypeVar("B")


def in_order(function: Callable[[A], B], items: Sequence[A], together: int) -> Iterator[B]:
    """The results of `function`, one per item. It runs in as many threads as torch uses, and must not raise.

    Each thread takes up to `together` items at once: passing on single small ones takes longer than the work. At most
    three such batches per thread are computed or wait. Raises Interrupted between two items.
    """
    threads = torch.get_num_threads()
    batch = max(1, min(together, len(items) // (4 * threads)))

    def results(start: int) -> list[B]:
        return [function(item) for item in items[start : start + batch]]

    waiting: deque[Future[list[B]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(items), batch):
                waiting.append(pool.submit(results, start))
                if len(waiting) >= 3 * threads:
                    yield from _polled(waiting.popleft().result())
            while waiting:
                yield from _polled(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()


def _polled(results: list[B]) -> Iterator[B]:
    for result in results:
        signals.poll()
        yield result
