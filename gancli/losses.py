"""Adversarial losses: pure functions of the critic's scores, per sample.

Scores of reals are d_x, of fakes d_y = D(G(z)); all shapes are (N,). All losses are minimized.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus

Loss = Callable[[Tensor, Tensor], Tensor]


class Adversarial(NamedTuple):
    """The critic loss and the generator loss of one adversarial loss. Each maps (d_x, d_y), shapes (N,), to (N,)."""

    critic: Loss
    generator: Loss
    generator_needs_reals: bool = False  # whether the generator loss depends on d_x


def wasserstein_critic(d_x: Tensor, d_y: Tensor) -> Tensor:
    """D(y) - D(x): minus the estimate of the Wasserstein distance. Arjovsky et al. 2017, arXiv:1701.07875."""
    return d_y - d_x


def wasserstein_generator(d_x: Tensor, d_y: Tensor) -> Tensor:
    """-D(y)."""
    return -d_y


def non_saturating_critic(d_x: Tensor, d_y: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(y))), on logits. Goodfellow et al. 2014, arXiv:1406.2661."""
    return softplus(-d_x) + softplus(d_y)


def non_saturating_generator(d_x: Tensor, d_y: Tensor) -> Tensor:
    """-log sigmoid(D(y))."""
    return softplus(-d_y)


def hinge_critic(d_x: Tensor, d_y: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(y)). Lim and Ye 2017, arXiv:1705.02894. The generator loss is -D(y)."""
    return relu(1 - d_x) + relu(1 + d_y)


def least_squares_critic(d_x: Tensor, d_y: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(y)^2) / 2. Mao et al. 2017, arXiv:1611.04076, with the labels 0 and 1."""
    return ((d_x - 1).square() + d_y.square()) / 2


def least_squares_generator(d_x: Tensor, d_y: Tensor) -> Tensor:
    """(D(y) - 1)^2 / 2."""
    return (d_y - 1).square() / 2


def relativistic(winner: Tensor, loser: Tensor) -> Tensor:
    """f(winner - loser) with f(t) = log(1 + exp(-t)). Shapes (N,), (N,) -> (N,).

    Reals and fakes are paired by their index in the batch. Source: Jolicoeur-Martineau 2018,
    arXiv:1807.00734 (RpGAN); Huang et al. 2024, arXiv:2501.05441.
    """
    return softplus(-(winner - loser))


def relativistic_generator(d_x: Tensor, d_y: Tensor) -> Tensor:
    """The critic loss with reals and fakes swapped."""
    return relativistic(d_y, d_x)


ADVERSARIAL: dict[str, Adversarial] = {
    "wasserstein": Adversarial(wasserstein_critic, wasserstein_generator),
    "non-saturating": Adversarial(non_saturating_critic, non_saturating_generator),
    "hinge": Adversarial(hinge_critic, wasserstein_generator),
    "least-squares": Adversarial(least_squares_critic, least_squares_generator),
    "relativistic": Adversarial(relativistic, relativistic_generator, generator_needs_reals=True),
}
