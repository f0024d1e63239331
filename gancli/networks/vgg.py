"""The convolutions of VGG-16 as a fixed feature network, for the perceptual loss and as a feature extractor.

The weights come from a file of the user, a state dict with torchvision's names. Without one they are random,
from a fixed seed: features at several scales, but not trained on images.

Source: Simonyan and Zisserman 2014, arXiv:1409.1556; as a loss, Johnson et al. 2016, arXiv:1603.08155.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, mse_loss, relu

from gancli import safe_load
from gancli.config.schema import PerceptualConfig
from gancli.errors import ConfigError
from gancli.seeds import stream


class Layer(NamedTuple):
    """One convolution of VGG-16."""

    name: str
    key: str  # prefix in torchvision's state dict
    c_in: int
    c_out: int
    pool: bool  # 2x2 max pooling before it


LAYERS = (
    Layer("conv1_1", "features.0", 3, 64, False),
    Layer("conv1_2", "features.2", 64, 64, False),
    Layer("conv2_1", "features.5", 64, 128, True),
    Layer("conv2_2", "features.7", 128, 128, False),
    Layer("conv3_1", "features.10", 128, 256, True),
    Layer("conv3_2", "features.12", 256, 256, False),
    Layer("conv3_3", "features.14", 256, 256, False),
    Layer("conv4_1", "features.17", 256, 512, True),
    Layer("conv4_2", "features.19", 512, 512, False),
    Layer("conv4_3", "features.21", 512, 512, False),
    Layer("conv5_1", "features.24", 512, 512, True),
    Layer("conv5_2", "features.26", 512, 512, False),
    Layer("conv5_3", "features.28", 512, 512, False),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for values in [0, 1]


class FeatureNetwork(nn.Module):
    """VGG-16 up to the deepest requested layer.

    Shape: (N, 1 or 3, H, W) in [-1, 1] -> features after the ReLU, by layer name.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Mapping[str, float], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.wanted = dict(layers)
        self.layers = layers_up_to(layers)
        for layer in self.layers:
            self.register_buffer(f"{layer.name}_weight", weights[f"{layer.key}.weight"].float())
            self.register_buffer(f"{layer.name}_bias", weights[f"{layer.key}.bias"].float())
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 1 or 3, H, W) -> {name: (N, F, H', W')}."""
        h = ((x[:, :3].expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.std
        found = {}
        for layer in self.layers:
            h = max_pool2d(h, 2) if layer.pool else h
            weight, bias = (self.get_buffer(f"{layer.name}_{part}") for part in ("weight", "bias"))
            h = relu(conv2d(h, weight, bias, padding=1))
            found[layer.name] = h
        return {name: found[name] for name in self.wanted}

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum over layers of weight * mean squared difference of the features. (N, C, H, W) twice -> ()."""
        with torch.no_grad():
            of_x = self(x)
        of_y = self(y)
        parts = [weight * mse_loss(of_y[name], of_x[name]) for name, weight in self.wanted.items()]
        return torch.stack(parts).sum()


def check_names(layers: Iterable[str]) -> None:
    """Raise ConfigError if a layer name is unknown, or if none is given."""
    names = [layer.name for layer in LAYERS]
    unknown = [name for name in layers if name not in names]
    if unknown or not list(layers):
        what = f"unknown layer {unknown[0]!r}" if unknown else "no layer is given"
        raise ConfigError(what, where="loss.perceptual.layers", hint=f"use {', '.join(names)}")


def identified(config: PerceptualConfig) -> dict[str, str | None]:
    """Absolute path and digest of the weights file, which a run records. Raises as `feature_network`."""
    check_names(config.layers)
    if config.features is None:
        return {"features": None, "digest": None}
    safe_load.read_tensors(config.features, shapes(layers_up_to(config.layers)))
    path = Path(config.features).absolute()
    return {"features": str(path), "digest": safe_load.digest(path)}


def feature_network(layers: Mapping[str, float], file: str | None) -> FeatureNetwork:
    """VGG-16 with the given layers, with weights from a file or fixed random weights.

    Raises ConfigError for an unknown layer name, InputMissing or CheckpointError for the file.
    """
    check_names(layers)
    needed = layers_up_to(layers)
    return FeatureNetwork(
        layers, random_weights(needed) if file is None else safe_load.read_tensors(file, shapes(needed))
    )


def layers_up_to(names: Iterable[str]) -> tuple[Layer, ...]:
    """The layers up to the deepest named one."""
    wanted = set(names)
    return LAYERS[: 1 + max(i for i, layer in enumerate(LAYERS) if layer.name in wanted)]


def shapes(layers: Sequence[Layer] = LAYERS) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a weights file must contain; it may contain more."""
    weights = {f"{layer.key}.weight": (layer.c_out, layer.c_in, 3, 3) for layer in layers}
    return weights | {f"{layer.key}.bias": (layer.c_out,) for layer in layers}


def random_weights(layers: Sequence[Layer] = LAYERS) -> dict[str, Tensor]:
    """He-initialized weights from a fixed seed, zero biases. A layer does not depend on how many layers follow it."""
    draw = stream(0, "feature network", 0)
    weights = {}
    for layer in layers:
        weight = torch.randn(layer.c_out, layer.c_in, 3, 3, generator=draw)
        weights[f"{layer.key}.weight"] = weight * (2 / (9 * layer.c_in)) ** 0.5
        weights[f"{layer.key}.bias"] = torch.zeros(layer.c_out)
    return weights
