import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from gancli.activations import leaky_relu, pixel_norm
from gancli.config.family import largest_divisor
from gancli.networks.layers import Conv, Dense, Noise, WeightInit, downscale, initialize, norm, upscale
from gancli.networks.minibatch import MinibatchStdDev, interleave, minibatch_spread, packed, undo_interleave
from gancli.seeds import stream


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def spread_by_hand(x, group):
    """The formula in numpy float64, per sample."""
    n = len(x)
    m = n // group
    s = []
    for i in range(m):
        members = x[[i + j * m for j in range(group)]].astype(np.float64)
        s.append(np.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean())
    return np.array([s[i % m] for i in range(n)])


class TestMinibatchStdDev:
    @pytest.mark.parametrize("space", [(4, 4), (4, 6), (7,), ()])
    def test_equals_the_formula_worked_by_hand(self, space):
        """Images, signals and vectors: strided groups, biased, eps in the root, mean of deviations."""
        x = normal(8, 3, *space)

        out = MinibatchStdDev(group_size=4)(x)

        expected = spread_by_hand(x.numpy(), 4)
        assert out.shape == (8, 4, *space)
        torch.testing.assert_close(out[:, :3], x)
        for i in range(8):
            np.testing.assert_allclose(out[i, 3].numpy(), expected[i], rtol=1e-5)

    def test_compares_four_samples_by_default(self):
        """The paper's group; of 20 samples, 5 would be a divisor too."""
        x = normal(20, 3, 4, 4)

        added = MinibatchStdDev()(x)[:, 3, 0, 0]

        np.testing.assert_allclose(added.numpy(), spread_by_hand(x.numpy(), 4), rtol=1e-5)

    def test_same_images_give_no_spread(self):
        """The appended channel of a collapsed batch is sqrt(eps)."""
        images = normal(1, 3, 4, 4).expand(8, -1, -1, -1)

        added = MinibatchStdDev(group_size=4)(images)[:, 3]

        torch.testing.assert_close(added, torch.full_like(added, 1e-4), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("n", "group"), [(1, 1), (2, 2), (3, 3), (5, 5), (6, 3), (7, 7), (8, 4), (10, 2), (14, 2)])
    def test_any_batch_is_taken(self, n, group):
        """Any batch size works: the group is the largest divisor up to 4, or the whole batch."""
        x = normal(n, 3, 4, 4)

        added = MinibatchStdDev(group_size=4)(x)[:, 3, 0, 0]

        assert largest_divisor(n, 4) == group
        np.testing.assert_allclose(added.numpy(), spread_by_hand(x.numpy(), group), rtol=1e-5)

    @pytest.mark.parametrize("n", [1, 4])
    def test_gradient_is_finite_where_the_spread_is_zero(self, n):
        """eps is inside the square root: a collapsed batch does not cause NaN."""
        x = normal(1, 3, 4, 4).repeat(n, 1, 1, 1).requires_grad_()

        MinibatchStdDev()(x).square().sum().backward()

        assert x.grad.isfinite().all()

    def test_channel_statistic_is_what_a_batch_norm_would_divide_by(self):
        """statistic=channel: the deviation over group and positions, averaged over channels."""
        x = normal(4, 3, 5)

        added = MinibatchStdDev(4, "channel")(x)[:, 3]

        expected = np.sqrt(x.numpy().astype(np.float64).var(axis=(0, 2)) + 1e-8).mean()
        np.testing.assert_allclose(added.numpy(), expected, rtol=1e-5)

    def test_feature_groups_use_only_their_channels(self):
        """With two feature groups, the first statistic does not depend on the second half of the channels."""
        x = normal(4, 4, 3, 3)
        changed = torch.cat([x[:, :2], 5 * x[:, 2:]], dim=1)

        before, after = (MinibatchStdDev(4, feature_groups=2)(v)[:, 4:, 0, 0] for v in (x, changed))

        torch.testing.assert_close(before[:, 0], after[:, 0])
        torch.testing.assert_close(5 * before[:, 1], after[:, 1], rtol=1e-4, atol=0)

    def test_the_statistic_of_bfloat16_features_is_taken_in_float32(self):
        """A variance of bfloat16 features would be mostly rounding."""
        x = (normal(8, 16, 4, 4) * 0.01 + 3).bfloat16()

        s = minibatch_spread(x, 4)

        assert s.dtype == torch.float32
        np.testing.assert_allclose(s[:, 0].numpy(), spread_by_hand(x.float().numpy(), 4), rtol=1e-4)

    def test_features_keep_their_precision(self):
        """bfloat16 input gives bfloat16 output."""
        assert MinibatchStdDev(4)(normal(8, 3, 4, 4).bfloat16()).dtype == torch.bfloat16


