import numpy as np
import pytest
import torch
from conftest import tiny_config

from gancli.critic_view import CriticView
from gancli.growth import Schedule
from gancli.networks import build
from gancli.penalties import between, drift, gradient_penalty, moment_distance, moment_inputs, squared_gradients
from gancli.training.step import critic_loss


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_squared_gradient_of_a_linear_critic_is_the_square_of_its_weights():
    """D(x) = <w, x> has gradient w everywhere, so the penalty is |w|^2, whatever the image."""
    w, x = normal(1, 2, 2), normal(5, 1, 2, 2, seed=1).requires_grad_()

    (penalty,) = squared_gradients((x * w).sum(), x)

    torch.testing.assert_close(penalty, w.square().sum().expand(5))


def test_gradient_penalty_of_a_linear_critic():
    """(|w| - 1)^2, and zero for a critic of slope one."""
    w, x = normal(1, 2, 2), normal(5, 1, 2, 2, seed=1).requires_grad_()
    unit = w / w.norm()

    steep = gradient_penalty((x * w).sum(dim=(1, 2, 3)), x)
    fair = gradient_penalty((x * unit).sum(dim=(1, 2, 3)), x)

    torch.testing.assert_close(steep, (w.norm() - 1).square().expand(5))
    torch.testing.assert_close(fair, torch.zeros(5).double(), atol=1e-6, rtol=0)


def test_gradient_penalty_of_a_quadratic_critic():
    """D(x) = |x|^2 / 2 has gradient x: the penalty is (|x| - 1)^2, sample by sample."""
    x = normal(5, 3).requires_grad_()

    penalty = gradient_penalty(x.square().sum(1) / 2, x)

    torch.testing.assert_close(penalty, (x.norm(dim=1) - 1).square())


def test_a_flat_critic_has_a_finite_penalty_and_a_finite_gradient_of_it():
    """At slope 0 the gradient of a plain square root would be NaN."""
    x = normal(4, 3).requires_grad_()
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    penalty = gradient_penalty((x * w).sum(dim=1), x).sum()
    penalty.backward()

    assert penalty.isfinite()
    assert w.grad.isfinite().all()


def test_between_interpolates_with_one_u_per_sample():
    """x + u (y - x), with one u per sample, detached from the graph."""
    x, y = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1).requires_grad_()
    u = torch.tensor([0.0, 0.25, 1.0])

    mixed = between(x, y, u)

    for i in range(3):
        torch.testing.assert_close(mixed[i], x[i] + u[i].item() * (y[i] - x[i]))
    assert mixed.is_leaf
    assert mixed.requires_grad


def test_drift_is_the_square_of_the_real_score():
    """A constant added to all scores adds its square."""
    torch.testing.assert_close(drift(torch.tensor([-2.0, 3.0])), torch.tensor([4.0, 9.0]))


def loss_of(config, *, penalize=True):
    pair, phase = build(config), Schedule.of(config).phases[-1]
    draw = torch.Generator().manual_seed(5)
    x, y = torch.randn(2, 8, 3, 16, 16, generator=draw)
    u = torch.rand(8, generator=draw)
    return pair, x, y, u, critic_loss(CriticView(pair.D, phase), x, y, u, config.loss, penalize=penalize)


def test_the_wgan_gp_loss_is_the_sum_of_its_parts():
    """E D(y) - E D(x) + 10 GP + 0.001 E D(x)^2, computed by hand."""
    loss = {"adversarial": "wasserstein", "gradient_penalty": 10, "drift": 0.001}

    pair, x, y, u, losses = loss_of(tiny_config(loss=loss))

    mixed = between(x, y, u)
    gp = gradient_penalty(pair.D(mixed), mixed).mean()
    expected = pair.D(y).mean() - pair.D(x).mean() + 10 * gp + 0.001 * pair.D(x).square().mean()
    torch.testing.assert_close(losses["critic_loss"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(losses["score_gap"], pair.D(x).mean() - pair.D(y).mean(), atol=1e-5, rtol=1e-4)


def test_a_lazy_penalty_is_left_out_or_counts_n_times():
    """On average over n steps the loss has the penalty once."""
    config = tiny_config()

    *_, with_penalty = loss_of(config, penalize=True)
    *_, without = loss_of(config, penalize=False)

    assert "penalty" not in without
    extra = with_penalty["critic_loss"] - without["critic_loss"]
    torch.testing.assert_close(extra, 3 * with_penalty["penalty"], atol=1e-5, rtol=1e-4)


class TestMoments:
    def test_is_the_sum_of_absolute_differences(self):
        """sum_f |mean y - mean x| and sum_f |var y - var x|, biased, against numpy in float64."""
        x, y = normal(7, 3, 4, 4), normal(9, 3, 4, 4, seed=1)

        means, variances = moment_distance(x, y)

        assert means.item() == pytest.approx(np.abs(y.numpy().mean(0) - x.numpy().mean(0)).sum(), rel=1e-5)
        assert variances.item() == pytest.approx(np.abs(y.numpy().var(0) - x.numpy().var(0)).sum(), rel=1e-5)

    def test_gradients_flow_to_the_fakes_only(self):
        """Gradients flow to the generator only."""
        x, y = normal(6, 5).requires_grad_(), normal(6, 5, seed=1).requires_grad_()
        sum(moment_distance(x, y)).backward()
        assert x.grad is None
        assert y.grad.abs().sum() > 0

    def test_of_a_set_with_itself_is_zero(self):
        """The loss of a perfect generator is 0."""
        assert sum(moment_distance(normal(6, 5), normal(6, 5))) == 0

    @pytest.mark.parametrize("shape", [(6, 3, 8, 8), (6, 3, 16)])
    def test_per_channel_takes_every_position_as_a_sample(self, shape):
        """C means and variances for any image size."""
        x, y = normal(*shape), 2 * normal(*shape, seed=1) + 1
        means, variances = moment_distance(moment_inputs(x, "channel", 4), moment_inputs(y, "channel", 4))
        axes = (0, *range(2, len(shape)))
        assert means.item() == pytest.approx(np.abs(y.numpy().mean(axes) - x.numpy().mean(axes)).sum(), rel=1e-5)
        assert variances.item() == pytest.approx(np.abs(y.numpy().var(axes) - x.numpy().var(axes)).sum(), rel=1e-5)

    def test_pooled_compares_means_of_blocks(self):
        """4 x 4 blocks of an 8 x 8 image: four features per channel."""
        x = normal(6, 3, 8, 8)
        torch.testing.assert_close(moment_inputs(x, "pooled", 4)[:, :, 0, 1], x[:, :, :4, 4:].mean((2, 3)))
        assert moment_inputs(normal(6, 3, 16), "pooled", 4).shape == (6, 3, 4)

    @pytest.mark.parametrize("over", ["feature", "channel", "pooled"])
    def test_points_are_their_own_features(self, over):
        """Vectors are not pooled."""
        x = normal(6, 2)
        assert torch.equal(moment_inputs(x, over, 4), x)
