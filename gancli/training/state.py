"""All of a training that must survive: networks, their average, Adam's memory and two integers."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from gancli import checkpoint
from gancli.checkpoint import AdamState, Checkpoint, Opened
from gancli.config import ResolvedConfig
from gancli.critic_view import CriticView
from gancli.errors import CheckpointError, TrainingDiverged
from gancli.growth import Phase
from gancli.networks import Critic, Generator, build, learning_rates, set_precision
from gancli.networks.vgg import FeatureNetwork, feature_network
from gancli.runs import Run


@dataclass
class TrainState:
    """What a checkpoint holds, alive. The clock is `images`: reals shown to the critic."""

    G: Generator
    D: Critic
    ema: Generator  # the averaged generator
    opt_G: torch.optim.Adam
    opt_D: torch.optim.Adam
    device: torch.device
    images: int = 0
    generator_steps: int = 0
    seconds: float = 0.0
    extra: dict[str, Tensor] = field(default_factory=dict)  # what else must survive, on the CPU: a running estimate ...
    features: FeatureNetwork | None = None  # of a perceptual loss: fixed, so no part of a checkpoint

    @classmethod
    def fresh(cls, config: ResolvedConfig, device: torch.device) -> Self:
        """Networks drawn from the seed, nothing seen yet."""
        pair = build(config, device)
        set_precision(pair, config.train.precision)
        ema = copy.deepcopy(pair.G).requires_grad_(False).eval()
        ema.compute_dtype = torch.float32  # the average is for looking at and judging
        betas, eps = config.optimizer.betas, config.optimizer.eps
        opt_G, opt_D = (
            torch.optim.Adam(_groups(network), lr=config.train.lr, betas=betas, eps=eps, fused=True)
            for network in (pair.G, pair.D)
        )
        perceptual = config.loss.perceptual
        features = feature_network(perceptual.layers, perceptual.features).to(device) if perceptual else None
        return cls(pair.G, pair.D, ema, opt_G, opt_D, device, features=features)

    @classmethod
    def open(cls, run: Run, config: ResolvedConfig, device: torch.device, say: Callable[[str], None]) -> Self:
        """Fresh, or the newest whole checkpoint of the run; one that is damaged is passed over, and said.

        Raises CheckpointError where there are some but none can be opened: nothing is trained over them.
        """
        state = cls.fresh(config, device)
        candidates = [file for file in (run.last, *reversed(run.checkpoints())) if file.exists()]
        for path in candidates:
            try:
                state.restore(checkpoint.read(path))
            except CheckpointError as error:
                say(f"passed over {path.name}: {error.what}")
                continue
            return state
        if candidates:
            raise CheckpointError("no checkpoint can be opened", where=str(run.path), hint="start another run: --new")
        return state

    def restore(self, saved: Opened) -> None:
        """Go on from a checkpoint of this very run. Raises CheckpointError where it does not fit."""
        if not saved.can_train:
            raise CheckpointError("it holds a generator alone", where=str(saved.path), hint="start another run: --new")
        for name, network in self.networks().items():
            checkpoint.fill(network, saved.weights[name], saved.path)
        self.restore_adam(saved)
        self.images, self.generator_steps, self.seconds = saved.images, saved.generator_steps, saved.seconds
        self.extra = dict(saved.extra)

    def restore_adam(self, saved: Opened) -> None:
        """Take over Adam's memory of the parameters that the checkpoint has. Raises CheckpointError."""
        _restore_adam(self.opt_G, self.G, saved.optimizers["G"])
        _restore_adam(self.opt_D, self.D, saved.optimizers["D"])

    def adopt(self, source: Opened) -> None:
        """Start from another run's weights, with a clock and an Adam of one's own.

        Layers that the source has not are left as drawn: the blocks that growing adds. Raises CheckpointError.
        """
        for name, network in self.networks().items():
            checkpoint.fill(network, {**network.state_dict(), **source.weights[name]}, source.path)

    def critic_view(self, phase: Phase) -> CriticView:
        """The critic as the losses see it at a phase."""
        return CriticView(self.D, phase)

    def networks(self) -> dict[str, nn.Module]:
        """By their names in a checkpoint."""
        return {"G": self.G, "D": self.D, "ema": self.ema}

    def as_checkpoint(self, config: ResolvedConfig) -> Checkpoint:
        """A copy on the CPU of all that must survive. Raises TrainingDiverged where a weight is not finite."""
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
        """Raise TrainingDiverged, with a diagnosis, where a weight or Adam's memory of it is not a finite number."""
        for name, optimizer in (("generator", self.opt_G), ("critic", self.opt_D)):
            kept: list[Tensor] = [p.detach() for group in optimizer.param_groups for p in group["params"]]
            kept += [t for memory in optimizer.state.values() for key, t in memory.items() if key != "step"]
            norms = torch.stack(torch._foreach_norm(kept))
            if not norms.isfinite().all():
                raise TrainingDiverged(
                    f"a weight of the {name}, or what Adam keeps of it, is no longer finite after {self.images} images",
                    where="training; the checkpoints before it are whole",
                    hint="a lower train.lr, a stronger penalty, or --precision fp32, with --new",
                )

    def clear_adam(self) -> None:
        """Forget Adam's memory in both optimizers."""
        self.opt_G.state.clear()
        self.opt_D.state.clear()


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    return [{"params": group, "factor": factor} for factor, group in learning_rates(network).items()]


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _adam(optimizer: torch.optim.Adam, network: nn.Module) -> AdamState:
    """Adam's memory by the parameter's name; parameters of stages that have not begun have none."""
    named = {name: optimizer.state.get(p) for name, p in network.named_parameters()}
    return {name: _on_cpu(memory) for name, memory in named.items() if memory}


def _restore_adam(optimizer: torch.optim.Adam, network: nn.Module, saved: AdamState) -> None:
    optimizer.state.clear()
    for name, parameter in network.named_parameters():
        if memory := saved.get(name):
            optimizer.state[parameter] = {key: _like(parameter, value, key) for key, value in memory.items()}


def _like(parameter: Tensor, value: Tensor, key: str) -> Tensor:
    if key != "step" and value.shape != parameter.shape:
        raise CheckpointError("Adam's memory is of another network", where=key, hint="take another checkpoint")
    moved = value.to(parameter.device, copy=True)
    return moved if key == "step" else moved.contiguous(memory_format=_format(parameter))


def _format(parameter: Tensor) -> torch.memory_format:
    return torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
