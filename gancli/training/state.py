"""The state of a run that checkpoints save: networks, EMA, Adam states and counters."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from gancli import annealing, checkpoint
from gancli.augment import Augment, steer, strength
from gancli.checkpoint import AdamState, Checkpoint, Opened
from gancli.config import ResolvedConfig
from gancli.config.schema import AugmentConfig
from gancli.critic_view import CriticView
from gancli.errors import CheckpointError, TrainingDiverged
from gancli.growth import Phase
from gancli.networks import Critic, Generator, build, learning_rates, set_precision
from gancli.networks.vgg import FeatureNetwork, feature_network
from gancli.runs import NEW_RUN, Run
from gancli.seeds import stream
from gancli.training.adam import Adam
from gancli.workers import ALONE, Workers

STEERED = "strength of augmentation"  # key in TrainState.extra
NAMES = {"G": "generator", "D": "critic", "ema": "EMA generator"}


@dataclass
class TrainState:
    """The content of a checkpoint in memory. Progress is counted in `images`: reals shown to the critic."""

    G: Generator
    D: Critic
    ema: Generator  # EMA of the generator
    opt_G: Adam
    opt_D: Adam
    device: torch.device
    images: int = 0
    generator_steps: int = 0
    seconds: float = 0.0
    extra: dict[str, Tensor] = field(default_factory=dict)  # other saved state on the CPU, such as a running estimate
    features: FeatureNetwork | None = None  # network of a perceptual loss; it is fixed, so checkpoints do not save it
    workers: Workers = ALONE  # the processes that share the steps

    @classmethod
    def fresh(cls, config: ResolvedConfig, device: torch.device, workers: Workers = ALONE) -> Self:
        """New networks, initialized from the seed."""
        pair = build(config, device)
        set_precision(pair, config.train.precision)
        ema = copy.deepcopy(pair.G).requires_grad_(False).eval()
        ema.compute_dtype = torch.float32  # the EMA is used for samples and evaluation only
        betas, eps = config.optimizer.betas, config.optimizer.eps
        opt_G, opt_D = (
            Adam(_groups(network), lr=config.train.lr, betas=betas, eps=eps, fused=True) for network in (pair.G, pair.D)
        )
        perceptual = config.loss.perceptual
        features = feature_network(perceptual.layers, perceptual.features).to(device) if perceptual else None
        return cls(pair.G, pair.D, ema, opt_G, opt_D, device, features=features, workers=workers)

    def load(self, run: Run, say: Callable[[str], None]) -> None:
        """Load the newest intact checkpoint of the run, if it has any.

        Damaged checkpoints are skipped with a message. Raises CheckpointError if none can be opened, so that training
        does not overwrite them.
        """
        if self.restore_newest(run, say) is None and (run.last.exists() or run.checkpoints()):
            raise CheckpointError("no checkpoint can be opened", where=str(run.path), hint=NEW_RUN)

    def restore_newest(self, run: Run, say: Callable[[str], None]) -> Opened | None:
        """Load the newest intact checkpoint of the run, and return it; None if there is none.

        Damaged ones are skipped with a message.
        """
        for path in (run.last, *reversed(run.checkpoints())):
            if path.exists():
                try:
                    saved = checkpoint.read(path)
                    self.restore(saved)
                except CheckpointError as error:
                    say(f"skipped {path.name}: {error.what}")
                    continue
                return saved
        return None

    def restore(self, saved: Opened) -> None:
        """Load a checkpoint of the same run. Raises CheckpointError if it does not fit."""
        if not saved.can_train:
            what = "the checkpoint has only a generator"
            raise CheckpointError(what, where=str(saved.path), hint=NEW_RUN)
        for name, network in self.networks().items():
            checkpoint.fill(network, saved.weights[name], saved.path)
        self.restore_adam(saved)
        self.images, self.generator_steps, self.seconds = saved.images, saved.generator_steps, saved.seconds
        self.extra = dict(saved.extra)

    def restore_adam(self, saved: Opened) -> None:
        """Load the Adam state of the parameters that are in the checkpoint. Raises CheckpointError."""
        _restore_adam(self.opt_G, self.G, saved.optimizers["G"])
        _restore_adam(self.opt_D, self.D, saved.optimizers["D"])

    def adopt(self, source: Opened) -> None:
        """Load the weights of another run, but not its progress or Adam states.

        Layers that are not in the source, such as the blocks that growing adds, keep their initial weights.
        Raises CheckpointError.
        """
        for name, network in self.networks().items():
            checkpoint.fill(network, {**network.state_dict(), **source.weights[name]}, source.path)

    @cached_property
    def has_dropout(self) -> bool:
        """Whether a network uses torch's global random generator during training."""
        return any(isinstance(m, nn.Dropout) and m.p > 0 for net in (self.G, self.D) for m in net.modules())

    def critic_view(self, phase: Phase, augment: Augment | None = None) -> CriticView:
        """The critic in a phase, as the losses use it if `augment` is given."""
        return CriticView(self.D, phase, augment)

    def augment(self, config: ResolvedConfig, name: str, offset: int = 0) -> Augment | None:
        """The augmentation of a step, with random numbers from a named stream; None if it is off.

        offset: number of samples of the batch before the first one.
        """
        if config.augment is None:
            return None
        return Augment(config.augment, self.augment_p(config), stream(config.train.seed, name, self.images + offset))

    def augment_p(self, config: ResolvedConfig) -> float:
        """The current factor of all probabilities of augmentation; NaN if it is off."""
        if config.augment is None:
            return math.nan
        annealed = annealing.value(config.anneal.augment, self.images, config.train.duration)
        return annealed * strength(config.augment, self.images, float(self.extra.get(STEERED, 0.0)))

    def steer_augment(self, config: AugmentConfig, overfitting: float, images: int) -> None:
        """Make augmentation stronger or weaker, at a tick that is `images` after the last one."""
        before = float(self.extra.get(STEERED, 0.0))
        self.extra[STEERED] = torch.tensor(steer(config, before, overfitting, images), dtype=torch.float64)

    def share(self, config: ResolvedConfig) -> None:
        """Take over the state of the first worker, which has loaded or initialized it."""
        if self.workers.count == 1:
            return
        saved = self.workers.share(self.as_checkpoint(config) if self.workers.first else None)
        if not self.workers.first:
            self.restore(Opened(**vars(saved), path=Path("the first worker")))

    def weights(self) -> Iterator[Tensor]:
        """The weights and buffers of all networks."""
        return chain.from_iterable(network.state_dict().values() for network in self.networks().values())

    def networks(self) -> dict[str, nn.Module]:
        """The networks by their names in a checkpoint."""
        return {"G": self.G, "D": self.D, "ema": self.ema}

    def as_checkpoint(self, config: ResolvedConfig) -> Checkpoint:
        """Copy the state to the CPU for saving. Raises TrainingDiverged if a weight is not finite."""
        self.ensure_finite()
        return Checkpoint(
            config=config,
            images=self.images,
            generator_steps=self.generator_steps,
            seconds=self.seconds,
            weights={n: _on_cpu(network.state_dict()) for n, network in self.networks().items()},
            extra=_on_cpu(self.extra),
            optimizers={"G": _adam(self.opt_G, self.G), "D": _adam(self.opt_D, self.D)},
        )

    def ensure_finite(self) -> None:
        """Raise TrainingDiverged if a weight, a buffer, an Adam state or an extra tensor is not finite."""
        optimizers = {"G": self.opt_G, "D": self.opt_D}
        parts: dict[str, list[Tensor]] = {NAMES[n]: [*net.state_dict().values()] for n, net in self.networks().items()}
        for name, optimizer in optimizers.items():
            parts[f"Adam state of the {NAMES[name]}"] = [
                t for memory in optimizer.state.values() for t in memory.values()
            ]
        parts["saved statistics"] = [*self.extra.values()]
        for part, tensors in parts.items():
            if not finite(tensors):
                raise diverged(f"a value of the {part} is not finite", self.images)

    def clear_adam(self) -> None:
        """Clear the Adam state of both optimizers."""
        self.opt_G.state.clear()
        self.opt_D.state.clear()


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all values are finite, and not so large that their squares overflow."""
    floats = [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
    return all(bool(torch.stack([n.float() for n in part]).isfinite().all()) for part in _norms(floats))


def _norms(tensors: Iterable[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """The norms of the tensors of each device."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        by_device.setdefault(tensor.device, []).append(tensor)
    for group in by_device.values():
        yield torch._foreach_norm(group)


