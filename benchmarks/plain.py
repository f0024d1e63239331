"""The plain formulation of a Progressive GAN step: the baseline that `speed.py` measures gancli against.

float32, channels first, weights scaled at each forward pass, nearest upscale then convolution, convolution then
activation then pool, gradient penalty by double backward, the generator run once for each player, Adam and the
average parameter by parameter. Written as one would from the paper, without a thought of speed.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Conv(nn.Module):
    """A convolution with equalized learning rate."""

    def __init__(self, c_in: int, c_out: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.scale, self.padding = gain / math.sqrt(c_in * kernel * kernel), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Same size."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Dense(nn.Module):
    """A dense layer with equalized learning rate."""

    def __init__(self, c_in: int, c_out: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.scale = gain / math.sqrt(c_in)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        return F.linear(x, self.weight * self.scale, self.bias)


def norm(x: Tensor) -> Tensor:
    """Pixel norm."""
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class Generator(nn.Module):
    """At its last resolution, stable."""

    def __init__(self, widths: list[int], latent: int) -> None:
        super().__init__()
        self.dense = Dense(latent, widths[0] * 16, math.sqrt(2) / 4)
        self.first = Conv(widths[0], widths[0], 3)
        pairs = pairwise(widths)
        self.convs = nn.ModuleList(nn.ModuleList([Conv(a, b, 3), Conv(b, b, 3)]) for a, b in pairs)
        self.to_rgb = Conv(widths[-1], 3, 1, 1.0)

    def forward(self, z: Tensor) -> Tensor:
        """(N, z_dim) -> (N, 3, H, W)."""
        h = norm(F.leaky_relu(self.dense(norm(z)), 0.2).view(len(z), -1, 4, 4))
        h = norm(F.leaky_relu(self.first(h), 0.2))
        for a, b in self.convs:
            h = norm(F.leaky_relu(a(F.interpolate(h, scale_factor=2)), 0.2))
            h = norm(F.leaky_relu(b(h), 0.2))
        return self.to_rgb(h)


class Critic(nn.Module):
    """The mirror image."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.from_rgb = Conv(3, widths[-1], 1)
        pairs = list(pairwise(widths))[::-1]
        self.convs = nn.ModuleList(nn.ModuleList([Conv(b, b, 3), Conv(b, a, 3)]) for a, b in pairs)
        self.last = Conv(widths[0] + 1, widths[0], 3)
        self.dense, self.score = Dense(widths[0] * 16, widths[0]), Dense(widths[0], 1, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N,)."""
        h = F.leaky_relu(self.from_rgb(x), 0.2)
        for a, b in self.convs:
            h = F.leaky_relu(a(h), 0.2)
            h = F.avg_pool2d(F.leaky_relu(b(h), 0.2), 2)
        y = h.view(min(4, len(h)), -1, *h.shape[1:])
        s = torch.sqrt(((y - y.mean(0)) ** 2).mean(0) + 1e-8).mean([1, 2, 3], keepdim=True)
        h = torch.cat([h, s.repeat(len(y), 1, *h.shape[2:])], 1)
        h = F.leaky_relu(self.dense(F.leaky_relu(self.last(h), 0.2).flatten(1)), 0.2)
        return self.score(h)[:, 0]


class Trainer:
    """One WGAN-GP step after another, with drift and an average of the generator."""

    def __init__(self, widths: list[int], latent: int, batch: int) -> None:
        self.G, self.D, self.ema = Generator(widths, latent), Critic(widths), Generator(widths, latent)
        self.opt_G = torch.optim.Adam(self.G.parameters(), 1e-3, (0.0, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), 1e-3, (0.0, 0.99))
        self.latent, self.batch = latent, batch

    def step(self, x: Tensor) -> None:
        """One critic step and one generator step on a batch of reals."""
        y = self.G(torch.randn(self.batch, self.latent)).detach()
        mixed = (x + torch.rand(self.batch, 1, 1, 1) * (y - x)).requires_grad_()
        (gradient,) = torch.autograd.grad(self.D(mixed).sum(), mixed, create_graph=True)
        d_x, d_y = self.D(x), self.D(y)
        slope = gradient.flatten(1).norm(dim=1)
        loss = d_y.mean() - d_x.mean() + 10 * ((slope - 1) ** 2).mean() + 0.001 * (d_x**2).mean()
        self.opt_D.zero_grad()
        loss.backward()
        self.opt_D.step()
        self.opt_G.zero_grad()
        (-self.D(self.G(torch.randn(self.batch, self.latent))).mean()).backward()
        self.opt_G.step()
        with torch.no_grad():
            for average, current in zip(self.ema.parameters(), self.G.parameters(), strict=True):
                average.mul_(0.999).add_(current, alpha=0.001)
