"""From a config to a pair of networks."""

from dataclasses import dataclass

import torch
from torch import nn

from gancli.config.schema import Config
from gancli.errors import ConfigError
from gancli.networks.layers import initialise
from gancli.networks.progressive import Critic, Generator


@dataclass
class Pair:
    """Generator and critic of one config."""

    G: Generator
    D: Critic


def build(config: Config, device: torch.device | None = None) -> Pair:
    """The pair that a resolved config describes, with weights drawn from its seed, channels last.

    Raises ConfigError where the config still lacks its image channels or the parts do not fit.
    """
    check(config)
    channels = config.network.image_channels
    assert channels is not None, "resolve(config, data) comes before build"
    pair = Pair(Generator(config.network, channels), Critic(config.network, channels))
    for name, network in (("G", pair.G), ("D", pair.D)):
        initialise(network, config.train.seed, name)
        network.to(device)
        channels_last(network)
    return pair


def build_generator(config: Config, device: torch.device | None = None) -> Generator:
    """The generator alone: all that sampling needs."""
    check(config)
    assert config.network.image_channels is not None, "a checkpoint's config is resolved"
    G = Generator(config.network, config.network.image_channels).to(device)
    channels_last(G)
    return G


def on_meta(config: Config) -> Pair:
    """The pair without memory: shapes alone, for checking and counting. Raises ConfigError as `build`."""
    check(config)
    channels = config.network.image_channels
    assert channels is not None, "a resolved config"
    with torch.device("meta"):
        return Pair(Generator(config.network, channels), Critic(config.network, channels))


def channels_last(network: nn.Module) -> None:
    """Lay every convolution's weight out as the fast kernels want it; the numbers stay the same."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def check(config: Config) -> None:
    """Refuse settings that fit no network, with the reason. Raises ConfigError."""
    spread = config.network.minibatch_std
    if spread and config.network.width_of(0) % spread.feature_groups:
        raise ConfigError(
            f"{config.network.width_of(0)} channels do not split into {spread.feature_groups} feature groups",
            where="network.minibatch_std.feature_groups",
            mend="choose a divisor of the first stage's channels",
        )


def set_precision(pair: Pair, precision: str) -> None:
    """bf16: convolutions and dense layers compute in bfloat16; weights, statistics and scores stay float32."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pair.G.compute_dtype = pair.D.compute_dtype = dtype
