"""The parts of a batch, each with its own forward and backward pass, and their average.

A batch is divided into `train.shards` shards of consecutive samples. What couples samples, such as batch norm or
minibatch std, works within a shard. Gradients are kept per shard and added in the order of the shards, so that it does
not matter which worker has computed which of them. With one shard, a step is an ordinary one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from gancli import signals
from gancli.workers import Workers

Losses = dict[str, Tensor]

AVERAGED = ("running_mean", "running_var")  # of batch norm; other buffers do not depend on the samples


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` equal parts of a batch."""

    index: int
    count: int

    def of(self, whole: Tensor) -> Tensor:
        """The samples of this shard. (N, ...) -> (N / count, ...)."""
        return whole if self.count == 1 else whole[self.begin(len(whole)) :][: len(whole) // self.count]

    def begin(self, batch: int) -> int:
        """The number of samples before this shard."""
        return self.index * (batch // self.count)


WHOLE = Shard(0, 1)


def own(workers: Workers, count: int) -> list[Shard]:
    """The consecutive shards of this worker, of `count` in all."""
    return [Shard(i, count) for i in range(*bounds(workers.rank, workers.count, count))]


def bounds(rank: int, workers: int, count: int) -> tuple[int, int]:
    """First shard of a worker, and of the next one."""
    return rank * count // workers, (rank + 1) * count // workers


def backward(
    shards: Sequence[Shard],
    losses_of: Callable[[Shard], Losses],
    total: str,
    optimizer: torch.optim.Adam,
    networks: Sequence[nn.Module],
    workers: Workers,
) -> Losses:
    """Set the gradients of the optimizer's parameters to those of the loss named `total`, averaged over all shards.

    losses_of: the losses of one shard, () each. networks: the moving statistics of their batch norm are averaged, too.
    Returns the average of the losses. Also lets the workers agree on signals. Raises WorkerLost.
    """
    if shards == [WHOLE]:
        losses = losses_of(WHOLE)
        optimizer.zero_grad(set_to_none=True)
        losses[total].backward()
        return losses
    buffers = dict(chain.from_iterable(network.named_buffers(prefix=f"{i}") for i, network in enumerate(networks)))
    statistics = [buffer for name, buffer in buffers.items() if name.rpartition(".")[2] in AVERAGED]
    rows = []
    at_start = [buffer.clone() for buffer in buffers.values()]
    for shard in shards:
        _copy(at_start, [*buffers.values()])
        losses = losses_of(shard)
        optimizer.zero_grad(set_to_none=True)
        losses[total].backward()
        rows.append(_row([*_gradients(optimizer), *statistics, *losses.values()]))
    average = averaged(torch.stack(rows), shards[0].count, workers)
    gradients = _gradients(optimizer)
    parts = iter(average.split([t.numel() for t in (*gradients, *statistics, *losses.values())]))
    _copy(parts, [*gradients, *statistics])
    return {name: part.view(()).to(losses[name].dtype) for name, part in zip(losses, parts, strict=True)}


def averaged(mine: Tensor, count: int, workers: Workers) -> Tensor:
    """The average of the rows of all shards, one row each, added in their order. (K, M) -> (M,).

    K: the shards of this worker, of `count` in all. With `workers.exact` off, each worker adds its rows first, and
    the transport chooses the order of the rest.
    """
    if workers.count == 1:
        return in_order(mine) / count
    heard = mine.new_tensor([float(x) for x in _heard()])
    if not workers.exact:
        found = workers.total(torch.cat([in_order(mine), heard]))
        _agree(found[-len(heard) :])
        return found[: -len(heard)] / count
    spans = [bounds(rank, workers.count, count) for rank in range(workers.count)]
    most = max(end - begin for begin, end in spans)
    padded = mine.new_zeros(most, mine.shape[1] + len(heard))
    padded[: len(mine), : -len(heard)], padded[0, -len(heard) :] = mine, heard
    found = workers.rows(padded)
    _agree(found[:, -len(heard) :].sum(0))
    places = [rank * most + i for rank, (begin, end) in enumerate(spans) for i in range(end - begin)]
    return in_order(found[places, : -len(heard)]) / count


def in_order(rows: Tensor) -> Tensor:
    """The sum of the rows, added from the first to the last. (K, M) -> (M,)."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def _heard() -> list[bool]:
    """Which signals have asked this worker to stop, and whether one has requested a checkpoint."""
    stop, save = signals.heard()
    return [*(stop == number for number in signals.STOPPING), save]


def _agree(heard: Tensor) -> None:
    """Act on what any worker has heard."""
    *stops, save = (heard > 0).tolist()
    signals.agree(next((number for number, asked in zip(signals.STOPPING, stops, strict=True) if asked), 0), save)


def _copy(values: Iterable[Tensor], tensors: Sequence[Tensor]) -> None:
    """Copy one value to each tensor, in its shape; further values are left. .data: autograd need not know."""
    for tensor, value in zip(tensors, values, strict=False):
        tensor.data.copy_(value.view_as(tensor))


def _gradients(optimizer: torch.optim.Adam) -> list[Tensor]:
    """The gradients of the parameters that have one: stages that have not started have none."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _row(tensors: Sequence[Tensor]) -> Tensor:
    """All values in one row, in the type of the first tensor. -> (M,)."""
    return torch.cat([tensor.detach().flatten().to(tensors[0].dtype) for tensor in tensors])
