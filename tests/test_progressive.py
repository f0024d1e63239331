import pytest
import torch
from conftest import tiny_config

from gancli.config.networks import ProgressiveConfig
from gancli.critic_view import CriticView
from gancli.growth import Schedule
from gancli.networks import build
from gancli.networks.layers import downscale, upscale
from gancli.networks.progressive import Critic, Generator


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair():
    return build(tiny_config())


class TestFade:
    @torch.no_grad()
    def test_at_alpha_0_the_generator_draws_the_old_picture_upscaled(self, pair):
        """A new stage begins without a shock, exactly."""
        z = normal(4, 8)

        torch.testing.assert_close(pair.G(z, 2, 0.0), upscale(pair.G(z, 1)), atol=0, rtol=0)

    @torch.no_grad()
    def test_at_alpha_0_the_critic_scores_the_picture_downscaled(self, pair):
        """Nor does the critic change its mind."""
        x = normal(4, 3, 16, 16)

        torch.testing.assert_close(pair.D(x, 2, 0.0), pair.D(downscale(x), 1), atol=1e-6, rtol=1e-6)

    @torch.no_grad()
    def test_at_alpha_1_only_the_new_path_is_used(self, pair):
        """Changing the old output layer changes nothing once the fade is over, and something before."""
        z = normal(4, 8)
        done, midway = pair.G(z, 2, 1.0), pair.G(z, 2, 0.5)

        pair.G.to_rgb[1].bias += 1

        torch.testing.assert_close(pair.G(z, 2, 1.0), done, atol=0, rtol=0)
        assert not torch.allclose(pair.G(z, 2, 0.5), midway)

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
    """Non-square data: the base is doubled a stage, for one to four image channels."""
    config = ProgressiveConfig(resolution=base[0] * 4, base=base, latent=8, channels=(8, 8, 4))
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


def test_quickstart_s_size():
    """Counted by hand from the recipe: 212,540 and 212,433 parameters."""
    config = ProgressiveConfig(resolution=32, latent=64, channels=(64, 64, 32, 16))

    counts = [sum(p.numel() for p in network(config, (3, 32, 32)).parameters()) for network in (Generator, Critic)]

    assert counts == [212_540, 212_433]


@pytest.mark.parametrize(
    "switch",
    [
        {"network__pixel_norm": False},
        {"network__equalized_lr": False},
        {"network__minibatch_std": None},
        {"network__normalize_latent": False},
        {"network__fused_down": False},
        {"network__minibatch_std": {"group_size": "all"}},
        {"network__minibatch_std": {"statistic": "channel", "feature_groups": 2}},
    ],
)
def test_every_innovation_is_a_switch(switch):
    """Each one changes what the pair computes or learns, and the changed pair still has finite gradients."""
    z = normal(8, 8)
    default, changed = build(tiny_config()), build(tiny_config(**switch))

    scores = [pair.D(pair.G(z)) for pair in (default, changed)]
    for score in scores:
        score.sum().backward()

    gradients = [pair.G.dense.weight.grad for pair in (default, changed)]
    assert not (torch.equal(*scores) and torch.allclose(*gradients))
    assert all(p.grad.isfinite().all() for p in changed.G.parameters() if p.grad is not None)


def test_a_seed_gives_one_pair():
    """The weights come from the run's seed alone, whatever the global generator did before."""
    first = build(tiny_config())
    torch.randn(3)
    second, other = build(tiny_config()), build(tiny_config(train__seed=1))

    assert all(torch.equal(a, b) for a, b in zip(first.G.parameters(), second.G.parameters(), strict=True))
    assert not torch.equal(first.G.dense.weight, other.G.dense.weight)


@pytest.mark.parametrize("spread", [None, {"group_size": 4}])
@torch.no_grad()
def test_one_call_for_two_batches_scores_as_two_calls_do(spread):
    """The fast path computes the plain path's numbers."""
    config = tiny_config(network__minibatch_std=spread)
    D, phase = build(config).D, Schedule.of(config).phases[-1]
    x, y = normal(8, 3, 16, 16, seed=1), 3 * normal(8, 3, 16, 16, seed=2)

    d_x, d_y = CriticView(D, phase).both(x, y)

    torch.testing.assert_close(d_x, D(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(d_y, D(y), atol=1e-5, rtol=1e-5)
    assert D.group_of(8) is not None
    assert spread is None or D.group_of(6) is None


@pytest.mark.parametrize("size", [1, "all"])
def test_a_group_of_the_whole_batch_is_never_judged_together(size):
    """Two batches in one call would be one group."""
    assert build(tiny_config(network__minibatch_std={"group_size": size})).D.group_of(8) is None


def test_bf16_computes_in_bfloat16_and_answers_in_float32():
    """Masters, pictures and scores stay float32, and close to the float32 answer."""
    from gancli.networks import set_precision

    pair = build(tiny_config())
    z = normal(8, 8)
    exact = pair.D(pair.G(z))

    set_precision(pair, "bf16")
    x = pair.G(z)
    rough = pair.D(x)

    assert x.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)