def test_packs_join_the_channels_of_consecutive_samples():
    """An incomplete one is completed with the first samples."""
    x = torch.arange(5 * 2 * 3).view(5, 2, 3)
    assert torch.equal(packed(x, 1), x)
    found = packed(x, 2)
    assert found.shape == (3, 4, 3)
    assert torch.equal(found[1], torch.cat([x[2], x[3]]))
    assert torch.equal(found[2], torch.cat([x[4], x[0]]))
    assert torch.equal(packed(x[:1], 3)[0], torch.cat([x[0], x[0], x[0]]))


def test_interleaved_batches_keep_their_groups_apart():
    """Reals and fakes in one forward pass get the same statistics as separately."""
    x, y = normal(8, 3, 4, 4, seed=1), 9 * normal(8, 3, 4, 4, seed=2)
    layer = MinibatchStdDev(4)

    together_x, together_y = undo_interleave(layer(interleave(x, y, 4)), 4)

    torch.testing.assert_close(together_x, layer(x))
    torch.testing.assert_close(together_y, layer(y))


class TestEqualizedWeight:
    def test_acts_at_run_time(self):
        """The stored weight has standard deviation 1 for any fan-in; the output does not grow with fan-in."""
        torch.manual_seed(0)
        small, large = Dense(16, 512, 1.0), Dense(4096, 512, 1.0)

        assert small.weight.std().item() == pytest.approx(1, abs=0.05)
        assert large.weight.std().item() == pytest.approx(1, abs=0.05)
        assert small(normal(64, 16, seed=1)).std().item() == pytest.approx(1, abs=0.1)
        assert large(normal(64, 4096, seed=1)).std().item() == pytest.approx(1, abs=0.1)

    def test_one_step_of_adam_moves_every_layer_by_the_same_share(self):
        """The relative update of a weight by Adam does not depend on its fan-in."""
        torch.manual_seed(0)
        moved = []
        for layer in (Dense(16, 64), Dense(1024, 64)):
            before = layer.scaled(torch.float32).detach().clone()
            optimizer = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.0, 0.99))
            layer(normal(8, layer.weight.shape[1])).square().sum().backward()
            optimizer.step()
            after = layer.scaled(torch.float32).detach()
            moved.append(((after - before).norm() / before.norm()).item())

        assert moved[0] == pytest.approx(moved[1], rel=0.1)

    def test_switched_off_it_draws_the_final_scale(self):
        """equalized=False: He initialization, no scaling at run time."""
        torch.manual_seed(0)
        layer = Dense(400, 400, math.sqrt(2), init=WeightInit(equalized=False))

        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
        torch.testing.assert_close(layer.scaled(torch.float32), layer.weight)
        assert layer.lr_scale == 1

    def test_init_std_grows_with_the_removed_inputs(self):
        """std 0.05 with 9 times more inputs at width 1: std 0.15, and 9 times the learning rate."""
        torch.manual_seed(0)
        layer = Dense(400, 400, init=WeightInit(equalized=False, std=0.05, wider=9))

        assert layer.weight.std().item() == pytest.approx(0.15, rel=0.02)
        torch.testing.assert_close(layer.scaled(torch.float32), layer.weight)
        assert layer.lr_scale == 9

    def test_an_equalized_layer_learns_at_the_common_rate(self):
        """Scaling at run time already equalizes the learning speed."""
        assert Dense(4, 4, init=WeightInit(wider=9)).lr_scale == 1

    @pytest.mark.parametrize("layer", [Dense(3, 4), Conv(3, 4, 3)])
    def test_computes_in_the_precision_of_its_input(self, layer):
        """bfloat16 in, bfloat16 out, with weights and bias kept in float32."""
        x = normal(2, 3) if isinstance(layer, Dense) else normal(2, 3, 4, 4)

        assert layer(x.bfloat16()).dtype == torch.bfloat16
        assert layer.weight.dtype == layer.bias.dtype == torch.float32


