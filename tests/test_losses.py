import math

import numpy as np
import pytest
import torch

from gancli.losses import ADVERSARIAL


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("wasserstein", lambda x, y: y - x, lambda x, y: -y),
        ("non-saturating", lambda x, y: np.log1p(np.exp(-x)) + np.log1p(np.exp(y)), lambda x, y: np.log1p(np.exp(-y))),
        ("hinge", lambda x, y: np.maximum(0, 1 - x) + np.maximum(0, 1 + y), lambda x, y: -y),
        ("least-squares", lambda x, y: ((x - 1) ** 2 + y**2) / 2, lambda x, y: (y - 1) ** 2 / 2),
        ("relativistic", lambda x, y: np.log1p(np.exp(-(x - y))), lambda x, y: np.log1p(np.exp(-(y - x)))),
    ],
)
def test_every_loss_is_its_formula(name, critic, generator):
    """Per image, against numpy in float64."""
    x, y = np.random.RandomState(0).normal(0, 2, (2, 50))
    game = ADVERSARIAL[name]

    np.testing.assert_allclose(game.critic(torch.tensor(x), torch.tensor(y)), critic(x, y))
    np.testing.assert_allclose(game.generator(torch.tensor(x), torch.tensor(y)), generator(x, y))


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_scores_of_ten_thousand_leave_loss_and_gradient_finite(name):
    """Large scores do not cause overflow."""
    d_x = torch.tensor([1e4, -1e4], requires_grad=True)
    d_y = torch.tensor([-1e4, 1e4], requires_grad=True)

    loss = ADVERSARIAL[name].critic(d_x, d_y).sum() + ADVERSARIAL[name].generator(d_x, d_y).sum()
    loss.backward()

    assert math.isfinite(loss.item())
    assert d_y.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_the_two_sides_pull_the_fake_s_score_apart(name):
    """The critic wants it lower, the generator higher."""
    d_x, d_y = torch.zeros(1), torch.full((1,), 0.5, requires_grad=True)
    game = ADVERSARIAL[name]

    (critic,) = torch.autograd.grad(game.critic(d_x, d_y).sum(), d_y)
    (generator,) = torch.autograd.grad(game.generator(d_x, d_y).sum(), d_y)

    assert critic.item() > 0 > generator.item()


def test_only_the_relativistic_generator_loss_uses_the_reals():
    """`generator_needs_reals` states whether the generator loss depends on d_x."""
    for game in ADVERSARIAL.values():
        d_x = torch.zeros(3, requires_grad=True)
        (gradient,) = torch.autograd.grad(game.generator(d_x, torch.ones(3)).sum() + 0 * d_x.sum(), d_x)
        assert bool(gradient.abs().sum() > 0) == game.generator_needs_reals
