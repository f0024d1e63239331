"""What `speed.py` compares: steps and samples by gancli, by the plain formulation and by a peer.

A peer is a Python file with two functions of a workload, a dict with resolution, channels (one per stage, from 4 px),
z_dim and batch:

    def step_of(workload): ...     # returns a function without arguments: one training step, average included
    def sampler_of(workload): ...  # optional; returns a function without arguments: one batch of samples
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import plain
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gancli import config as configs
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.growth import Phase, Schedule
from gancli.networks.layers import downscale, upscale
from gancli.results import DataReport
from gancli.training.loop import average
from gancli.training.resolve import resolve
from gancli.training.setup import shape_of
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator

Step = Callable[[], Any]
WORKLOADS = {
    "W1": {"resolution": 64, "channels": [512, 512, 512, 512, 256], "z_dim": 512, "batch": 16},
    "W2": {"resolution": 64, "channels": [128, 128, 128, 64, 32], "z_dim": 128, "batch": 16},
    "toy": {"resolution": 64, "channels": [4, 4, 4, 4, 4], "z_dim": 4, "batch": 16},
}
GRAY = {name: (28, 28, 1) for name in ("bn-mlp-28", "moments-conv", *(f"moments-{k}" for k in range(1, 8)))}
SHAPES = {"signal-1d": (2, 256), "ring8": (2,), "grid25": (2,), **GRAY}  # (C, L), (D,), (H, W, C); others are RGB


class Operations(TorchDispatchMode):
    """Counts floating-point operations by the formulas of torch's FlopCounterMode, which cannot count a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        result = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


class Task(NamedTuple):
    """A config, samples that fit it, and the phase that is measured."""

    config: ResolvedConfig
    data: Dataset
    phase: Phase


def random_samples(shape: tuple[int, ...], count: int = 256) -> Dataset:
    """Random samples: images (H, W, C) as uint8, signals (C, L) and points (D,) as float32."""
    draw, kind = np.random.RandomState(0), ("points", "signal", "image")[len(shape) - 1]
    values = draw.randn(count, *shape).astype(np.float32)
    if kind == "image":
        values = draw.randint(0, 256, (count, *shape)).astype(np.uint8)
    report = DataReport("random", kind, len(values), 0, values.shape[1:])
    return Dataset(kind, values, np.zeros(len(values), dtype=bool), "random", report)


def task_of(preset: str, changes: dict[str, Any], height: int = 0, count: int = 256) -> Task:
    """A preset in its last stable phase, or in the one at `height` px."""
    config = configs.load(preset, {"train.duration": 10**9, **changes})
    shape = shape_of(config)
    data = random_samples(SHAPES.get(preset, (shape.height, shape.width, shape.channels or 3)), count)
    config = resolve(config, data, "random")
    phases = [phase for phase in Schedule.of(config).phases if not phase.fading and height in (0, phase.height)]
    return Task(config, data, phases[-1])


def task_of_workload(workload: dict[str, Any], precision: str, *, fused_down: bool = True, count: int = 256) -> Task:
    """WGAN-GP with drift at every step, as in the preset progan-64, in the sizes of a workload."""
    changes = {
        "network.resolution": workload["resolution"],
        "network.channels": workload["channels"],
        "network.z_dim": workload["z_dim"],
        "network.fused_down": fused_down,
        "network.minibatch_std": {"group_size": 4},
        "train.batch_size": workload["batch"],
        "train.precision": precision,
    }
    return task_of("progan-64", changes, count=count)


def step_of(task: Task) -> Step:
    """One step of gancli: feed, critic steps, generator step and average."""
    config, data, phase = task
    state, feed = TrainState.fresh(config, torch.device("cpu")), Feed(data, config)

    def step() -> None:
        before = state.images
        _, inputs = train_critic(state, config, feed, phase, before)
        train_generator(state, config, phase, inputs)
        average(state, config, state.images - before)

    return step


