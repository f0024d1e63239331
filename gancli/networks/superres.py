"""A residual generator for 4x super-resolution.

Source: Johnson et al. 2016, arXiv:1603.08155, and its supplement, table 2; batch norm in the blocks.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from gancli.config.networks import SuperresConfig
from gancli.networks import base
from gancli.networks.layers import Conv, WeightInit, batch_norm
from gancli.networks.output import Moments, Shape


class Residual(nn.Module):
    """x + BN(conv(ReLU(BN(conv(x))))). (N, C, H, W) -> the same."""

    def __init__(self, channels: int, init: WeightInit, keep: float) -> None:
        super().__init__()
        self.first, self.second = (Conv(channels, channels, 3, bias=False, init=init) for _ in range(2))
        self.first_norm, self.second_norm = (batch_norm(channels, 2, keep) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        h = relu(self.first_norm(self.first(x)))
        added: Tensor = x + self.second_norm(self.second(h))
        return added


class Generator(base.Generator):
    """9x9 convolution, residual blocks, twice (doubling, 3x3 convolution), 9x9 convolution.

    Doubling and convolution replace the stride-1/2 convolution of the paper. Every convolution but the last
    is followed by batch norm and ReLU. Shape: (N, C, H / 4, W / 4) -> (N, C, H, W).
    """

    def __init__(self, config: SuperresConfig, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__(config, shape, moments)
        width, image_channels, keep = config.channels, shape[0], config.bn_decay
        init = WeightInit(config.equalized_lr)
        self.first = Conv(image_channels, width, 9, bias=False, init=init)
        self.first_norm = batch_norm(width, 2, keep)
        self.blocks = nn.Sequential(*(Residual(width, init, keep) for _ in range(config.blocks)))
        self.ups = nn.ModuleList(Conv(width, width, 3, resample="up", bias=False, init=init) for _ in range(2))
        self.up_norms = nn.ModuleList(batch_norm(width, 2, keep) for _ in range(2))
        self.last = Conv(width, image_channels, 9, 1.0, bias=not self.output.normalizes, init=init)

    def body(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Enlarge images. (N, C, H / 4, W / 4) -> (N, C, H, W)."""
        h = self.blocks(relu(self.first_norm(self.first(z))))
        for up, normalize in zip(self.ups, self.up_norms, strict=True):
            h = relu(normalize(up(h)))
        out: Tensor = self.last(h)
        return out
