"""Build generator and critic from a config."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from gancli.config import ResolvedConfig
from gancli.errors import ConfigError
from gancli.networks import conv, mlp, progressive, projected, residual, superres
from gancli.networks.base import Critic, Generator
from gancli.networks.layers import EqualizedWeight, initialize
from gancli.networks.output import Moments, Shape
from gancli.seeds import stream


@dataclass
class Pair:
    """Generator and critic of one config."""

    G: Generator
    D: Critic


class Makers(NamedTuple):
    """Constructors of a family. Arguments: its config, the shape (C, *S) of one sample, and moments (see `output`)."""

    generator: Callable[[Any, Shape, Moments | None], Generator]
    critic: Callable[[Any, Shape], Critic]


MAKERS = {
    "progressive": Makers(progressive.Generator, progressive.Critic),
    "conv": Makers(conv.Generator, lambda config, shape: conv.Critic(config, shape, config.critic)),
    "mlp": Makers(mlp.Generator, mlp.Critic),
    "projected": Makers(projected.Generator, projected.Critic),
    "residual": Makers(residual.Generator, residual.Critic),
    "superres": Makers(superres.Generator, lambda config, shape: conv.Critic(config, shape, config.critic)),
}  # same keys as config.networks.FAMILIES; `gancli.register_family` adds to both


def generator_of(config: ResolvedConfig) -> Generator:
    """The generator of a config, on torch's current default device. Raises ConfigError."""
    with _seeded(config.train.seed, "G"):
        return MAKERS[config.network.family].generator(config.network, config.samples.shape, _moments(config))


@contextmanager
def _seeded(seed: int, name: str) -> Iterator[None]:
    """Seed torch's global RNG for layers that initialize from it, and restore its state on exit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, f"layers/{name}", 0).initial_seed())
        yield


def _moments(config: ResolvedConfig) -> Moments | None:
    """(means, standard deviations) of the data channels if the output is bn-clip. Raises ConfigError."""
    if config.network.output != "bn-clip":
        return None
    mean, std, channels = config.samples.mean, config.samples.std, config.samples.shape[0]
    if mean is None or std is None or not len(mean) == len(std) == channels:
        what = f"bn-clip needs the mean and standard deviation of {channels} channels"
        raise ConfigError(what, where="samples.mean, samples.std", hint="they are computed when a run starts")
    return mean, std


def critic_of(config: ResolvedConfig) -> Critic:
    """The critic of a config, on torch's current default device. Raises ConfigError.

    It takes packs of samples, with the channels of all of them.
    """
    channels, *space = config.samples.shape
    with _seeded(config.train.seed, "D"):
        return MAKERS[config.network.family].critic(config.network, (channels * config.network.pack, *space))


def build(config: ResolvedConfig, device: torch.device | None = None) -> Pair:
    """The pair of a resolved config, with weights initialized from its seed, in channels-last memory format.

    Raises ConfigError if the network does not fit the samples.
    """
    pair = Pair(generator_of(config), critic_of(config))
    for name, network in (("G", pair.G), ("D", pair.D)):
        initialize(network, config.train.seed, name)
        network.to(device)
        channels_last(network)
    return pair


def build_generator(config: ResolvedConfig, device: torch.device | None = None) -> Generator:
    """Only the generator, for sampling. Its weights are not initialized from the seed."""
    G = generator_of(config).to(device)
    channels_last(G)
    return G


def on_meta(config: ResolvedConfig) -> Pair:
    """The pair on the meta device: shapes without memory, for checks and parameter counts. Raises as `build`."""
    with torch.device("meta"):
        return Pair(generator_of(config), critic_of(config))


def channels_last(network: nn.Module) -> None:
    """Convert convolution weights to the channels-last memory format. Values do not change."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def learning_rates(network: nn.Module) -> dict[float, list[nn.Parameter]]:
    """Trainable parameters grouped by learning rate factor; see `WeightInit.wider`."""
    factors = {id(m.weight): m.lr_scale for m in network.modules() if isinstance(m, EqualizedWeight)}
    rates: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            rates.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return rates


def set_precision(pair: Pair, precision: str) -> None:
    """Set the compute dtype. bf16: convolutions and dense layers use bfloat16; the rest stays float32."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pair.G.compute_dtype = pair.D.compute_dtype = dtype
