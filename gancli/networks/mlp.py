"""Dense networks for samples of any shape: images, signals and points.

Presets of this family: the batch-normalized MLP GAN, the moment GANs, and the networks for ring8 and grid25.
"""

import math

from torch import Tensor, nn

from gancli.config.networks import MlpConfig, MlpSide
from gancli.networks import base
from gancli.networks.layers import ACTIVATIONS, Dense, WeightInit, norm
from gancli.networks.output import Moments, Shape


class Layer(nn.Module):
    """Dense, norm and activation in either order, dropout. (N, C_in) -> (N, C_out)."""

    def __init__(self, c_in: int, c_out: int, side: MlpSide, dropout: float, init: WeightInit, keep: float) -> None:
        super().__init__()
        self.dense = Dense(c_in, c_out, bias=not (side.norm == "batch" and side.norm_first), init=init)
        self.norm = norm(side.norm, c_out, 0, keep)
        self.activation, self.norm_first = ACTIVATIONS[side.activation], side.norm_first
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        h = self.dense(x)
        h = self.activation(self.norm(h)) if self.norm_first else self.norm(self.activation(h))
        dropped: Tensor = self.dropout(h)
        return dropped


def chain(side: MlpSide, sizes: list[int], config: MlpConfig, first: int = 0) -> nn.Sequential:
    """Hidden layers from sizes[0] to sizes[-1] values. first: index of the first layer in `side.hidden`."""
    dropout = [*side.dropout, *[0.0] * len(side.hidden)][first:]
    init, keep = WeightInit(config.equalized_lr), config.bn_decay
    pairs = zip(sizes, sizes[1:], dropout, strict=False)
    return nn.Sequential(*(Layer(c_in, c_out, side, share, init, keep) for c_in, c_out, share in pairs))


class Generator(base.Generator):
    """Hidden layers from a latent to all values of a sample. Shape: (N, z_dim) -> (N, C, *S)."""

    def __init__(self, config: MlpConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        self.shape, sizes = shape, [config.z_dim, *config.generator.hidden]
        self.hidden = chain(config.generator, sizes, config)
        bias = not (self.output.normalizes and len(self.shape) == 1)
        self.last = Dense(sizes[-1], math.prod(self.shape), 1.0, bias=bias, init=WeightInit(config.equalized_lr))

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """(N, z_dim) -> (N, C, *S)."""
        values: Tensor = self.last(self.hidden(z)).unflatten(1, self.shape)
        return values


class Critic(base.Critic):
    """Hidden layers from all values of a sample to a score; minibatch std is before the last hidden layer.

    Shape: (N, C, *S) -> (N,).
    """

    def __init__(self, config: MlpConfig, shape: Shape) -> None:
        side = config.critic
        sizes = [math.prod(shape), *side.hidden]
        split = max(0, len(side.hidden) - 1)
        super().__init__(config, sizes[split])
        self.hidden = chain(side, sizes[: split + 1], config)
        self.last = chain(side, [sizes[split] + self.extra_channels, *sizes[split + 1 :]], config, split)
        alone = self.extra_channels if not side.hidden else 0
        self.score = Dense(sizes[-1] + alone, 1, 1.0, init=WeightInit(config.equalized_lr))

    def features(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (N, F)."""
        h: Tensor = self.hidden(x.to(self.compute_dtype).flatten(1))
        return h

    def head(self, h: Tensor) -> Tensor:
        """(N, F + extra) -> (N, 1)."""
        score: Tensor = self.score(self.last(h))
        return score
