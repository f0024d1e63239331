"""Base classes of all generators and critics: inputs, final layer, minibatch std, one score per sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gancli.config.family import Family
from gancli.errors import ConfigError
from gancli.networks.minibatch import MinibatchStdDev
from gancli.networks.output import Moments, Output, Shape


class Generator(nn.Module):
    """Maps latents to samples. A family implements `body`; the final layer is shared.

    Shape: (N, z_dim) -> (N, C, *S) in [-1, 1] (a linear output may exceed it), float32. A super-resolution
    generator takes (N, C, H / factor, W / factor) instead.
    """

    def __init__(self, config: Family, shape: Shape, moments: Moments | None = None) -> None:
        """shape: (C, *S) of one sample at full size. moments: channel means and deviations, for bn-clip."""
        super().__init__()
        self.latent, self.stages, self.enlarges = config.z_dim, config.stages, config.enlarges
        self.compute_dtype = torch.float32
        self.output = Output(config, shape, moments)

    def forward(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, *S). `stage` and `alpha` are used by progressive networks and ignored by others."""
        out: Tensor = self.output(self.body(z.to(self.compute_dtype), stage, alpha).float())
        return out

    def body(self, z: Tensor, stage: int | None, alpha: float) -> Tensor:
        """Everything before the output function. (N, z_dim) -> (N, C, *S)."""
        raise NotImplementedError


class Critic(nn.Module):
    """Maps samples to scores. A family implements `features` and `head`; minibatch std is applied between them.

    Shape: (N, C, *S) -> (N,), float32.
    """

    def __init__(self, config: Family, features: int) -> None:
        """features: input channels of minibatch std. Raises ConfigError if they are not divisible by feature_groups."""
        super().__init__()
        self.stages, self.batch_norm, self.pack = config.stages, config.uses_batch_norm[1], config.pack
        self.compute_dtype = torch.float32
        self.minibatch_std, self.extra_channels = None, 0  # channels appended by minibatch std
        if spread := config.minibatch_std:
            if features % spread.feature_groups:
                raise ConfigError(
                    f"{features} channels are not divisible into {spread.feature_groups} feature groups",
                    where="network.minibatch_std.feature_groups",
                    hint=f"use a divisor of {features}",
                )
            group = None if spread.group_size == "all" else spread.group_size
            self.minibatch_std = MinibatchStdDev(group, spread.statistic, spread.feature_groups)
            self.extra_channels = spread.feature_groups

    def forward(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, C, *S) -> (N,)."""
        return self.scores(self.features(x, stage, alpha))

    def scores(self, h: Tensor) -> Tensor:
        """Scores from the features of a batch. (N, F, *S') -> (N,)."""
        return self.head(h if self.minibatch_std is None else self.minibatch_std(h)).float().flatten()

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (N, F, *S')."""
        raise NotImplementedError

    def head(self, h: Tensor) -> Tensor:
        """Score from the features, including the channels that minibatch std appends. -> (N, 1)."""
        raise NotImplementedError

    def group_of(self, n: int) -> int | None:
        """The minibatch-std group size if two batches of n can be scored in one forward pass; else None."""
        if self.batch_norm:
            return None  # reals and fakes would share batch statistics
        if self.minibatch_std is None:
            return 1
        size = self.minibatch_std.group_size
        return size if size is not None and size > 1 and n % size == 0 else None


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Restore all buffers of a network on exit, such as the running statistics of batch norm."""
    kept = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(network.buffers(), kept, strict=True):
            buffer.data.copy_(value)  # .data: autograd need not know, as no gradient depends on moving statistics
