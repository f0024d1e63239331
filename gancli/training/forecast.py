"""Estimates of the cost of a training run: steps of a new state are timed, then scaled by operation counts."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gancli import ema, process, signals
from gancli.config import ResolvedConfig, combinations
from gancli.data import Dataset, Feed
from gancli.errors import is_out_of_memory
from gancli.growth import Phase, Schedule
from gancli.networks import Pair, on_meta
from gancli.networks.layers import EqualizedWeight
from gancli.networks.minibatch import packed
from gancli.results import Forecast, StageForecast, plain
from gancli.training.log import memory_mib
from gancli.training.shards import own
from gancli.training.state import TrainState
from gancli.training.step import critic_step, shares_fakes, train_generator

BUDGET = 10.0  # seconds for all timed steps
TRIES = 2  # minimum number of timings of each kind of step
LEAST_BATCH = 4  # a smaller batch does not show the cost per image
QUICK = 0.25  # seconds below which one kind of step is timed again
LONG_CPU_HOURS = 24.0


def forecast(
    config: ResolvedConfig, dataset: Dataset, device: torch.device, workers: int = 1, budget: float = BUDGET
) -> Forecast:
    """Estimate time, memory and disk space of a resolved config. Takes at most about `budget` seconds.

    workers: each takes its part of a batch, shard by shard, all at the same time. Communication is not counted. Memory
    is that of one of them.
    """
    state, schedule = TrainState.fresh(config, device), Schedule.of(config)
    state.images = config.train.duration // 2  # where schedules have their mean
    with torch.random.fork_rng(devices=[]):
        costs = dict(
            _costs(state, config.with_train(shards=1), Feed(dataset, config), max(workers, config.shards), budget)
        )
    stages = tuple(_stages(config, schedule, costs, workers))
    parameters = [sum(p.numel() for p in network.parameters()) for network in (state.G, state.D)]
    buffers = sum(b.numel() for b in state.G.buffers())
    # weights, EMA, two Adam moments
    checkpoint_mib = 4 * (4 * parameters[0] + 2 * buffers + 3 * parameters[1]) / 2**20
    seconds = sum(s.seconds for s in stages if s.seconds is not None)
    activations_mib = _activations_mib(config, schedule.phases[-1])
    return Forecast(
        config=plain(config.model_dump(mode="json")),
        generator_parameters=parameters[0],
        critic_parameters=parameters[1],
        stages=stages,
        duration=config.train.duration,
        seconds=seconds,
        memory_mib=memory_mib(device) + checkpoint_mib + activations_mib / max(workers, config.shards),
        disk_mib=checkpoint_mib * config.train.keep + dataset.values.nbytes / 2**20,
        cache_mib=dataset.values.nbytes / 2**20,
        device=str(device),
        workers=workers,
        shards=config.shards,
        advice=tuple(_advice(config, device, seconds)),
    )


@dataclass(frozen=True)
class Cost:
    """Seconds of one step at one stage: fixed + batch * an_image. Large networks have a large fixed cost."""

    fixed: float
    an_image: float
    timed: bool

    def per_image(self, batch: int) -> float:
        """Seconds per image at a batch size."""
        return self.fixed / batch + self.an_image


def _costs(
    state: TrainState, config: ResolvedConfig, feed: Feed, shards: int, budget: float
) -> Iterator[tuple[int, Cost]]:
    """(stage, cost): low stages are timed at two batch sizes within the budget, the rest is scaled by operations."""
    left, last, counted = budget, None, 1.0
    pack = config.network.pack
    smallest = combinations.smallest_batch(config)
    for phase in {p.stage: p for p in Schedule.of(config).phases}.values():
        operations, started = operations_per_image(config, phase), time.monotonic()
        if last is None:
            last = Cost(0.0, _seconds(state, config, feed, phase.with_batch(smallest)) / smallest, True)
        else:
            last = Cost(last.fixed, last.an_image * operations / counted, False)
        left, counted = left - (time.monotonic() - started), operations
        affordable = (0.8 * left / TRIES - 2 * last.fixed) / max(last.an_image, 1e-9) - smallest
        most = max(smallest, phase.batch_size // shards)
        batch = min(most, int(affordable) // pack * pack)
        if batch >= LEAST_BATCH or batch == most:
            started = time.monotonic()
            last = _cost(state, config, feed, phase, (smallest, batch)) or last
            left -= time.monotonic() - started
        yield phase.stage, last


def _cost(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, sizes: tuple[int, int]) -> Cost | None:
    """The cost of a step, from its times at two batch sizes; None if one of them does not fit into memory."""
    try:
        few, many = (_seconds(state, config, feed, phase.with_batch(size)) for size in sizes)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    an_image = max(0.0, many - few) / max(1, sizes[1] - sizes[0])
    return Cost(max(0.0, many - sizes[1] * an_image), an_image, True)


def _seconds(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase) -> float:
    """Seconds per critic step of training at a phase, with its share of the generator steps. It changes the weights.

    A lazy penalty is weighted by its share of the steps. The minimum of several timings is used: the first
    ones include the setup of kernels, and other load on the machine only makes a step slower.
    """
    mine, shared = own(state.workers, 1), shares_fakes(config)

    def critic(*, penalize: bool) -> None:
        critic_step(state, config, feed, phase, mine, penalize=penalize, shared=False)

    def turn(*, penalize: bool) -> None:
        _, inputs = critic_step(state, config, feed, phase, mine, penalize=penalize, shared=shared)
        train_generator(state, config, phase, inputs)
        ema.update(state.ema, state.G, keep=0.5)

    def lazily(step: Callable[..., None]) -> float:
        penalized = min(_tries(partial(step, penalize=True), state.device))
        if config.loss.penalty_interval == 1:
            return penalized
        plain = min(_tries(partial(step, penalize=False), state.device))
        return plain + max(0.0, penalized - plain) / config.loss.penalty_interval

    others = config.train.critic_steps.base - 1
    return (lazily(turn) + (others * lazily(critic) if others else 0.0)) / (others + 1)


def _tries(step: Callable[[], None], device: torch.device) -> Iterator[float]:
    """Times in seconds of two calls, or of up to six if they are quick."""
    spent, count = 0.0, 0
    while count < TRIES or (count < 6 and spent < QUICK):
        signals.poll()
        started = time.monotonic()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - started
        spent, count = spent + seconds, count + 1
        yield seconds


def operations_per_image(config: ResolvedConfig, phase: Phase) -> float:
    """Multiplications and additions in one forward pass of both networks at a stage, counted on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _once(on_meta(config), config, phase)
    return float(counter.get_total_flops()) / config.network.pack