@pytest.mark.parametrize("biased", [True, False])
def test_dense_is_its_formula(biased):
    """x W + b with W scaled by gain / sqrt(inputs), in numpy float64; the bias begins at 0 and can be left out."""
    torch.manual_seed(0)
    layer, x = Dense(5, 3, 1.5, bias=biased), normal(4, 5)
    assert not biased or layer.bias.tolist() == [0, 0, 0]
    added = with_bias(layer)

    y = layer(x)

    expected = x.numpy().astype(np.float64) @ layer.weight.detach().numpy().T * (1.5 / math.sqrt(5)) + added
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)
    assert len(list(layer.parameters())) == 1 + biased


def with_bias(layer):
    """Fill the bias of a layer, if it has one, and return it."""
    if layer.bias is None:
        return 0
    nn.init.normal_(layer.bias)
    return layer.bias.detach().numpy().astype(np.float64)


def convolved_by_hand(x, weight, stride, padding):
    """Every output value as one sum over a window, in numpy float64, without the bias; (zeros before, after)."""
    rank, kernel = x.ndim - 2, weight.shape[-1]
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *[padding] * rank])
    out = np.empty((len(x), len(weight), *((side - kernel) // stride + 1 for side in x.shape[2:])))
    for place in np.ndindex(*out.shape[2:]):
        window = x[(..., *(slice(stride * p, stride * p + kernel) for p in place))]
        out[(..., *place)] = np.tensordot(window, weight, axes=(range(1, 2 + rank), range(1, 2 + rank)))
    return out


class TestConv:
    @pytest.mark.parametrize("padding", ["same", "none"])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel", [1, 2, 3, 5, 6])
    @pytest.mark.parametrize("resample", ["keep", "up"])
    @pytest.mark.parametrize("space", [(8,), (6, 7)])
    def test_is_its_sum_worked_by_hand(self, space, resample, kernel, stride, padding):
        """Signals and images, any kernel, stride and padding, with or without doubling."""
        torch.manual_seed(0)
        rank = len(space)
        layer = Conv(2, 3, kernel, 1.5, rank=rank, stride=stride, padding=padding, resample=resample)
        bias, x = with_bias(layer).reshape(-1, *[1] * rank), normal(2, 2, *space)

        y = layer(x)

        for axis in range(2, 2 + rank) if resample == "up" else ():
            x = x.repeat_interleave(2, axis)
        zeros = ((kernel - 1) // 2, kernel // 2) if padding == "same" else (0, 0)
        weight = layer.weight.detach().numpy() * (1.5 / math.sqrt(2 * kernel**rank))
        np.testing.assert_allclose(
            y.detach().numpy(), convolved_by_hand(x.numpy(), weight, stride, zeros) + bias, atol=1e-5
        )

    @pytest.mark.parametrize("resample", ["keep", "up", "down"])
    def test_the_bias_can_be_left_out(self, resample):
        """Before a batch norm it would have no effect: zero input gives zero output."""
        layer = Conv(3, 5, 3, bias=False, resample=resample)

        y = layer(torch.zeros(2, 3, 4, 4))

        assert y.abs().max() == 0
        assert len(list(layer.parameters())) == 1

    def test_passes_on_its_initialization(self):
        """equalized=False is passed on: the weight has its final scale."""
        torch.manual_seed(0)
        layer = Conv(40, 40, 3, init=WeightInit(equalized=False))

        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 360), rel=0.05)


class TestFusedResampling:
    @pytest.mark.parametrize("size", [(4, 4), (3, 5)])
    def test_up_is_nearest_doubling_then_convolution(self, size):
        """A transposed convolution and sums compute what the two plain steps do."""
        torch.manual_seed(0)
        fused, plain = Conv(3, 5, 3, resample="up"), Conv(3, 5, 3)
        with_bias(fused)
        plain.load_state_dict(fused.state_dict())
        x = normal(2, 3, *size)

        torch.testing.assert_close(fused(x), plain(upscale(x)), atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("size", [(4, 4), (6, 2)])
    def test_down_is_convolution_then_mean(self, size):
        """Means and a strided convolution compute what the two plain steps do."""
        torch.manual_seed(0)
        fused, plain = Conv(3, 5, 3, resample="down"), Conv(3, 5, 3)
        with_bias(fused)
        plain.load_state_dict(fused.state_dict())
        x = normal(2, 3, *size)

        torch.testing.assert_close(fused(x), downscale(plain(x)), atol=1e-5, rtol=1e-5)

    def test_smooth_up_is_bilinear_doubling_then_convolution(self):
        """As torch interpolates; at the edges there are zeros outside in place of repeated values."""
        x, layer = normal(2, 3, 6, 5, dtype=torch.float64), Conv(3, 4, 3, resample="up", smooth=True).double()
        torch.nn.init.normal_(layer.bias)

        doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        expected = F.conv2d(doubled, layer.weight * layer.scale, layer.bias, padding=1)

        assert layer(x).shape == expected.shape
        torch.testing.assert_close(layer(x)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])

    @pytest.mark.parametrize("resample", ["up", "down"])
    def test_takes_9_multiplications_where_the_plain_form_takes_36(self, resample):
        """Per pixel of the smaller image: 3 x 3 instead of 4 times 3 x 3."""
        small, large = normal(2, 3, 4, 4), normal(2, 3, 8, 8)

        fused = multiplications(Conv(3, 5, 3, resample=resample), small if resample == "up" else large)
        plain = multiplications(Conv(3, 5, 3), large)

        assert 36 * fused == 9 * plain


def multiplications(layer, x):
    with FlopCounterMode(display=False) as counter:
        layer(x)
    return counter.get_total_flops()


def test_leaky_keeps_a_fifth_of_what_is_negative():
    """max(x, 0.2 x)."""
    torch.testing.assert_close(leaky_relu(torch.tensor([-5.0, 0.0, 2.0])), torch.tensor([-1.0, 0.0, 2.0]))


class TestNoise:
    """Noise that is a function of the latent."""

    def test_is_added_by_the_strength_of_each_channel(self):
        """Zero at first; then a channel's noise is its strength times the noise of a channel with strength 1."""
        noise, x, z = Noise(3, 20, (4, 5)), normal(2, 3, 4, 5), normal(2, 20, seed=1)
        assert torch.equal(noise(x, z), x)

        noise.strength.data = torch.tensor([0.0, 1.0, -0.5])

        added = noise(x, z) - x
        torch.testing.assert_close(added[:, 0], torch.zeros(2, 4, 5))
        torch.testing.assert_close(added[:, 2], -0.5 * added[:, 1])

    @pytest.mark.parametrize("latent", [2, 8, 200])
    def test_has_deviation_1_whatever_the_latent_s_length(self, latent):
        """Over positions and latents; nothing is shared by the samples of two latents that are orthogonal."""
        noise, z = Noise(1, latent, (64, 64)), 7 * normal(50, latent)
        noise.strength.data.fill_(1)

        n = noise(torch.zeros(50, 1, 64, 64), z).detach()

        assert float(n.std()) == pytest.approx(1, abs=0.05)
        one, other = noise(torch.zeros(2, 1, 64, 64), torch.eye(2, latent)).detach().flatten(1)
        assert abs(float((one * other).mean())) < 0.06

    def test_is_the_same_for_the_same_latent(self):
        """In any batch, and after the weights were stored and loaded into another network."""
        first, second, z, x = Noise(2, 5, (4, 4)), Noise(2, 5, (4, 4)), normal(3, 5), normal(3, 2, 4, 4, seed=1)
        first.strength.data.fill_(1)
        assert not torch.equal(first.maps, second.maps)

        second.load_state_dict(first.state_dict())

        assert torch.equal(second(x, z)[1:2], first(x[1:2], z[1:2]))

    def test_keeps_the_precision_of_its_input(self):
        """bfloat16 in, bfloat16 out."""
        assert Noise(2, 5, (4, 4))(normal(1, 2, 4, 4).bfloat16(), normal(1, 5)).dtype == torch.bfloat16


class TestNorm:
    @pytest.mark.parametrize(("rank", "space"), [(0, ()), (1, (6,)), (2, (5, 4))])
    def test_batch_is_its_formula(self, rank, space):
        """Vectors, signals and images: each channel of the batch gets mean 0 and variance 1."""
        x = 3 * normal(4, 2, *space) + 1
        axes = (0, *range(2, 2 + rank))

        y = norm("batch", 2, rank, 0.9)(x)

        values = x.numpy().astype(np.float64)
        mean, variance = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
        np.testing.assert_allclose(y.detach().numpy(), (values - mean) / np.sqrt(variance + 1e-5), atol=1e-5)

    def test_batch_keeps_a_share_of_its_moving_statistics(self):
        """keep 0.7: the mean after one batch is 0.7 times the old mean, 0, plus 0.3 times that of the batch."""
        x, layer = normal(4, 2, 6) + 5, norm("batch", 2, 1, 0.7)

        layer(x)

        torch.testing.assert_close(layer.running_mean, 0.3 * x.mean((0, 2)))

    @pytest.mark.parametrize("space", [(), (6,), (5, 4)])
    def test_layer_is_its_formula(self, space):
        """At each position the channels get mean 0 and variance 1, then a weight and a bias per channel."""
        x, layer = 3 * normal(4, 5, *space) + 1, norm("layer", 5, len(space), 0.9)
        layer.load_state_dict({"weight": normal(5, seed=1), "bias": normal(5, seed=2)})

        y = layer(x)

        values = np.moveaxis(x.numpy().astype(np.float64), 1, -1)
        values -= values.mean(-1, keepdims=True)
        values /= np.sqrt((values**2).mean(-1, keepdims=True) + 1e-5)
        expected = np.moveaxis(values * normal(5, seed=1).numpy() + normal(5, seed=2).numpy(), -1, 1)
        np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)

    def test_layer_begins_with_weight_1_and_bias_0(self):
        """Both are learned in float32, for any precision of the features."""
        layer = norm("layer", 3, 2, 0.9)

        assert {name: value.tolist() for name, value in layer.named_parameters()} == {
            "weight": [1, 1, 1], "bias": [0, 0, 0]
        }  # fmt: skip
        assert layer(normal(2, 3, 4, 4).bfloat16()).dtype == torch.bfloat16

    def test_none_changes_nothing(self):
        """The output is identical to the input."""
        x = normal(4, 3, 5)
        assert norm("none", 3, 1, 0.9)(x) is x


def test_pixel_norm_brings_every_pixel_to_mean_square_one():
    """x / sqrt(mean_C x^2): the direction is unchanged, the norm becomes sqrt(C)."""
    x = 7 * normal(2, 5, 3, 3)

    y = pixel_norm(x)

    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y / y.norm(dim=1, keepdim=True), x / x.norm(dim=1, keepdim=True))


