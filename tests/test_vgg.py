import pytest
import torch
from torch import nn

from gancli.errors import CheckpointError, ConfigError, InputMissing
from gancli.networks.vgg import LAYERS, feature_network, random_weights

WEIGHTS = {"conv1_1": 1.0, "conv3_1": 2.0}


def vgg(weights):
    """VGG-16 up to conv3_1 built from torch modules."""
    modules, features = [], {}
    for layer in LAYERS[:5]:
        modules += [nn.MaxPool2d(2)] if layer.pool else []
        convolution = nn.Conv2d(layer.c_in, layer.c_out, 3, padding=1)
        convolution.load_state_dict({part: weights[f"{layer.key}.{part}"] for part in ("weight", "bias")})
        modules += [convolution, nn.ReLU()]
        features[layer.name] = nn.Sequential(*modules)
    return features


@torch.no_grad()
def test_the_distance_is_the_weighted_sum_over_layers():
    """sum_l w_l mean (phi_l(y) - phi_l(x))^2, on images normalized as for VGG."""
    x, y = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    layers = vgg(random_weights())

    expected = sum(
        weight * (layers[name](((y + 1) / 2 - mean) / std) - layers[name](((x + 1) / 2 - mean) / std)).square().mean()
        for name, weight in WEIGHTS.items()
    )

    torch.testing.assert_close(feature_network(WEIGHTS, None).distance(x, y), expected, rtol=1e-4, atol=1e-4)


def test_learns_the_output_alone():
    """No gradient flows to the original or to the VGG weights."""
    x, y = torch.zeros(1, 1, 8, 8, requires_grad=True), torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    network = feature_network(WEIGHTS, None)
    network.distance(x, y).backward()
    assert x.grad is None
    assert y.grad.abs().sum() > 0
    assert not list(network.parameters())


def test_a_file_s_weights_are_taken(tmp_path):
    """A state dict with torchvision's names; additional tensors are allowed."""
    weights = {name: tensor + 1 for name, tensor in random_weights().items()} | {"classifier.0.bias": torch.ones(3)}
    torch.save(weights, tmp_path / "vgg.pth")  # noqa: TID251  (somebody else's file)
    network = feature_network(WEIGHTS, str(tmp_path / "vgg.pth"))
    assert torch.equal(network.conv1_1_weight, weights["features.0.weight"])


def test_what_is_no_state_dict_is_refused(tmp_path):
    """Missing tensors, other shapes, whole modules, TorchScript, no file: an error, and no code is run."""
    bad = tmp_path / "bad.pth"
    with pytest.raises(InputMissing):
        feature_network(WEIGHTS, str(bad))
    torch.save({**random_weights(), "features.0.weight": torch.zeros(64, 3, 5, 5)}, bad)  # noqa: TID251  (somebody else's file)
    with pytest.raises(CheckpointError, match=r"features\.0\.weight"):
        feature_network(WEIGHTS, str(bad))
    torch.save(nn.Linear(2, 2), bad)  # noqa: TID251  (somebody else's file)
    with pytest.raises(CheckpointError, match="not a tensor type"):
        feature_network(WEIGHTS, str(bad))


def test_a_layer_that_is_not_known_is_named():
    """With the known layers."""
    with pytest.raises(ConfigError, match="conv9_9"):
        feature_network({"conv9_9": 1.0}, None)
