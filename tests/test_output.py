import pytest
import torch

from gancli.config.networks import MlpConfig
from gancli.networks.output import Output

MOMENTS = ((0.1, -0.2, 0.3), (0.5, 0.25, 0.4))


def output(kind, **switches):
    sides = {"generator": {"hidden": [4]}, "critic": {"hidden": [4]}}
    config = MlpConfig(family="mlp", output=kind, **sides, **switches)
    return Output(config, (3, 6, 6), MOMENTS)


def normal(n=64, seed=0):
    return 5 * torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) + 2


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("linear", lambda x: x), ("tanh", torch.tanh), ("sigmoid", lambda x: 2 / (1 + torch.exp(-x)) - 1)],
)
def test_the_plain_layers_are_their_formula(kind, formula):
    """The range (0, 1) of sigmoid is scaled to the units of the data, [-1, 1]."""
    torch.testing.assert_close(output(kind)(normal()), formula(normal()))


def normalized(x):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def test_bn_tanh_starts_with_gamma_1_and_beta_0():
    """tanh of the batch-normalized values, for any input."""
    torch.testing.assert_close(output("bn-tanh")(normal()), torch.tanh(normalized(normal())))


def test_bn_clip_starts_from_the_data_s_moments():
    """The first batch has the mean and standard deviation of the channels of the data, clipped."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in MOMENTS)

    y = output("bn-clip")(normal())

    torch.testing.assert_close(y, (normalized(normal()) * std + mean).clamp(-1, 1))
    assert y.abs().max() <= 1


def test_clip_has_no_gradient_outside():
    """As documented."""
    x = torch.full((2, 3, 6, 6), 9.0, requires_grad=True)
    layer = output("bn-clip")
    layer.eval()  # moving statistics: 0 and 1
    layer(x).sum().backward()
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize("frozen", [True, False])
def test_freezing_is_a_switch(frozen):
    """Gamma and beta are trained, or frozen."""
    layer = output("bn-clip", freeze_output=frozen)
    assert {p.requires_grad for p in layer.parameters()} == {not frozen}


def test_moving_statistics_keep_their_share():
    """bn_decay 0.99: 1% of the batch mean after one batch."""
    layer = output("bn-tanh", bn_decay=0.99)
    layer(normal())
    torch.testing.assert_close(layer.norm.running_mean, 0.01 * normal().mean((0, 2, 3)))
