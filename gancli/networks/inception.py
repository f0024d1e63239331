"""Inception-v3 without its classifier: the feature network of the Frechet Inception distance.

The weights come from a file of the user. Two versions with the same tensor names are supported: the port of the 2015
TensorFlow network, by which FID is defined, and torchvision's. They differ only in the border handling of the pooling
branches and in the last pooling branch, which is a maximum in the port and an average in torchvision.

Source: Szegedy et al. 2015, arXiv:1512.00567; FID: Heusel et al. 2017, arXiv:1706.08500.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, relu

SIZE = 299  # px; input size
EPS = 1e-3  # of the batch norms

Spec = Mapping[str, str]  # one block: branch -> steps


def _a(pooled: int) -> Spec:
    return {
        "branch1x1": "64",
        "branch5x5": "48 64:5x5",
        "branch3x3dbl": "64 96:3x3 96:3x3",
        "branch_pool": f"average {pooled}",
    }


def _c(c: int) -> Spec:
    return {
        "branch1x1": "192",
        "branch7x7": f"{c} {c}:1x7 192:7x1",
        "branch7x7dbl": f"{c} {c}:7x1 {c}:1x7 {c}:7x1 192:1x7",
        "branch_pool": "average 192",
    }


def _e(pool: str) -> Spec:
    return {
        "branch1x1": "320",
        "branch3x3": "384 384:1x3|384:3x1",
        "branch3x3dbl": "448 384:3x3 384:1x3|384:3x1",
        "branch_pool": f"{pool} 192",
    }


# Block -> branch -> steps in sequence; branches are concatenated. A step is a pool or a convolution with batch norm and
# ReLU, written channels:kernel; the default kernel is 1x1. /s: stride s without padding; otherwise the size is kept.
# a|b: two convolutions of the same input, concatenated.
TABLE: Mapping[str, Spec] = {
    "Conv2d_1a_3x3": {"": "32:3x3/2"},
    "Conv2d_2a_3x3": {"": "32:3x3/1"},
    "Conv2d_2b_3x3": {"": "64:3x3 max/2"},
    "Conv2d_3b_1x1": {"": "80"},
    "Conv2d_4a_3x3": {"": "192:3x3/1 max/2"},
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": {"branch3x3": "384:3x3/2", "branch3x3dbl": "64 96:3x3 96:3x3/2", "branch_pool": "max/2"},
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": {
        "branch3x3": "192 320:3x3/2",
        "branch7x7x3": "192 192:1x7 192:7x1 192:3x3/2",
        "branch_pool": "max/2",
    },
    "Mixed_7b": _e("average"),
    "Mixed_7c": _e("last"),
}
POOLS = ("average", "last", "max/2")


class Conv(NamedTuple):
    """One convolution with its batch norm."""

    key: str  # in the state dict
    c_in: int
    c_out: int
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]


Step = str | tuple[Conv, ...]  # a pool, or convolutions side by side
Folded = Mapping[str, tuple[Tensor, Tensor]]  # weight and bias of a convolution with its batch norm folded in


def _conv(key: str, c_in: int, text: str) -> Conv:
    match = re.fullmatch(r"(\d+)(?::(\d)x(\d))?(?:/(\d))?", text)
    assert match, text
    c_out, height, width, stride = (int(group or 1) for group in match.groups())
    padding = (0, 0) if match[4] else (height // 2, width // 2)
    return Conv(key, c_in, c_out, (height, width), stride, padding)


def _branch(name: str, spec: str, channels: int) -> tuple[list[Step], int]:
    """The steps of one branch and its output channels. Several convolutions are numbered, forks lettered."""
    steps: list[Step] = []
    alone = sum(text not in POOLS for text in spec.split()) == 1
    number = 0
    for text in spec.split():
        if text in POOLS:
            steps.append(text)
            continue
        number += 1
        key, fork = (name if alone else f"{name}_{number}"), text.split("|")
        letters = "ab" if len(fork) > 1 else ("",)
        convs = tuple(_conv(key + letter, channels, part) for letter, part in zip(letters, fork, strict=True))
        channels = sum(conv.c_out for conv in convs)
        steps.append(convs)
    return steps, channels


def _blocks() -> list[list[list[Step]]]:
    """Blocks, branches and steps of TABLE, with the input channels of each convolution filled in."""
    blocks, channels = [], 3
    for block, spec in TABLE.items():
        parsed = [_branch(f"{block}.{name}".rstrip("."), steps, channels) for name, steps in spec.items()]
        blocks.append([steps for steps, _ in parsed])
        channels = sum(c_out for _, c_out in parsed)
    return blocks


BLOCKS = _blocks()
CONVS = [c for block in BLOCKS for branch in block for step in branch if not isinstance(step, str) for c in step]


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a weights file must contain; it may contain more."""
    needed: dict[str, tuple[int, ...]] = {}
    for conv in CONVS:
        needed[f"{conv.key}.conv.weight"] = (conv.c_out, conv.c_in, *conv.kernel)
        needed |= {f"{conv.key}.bn.{part}": (conv.c_out,) for part in ("weight", "bias", "running_mean", "running_var")}
    return needed


def fold(weights: Mapping[str, Tensor]) -> Folded:
    """Weight and bias by key, with each batch norm folded into its convolution."""
    return {conv.key: fold_batch_norm(weights, f"{conv.key}.conv.weight", f"{conv.key}.bn") for conv in CONVS}


def fold_batch_norm(weights: Mapping[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm that follows it. Both networks have EPS.

    g (w * x - mean) / sqrt(var + eps) + b  =  (s w) * x + (b - s mean),  s = g / sqrt(var + eps)
    """
    w = weights[convolution].double()
    g, b, mean, var = (weights[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var"))
    s = g / (var + EPS).sqrt()
    return (w * s.view(-1, 1, 1, 1)).float(), (b - s * mean).float()


def features(x: Tensor, weights: Folded, *, ported: bool) -> Tensor:
    """Spatial mean of the last block. (N, 3, H, W) in [-1, 1], of any size -> (N, 2048).

    ported: use the pooling of the 2015 TensorFlow network, not of torchvision.
    """
    h = interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    for block in BLOCKS:
        h = torch.cat([_through(branch, h, weights, ported) for branch in block], dim=1)
    return h.mean(dim=(2, 3))


def _through(branch: list[Step], h: Tensor, weights: Folded, ported: bool) -> Tensor:
    for step in branch:
        if isinstance(step, str):
            h = _pool(step, h, ported)
        else:
            h = torch.cat([relu(conv2d(h, *weights[c.key], stride=c.stride, padding=c.padding)) for c in step], dim=1)
    return h


def _pool(kind: str, h: Tensor, ported: bool) -> Tensor:
    if kind == "max/2":
        return max_pool2d(h, 3, stride=2)
    if kind == "last" and ported:
        return max_pool2d(h, 3, stride=1, padding=1)
    return avg_pool2d(h, 3, stride=1, padding=1, count_include_pad=not ported)
