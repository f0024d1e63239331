import math

import pytest
import torch
from conftest import tiny_config

from gancli.config.networks import ProgressiveConfig
from gancli.critic_view import CriticView
from gancli.errors import ConfigError
from gancli.growth import Schedule
from gancli.networks import build, set_precision
from gancli.networks.layers import EqualizedWeight, downscale, upscale
from gancli.networks.progressive import Critic, Generator


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair():
    return build(tiny_config())


class TestFade:
    @torch.no_grad()
    def test_at_alpha_0_the_output_is_the_old_image_upscaled(self, pair):
        """A new stage starts exactly at the output of the old one."""
        z = normal(4, 8)

        torch.testing.assert_close(pair.G(z, 2, 0.0), upscale(pair.G(z, 1)), atol=0, rtol=0)

    @torch.no_grad()
    def test_at_alpha_0_the_critic_scores_the_picture_downscaled(self, pair):
        """The score is exactly that of the old stage."""
        x = normal(4, 3, 16, 16)

        torch.testing.assert_close(pair.D(x, 2, 0.0), pair.D(downscale(x), 1), atol=1e-6, rtol=1e-6)

    @torch.no_grad()
    def test_at_alpha_1_only_the_new_path_is_used(self, pair):
        """The old output layer has no effect after the fade, and has one before."""
        z = normal(4, 8)
        done, midway = pair.G(z, 2, 1.0), pair.G(z, 2, 0.5)

        pair.G.to_rgb[1].bias += 1

        torch.testing.assert_close(pair.G(z, 2, 1.0), done, atol=0, rtol=0)
        assert not torch.allclose(pair.G(z, 2, 0.5), midway)

    @pytest.mark.parametrize("stage_and_alpha", [(), (2, 1.0)])
    def test_at_alpha_1_the_old_path_is_not_even_computed(self, pair, stage_and_alpha):
        """Its layers get no gradient, so Adam does not update them."""
        pair.D(pair.G(normal(4, 8), *stage_and_alpha), *stage_and_alpha).sum().backward()

        for speak, read in zip(pair.G.to_rgb, pair.D.from_rgb, strict=True):
            used = speak is pair.G.to_rgb[-1]
            assert [layer.weight.grad is not None for layer in (speak, read)] == [used, used]

    @torch.no_grad()
    def test_in_between_the_picture_is_the_weighted_mean(self, pair):
        """rgb = (1 - alpha) old + alpha new."""
        z = normal(4, 8)

        expected = 0.7 * pair.G(z, 2, 0.0) + 0.3 * pair.G(z, 2, 1.0)

        torch.testing.assert_close(pair.G(z, 2, 0.3), expected)


