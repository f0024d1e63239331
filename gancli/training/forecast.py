"""What a training would cost: a timed micro-batch, scaled by operations. Every time is an estimate."""

import copy
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from gancli import signals
from gancli.config import Config
from gancli.growth import Phase, Schedule
from gancli.networks import on_meta
from gancli.results import Forecast, StageForecast, plain
from gancli.training.log import memory_mib
from gancli.training.state import TrainState
from gancli.training.step import critic_loss

BUDGET = 10.0  # seconds for all timed steps
MICRO_BATCH = 4
QUICK = 0.25  # seconds for the tries of one kind of step
LONG_CPU_HOURS = 24.0


def forecast(config: Config, device: torch.device, budget: float = BUDGET) -> Forecast:
    """Parameters, schedule, time, memory and disk of a resolved config. Takes at most about `budget` seconds."""
    state = TrainState.fresh(config, device)
    schedule = Schedule.of(config)
    assert config.train.duration is not None, "resolve fills the duration"
    speeds = dict(_seconds_per_image(config, state, schedule, budget))
    stages = tuple(_stages(config, schedule, speeds))
    parameters = [sum(p.numel() for p in network.parameters()) for network in (state.G, state.D)]
    checkpoint_mib = 4 * (4 * parameters[0] + 3 * parameters[1]) / 2**20  # weights, average, Adam's two moments
    seconds = sum(s.seconds for s in stages if s.seconds is not None)
    return Forecast(
        config=plain(config.model_dump(mode="json")),
        generator_parameters=parameters[0],
        critic_parameters=parameters[1],
        stages=stages,
        duration=config.train.duration,
        seconds=seconds,
        memory_mib=memory_mib(device) + checkpoint_mib + _activations_mib(config, schedule.phases[-1]),
        disk_mib=checkpoint_mib * config.train.keep,
        device=str(device),
        advice=tuple(_advice(config, device, seconds)),
    )


def _seconds_per_image(
    config: Config, state: TrainState, schedule: Schedule, budget: float
) -> Iterator[tuple[int, tuple[float, bool]]]:
    """(stage, (seconds an image, was it timed)): low stages first, as long as the budget lasts; then by operations."""
    left, last = budget, (0.0, 1.0)  # seconds and operations an image of the last timed stage
    for phase in {p.stage: p for p in schedule.phases}.values():
        operations = operations_per_image(config, phase)
        expected = last[0] * operations / last[1] * MICRO_BATCH
        timed = 4 * expected < left  # two tries of each of three kinds of step
        if timed:
            started = time.monotonic()
            last = (_time_step(config, state, phase), operations)
            left -= time.monotonic() - started
        yield phase.stage, (last[0] * operations / last[1], timed)


def _time_step(config: Config, state: TrainState, phase: Phase) -> float:
    """Seconds an image of one critic and generator step, on copies of the networks that are thrown away.

    A lazy penalty counts by its share of the steps. The quickest of a few tries is taken: the first
    ones set kernels up, and a busy machine only ever makes a step slower.
    """
    G, D = copy.deepcopy(state.G), copy.deepcopy(state.D)
    batch = min(phase.batch_size, MICRO_BATCH)

    def critic(penalise: bool) -> None:
        with torch.no_grad():
            y = G(torch.randn(batch, config.network.latent, device=state.device), phase.stage)
        u = torch.rand(batch, device=state.device)
        critic_loss(D, phase, y, y, u, config.loss, penalise=penalise)["critic_loss"].backward()

    def generator() -> None:
        y = G(torch.randn(batch, config.network.latent, device=state.device), phase.stage)
        D(y, phase.stage).sum().backward()

    plain, penalised, generated = (
        min(_tries(step, state.device)) for step in (partial(critic, False), partial(critic, True), generator)
    )
    lazy = plain + max(0.0, penalised - plain) / config.loss.penalty_every
    return (lazy + generated / config.train.critic_steps.base) / batch


def _tries(step: Callable[[], None], device: torch.device) -> Iterator[float]:
    """Seconds of two tries, and of up to six where they are quick."""
    spent, count = 0.0, 0
    while count < 2 or (count < 6 and spent < QUICK):
        signals.poll()
        started = time.monotonic()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - started
        spent, count = spent + seconds, count + 1
        yield seconds


def operations_per_image(config: Config, phase: Phase) -> float:
    """Multiplications and additions of one forward pass of both networks at a stage, counted on the meta device."""
    pair = on_meta(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        z = torch.empty(1, config.network.latent, device="meta")
        pair.D(pair.G(z, phase.stage), phase.stage)
    return float(counter.get_total_flops())


def _stages(config: Config, schedule: Schedule, speeds: dict[int, tuple[float, bool]]) -> Iterator[StageForecast]:
    duration = config.train.duration or schedule.total
    for stage, (seconds, timed) in speeds.items():
        own = [s for s in schedule.segments if s.stage == stage]
        phase = schedule.phases[schedule.segments.index(own[-1])]
        ends = [duration if s is schedule.segments[-1] else s.start + s.length for s in own]
        shown = {s.fading: max(0, min(end, duration) - s.start) for s, end in zip(own, ends, strict=True)}
        images = sum(shown.values())
        yield StageForecast(
            phase.height, phase.width, shown.get(True, 0), shown.get(False, 0), phase.batch_size, phase.lr,
            images * seconds, timed,
        )  # fmt: skip


def _activations_mib(config: Config, phase: Phase) -> float:
    """Feature maps of one step, roughly: three critic passes with their second order, one generator pass."""
    network = config.network
    maps = sum(2 * network.width_of(s) * network.size_at(s)[0] * network.size_at(s)[1] for s in range(phase.stage + 1))
    return 4 * maps * phase.batch_size * 12 / 2**20


def _advice(config: Config, device: torch.device, seconds: float) -> list[str]:
    hours = seconds / 3600
    if device.type != "cpu" or hours < LONG_CPU_HOURS:
        return []
    mend = "progan-64-lite is sized for a CPU: gancli train --preset progan-64-lite DATA"
    return [f"about {hours / 24:.0f} days on this CPU (an estimate). {mend}"]
