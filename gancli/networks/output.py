"""The final layer of the generator.

Source: Mullery & Whelan, "Batch normalization in the final layer of generative networks" (bn-tanh, bn-clip).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancli.config.family import Family
from gancli.networks.layers import batch_norm

Shape = tuple[int, ...]  # (C, *S) of one sample at full size
Moments = tuple[tuple[float, ...], tuple[float, ...]]  # (means, standard deviations), one per channel

SQUASH: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": lambda x: torch.sigmoid(x) * 2 - 1,  # from (0, 1) to the units of the data
    "bn-tanh": torch.tanh,
    "bn-clip": lambda x: x.clamp(-1, 1),
}


class Output(nn.Module):
    """linear | tanh | sigmoid | bn-tanh | bn-clip, in the units of the data, [-1, 1].

    bn-tanh: batch norm with gamma 1 and beta 0, then tanh. bn-clip: batch norm whose gamma and beta are initialized
    to the standard deviation and mean of the channels of the training data, then clip, so that the first samples
    already have the colors of the data. The gradient of clip is zero outside [-1, 1]: a value there is updated only
    through the batch statistics. `freeze_output` freezes gamma and beta at their initial values.

    Shape: (N, C, *S) -> the same.
    """

    def __init__(self, config: Family, shape: Shape, moments: Moments | None = None) -> None:
        super().__init__()
        self.squash = SQUASH[config.output]
        self.norm: nn.Module = nn.Identity()
        if not config.output.startswith("bn-"):
            return
        channels, *space = shape
        self.norm = batch_norm(channels, len(space), config.bn_decay)
        if config.output == "bn-clip":
            assert moments is not None, "checked in build"
            means, deviations = (torch.tensor(values) for values in moments)
            self.norm.load_state_dict({**self.norm.state_dict(), "bias": means, "weight": deviations})
        self.norm.requires_grad_(not config.freeze_output)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        return self.squash(self.norm(x))

    @property
    def normalizes(self) -> bool:
        """Whether a batch norm comes first, so that the layer before it needs no bias."""
        return not isinstance(self.norm, nn.Identity)