@torch.no_grad()
@pytest.mark.parametrize("base", [(4, 4), (4, 6), (5, 3)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_base_and_any_channels(base, channels):
    """Non-square data: the base is doubled at each stage, for one to four image channels."""
    config = ProgressiveConfig(resolution=base[0] * 4, base=base, z_dim=8, channels=(8, 8, 4))
    shape = (channels, *config.picture_size)
    G, D = Generator(config, shape), Critic(config, shape)

    for stage in range(3):
        x = G(normal(4, 8), stage, 0.5)
        assert x.shape == (4, channels, base[0] << stage, base[1] << stage)
        assert D(x, stage, 0.5).shape == (4,)


def test_the_paper_s_widths():
    """512 up to 32 px, then halved: 256, 128, 64, 32, 16 at 64 ... 1024 px."""
    config = ProgressiveConfig(resolution=1024)

    widths = [config.width_of(stage) for stage in range(config.stages)]

    assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]


SMALL, RGB = ProgressiveConfig(resolution=16, z_dim=5, channels=(8, 6, 4)), (3, 16, 16)


def weights_of(network):
    return {name: tuple(p.shape) for name, p in network.named_parameters() if name.endswith("weight")}


def test_the_generator_s_layers_have_the_widths_of_their_stages():
    """A dense layer to 4 x 4, a convolution, two for each later stage, and a 1 x 1 to_rgb at each stage."""
    assert weights_of(Generator(SMALL, RGB)) == {
        "dense.weight": (8 * 16, 5), "first.weight": (8, 8, 3, 3),
        "blocks.0.0.weight": (6, 8, 3, 3), "blocks.0.1.weight": (6, 6, 3, 3),
        "blocks.1.0.weight": (4, 6, 3, 3), "blocks.1.1.weight": (4, 4, 3, 3),
        "to_rgb.0.weight": (3, 8, 1, 1), "to_rgb.1.weight": (3, 6, 1, 1), "to_rgb.2.weight": (3, 4, 1, 1),
    }  # fmt: skip


def test_the_critic_s_layers_mirror_the_generator_s():
    """One more channel after minibatch std, and a score at the end."""
    assert weights_of(Critic(SMALL, RGB)) == {
        "from_rgb.0.weight": (8, 3, 1, 1), "from_rgb.1.weight": (6, 3, 1, 1), "from_rgb.2.weight": (4, 3, 1, 1),
        "blocks.0.0.weight": (6, 6, 3, 3), "blocks.0.1.weight": (8, 6, 3, 3),
        "blocks.1.0.weight": (4, 4, 3, 3), "blocks.1.1.weight": (6, 4, 3, 3),
        "last.weight": (8, 9, 3, 3), "dense.weight": (8, 8 * 16), "score.weight": (1, 8),
    }  # fmt: skip


@pytest.mark.parametrize("equalized", [True, False])
@pytest.mark.parametrize("network", [Generator, Critic])
def test_every_layer_has_the_paper_s_gain(network, equalized):
    """gain / sqrt(fan_in), at run time or in the weights: 1 before a linear output, sqrt(2) / 4 first, else sqrt(2)."""
    gains = {"to_rgb": 1, "score": 1}
    if network is Generator:
        gains["dense"] = math.sqrt(2) / 4
    config = SMALL.model_copy(update={"equalized_lr": equalized})

    layers = [(name, m) for name, m in network(config, RGB).named_modules() if isinstance(m, EqualizedWeight)]

    assert len(layers) == (9 if network is Generator else 10)
    for name, layer in layers:
        he = gains.get(name.split(".")[0], math.sqrt(2)) / math.sqrt(layer.weight[0].numel())
        assert (layer.scale, layer.initial_std) == pytest.approx((he, 1) if equalized else (1, he)), name


def test_all_layers_have_biases_except_before_a_batch_norm():
    """A final batch norm would subtract the bias of to_rgb."""
    normalizing = SMALL.model_copy(update={"output": "bn-tanh"})

    for network, bias in ((Generator(SMALL, RGB), True), (Generator(normalizing, RGB), False)):
        assert all((layer.bias is not None) == bias for layer in network.to_rgb)
        assert network.first.bias is not None


@torch.no_grad()
def test_the_first_pictures_have_the_colors_of_the_data():
    """bn-clip is initialized with the mean and standard deviation of each channel of the data."""
    moments = (0.1, -0.2, 0.3), (0.05, 0.1, 0.02)
    config = SMALL.model_copy(update={"output": "bn-clip"})

    x = Generator(config, RGB, moments)(normal(8, 5))

    torch.testing.assert_close(x.mean((0, 2, 3)), torch.tensor(moments[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.tensor(moments[1]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_the_first_stage_uses_its_own_to_rgb():
    """At 4 px only the first to_rgb is used."""
    G, z = Generator(SMALL, RGB), normal(4, 5)
    before = G(z, 0)

    G.to_rgb[0].bias += 1

    torch.testing.assert_close(G(z, 0), before + 1)


def test_minibatch_std_splits_the_channels_of_the_first_stage():
    """It is before the last convolution, with 8 channels: four groups are possible, six are not."""
    four, six = ({"group_size": 4, "feature_groups": groups} for groups in (4, 6))
    values = SMALL.model_dump()

    critic = Critic(ProgressiveConfig(**{**values, "minibatch_std": four}), RGB)

    assert critic.last.weight.shape == (8, 12, 3, 3)
    with pytest.raises(ConfigError, match="8 channels are not divisible into 6"):
        Critic(ProgressiveConfig(**{**values, "minibatch_std": six}), RGB)


def test_quickstart_s_size():
    """Counted by hand: 212,540 and 212,433 parameters."""
    config = ProgressiveConfig(resolution=32, z_dim=64, channels=(64, 64, 32, 16))

    counts = [sum(p.numel() for p in network(config, (3, 32, 32)).parameters()) for network in (Generator, Critic)]

    assert counts == [212_540, 212_433]


@pytest.mark.parametrize(
    "switch",
    [
        {"network__pixel_norm": False},
        {"network__equalized_lr": False},
        {"network__minibatch_std": None},
        {"network__normalize_z": False},
        {"network__fused_down": False},
        {"network__upsampling": "bilinear"},
        {"network__noise": True},
        {"network__residual_critic": True},
        {"network__minibatch_std": {"group_size": "all"}},
        {"network__minibatch_std": {"statistic": "channel", "feature_groups": 2}},
    ],
)
def test_every_technique_can_be_switched(switch):
    """Each one changes the output or the learning rates, and gradients stay finite."""
    z = normal(8, 8)
    default, changed = build(tiny_config()), build(tiny_config(**switch))

    scores = [pair.D(pair.G(z)) for pair in (default, changed)]
    for score in scores:
        score.sum().backward()

    gradients = [pair.G.dense.weight.grad for pair in (default, changed)]
    assert not (torch.equal(*scores) and torch.allclose(*gradients))
    assert all(p.grad.isfinite().all() for p in changed.G.parameters() if p.grad is not None)


def test_a_seed_gives_one_pair():
    """The weights depend only on the seed of the run, not on the global generator."""
    first = build(tiny_config())
    torch.randn(3)
    second, other = build(tiny_config()), build(tiny_config(train__seed=1))

    assert all(torch.equal(a, b) for a, b in zip(first.G.parameters(), second.G.parameters(), strict=True))
    assert not torch.equal(first.G.dense.weight, other.G.dense.weight)


@pytest.mark.parametrize("spread", [None, {"group_size": 4}])
@torch.no_grad()
def test_one_pass_for_two_batches_scores_as_two_passes(spread):
    """One forward pass gives the same numbers as two."""
    config = tiny_config(network__minibatch_std=spread)
    D, phase = build(config).D, Schedule.of(config).phases[-1]
    x, y = normal(8, 3, 16, 16, seed=1), 3 * normal(8, 3, 16, 16, seed=2)

    d_x, d_y = CriticView(D, phase).both(x, y)

    torch.testing.assert_close(d_x, D(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(d_y, D(y), atol=1e-5, rtol=1e-5)
    assert D.group_of(8) is not None
    assert spread is None or D.group_of(6) is None


@pytest.mark.parametrize("size", [1, "all"])
def test_a_group_of_the_whole_batch_is_never_scored_in_one_pass(size):
    """Two batches in one forward pass would be one group."""
    assert build(tiny_config(network__minibatch_std={"group_size": size})).D.group_of(8) is None


def test_bf16_computes_in_bfloat16_and_answers_in_float32():
    """Weights, images and scores stay float32, and are close to the float32 result."""
    pair = build(tiny_config())
    z = normal(8, 8)
    exact = pair.D(pair.G(z))

    set_precision(pair, "bf16")
    x = pair.G(z)
    rough = pair.D(x)

    assert x.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)
    assert pair.D.features(x).dtype == torch.bfloat16


@pytest.mark.parametrize(("stage", "alpha"), [(0, 1.0), (1, 0.5), (1, 1.0)])
def test_bf16_does_not_round_images(stage, alpha):
    """Colors leave the generator and reach the critic in float32: bfloat16 would round those near white."""
    pair = build(tiny_config())
    set_precision(pair, "bf16")
    seen = []
    for layer in pair.D.from_rgb:
        layer.register_forward_hook(lambda module, given, found: seen.append(given[0]))

    x = pair.G(normal(8, 8), stage, alpha)
    pair.D.features(x, stage, alpha)

    assert not torch.equal(x, x.bfloat16().float())
    assert [given.dtype for given in seen] == [torch.float32] * (2 if alpha < 1 else 1)
