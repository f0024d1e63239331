"""The equations of one step. x: reals, y = G(z): fakes, d_x and d_y: the critic's scores of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from gancli import growth
from gancli.config import Config
from gancli.config.schema import LossConfig
from gancli.data import Feed
from gancli.growth import Phase
from gancli.losses import ADVERSARIAL
from gancli.networks.layers import interleave, undo_interleave
from gancli.networks.progressive import Critic
from gancli.penalties import between, drift, gradient_penalty, squared_gradients
from gancli.seeds import stream
from gancli.training.state import TrainState

Score = Callable[[Tensor], Tensor]


def judge(D: Critic, phase: Phase, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(D(x), D(y)): in one call where the groups of minibatch std stay unmixed. (N, ...), (N, ...) -> (N,), (N,)."""
    group = D.group_of(len(x))
    if group is None:
        return D(x, phase.stage, phase.alpha), D(y, phase.stage, phase.alpha)
    d_x, d_y = undo_interleave(D(interleave(x, y, group), phase.stage, phase.alpha), group)
    return d_x, d_y


def critic_loss(
    D: Critic, phase: Phase, x: Tensor, y: Tensor, u: Tensor, config: LossConfig, *, penalise: bool
) -> dict[str, Tensor]:
    """L_D = mean[f(d_x, d_y) + lambda (|grad D(x^)| - 1)^2 + (r1 |grad D(x)|^2 + r2 |grad D(y)|^2) / 2 + drift d_x^2].

    x^ = x + u (y - x), one u a sample, shape (N,). With `penalise` off, on the steps that a lazy
    penalty leaves out, only f and drift stay; on the others the penalty counts penalty_every times.
    The keys are the names in the log.
    """
    zero_centred = penalise and (config.r1 > 0 or config.r2 > 0)
    x, y = x.detach().requires_grad_(zero_centred), y.detach().requires_grad_(zero_centred)
    d_x, d_y = judge(D, phase, x, y)
    loss = ADVERSARIAL[config.adversarial].critic(d_x, d_y).mean()
    penalty = loss.new_zeros(())
    if zero_centred:
        r1, r2 = squared_gradients(d_x.sum() + d_y.sum(), x, y)
        penalty = penalty + (config.r1 * r1.mean() + config.r2 * r2.mean()) / 2
    if penalise and config.gradient_penalty > 0:
        mixed = between(x, y, u)
        slope = gradient_penalty(D(mixed, phase.stage, phase.alpha), mixed)
        penalty = penalty + config.gradient_penalty * slope.mean()
    total = loss + config.penalty_every * penalty + config.drift * drift(d_x).mean()
    named = {"critic_loss": total, "score_gap": (d_x - d_y).mean()}
    return named | ({"penalty": penalty} if penalise else {})


def train_critic(state: TrainState, config: Config, feed: Feed, phase: Phase) -> tuple[dict[str, Tensor], Tensor]:
    """The critic steps before one generator step; each has its own batch and latents and advances the clock.

    Returns the losses of the last step, and its fakes with their graph, for the generator to learn from.
    """
    losses: dict[str, Tensor] = {}
    steps = growth.critic_steps(config, state.generator_steps)
    for k in range(steps):
        x = feed.batch_at(state.images, phase).to(state.device)
        with torch.set_grad_enabled(config.train.shared_fakes and k == steps - 1):
            y = state.G(latents_at(state, config, phase, "latents"), phase.stage, phase.alpha)
        u = torch.rand(len(x), generator=stream(config.train.seed, "between", state.images)).to(state.device)
        number = state.generator_steps * config.train.critic_steps.base + k
        penalise = number % config.loss.penalty_every == 0
        losses |= critic_loss(state.D, phase, x, y, u, config.loss, penalise=penalise)
        _step(state.opt_D, losses["critic_loss"], _lr(config, state, phase))
        state.images += phase.batch_size
    return losses, y


def train_generator(state: TrainState, config: Config, phase: Phase, feed: Feed, y: Tensor) -> dict[str, Tensor]:
    """One generator step: L_G = mean[ g(d_x, d_y) ], the critic held fixed. Returns the loss."""
    state.D.requires_grad_(False)
    if not config.train.shared_fakes:
        y = state.G(latents_at(state, config, phase, "generator latents"), phase.stage, phase.alpha)
    game = ADVERSARIAL[config.loss.adversarial]
    d_y = state.D(y, phase.stage, phase.alpha)
    d_x = d_y.detach()
    if game.generator_needs_reals:
        shown = state.images - phase.batch_size  # the reals of the last critic step
        with torch.no_grad():
            d_x = state.D(feed.batch_at(shown, phase).to(state.device), phase.stage, phase.alpha)
    loss = game.generator(d_x, d_y).mean()
    _step(state.opt_G, loss, _lr(config, state, phase) * config.optimizer.generator_lr)
    state.D.requires_grad_(True)
    state.generator_steps += 1
    return {"generator_loss": loss}


def latents_at(state: TrainState, config: Config, phase: Phase, name: str) -> Tensor:
    """The latents of this moment: N(0, 1) from a named stream, drawn on the CPU. (N, latent)."""
    draw = stream(config.train.seed, name, state.images)
    return torch.randn(phase.batch_size, config.network.latent, generator=draw).to(state.device)


def _lr(config: Config, state: TrainState, phase: Phase) -> float:
    assert config.train.duration is not None, "resolve fills the duration"
    return phase.lr * growth.lr_factor(config, state.images, config.train.duration)


def _step(optimizer: torch.optim.Adam, loss: Tensor, lr: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