def test_pixel_norm_keeps_the_precision_of_its_input():
    """The mean square is computed in float32, the output is bfloat16."""
    assert pixel_norm(normal(2, 5, 3, 3).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("space", [(6,), (6, 12)])
def test_downscaling_takes_means_of_blocks(space):
    """Blocks of 3 values of a signal, of 3 x 3 pixels of an image; blocks of one are left alone."""
    x = normal(2, 4, *space)

    y = downscale(x, 3)

    blocks = x.numpy().reshape(2, 4, *(size for side in space for size in (side // 3, 3)))
    np.testing.assert_allclose(y.numpy(), blocks.mean(axis=tuple(range(3, blocks.ndim, 2))), atol=1e-6)
    assert downscale(x, 1) is x


def test_weights_are_drawn_from_the_run_s_stream_of_their_network():
    """In the order of the layers, from one generator: the same in every release."""
    network = nn.Sequential(Conv(2, 3, 3), nn.ReLU(), Dense(3, 4))

    initialize(network, 7, "G")

    draw = stream(7, "weights/G", 0)
    assert torch.equal(network[0].weight, torch.randn(3, 2, 3, 3, generator=draw))
    assert torch.equal(network[2].weight, torch.randn(4, 3, generator=draw))


def test_pixel_norm_of_nothing_has_a_finite_gradient():
    """eps keeps the gradient of a zero pixel finite."""
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)

    pixel_norm(x).sum().backward()

    assert x.grad.isfinite().all()