def _once(pair: Pair, config: ResolvedConfig, phase: Phase) -> None:
    """Both networks on the meta device, on a single pack."""
    pack = config.network.pack
    y = pair.G.eval()(_example(config, pack, torch.device("meta")), phase.stage)
    pair.D.eval()(packed(y, pack), phase.stage)


def _example(config: ResolvedConfig, batch: int, device: torch.device) -> Tensor:
    """An input for the generator."""
    network = config.network
    if network.enlarges:
        channels, *sides = config.samples.shape
        return torch.zeros(batch, channels, *(side // network.enlarges for side in sides), device=device)
    return torch.zeros(batch, network.z_dim, device=device).normal_()


def _stages(
    config: ResolvedConfig, schedule: Schedule, costs: Mapping[int, Cost], workers: int
) -> Iterator[StageForecast]:
    duration, shards = config.train.duration, max(workers, config.shards)
    for stage, cost in costs.items():
        own = [s for s in schedule.segments if s.stage == stage]
        phase = schedule.phases[schedule.segments.index(own[-1])]
        ends = [duration if s is schedule.segments[-1] else s.start + s.length for s in own]
        shown = {s.fading: max(0, min(end, duration) - s.start) for s, end in zip(own, ends, strict=True)}
        images = sum(shown.values())
        yield StageForecast(
            phase.height, phase.width, shown.get(True, 0), shown.get(False, 0), phase.batch_size, phase.lr,
            images / workers * cost.per_image(phase.batch_size // shards), cost.timed,
        )  # fmt: skip


def _activations_mib(config: ResolvedConfig, phase: Phase) -> float:
    """Rough memory of the feature maps of one step: three critic passes with second order, one generator pass."""
    pair, values = on_meta(config), 0

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal values
        values += output.numel()

    for layer in [*pair.G.modules(), *pair.D.modules()]:
        if isinstance(layer, EqualizedWeight):
            layer.register_forward_hook(count)
    _once(pair, config, phase)
    return 4 * values / config.network.pack * phase.batch_size * 6 / 2**20


def _advice(config: ResolvedConfig, device: torch.device, seconds: float) -> list[str]:
    if device.type != "cpu":
        return []
    advice, hours, threads = [], seconds / 3600, torch.get_num_threads()
    if hours >= LONG_CPU_HOURS:
        hint = "--hours 8 scales the schedule to that time, and progan-64-lite has networks for a CPU"
        advice.append(f"training takes about {hours / 24:.0f} days on this CPU (estimate): {hint}")
    if threads > process.cores():
        advice.append(f"{threads} threads share {process.cores()} cores, which is slow: give fewer --threads")
    return advice
