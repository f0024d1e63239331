"""What minutes.py trains beside gancli: textbook GANs, each written as its source has it. 32 or 64 px, RGB.

A rival has `batch`, `step(reals)` for one turn of training on reals (batch, 3, H, W) in [-1, 1], and `sample(count)`.
Widths, batch sizes and learning rates can be changed, to tune them by their own scores on another data set.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import plain
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Rival(Protocol):
    """One network pair and how it is trained."""

    batch: int

    def step(self, reals: Callable[[], Tensor]) -> None:
        """One turn: as many batches of reals as it needs."""

    def sample(self, count: int) -> Tensor:
        """(count, 3, H, W) in [-1, 1]."""


def up_layers(size: int, width: int) -> Iterator[nn.Module]:
    """Transposed convolutions from 4 px to the size, each with batch norm and ReLU, the width halved each time."""
    channels = width * size // 8
    yield from (nn.ConvTranspose2d(100, channels, 4, 1, 0, bias=False), nn.BatchNorm2d(channels), nn.ReLU(True))
    while size > 8:
        size //= 2
        yield nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False)
        yield from (nn.BatchNorm2d(channels // 2), nn.ReLU(True))
        channels //= 2
    yield nn.ConvTranspose2d(channels, 3, 4, 2, 1, bias=False)
    yield nn.Tanh()


def down_layers(size: int, width: int, norm: Callable[[int, int], nn.Module]) -> Iterator[nn.Module]:
    """Convolutions with stride 2 down to 4 px, each with a norm but the first, and a score."""
    yield from (nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True))
    while size > 8:
        size //= 2
        yield nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)
        yield from (norm(2 * width, size // 2), nn.LeakyReLU(0.2, True))
        width *= 2
    yield nn.Conv2d(width, 1, 4, 1, 0, bias=False)


def drawn_anew(network: nn.Module) -> nn.Module:
    """Weights N(0, .02), and N(1, .02) in norms, as in DCGAN."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return network


class Dcgan:
    """The DCGAN of PyTorch's tutorial: 64 channels at the finest layer, batch 128, Adam 2e-4 with betas (.5, .999).

    Source: Radford et al. 2016, arXiv:1511.06434; cross-entropy on logits in place of a sigmoid.
    """

    def __init__(self, size: int, width: int = 64, batch: int = 128, lr: float = 2e-4) -> None:
        self.batch = batch
        self.G = drawn_anew(nn.Sequential(*up_layers(size, width)))
        self.D = drawn_anew(nn.Sequential(*down_layers(size, width, lambda channels, _: nn.BatchNorm2d(channels))))
        self.opt_G, self.opt_D = (torch.optim.Adam(net.parameters(), lr, (0.5, 0.999)) for net in (self.G, self.D))

    def step(self, reals: Callable[[], Tensor]) -> None:
        """One critic step and one generator step, on the same fakes."""
        fakes = self.G(torch.randn(self.batch, 100, 1, 1))
        loss = F.softplus(-self.D(reals())).mean() + F.softplus(self.D(fakes.detach())).mean()
        self.opt_D.zero_grad()
        loss.backward()
        self.opt_D.step()
        self.opt_G.zero_grad()
        F.softplus(-self.D(fakes)).mean().backward()
        self.opt_G.step()

    def sample(self, count: int) -> Tensor:
        """By the statistics of the batches, as the tutorial shows them."""
        return in_batches(lambda n: self.G(torch.randn(n, 100, 1, 1)), count)


class WganGp:
    """WGAN-GP: DCGAN's layers, layer norm in the critic, five critic steps, lambda 10, batch 64, Adam 1e-4 (0, .9).

    Source: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1.
    """

    def __init__(self, size: int, width: int = 64, batch: int = 64, lr: float = 1e-4) -> None:
        self.batch = batch
        self.G = drawn_anew(nn.Sequential(*up_layers(size, width)))
        norms = down_layers(size, width, lambda channels, side: nn.LayerNorm([channels, side, side]))
        self.D = drawn_anew(nn.Sequential(*norms))
        self.opt_G, self.opt_D = (torch.optim.Adam(net.parameters(), lr, (0.0, 0.9)) for net in (self.G, self.D))

    def step(self, reals: Callable[[], Tensor]) -> None:
        """Five critic steps and one generator step."""
        for _ in range(5):
            x, y = reals(), self.G(torch.randn(self.batch, 100, 1, 1)).detach()
            mixed = (x + torch.rand(self.batch, 1, 1, 1) * (y - x)).requires_grad_()
            (gradient,) = torch.autograd.grad(self.D(mixed).sum(), mixed, create_graph=True)
            penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
            loss = self.D(y).mean() - self.D(x).mean() + 10 * penalty
            self.opt_D.zero_grad()
            loss.backward()
            self.opt_D.step()
        self.opt_G.zero_grad()
        (-self.D(self.G(torch.randn(self.batch, 100, 1, 1))).mean()).backward()
        self.opt_G.step()

    def sample(self, count: int) -> Tensor:
        """By the statistics of the batches."""
        return in_batches(lambda n: self.G(torch.randn(n, 100, 1, 1)), count)


class PlainProgan:
    """The plain formulation of a Progressive GAN's last stage, at the widths of progan-64-lite, batch 16."""

    def __init__(self, size: int, width: int = 32, batch: int = 16) -> None:
        stages = (size // 4).bit_length()
        self.trainer = plain.Trainer([min(128, width << (stages - 1 - i)) for i in range(stages)], 128, batch)
        self.batch = batch

    def step(self, reals: Callable[[], Tensor]) -> None:
        """One critic step and one generator step."""
        self.trainer.step(reals())

    def sample(self, count: int) -> Tensor:
        """Of the average."""
        return in_batches(lambda n: self.trainer.ema(torch.randn(n, self.trainer.latent)), count)


@torch.no_grad()
def in_batches(make: Callable[[int], Tensor], count: int) -> Tensor:
    """Samples, 128 at a time."""
    parts = [make(min(128, count - start)) for start in range(0, count, 128)]
    return torch.cat(parts).clamp(-1, 1)


RIVALS: dict[str, Callable[..., Rival]] = {"dcgan": Dcgan, "wgan-gp": WganGp, "plain-progan": PlainProgan}