def sampler_of(task: Task) -> Step:
    """One batch of samples by gancli."""
    config, _, phase = task
    state = TrainState.fresh(config, torch.device("cpu"))
    z = torch.randn(phase.batch_size, config.network.z_dim)

    def sample() -> None:
        with torch.inference_mode():
            state.G(z, phase.stage, phase.alpha)

    return sample


def plain_step_of(workload: dict[str, Any]) -> Step:
    """One step of `plain.Trainer`, which shares no code with gancli."""
    trainer = plain.Trainer(workload["channels"], workload["z_dim"], workload["batch"])
    x = torch.rand(workload["batch"], 3, workload["resolution"], workload["resolution"]) * 2 - 1
    return lambda: trainer.step(x)


def plain_sampler_of(workload: dict[str, Any]) -> Step:
    """One batch of samples of `plain.Generator`."""
    generator, z = (
        plain.Generator(workload["channels"], workload["z_dim"]),
        torch.randn(workload["batch"], workload["z_dim"]),
    )

    def sample() -> None:
        with torch.no_grad():
            generator(z)

    return sample


def peer_of(path: Path) -> Any:
    """The module of an adapter file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain_changes(preset: str) -> dict[str, Any]:
    """Settings that only save time are off."""
    family = configs.load(preset, {}).network.family
    changes = {"train.shared_fakes": False, "train.precision": "fp32"}
    return changes | ({"network.fused_down": False} if family == "progressive" else {})


@contextmanager
def plainly() -> Iterator[None]:
    """In it, gancli computes every preset by the plain formulas: separate operations, channels first, one parameter at
    a time, one batch at a time."""
    with ExitStack() as stack:
        for target, formula in PLAIN.items():
            stack.enter_context(patch(target, formula))
        stack.enter_context(patch.dict("gancli.networks.layers.ACTIVATIONS", leaky=_leaky))
        yield


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


def _convolution(self: Any, x: torch.Tensor) -> torch.Tensor:
    """`layers.Conv.forward`: doubled or not, convolved, halved or not."""
    x = (upscale(x) if self.resample == "up" else x).contiguous()
    side = self.weight.shape[-1]
    if self.padding == "same":
        x = F.pad(x, ((side - 1) // 2, side // 2) * (x.ndim - 2))
    convolve = F.conv1d if x.ndim == 3 else F.conv2d
    if self.smooth:
        blur = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(blur, blur).expand(len(self.weight), 1, 3, 3)
        y = F.conv2d(convolve(x, self.weight * self.scale), kernel.to(x), padding=1, groups=len(self.weight))
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)
    y = convolve(x, self.weight * self.scale, self.bias, stride=self.stride)
    return downscale(y) if self.resample == "down" else y


def _averaged(average: torch.nn.Module, current: torch.nn.Module, keep: float) -> None:
    """`ema.update`, one parameter after another."""
    with torch.no_grad():
        for mine, new in zip(average.parameters(), current.parameters(), strict=True):
            mine.mul_(keep).add_(new, alpha=1 - keep)
        for mine, new in zip(average.buffers(), current.buffers(), strict=True):
            mine.copy_(new)


PLAIN: dict[str, Any] = {
    "gancli.networks.layers.Conv.forward": _convolution,
    "gancli.networks.progressive.leaky_relu": _leaky,
    "gancli.networks.progressive.pixel_norm": plain.norm,
    "gancli.networks.progressive.leaky_pixel_norm": lambda x: plain.norm(_leaky(x)),
    "gancli.networks.build.channels_last": lambda network: None,
    "gancli.critic_view.CriticView.both": lambda self, x, y: (self.scores(x), self.scores(y)),
    "gancli.penalties.input_gradients_only": nullcontext,
    "gancli.ema.update": _averaged,
    "gancli.training.state.Adam": lambda groups, fused, **settings: torch.optim.Adam(groups, foreach=False, **settings),
}
