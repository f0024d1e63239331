"""Gradient penalties, drift and moment distances. Pure functions of tensors; the critic itself is not an argument."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, avg_pool2d

from gancli.convolution import input_gradients_only


def squared_gradients(score: Tensor, *images: Tensor, pack: int = 1) -> tuple[Tensor, ...]:
    """|grad_x D(x)|^2 per pack of samples, for every batch of images. Shapes (), (N, C, *S) ... -> (N / pack,) ...

    Zero-centered penalty of Mescheder et al. 2018, arXiv:1801.04406: R1 on real images, R2 on
    generated ones. `score` is the sum of all scores (minibatch std makes the scores of a group depend on
    each other, so the sum is differentiated); `images` must require grad.
    """
    with input_gradients_only():
        gradients = torch.autograd.grad(score, images, create_graph=True)
    wide = torch.promote_types(score.dtype, torch.float32)  # sums of bf16 would lose what is small
    return tuple(g.to(wide).reshape(len(g) // pack, -1).square().sum(dim=1) for g in gradients)


def gradient_penalty(scores: Tensor, images: Tensor, target: float = 1.0, pack: int = 1) -> Tensor:
    """(|grad_x D(x)| - target)^2 per pack of samples. Shapes (N / pack,), (N, C, *S) -> (N / pack,).

    One-centered penalty of Gulrajani et al. 2017, arXiv:1704.00028, taken at `between(x, y, u)`.
    The 1e-12 keeps the gradient of the square root finite where the critic is constant.
    """
    (square,) = squared_gradients(scores.sum(), images, pack=pack)
    slope = (square + 1e-12).sqrt()
    return (slope - target).square()


def between(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """x + u (y - x) with one u per sample, detached from the graph. Shapes (N, ...), (N, ...), (N,) -> (N, ...)."""
    u = u.view(-1, *(1 for _ in x.shape[1:]))
    return torch.lerp(x.detach(), y.detach(), u.to(x.dtype)).requires_grad_()


def moment_distance(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(sum_f |mean_N y_f - mean_N x_f|, sum_f |var_N y_f - var_N x_f|). Shapes (N, ...), (M, ...) -> (), ().

    f runs over all features; variances are biased. No gradient flows to x. Moment stabilization adds both to the
    generator loss. `moment_inputs` defines the features.
    """
    x, y = x.detach().float().flatten(1), y.float().flatten(1)
    means = (y.mean(0) - x.mean(0)).abs().sum()
    variances = (y.var(0, correction=0) - x.var(0, correction=0)).abs().sum()
    return means, variances


def moment_inputs(x: Tensor, over: str, pool: int) -> Tensor:
    """The features over which moments are computed. (N, C, *S) -> (N', ...).

    feature: each value is a feature. channel: all positions are samples of their channel, so that there are
    only C features. pooled: each mean over a block of side `pool` is a feature, less noisy than single values.
    """
    if over == "channel" and x.ndim > 2:
        return x.movedim(1, -1).flatten(0, -2)
    if over == "pooled" and x.ndim > 2:
        sides = [min(pool, side) for side in x.shape[2:]]
        return avg_pool1d(x, sides) if x.ndim == 3 else avg_pool2d(x, sides)
    return x


def drift(d_x: Tensor) -> Tensor:
    """D(x)^2 per real sample. Keeps the scores of a Wasserstein critic, which may drift, near 0. (N,) -> (N,)."""
    return d_x.square()
