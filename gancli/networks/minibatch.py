"""What lets a critic see several samples at once: minibatch standard deviation, and packing."""

import torch
from torch import Tensor, nn

from gancli.config.family import largest_divisor


def minibatch_spread(
    x: Tensor, group_size: int, statistic: str = "position", feature_groups: int = 1, eps: float = 1e-8
) -> Tensor:
    """Mean standard deviation over the samples of each group. (N, C, *S) -> (N, F).

    position: biased standard deviation over the group at each channel and position, averaged over both
    (Karras et al. 2018). channel: standard deviation over group and positions of each channel, averaged
    over channels; this is the divisor of a batch-norm layer.

    Groups are strided: with M = N / G groups, sample i is in group i mod M. F = feature_groups.
    Computed in float32: a variance of bfloat16 features is mostly rounding error.
    """
    n = x.shape[0]
    group = largest_divisor(n, at_most=group_size)
    y = x.float().reshape(group, n // group, x.shape[1], -1)  # (G, M, C, S)
    dims = (0,) if statistic == "position" else (0, 3)
    variance = (y - y.mean(dim=dims, keepdim=True)).square().mean(dim=dims)  # torch's var is slower
    spread = variance.add(eps).sqrt()  # (M, C, S) or (M, C)
    spread = spread.unflatten(1, (feature_groups, -1)).flatten(2).mean(dim=2)  # (M, F)
    tiled: Tensor = spread.repeat(group, 1)
    return tiled


class MinibatchStdDev(nn.Module):
    """Append channels with the standard deviation over the samples of a group.

    A critic that scores samples one at a time cannot see that a generator repeats itself. These
    channels make mode collapse visible to it.

    Shape: (N, C, *S) -> (N, C + feature_groups, *S), S any spatial shape. The group size is the
        largest divisor of N up to group_size; if that is 1, the whole batch.
    Unit:  that of the input features (a standard deviation, not a variance).
    Source: Karras et al. 2018, arXiv:1710.10196, section 3.

    Args:
        group_size: samples per group; None for the whole batch.
        statistic: "position" (as in the paper) or "channel"; see `minibatch_spread`.
        feature_groups: number of parts into which the channels are split; each gives one output channel.
    """

    def __init__(self, group_size: int | None = 4, statistic: str = "position", feature_groups: int = 1) -> None:
        super().__init__()
        self.group_size = group_size
        self.statistic = statistic
        self.feature_groups = feature_groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C + feature_groups, *S)."""
        n, space = x.shape[0], x.shape[2:]
        s = minibatch_spread(x, self.group_size or n, self.statistic, self.feature_groups)  # (N, F)
        channels = s.to(x.dtype).view(n, -1, *(1 for _ in space)).expand(n, -1, *space)
        return torch.cat([x, channels], dim=1)


def packed(x: Tensor, count: int) -> Tensor:
    """Join the channels of each `count` consecutive samples (PacGAN, Lin et al. 2018, arXiv:1712.04086).

    The last pack is completed with the first samples. (N, C, *S) -> (N / count, count C, *S).
    """
    if missing := -len(x) % count:
        x = torch.cat([x, x[torch.arange(missing) % len(x)]])
    packs: Tensor = x.unflatten(0, (-1, count))
    return packs.flatten(1, 2)


def interleave(x: Tensor, y: Tensor, group: int) -> Tensor:
    """Join two batches so that no strided group mixes them. (N, ...), (N, ...) -> (2N, ...)."""
    both: list[Tensor] = [side.unflatten(0, (group, -1)) for side in (x, y)]
    return torch.cat(both, dim=1).flatten(0, 1)


def undo_interleave(both: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Inverse of `interleave`. (2N, ...) -> (N, ...), (N, ...)."""
    x, y = both.unflatten(0, (group, -1)).chunk(2, dim=1)
    return x.flatten(0, 1), y.flatten(0, 1)