def diverged(what: str, images: int) -> TrainingDiverged:
    """The error of a run that cannot go on."""
    return TrainingDiverged(
        f"{what} after {images} images",
        where="training; the checkpoints are intact",
        hint="start a new run (--new) with a lower train.lr, a stronger penalty, or --precision fp32",
    )


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    return [{"params": group, "factor": factor} for factor, group in learning_rates(network).items()]


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _adam(optimizer: Adam, network: nn.Module) -> AdamState:
    """Adam state by parameter name. Parameters of stages that have not started have none."""
    named = {name: optimizer.state.get(p) for name, p in network.named_parameters()}
    return {name: _on_cpu(memory) for name, memory in named.items() if memory}


def _restore_adam(optimizer: Adam, network: nn.Module, saved: AdamState) -> None:
    optimizer.state.clear()
    for name, parameter in network.named_parameters():
        if memory := saved.get(name):
            optimizer.state[parameter] = {key: _like(parameter, value, key) for key, value in memory.items()}


def _like(parameter: Tensor, value: Tensor, key: str) -> Tensor:
    if key != "step" and value.shape != parameter.shape:
        raise CheckpointError("the Adam state is from another network", where=key, hint="use another checkpoint")
    moved = value.to(parameter.device, copy=True)
    return moved if key == "step" else moved.contiguous(memory_format=_format(parameter))


def _format(parameter: Tensor) -> torch.memory_format:
    return torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
