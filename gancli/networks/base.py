"""What every pair of networks has in common: what goes in, the final layer, minibatch std, one score a sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gancli.config.family import Family
from gancli.errors import ConfigError
from gancli.networks.layers import MinibatchStdDev
from gancli.networks.output import Moments, Output, Shape


class Generator(nn.Module):
    """Latents to samples. A family gives `body`; the final layer is the same for all.

    Shape: (N, z_dim) -> (N, C, *S) in [-1, 1] (a linear output may leave it), float32. A generator that
    enlarges pictures takes (N, C, H / factor, W / factor) instead.
    """

    def __init__(self, config: Family, shape: Shape, moments: Moments | None = None) -> None:
        """shape: (C, *S) of one sample at full size. moments: where the final layer starts from the data's."""
        super().__init__()
        self.latent, self.stages, self.enlarges = config.z_dim, config.stages, config.enlarges
        self.compute_dtype = torch.float32
        self.output = Output(config, shape, moments)

    def forward(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, *S). `stage` and `alpha` speak to networks that grow; others leave them aside."""
        out: Tensor = self.output(self.body(z.to(self.compute_dtype), stage, alpha).float())
        return out

    def body(self, z: Tensor, stage: int | None, alpha: float) -> Tensor:
        """All but the final layer's function. (N, z_dim) -> (N, C, *S)."""
        raise NotImplementedError


class Critic(nn.Module):
    """Samples to scores. A family gives `features` and `head`; minibatch std stands between them.

    Shape: (N, C, *S) -> (N,), float32.
    """

    def __init__(self, config: Family, features: int) -> None:
        """`features`: the channels that minibatch std will see. Raises ConfigError where they do not split."""
        super().__init__()
        self.stages, self.batch_norm = config.stages, config.uses_batch_norm[1]
        self.compute_dtype = torch.float32
        self.minibatch_std, self.extra_channels = None, 0  # those that minibatch std appends
        if spread := config.minibatch_std:
            if features % spread.feature_groups:
                raise ConfigError(
                    f"{features} channels do not split into {spread.feature_groups} feature groups",
                    where="network.minibatch_std.feature_groups",
                    hint="choose a divisor of the channels",
                )
            group = None if spread.group_size == "all" else spread.group_size
            self.minibatch_std = MinibatchStdDev(group, spread.statistic, spread.feature_groups)
            self.extra_channels = spread.feature_groups

    def forward(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, C, *S) -> (N,)."""
        return self.scores(self.features(x, stage, alpha))

    def scores(self, h: Tensor) -> Tensor:
        """From the features of a batch to its scores. (N, F, *S') -> (N,)."""
        return self.head(h if self.minibatch_std is None else self.minibatch_std(h)).float().flatten()

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """What the minibatch-std layer sees. (N, C, *S) -> (N, F, *S')."""
        raise NotImplementedError

    def head(self, h: Tensor) -> Tensor:
        """From the features, and the spread where it is on, to the score. -> (N, 1)."""
        raise NotImplementedError

    def group_of(self, n: int) -> int | None:
        """The group in which minibatch std compares, where two batches of n may be judged in one call; else None."""
        if self.batch_norm:
            return None  # reals and fakes would be normalized by one another
        if self.minibatch_std is None:
            return 1
        size = self.minibatch_std.group_size
        return size if size is not None and size > 1 and n % size == 0 else None


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Look at a network without leaving a trace: the moving statistics of its batch norms are put back."""
    kept = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(network.buffers(), kept, strict=True):
            buffer.copy_(value)
