import math

import numpy as np
import pytest
import torch

from gancli.networks.layers import (
    Conv,
    Dense,
    Drawn,
    MinibatchStdDev,
    downscale,
    interleave,
    largest_divisor,
    minibatch_spread,
    pixel_norm,
    undo_interleave,
    upscale,
)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def spread_by_hand(x, group):
    """METHODS' formula, in numpy float64, sample by sample."""
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

    def test_same_images_give_no_spread(self):
        """A collapsed batch is told apart: the added channel is sqrt(eps)."""
        images = normal(1, 3, 4, 4).expand(8, -1, -1, -1)

        added = MinibatchStdDev(group_size=4)(images)[:, 3]

        torch.testing.assert_close(added, torch.full_like(added, 1e-4), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("n", "group"), [(1, 1), (2, 2), (3, 3), (5, 5), (6, 3), (7, 7), (8, 4), (10, 2), (14, 2)])
    def test_any_batch_is_taken(self, n, group):
        """An awkward batch never stops a run: the largest divisor up to 4, or the whole batch."""
        x = normal(n, 3, 4, 4)

        added = MinibatchStdDev(group_size=4)(x)[:, 3, 0, 0]

        assert largest_divisor(n, 4) == group
        np.testing.assert_allclose(added.numpy(), spread_by_hand(x.numpy(), group), rtol=1e-5)

    @pytest.mark.parametrize("n", [1, 4])
    def test_gradient_is_finite_where_the_spread_is_zero(self, n):
        """eps stands inside the root: a collapsed batch does not end the run with NaN."""
        x = normal(1, 3, 4, 4).repeat(n, 1, 1, 1).requires_grad_()

        MinibatchStdDev()(x).square().sum().backward()

        assert x.grad.isfinite().all()

    def test_channel_statistic_is_what_a_batch_norm_would_divide_by(self):
        """statistic=channel: the deviation over group and positions, averaged over channels."""
        x = normal(4, 3, 5)

        added = MinibatchStdDev(4, "channel")(x)[:, 3]

        expected = np.sqrt(x.numpy().astype(np.float64).var(axis=(0, 2)) + 1e-8).mean()
        np.testing.assert_allclose(added.numpy(), expected, rtol=1e-5)

    def test_feature_groups_each_tell_of_their_own_channels(self):
        """With two feature groups, the first figure does not see the second half of the channels."""
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


def test_interleaved_batches_keep_their_groups_apart():
    """Reals and fakes judged in one call get the spread they would get alone."""
    x, y = normal(8, 3, 4, 4, seed=1), 9 * normal(8, 3, 4, 4, seed=2)
    layer = MinibatchStdDev(4)

    together_x, together_y = undo_interleave(layer(interleave(x, y, 4)), 4)

    torch.testing.assert_close(together_x, layer(x))
    torch.testing.assert_close(together_y, layer(y))


class TestEqualizedWeight:
    def test_acts_at_run_time(self):
        """The stored weight has deviation 1 whatever the fan-in; the layer's output does not grow with it."""
        torch.manual_seed(0)
        small, large = Dense(16, 512, 1.0), Dense(4096, 512, 1.0)

        assert small.weight.std().item() == pytest.approx(1, abs=0.05)
        assert large.weight.std().item() == pytest.approx(1, abs=0.05)
        assert small(normal(64, 16, seed=1)).std().item() == pytest.approx(1, abs=0.1)
        assert large(normal(64, 4096, seed=1)).std().item() == pytest.approx(1, abs=0.1)

    def test_one_step_of_adam_moves_every_layer_by_the_same_share(self):
        """Adam's step is the rate on the stored weight, so the share moved does not depend on the fan-in."""
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
        """equalized=False: He initialisation, nothing at run time."""
        torch.manual_seed(0)
        layer = Dense(400, 400, math.sqrt(2), drawn=Drawn(equalized=False))

        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
        torch.testing.assert_close(layer.scaled(torch.float32), layer.weight)


class TestFusedResampling:
    @pytest.mark.parametrize("size", [(4, 4), (3, 5)])
    def test_up_is_nearest_doubling_then_convolution(self, size):
        """One transposed convolution computes what the two plain steps do."""
        torch.manual_seed(0)
        fused, plain = Conv(3, 5, 3, resample="up"), Conv(3, 5, 3)
        plain.load_state_dict(fused.state_dict())
        x = normal(2, 3, *size)

        torch.testing.assert_close(fused(x), plain(upscale(x)), atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("size", [(4, 4), (6, 2)])
    def test_down_is_convolution_then_mean(self, size):
        """One strided convolution computes what the two plain steps do."""
        torch.manual_seed(0)
        fused, plain = Conv(3, 5, 3, resample="down"), Conv(3, 5, 3)
        plain.load_state_dict(fused.state_dict())
        x = normal(2, 3, *size)

        torch.testing.assert_close(fused(x), downscale(plain(x)), atol=1e-5, rtol=1e-5)


def test_pixel_norm_brings_every_pixel_to_mean_square_one():
    """x / sqrt(mean_C x^2): the direction stays, the length becomes sqrt(C)."""
    x = 7 * normal(2, 5, 3, 3)

    y = pixel_norm(x)

    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y / y.norm(dim=1, keepdim=True), x / x.norm(dim=1, keepdim=True))


def test_pixel_norm_of_nothing_has_a_finite_gradient():
    """eps keeps a dead pixel alive."""
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)

    pixel_norm(x).sum().backward()

    assert x.grad.isfinite().all()
