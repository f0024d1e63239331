"""Apply a function to chunks in several processes, each on its own GPU. The results keep their order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli import signals
from gancli.errors import WorkerLost

AHEAD = 3  # chunks per process that are computed or wait
WAIT = 0.2  # seconds between two looks at signals

Function = Callable[[Tensor], Tensor]
Maker = Callable[..., Function]  # its last argument is the device

_place = "cpu"  # device of a process of the pool


class Pool:
    """`count` processes. Chunks are the same as in a single process, and so are the results."""

    def __init__(self, executor: ProcessPoolExecutor, count: int) -> None:
        self._executor, self.count = executor, count

    @classmethod
    @contextmanager
    def opened(cls, count: int, device: str) -> Iterator[Self | None]:
        """Context manager: the pool, or None for a single process. They share the threads that torch uses here."""
        if count == 1:
            yield None
            return
        context = multiprocessing.get_context("spawn")
        numbers = context.SimpleQueue()
        for number in range(count):
            numbers.put(number)
        threads = max(1, torch.get_num_threads() // count)
        executor = ProcessPoolExecutor(count, context, _begin, (numbers, device, threads))
        try:
            yield cls(executor, count)
        finally:
            executor.shutdown(cancel_futures=True)

    def map(self, parts: Iterable[Tensor], maker: Maker, *arguments: Hashable) -> Iterator[Tensor]:
        """The results of the function that `maker(*arguments, device)` returns in each process, one per part.

        Raises Interrupted; WorkerLost if a process is killed; and what the function raises.
        """
        waiting: deque[Future[Packed]] = deque()
        for part in parts:
            waiting.append(self._executor.submit(_apply, maker, arguments, Packed.of(part.cpu())))
            if len(waiting) >= AHEAD * self.count:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


class Packed(NamedTuple):
    """A tensor on its way to another process, in its own memory format: sums depend on it."""

    values: NDArray[Any]
    order: list[int]  # its dimensions, from the largest stride to the smallest

    @classmethod
    def of(cls, x: Tensor) -> Self:
        """Pack it."""
        order = sorted(range(x.ndim), key=x.stride().__getitem__, reverse=True)
        return cls(x.permute(order).contiguous().numpy(), order)

    def tensor(self) -> Tensor:
        """Unpack it."""
        return torch.from_numpy(self.values).permute([self.order.index(dim) for dim in range(len(self.order))])


def _result(future: Future[Packed]) -> Tensor:
    while True:
        signals.poll()
        try:
            return future.result(timeout=WAIT).tensor()
        except TimeoutError:
            if future.done():  # in the meantime, or it is an error of the function
                return future.result().tensor()
        except BrokenProcessPool as error:
            hint = "use fewer --processes if the machine has run out of memory"
            raise WorkerLost("one of the processes has ended", where="--processes", hint=hint) from error


def _begin(numbers: Any, device: str, threads: int) -> None:
    """Start a process of the pool. Signals are the business of the first process."""
    global _place
    for number in signals.STOPPING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own = numbers.get()
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    _place = f"cuda:{own % gpus}" if gpus else device
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _apply(maker: Maker, arguments: tuple[Hashable, ...], x: Packed) -> Packed:
    return Packed.of(_made(maker, arguments)(x.tensor()).cpu())


@lru_cache(maxsize=4)  # networks: of samples, and of features
def _made(maker: Maker, arguments: tuple[Hashable, ...]) -> Function:
    return maker(*arguments, _place)
