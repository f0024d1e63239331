"""The convolutional, dense and residual networks."""

import pytest
import torch
from conftest import resolved_config
from torch.nn.functional import conv2d

from gancli.config import presets
from gancli.errors import ConfigError
from gancli.networks import build, learning_rates, on_meta
from gancli.networks.base import statistics_kept
from gancli.networks.conv import sizes_after
from gancli.networks.layers import Conv, upscale


def resolved(name, shape, **changes):
    return resolved_config({k.replace("__", "."): v for k, v in changes.items()}, name, tuple(shape))


def counts(name, shape, **changes):
    pair = on_meta(resolved(name, shape, **changes))
    return [sum(p.numel() for p in network.parameters()) for network in (pair.G, pair.D)]


class TestIwgan:
    def test_has_the_source_s_layers(self):
        """Counted by hand: kernels, biases, two parameters per norm feature, no bias before the final batch norm."""
        generator = 64 * 16384 + 16384 + 2 * 16384
        for c_in, c_out, kernel in ((1024, 1024, 5), (1024, 512, 3), (512, 256, 5), (256, 128, 5)):
            generator += c_in * c_out * kernel**2 + c_out + 2 * c_out
        critic = 0
        for c_in, c_out, kernel in ((3, 128, 3), (128, 256, 4), (256, 512, 4), (512, 1024, 4)):
            critic += c_in * c_out * kernel**2 + c_out + 2 * c_out
        critic += 1024 * 4 + 1

        assert counts("iwgan-32", [3, 32, 32]) == [generator + 128 * 3 * 49 + 3, critic]
        assert counts("iwgan-32", [3, 32, 32], network__output="bn-tanh")[0] == generator + 128 * 3 * 49 + 2 * 3

    def test_a_quarter_of_the_width_doubles_std_and_quadruples_the_rate_where_fan_in_shrank(self):
        """Except in the layers whose input is latents or pixels."""
        pair = build(resolved("iwgan-32-lite", [3, 32, 32]))

        first, second = pair.D.layers[0].convolution, pair.D.layers[1].convolution
        assert first.weight.std().item() == pytest.approx(0.05, rel=0.05)
        assert second.weight.std().item() == pytest.approx(0.1, rel=0.02)
        assert pair.G.dense.weight.std().item() == pytest.approx(0.05, rel=0.02)
        rates = {id(p): factor for factor, group in learning_rates(pair.D).items() for p in group}
        assert rates[id(first.weight)] == 1
        assert rates[id(second.weight)] == 4
        assert rates[id(second.bias)] == 1
        assert len(rates) == len(list(pair.D.parameters()))

    def test_its_activations_keep_their_size_at_a_quarter_of_the_width(self):
        """This is the purpose of scaling init_std."""
        x = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        scores = [build(resolved(name, [3, 32, 32])).D(x).std() for name in ("iwgan-32", "iwgan-32-lite")]
        assert (scores[1] / scores[0]).item() == pytest.approx(1, abs=0.35)


def test_minibatch_std_128_is_the_pair_of_the_source():
    """The convolutions of the critic as in the source; 513 channels after minibatch std."""
    critic, c_in = 0, 3
    for c_out, kernel in [(16, 1), (16, 3), (32, 3), (32, 3), (64, 3), (64, 3), (128, 3), (128, 3), (256, 3),
                          (256, 3), (512, 3)]:  # fmt: skip
        critic += c_in * c_out * kernel**2 + c_out
        c_in = c_out
    critic += 513 * 512 * 9 + 512 + 512 * 512 * 16 + 512 + 512 + 1

    assert counts("minibatch-std-128", [3, 128, 128])[1] == critic


