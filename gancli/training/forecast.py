"""Estimates of the cost of a training run: steps are timed with small batches, then scaled by operation counts."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gancli import signals
from gancli.config import ResolvedConfig
from gancli.data import Dataset
from gancli.growth import Phase, Schedule
from gancli.networks import Pair, on_meta
from gancli.networks.layers import EqualizedWeight, packed
from gancli.results import Forecast, StageForecast, plain
from gancli.training.log import memory_mib
from gancli.training.state import TrainState
from gancli.training.step import critic_loss, generator_loss

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
    state = TrainState.fresh(config, device)
    schedule = Schedule.of(config)
    costs = dict(_costs(config, state, schedule, budget))
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


def _costs(config: ResolvedConfig, state: TrainState, schedule: Schedule, budget: float) -> Iterator[tuple[int, Cost]]:
    """(stage, cost): low stages are timed at two batch sizes within the budget, the rest is scaled by operations."""
    left, last, counted = budget, Cost(0.0, 0.0, False), 1.0
    for phase in {p.stage: p for p in schedule.phases}.values():
        operations = operations_per_image(config, phase)
        last, counted = Cost(last.fixed, last.an_image * operations / counted, False), operations
        affordable = (0.8 * left / TRIES - 2 * last.fixed) / max(last.an_image, 1e-9) - 1
        pack = config.network.pack
        batch = min(phase.batch_size, int(affordable) // pack * pack)
        if batch >= LEAST_BATCH or batch == phase.batch_size:
            started = time.monotonic()
            last = _time_stage(config, state, phase, batch)
            left -= time.monotonic() - started
        yield phase.stage, last


def _time_stage(config: ResolvedConfig, state: TrainState, phase: Phase, batch: int) -> Cost:
    """The cost of a step, from its times at the smallest batch size and at `batch`."""
    smallest = config.network.pack
    one, many = (_time_step(config, state, phase, n) for n in (smallest, batch))
    an_image = max(0.0, many - one) / max(1, batch - smallest)
    return Cost(max(0.0, many - batch * an_image), an_image, True)


def _time_step(config: ResolvedConfig, state: TrainState, phase: Phase, batch: int) -> float:
    """Seconds of one critic and one generator step, on temporary copies of the networks.

    The copies are in eval mode, in which batch norm accepts a batch of one and its moving statistics do not change.

    A lazy penalty is weighted by its share of the steps. The minimum of several timings is used: the first
    ones include the setup of kernels, and other load on the machine only makes a step slower.
    """
    G, D = copy.deepcopy(state.G).eval(), copy.deepcopy(state.D).eval()
    copied = replace(state, G=G, D=D)
    view = copied.critic_view(phase, copied.augment(config, "forecast"))

    def critic(penalize: bool) -> None:
        with torch.no_grad():
            y = G(_example(config, batch, state.device), phase.stage)
        u = torch.rand(batch, device=state.device)
        critic_loss(view, y, y, u, config.loss, penalize=penalize)["critic_loss"].backward()

    def generator() -> None:
        y = G(_example(config, batch, state.device), phase.stage)
        generator_loss(view, y.detach(), y, config.loss, copied.features)["generator_loss"].backward()

    if config.loss.adversarial == "none":
        return min(_tries(generator, state.device))
    generated, penalized = (min(_tries(step, state.device)) for step in (generator, partial(critic, True)))
    plain = penalized if config.loss.penalty_interval == 1 else min(_tries(partial(critic, False), state.device))
    lazy = plain + max(0.0, penalized - plain) / config.loss.penalty_interval
    return lazy + generated / config.train.critic_steps.base


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
    hours = seconds / 3600
    if device.type != "cpu" or hours < LONG_CPU_HOURS:
        return []
    hint = "progan-64-lite is sized for a CPU: gancli train --preset progan-64-lite DATA"
    return [f"training takes about {hours / 24:.0f} days on this CPU (estimate). {hint}"]
