"""The processes that train one run together, started by torchrun or `--processes`.

Every worker runs the same program on its own part of each batch. Decisions are the same in all of them: what depends on
one machine (files, the clock, signals) is decided by the first worker or agreed upon, and only the first one writes to
the run folder. `torch.distributed` is the transport: gloo between CPUs, NCCL between GPUs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from gancli import process, signals
from gancli.errors import GancliError, Interrupted, UsageError, WorkerLost, WorkersDisagree, is_out_of_memory

T = TypeVar("T")

REDUCTIONS = ("exact", "sum")
PATIENCE = timedelta(days=1)  # of a collective: the heartbeat finds out earlier if a worker is gone


@dataclass(frozen=True)
class Workers:
    """This process among `count` workers. A single process is a group of one, and waits for nobody.

    exact: gradients are added in a fixed order, so that the result does not depend on the number of workers.
    """

    rank: int = 0
    count: int = 1
    exact: bool = True
    group: Any = None  # of torch.distributed

    @property
    def first(self) -> bool:
        """Whether this worker decides, writes and prints."""
        return self.rank == 0

    def on_first(self, function: Callable[[], T]) -> T:
        """Call `function` in the first worker only. All workers return its result, or raise its GancliError."""
        if self.count == 1:
            return function()
        if not self.first:
            return cast(T, self._told(self.share(None)))
        try:
            result = function()
        except GancliError as error:
            self.share(error)
            raise
        except Interrupted as stop:
            self.share(stop.signum)
            raise
        self.share((result,))
        return result

    def _told(self, outcome: Any) -> Any:
        """The result of the first worker. Raises its error, marked so that it is printed only once."""
        if isinstance(outcome, GancliError):
            outcome.elsewhere = True
            raise outcome
        if isinstance(outcome, int):
            raise Interrupted(outcome)
        return outcome[0]

    def on_each(self, function: Callable[[], T]) -> T:
        """Call `function` in every worker. If it fails in some, all of them raise the GancliError of the first.

        So they do if a signal has stopped one of them.
        """
        if self.count == 1:
            return function()
        outcome: Any = None
        try:
            outcome = (function(),)
        except GancliError as error:
            outcome = error
        except Interrupted as stop:
            outcome = stop.signum
        failed = self.rows(torch.tensor([[not isinstance(outcome, tuple)]]))[:, 0].tolist()
        return cast(T, self._told(self.share(outcome, source=failed.index(True)) if any(failed) else outcome))

    def share(self, value: Any, source: int = 0) -> Any:
        """The value of the first worker, or of another one, in all workers."""
        if self.count == 1:
            return value
        from torch import distributed

        box = [value if self.rank == source else None]
        with connected():
            distributed.broadcast_object_list(box, src=source, group=self.group, device=torch.device("cpu"))
        return box[0]

    def rows(self, mine: Tensor) -> Tensor:
        """The rows of all workers in their order. The same shape in each: (K, M) -> (count * K, M)."""
        if self.count == 1:
            return mine
        from torch import distributed

        found = mine.new_empty(self.count * len(mine), *mine.shape[1:])
        with connected():
            distributed.all_gather([*found.split(len(mine))], mine, group=self.group)
        return found

    def total(self, mine: Tensor) -> Tensor:
        """The sum over all workers, in an order that the transport chooses. Changes and returns `mine`."""
        if self.count > 1:
            from torch import distributed

            with connected():
                distributed.all_reduce(mine, group=self.group)
        return mine

    def check_equal(self, tensors: Iterable[Tensor]) -> None:
        """Raise WorkersDisagree if the tensors are not bit for bit the same in all workers."""
        if self.count == 1:
            return
        digest = blake2b(digest_size=8)
        for tensor in tensors:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        found = self.rows(torch.tensor([[int.from_bytes(digest.digest(), "big", signed=True)]]))[:, 0].tolist()
        if odd := [rank for rank, value in enumerate(found) if value != found[0]]:
            names = ", ".join(f"worker {rank}" for rank in odd)
            what = f"the workers disagree: the weights of {names} are not those of worker 0"
            hint = "use machines of one kind, with the same packages and --threads; the last checkpoint is from before"
            raise WorkersDisagree(what, where="training", hint=hint)

    @contextmanager
    def agreeing_on_signals(self) -> Iterator[None]:
        """Context manager: with several workers, signals count once all of them have agreed. See `signals.agree`."""
        if self.count == 1:
            yield
            return
        with signals.agreeing():
            yield


ALONE = Workers()


@contextmanager
def connected(what: str = "the connection to another worker is lost") -> Iterator[None]:
    """Context manager: raises WorkerLost if the connection to another worker breaks."""
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL, which do not always use torch's DistError
        if is_out_of_memory(error):
            raise
        hint = "to resume from the last checkpoint, run the same command again; fewer --processes are allowed"
        raise WorkerLost(what, where=str(error).splitlines()[0][:200], hint=hint) from error


@contextmanager
def joined(device: torch.device, reduce: str = "exact") -> Iterator[Workers]:
    """The workers that torchrun or `--processes` has started; a group of one if it has not.

    Raises UsageError for an unknown `reduce` or a device that workers cannot use; WorkerLost.
    """
    if reduce not in REDUCTIONS:
        raise UsageError(f"unknown reduction {reduce!r}", where="--reduce", hint=f"use {' or '.join(REDUCTIONS)}")
    rank, count = process.rank(), process.world_size()
    if count == 1:
        yield ALONE
        return
    _refuse(device)
    from torch import distributed

    from gancli.heartbeat import Heartbeat
    from gancli.rendezvous import JOINING, meet

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with connected("the workers could not connect"), signals.immediate():
        meeting, _first = meet(rank, count)  # its connection stays open
        store = meeting.store("workers", JOINING)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=JOINING)
        workers = Workers(rank, count, reduce == "exact", distributed.new_group(timeout=PATIENCE))
        _check_devices(workers, device)
        heartbeat = Heartbeat.start(rank, count, meeting)
    try:
        yield workers
        with connected():
            distributed.barrier(workers.group)  # the first worker may be the one that connects the others
        heartbeat.done()
    except BaseException:
        heartbeat.be_silent()  # NCCL may wait for a worker that waits for this one
        raise
    finally:
        distributed.destroy_process_group()
        heartbeat.stop()


def _check_devices(workers: Workers, device: torch.device) -> None:
    """Raise UsageError if the workers have different kinds of devices: they would wait for one another forever."""
    kinds = ("cpu", "cuda")
    if len(found := set(workers.rows(torch.tensor([[kinds.index(device.type)]]))[:, 0].tolist())) > 1:
        what = f"the workers have different devices: {' and '.join(kinds[number] for number in sorted(found))}"
        raise UsageError(what, where="--device", hint="use --device cpu on all machines, or repair the driver")


def _refuse(device: torch.device) -> None:
    """Raise UsageError if workers cannot use this device, or if they are more than this machine has GPUs."""
    if device.type not in ("cpu", "cuda"):
        what, hint = f"several workers cannot use the device {device}", "use --device cpu, or a single process"
        raise UsageError(what, where="--device", hint=hint)
    gpus, workers = torch.cuda.device_count(), process.local_world_size()
    if device.type == "cuda" and workers > gpus:
        what, hint = f"{workers} workers, but {gpus} GPUs on this machine", f"use at most {gpus}, or --device cpu"
        raise UsageError(what, where="--processes", hint=hint)
