"""The equations of one training step. x: reals, y = G(z): fakes, d_x and d_y: the critic's scores of x and y."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gancli import annealing, growth, signals
from gancli.config import ResolvedConfig
from gancli.config.schema import LossConfig
from gancli.critic_view import CriticView
from gancli.data import Feed
from gancli.growth import Phase
from gancli.latents import Prior
from gancli.losses import ADVERSARIAL
from gancli.networks.base import statistics_kept
from gancli.networks.layers import downscale
from gancli.networks.vgg import FeatureNetwork
from gancli.penalties import between, drift, gradient_penalty, moment_distance, moment_inputs, squared_gradients
from gancli.seeds import stream
from gancli.training import shards
from gancli.training.shards import Shard
from gancli.training.state import TrainState


def critic_loss(
    view: CriticView, x: Tensor, y: Tensor, u: Tensor, config: LossConfig, *, penalize: bool
) -> dict[str, Tensor]:
    """L_D = mean[f(d_x, d_y) + lambda (|grad D(x^)| - 1)^2 + (r1 |grad D(x)|^2 + r2 |grad D(y)|^2) / 2 + drift d_x^2].

    x^ = x + u (y - x), one u per score, from u (N,). With `penalize` off, on the steps that a lazy penalty skips, f
    and drift remain; on other steps the penalty is multiplied by penalty_interval. `consistency` is added if it is
    on. The keys are the names in the log.
    """
    zero_centered = penalize and (config.r1 > 0 or config.r2 > 0)
    x, y = x.detach().requires_grad_(zero_centered), y.detach().requires_grad_(zero_centered)
    d_x, d_y = view.both(x, y)
    loss = ADVERSARIAL[config.adversarial].critic(d_x, d_y).mean()
    penalty = loss.new_zeros(())
    if zero_centered:
        r1, r2 = squared_gradients(d_x.sum() + d_y.sum(), x, y, pack=view.D.pack)
        penalty = penalty + (config.r1 * r1.mean() + config.r2 * r2.mean()) / 2
    if penalize and config.gradient_penalty > 0:
        pack = view.D.pack
        mixed = between(x, y, u[: len(u) // pack].repeat_interleave(pack))
        slope = gradient_penalty(view.scores(mixed), mixed, pack=pack)
        penalty = penalty + config.gradient_penalty * slope.mean()
    total = loss + config.penalty_interval * penalty + config.drift * drift(d_x).mean()
    named = {"d_real": d_x.mean(), "d_fake": d_y.mean(), "score_gap": (d_x - d_y).mean()}
    named |= {"penalty": penalty} if penalize else {}
    if config.consistency > 0:
        named["consistency"] = config.consistency * consistency(view, x, y, d_x, d_y)
        total = total + named["consistency"]
    return named | {"critic_loss": total}


def consistency(view: CriticView, x: Tensor, y: Tensor, d_x: Tensor, d_y: Tensor) -> Tensor:
    """mean[(D(T x) - D(T' x))^2 + (D(T y) - D(T' y))^2]: T are the augmentations of the scores, T' are new ones. -> ().

    Source: Zhao et al. 2020, arXiv:2002.04724 (bCR), whose T is no augmentation.
    """
    e_x, e_y = view.both(x, y)
    return ((d_x - e_x).square() + (d_y - e_y).square()).mean()


@dataclass(frozen=True)
class StepInputs:
    """The samples of one shard of the last critic step, which the generator step uses again."""

    x: Tensor  # reals
    y: Tensor  # fakes, with their autograd graph if the generator step reuses them


Inputs = dict[Shard, StepInputs]  # of the shards of this worker


def train_critic(
    state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, before: int
) -> tuple[dict[str, Tensor], Inputs | None]:
    """The critic steps before one generator step. Each has its own batch and latents, and advances `state.images`.

    before: `state.images` before the first of them; some or all may have been done in an earlier session.
    Returns the losses and samples of the last step; no samples if a signal has requested a stop after a critic step.
    Without an adversarial loss, only `state.images` changes.
    """
    losses: dict[str, Tensor] = {}
    mine = shards.own(state.workers, config.shards)
    steps, done = growth.critic_steps(config, state.generator_steps), (state.images - before) // phase.batch_size
    inputs = None if done < steps else inputs_of_last_step(state, config, feed, phase, mine)
    for k in range(done, steps):
        number = growth.critic_steps_before(config, state.generator_steps) + k
        penalize, shared = number % config.loss.penalty_interval == 0, shares_fakes(config) and k == steps - 1
        found, inputs = critic_step(state, config, feed, phase, mine, penalize=penalize, shared=shared)
        losses |= found
        state.images += phase.batch_size
        if signals.stop_requested() and not state.has_dropout:  # its random numbers go on in the generator step
            return losses, None
    return losses, inputs


def critic_inputs(
    state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, shard: Shard, *, shared: bool
) -> StepInputs:
    """The samples of the critic step at `state.images`. shared: the generator step uses them, too."""
    x = feed.batch_at(state.images, phase, shard.of).to(state.device)
    make_noise(state, config, "critic noise", shard.begin(phase.batch_size))
    return StepInputs(x, fakes_for_critic(state, config, phase, x, shard, shared=shared))


def inputs_of_last_step(
    state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, mine: Sequence[Shard]
) -> Inputs:
    """The samples of the critic step that was the last one, generated again; moving statistics do not change."""
    state.images -= phase.batch_size
    with statistics_kept(state.G):
        shared = shares_fakes(config)
        inputs = {shard: critic_inputs(state, config, feed, phase, shard, shared=shared) for shard in mine}
    state.images += phase.batch_size
    return inputs


def critic_step(
    state: TrainState,
    config: ResolvedConfig,
    feed: Feed,
    phase: Phase,
    mine: Sequence[Shard],
    *,
    penalize: bool,
    shared: bool,
) -> tuple[dict[str, Tensor], Inputs]:
    """One optimizer step on the critic loss. Returns the parts of the loss, and the samples.

    mine: the shards of this worker. shared: the generator step uses the samples, too.
    """
    inputs: Inputs = {}
    draw = stream(config.train.seed, "between", state.images)
    u, loss = torch.rand(phase.batch_size, generator=draw), annealing.loss_at(config, state.images)

    def losses_of(shard: Shard) -> dict[str, Tensor]:
        inputs[shard] = critic_inputs(state, config, feed, phase, shard, shared=shared)
        x, y, begin = inputs[shard].x, inputs[shard].y, shard.begin(phase.batch_size)
        view = state.critic_view(phase, state.augment(config, "critic augmentation", begin))
        return critic_loss(view, x, y, shard.of(u).to(state.device), loss, penalize=penalize)

    if config.loss.adversarial == "none":
        if config.shards == 1:
            inputs = {shard: critic_inputs(state, config, feed, phase, shard, shared=shared) for shard in mine}
        else:  # the fakes are made in the generator step, which averages the statistics of batch norm
            reals = {shard: feed.batch_at(state.images, phase, shard.of).to(state.device) for shard in mine}
            inputs = {shard: StepInputs(x, x) for shard, x in reals.items()}
        nothing = torch.zeros((), device=state.device)
        return dict.fromkeys(("critic_loss", "d_real", "d_fake", "score_gap"), nothing), inputs
    losses = shards.backward(mine, losses_of, "critic_loss", state.opt_D, (state.G, state.D), state.workers)
    _step(state.opt_D, _lr(config, state, phase), annealing.betas_at(config, state.images))
    return losses, inputs


def shares_fakes(config: ResolvedConfig) -> bool:
    """Whether the generator step reuses the fakes of the critic step. It does not if they use moving statistics."""
    makes_none = config.loss.adversarial == "none" and config.shards > 1
    return config.train.shared_fakes and config.train.critic_fakes == "train" and not makes_none


def fakes_for_critic(
    state: TrainState, config: ResolvedConfig, phase: Phase, x: Tensor, shard: Shard, *, shared: bool
) -> Tensor:
    """G(z) for a critic step, with batch statistics, or with critic_fakes: eval with moving ones. (N, C, *S)."""
    state.G.train(config.train.critic_fakes == "train")
    with torch.set_grad_enabled(shared):
        y: Tensor = state.G(inputs_at(state, config, phase, "latents", x, shard), phase.stage, phase.alpha)
    state.G.train()
    return y


def train_generator(state: TrainState, config: ResolvedConfig, phase: Phase, inputs: Inputs) -> dict[str, Tensor]:
    """One generator step with the critic frozen. Returns the loss and its parts."""
    state.D.requires_grad_(False)
    loss = annealing.loss_at(config, state.images)

    def losses_of(shard: Shard) -> dict[str, Tensor]:
        x, y, begin = inputs[shard].x, inputs[shard].y, shard.begin(phase.batch_size)
        if not shares_fakes(config) or shard.count > 1:  # with one shard, the noise of the critic step goes on
            make_noise(state, config, "generator noise", begin)
        if not shares_fakes(config):
            y = state.G(inputs_at(state, config, phase, "generator latents", x, shard), phase.stage, phase.alpha)
        view = state.critic_view(phase, state.augment(config, "generator augmentation", begin))
        return generator_loss(view, x, y, loss, state.features)

    losses = shards.backward([*inputs], losses_of, "generator_loss", state.opt_G, (state.G, state.D), state.workers)
    lr = _lr(config, state, phase) * config.optimizer.generator_lr_factor
    _step(state.opt_G, lr, annealing.betas_at(config, state.images))
    state.D.requires_grad_(True)
    state.generator_steps += 1
    return losses


def generator_loss(
    view: CriticView, x: Tensor, y: Tensor, config: LossConfig, features: FeatureNetwork | None = None
) -> dict[str, Tensor]:
    """L_G = mean[ g(d_x, d_y) ] + w (moments of y against those of x) + w (features of y against those of x).

    x and y: (N, C, *S). The keys are the names in the log. The last two terms are optional.
    """
    losses: dict[str, Tensor] = {}
    total = adversarial(view, x, y, config) if config.adversarial != "none" else y.new_zeros(())
    if (moments := config.moments) is not None:
        means, variances = moment_distance(*(moment_inputs(side, moments.over, moments.pool) for side in (x, y)))
        losses["moments"] = moments.weight * (means + variances)
        total = total + losses["moments"]
    if config.perceptual is not None and features is not None:
        losses["perceptual"] = config.perceptual.weight * features.distance(x, y)
        total = total + losses["perceptual"]
    return {"generator_loss": total, **losses}


def adversarial(view: CriticView, x: Tensor, y: Tensor, config: LossConfig) -> Tensor:
    """mean[ g(d_x, d_y) ], the adversarial loss of the generator. (N, C, *S) twice -> ().

    With top_k, the mean over the fakes with the highest scores (Sinha et al. 2020, arXiv:2002.06224).
    """
    loss = ADVERSARIAL[config.adversarial]
    d_y = view.scores(y)
    d_x = d_y.detach()
    if loss.generator_needs_reals:
        with torch.no_grad():
            d_x = view.scores(x)
    losses = loss.generator(d_x, d_y)
    if config.top_k < 1:
        losses = losses[d_y.detach().topk(max(1, math.ceil(config.top_k * len(d_y) - 1e-9))).indices]
    return losses.mean()


def inputs_at(state: TrainState, config: ResolvedConfig, phase: Phase, name: str, x: Tensor, shard: Shard) -> Tensor:
    """Inputs of the generator: latents from a named random stream, (N, z_dim); or the reals x, downscaled."""
    if state.G.enlarges:
        return downscale(x, state.G.enlarges)
    draw = stream(config.train.seed, name, state.images)
    return shard.of(Prior.of(config.network).draw(phase.batch_size, draw)).to(state.device)


def make_noise(state: TrainState, config: ResolvedConfig, name: str, offset: int = 0) -> None:
    """Seed torch's global generator, which dropout uses, from the number of images, if a network has dropout."""
    if state.has_dropout:
        torch.manual_seed(stream(config.train.seed, name, state.images + offset).initial_seed())


def _lr(config: ResolvedConfig, state: TrainState, phase: Phase) -> float:
    return phase.lr * annealing.lr_factor(config, state.images, config.train.duration)


def _step(optimizer: torch.optim.Adam, lr: float, betas: tuple[float, float]) -> None:
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = lr * group["factor"], betas
    optimizer.step()