class TestSignals:
    @pytest.mark.parametrize("shape", [(1, 24), (3, 300), (2, 128), (6, 101)])
    def test_any_channels_and_any_length(self, shape):
        """Sizes that the base does not divide are cropped."""
        pair = build(resolved("signal-1d", list(shape)))
        x = pair.G(torch.randn(8, 400))
        assert x.shape == (8, *shape)
        assert pair.D(x).shape == (8,)

    def test_too_short_ones_are_refused(self):
        """The error names the layer whose output would be empty."""
        with pytest.raises(ConfigError, match=r"(?s)too small.*network\.critic\.layers\.\d"):
            build(resolved("signal-1d", [1, 6]))

    def test_the_tanh_of_the_score_is_a_switch(self):
        """As in the source; the default is a linear score."""
        scores = build(resolved("signal-1d", [3, 300], network__critic__score="tanh")).D(100 * torch.randn(64, 3, 300))
        assert scores.abs().max() <= 1


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "none"])
def test_doubling_by_one_convolution_is_for_plain_ones_only(stride, padding):
    """Stride and padding are not ignored."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 6, 6, generator=draw)
    layer = Conv(2, 3, 3, resample="up", stride=stride, padding=padding)

    expected = conv2d(
        upscale(x), layer.scaled(x.dtype), layer.bias, stride=stride, padding=1 if padding == "same" else 0
    )

    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_a_generator_layer_without_an_output_is_named():
    """A kernel of 29 without padding on 28 px."""
    layers = [{"channels": 8, "kernel": 29, "padding": "none"}]
    with pytest.raises(ConfigError, match=r"(?s)28 x 28 is too small.*network\.generator\.layers\.0"):
        build(resolved("moments-conv", [1, 28, 28], network__generator={"dense": 8, "layers": layers}))


def test_a_generator_that_does_not_reach_its_samples_is_refused():
    """Layers with stride or without padding can be too small."""
    layers = [{"channels": 8, "kernel": 3, "padding": "none", "resample": "up"}]
    with pytest.raises(ConfigError, match="layers produce size"):
        build(resolved("moments-conv", [1, 28, 28], network__generator={"dense": 8, "layers": layers}))


@pytest.mark.parametrize("name", ["iwgan-32", "minibatch-std-128", "signal-1d", "moments-conv"])
def test_sizes_are_what_comes_out(name):
    """The arithmetic of strides and paddings equals the convolutions themselves."""
    shape = {"signal-1d": [3, 301], "minibatch-std-128": [3, 128, 128], "moments-conv": [1, 28, 28]}.get(
        name, [3, 32, 32]
    )
    config = resolved(name, shape, network__width=0.05)

    features = build(config).D.features(torch.zeros(2, *shape))

    assert sizes_after(config.network.critic.layers, shape[1:], "test") == list(features.shape[2:])


class TestMlp:
    def test_bn_mlp_is_the_tutorial_s(self):
        """Dense layers without bias before batch norm; 128-256 and 256-128."""
        generator = 100 * 128 + 2 * 128 + 128 * 256 + 2 * 256 + 256 * 784 + 784
        critic = 784 * 256 + 2 * 256 + 256 * 128 + 2 * 128 + 128 + 1
        assert counts("bn-mlp-28", [1, 28, 28]) == [generator, critic]

    def test_minibatch_std_stands_before_the_last_hidden_layer(self):
        """With one hidden layer its input is the sample, and it distinguishes copies from different samples."""
        pair = build(resolved("moments-1", [1, 28, 28], network__minibatch_std={"group_size": 4}))
        x = torch.randn(4, 1, 28, 28)
        assert pair.D.features(x).shape == (4, 784)
        assert not torch.allclose(pair.D(x)[:1], pair.D(x[:1].expand(4, -1, -1, -1))[:1])

    def test_the_dropout_of_moments_7_is_in_its_first_layer_alone(self):
        """As in the source."""
        pair = build(resolved("moments-7", [1, 28, 28]))
        assert [layer.dropout.p for layer in pair.G.hidden] == [0.5, 0, 0, 0]


class TestBatchNorm:
    def test_a_critic_with_it_scores_reals_and_fakes_separately(self):
        """In one pass they would share batch statistics."""
        assert build(resolved("bn-mlp-28", [1, 28, 28])).D.group_of(64) is None
        assert build(resolved("moments-1", [1, 28, 28])).D.group_of(64) == 1

    def test_statistics_kept_restores_buffers(self):
        """A measurement does not change running statistics."""
        G = build(resolved("bn-mlp-28", [1, 28, 28])).G
        before = {name: value.clone() for name, value in G.state_dict().items()}

        with statistics_kept(G), torch.no_grad():
            G(torch.randn(16, 100))

        assert all(torch.equal(before[name], value) for name, value in G.state_dict().items())


def test_an_unknown_family_names_the_nearest():
    """Keys of other families are unknown."""
    with pytest.raises(ConfigError, match="did you mean 'mlp'"):
        presets.build({"network": {"family": "mpl"}, "train": {"batch_size": 1}}, "test")
    with pytest.raises(ConfigError, match="unknown key 'pixel_norm'"):
        resolved("ring8", [2], network__pixel_norm=True)


def test_the_residual_generator_enlarges_any_size():
    """Fully convolutional: 4x height and width."""
    G = build(resolved("superres-4x", [3, 64, 64])).G.eval()
    assert G(torch.zeros(1, 3, 5, 7)).shape == (1, 3, 20, 28)
