"""What keeps the critic smooth: pure functions, per image. They take the critic's scores, never the critic."""

import torch
from torch import Tensor


def squared_gradients(score: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
    """|grad_x D(x)|^2 per sample, for every batch of images. Shapes (), (N, C, *S) ... -> (N,) ...

    Zero-centred penalty of Mescheder et al. 2018, arXiv:1801.04406: R1 on real images, R2 on
    generated ones. `score` is the sum of all scores (a minibatch-std layer ties the samples of a
    group together, so the sum is what is differentiated); `images` must require grad.
    """
    gradients = torch.autograd.grad(score, images, create_graph=True)
    return tuple(g.float().flatten(1).square().sum(dim=1) for g in gradients)


def gradient_penalty(scores: Tensor, images: Tensor, target: float = 1.0) -> Tensor:
    """(|grad_x D(x)| - target)^2 per sample. Shapes (N,), (N, C, *S) -> (N,).

    One-centred penalty of Gulrajani et al. 2017, arXiv:1704.00028, taken at `between(x, y, u)`.
    The 1e-12 keeps the root's own gradient finite where the critic is flat.
    """
    (square,) = squared_gradients(scores.sum(), images)
    slope = (square + 1e-12).sqrt()
    return (slope - target).square()


def between(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """x + u (y - x), one u a sample, cut off from the graph. Shapes (N, ...), (N, ...), (N,) -> (N, ...)."""
    u = u.view(-1, *(1 for _ in x.shape[1:]))
    return torch.lerp(x.detach(), y.detach(), u.to(x.dtype)).requires_grad_()


def drift(d_x: Tensor) -> Tensor:
    """D(x)^2 per real sample: a Wasserstein critic is free to add any constant, and would wander. (N,) -> (N,)."""
    return d_x.square()
