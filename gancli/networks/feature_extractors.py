"""Judges: trained networks in whose features pictures are compared. The weights are the user's file, always."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gancli import safe_load
from gancli.errors import CheckpointError
from gancli.networks import inception, vgg
from gancli.results import printable

CHUNK = 32  # pictures at a time
VGG_LAYER, VGG_SIZE = "conv5_3", 32  # px; the layer halves the picture four times
INCEPTIONS = {1008: "inception-v3", 1000: "inception-v3 (torchvision)"}  # by the classes that they tell apart
MEND = (
    "give a state dict, torch.save(model.state_dict(), FILE), of inception-v3 "
    "(the port that FID is computed with, or torchvision's) or of torchvision's vgg16"
)

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeatureExtractor:
    """A network that turns pictures into features. Two distances are comparable only where name and digest agree.

    Shape: (N, 1, 3 or 4, H, W) in [-1, 1] -> (N, F) in float64, on the CPU. Gray stands in all three channels; alpha
    is left aside. F = 2048 of Inception-v3, 512 of VGG-16.
    """

    name: str
    digest: str
    path: Path
    network: Network = field(repr=False)
    device: str = "cpu"

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The features, one row a picture. Raises CheckpointError where the weights give values that are not finite."""
        found = torch.cat([self._of(part) for part in x.split(CHUNK)])
        if not found.isfinite().all():
            raise CheckpointError("its features are not finite", where=printable(str(self.path)), hint=MEND)
        return found

    def _of(self, x: Tensor) -> Tensor:
        color = x[:, :3].to(self.device, torch.float32).expand(-1, 3, -1, -1)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # a score is the same on every device
            return self.network(color).cpu().double()  # Apple's MPS knows no float64


def open_feature_extractor(path: str | Path, device: str = "cpu") -> FeatureExtractor:
    """The network whose state dict the file is, known by its tensors' names, never by the file's.

    Raises InputMissing or CheckpointError; never runs code from the file, never fetches one.
    """
    path = Path(path)
    found = safe_load.read_state_dict(path)
    if "Conv2d_1a_3x3.conv.weight" in found:
        name, network = _inception(found, path, device)
    elif "features.0.weight" in found:
        name, network = "vgg16", _vgg(found, path, device)
    else:
        what = "it holds neither 'Conv2d_1a_3x3.conv.weight' of inception-v3 nor 'features.0.weight' of vgg16"
        raise CheckpointError(what, where=printable(str(path)), hint=MEND)
    return FeatureExtractor(name, safe_load.digest(path), path, network, device)


def _inception(found: Mapping[str, Tensor], path: Path, device: str) -> tuple[str, Network]:
    classes = found["fc.weight"].shape[:1].numel() if "fc.weight" in found else 0
    if classes not in INCEPTIONS:
        what = "it holds no 'fc.weight' of 1008 rows (FID's port of inception-v3) or of 1000 (torchvision's)"
        raise CheckpointError(what, where=printable(str(path)), hint=MEND)
    weights = inception.fold(safe_load.fitting(found, inception.shapes(), where=path, hint=MEND))
    moved = {key: (weight.to(device), bias.to(device)) for key, (weight, bias) in weights.items()}
    return INCEPTIONS[classes], partial(inception.features, weights=moved, ported=classes == 1008)


def _vgg(found: Mapping[str, Tensor], path: Path, device: str) -> Network:
    weights = safe_load.fitting(found, vgg.shapes(), where=path, hint=MEND)
    network = vgg.FeatureNetwork({VGG_LAYER: 1.0}, weights).to(device)
    return partial(_vgg_features, network=network)


def _vgg_features(x: Tensor, network: vgg.FeatureNetwork) -> Tensor:
    """The means over positions of the last convolution's features. (N, 3, H, W) -> (N, 512)."""
    height, width = (max(side, VGG_SIZE) for side in x.shape[2:])
    if (height, width) != tuple(x.shape[2:]):
        x = interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
    maps: Tensor = network(x)[VGG_LAYER]
    return maps.mean(dim=(2, 3))
