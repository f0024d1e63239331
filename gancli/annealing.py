"""Settings that change during training: pure functions of the number of images.

Source: Huang et al. 2024, arXiv:2501.05441 (R3GAN), for the cosine schedules of learning rate, beta2, penalties,
augmentation and EMA.
"""

import math

from gancli.config import Config, ResolvedConfig
from gancli.config.schema import Cosine, LossConfig


def value(curve: Cosine | None, images: int, duration: int) -> float:
    """start + (1 - cos(pi t)) / 2 (end - start), with t from 0 to 1 over the length of the curve; 1 without a curve."""
    if curve is None:
        return 1.0
    done = min(1.0, images / (curve.over * duration))
    return curve.start + (1 - math.cos(math.pi * done)) / 2 * (curve.end - curve.start)


def lr_factor(config: Config, images: int, duration: int) -> float:
    """Learning rate multiplier: 1, then linear decay over the last part of the run; times the cosine, if any."""
    annealed = value(config.anneal.lr, images, duration)
    decay = config.optimizer.decay
    if decay is None or decay.share == 0:
        return annealed
    left = (1 - images / duration) / decay.share  # 1 at the start of the decay, 0 at the end
    return annealed * (decay.to + (1 - decay.to) * min(1.0, max(0.0, left)))


def stretched(config: ResolvedConfig, images: int, durations: tuple[int, int]) -> list[str]:
    """The names of the curves that have other values after a number of images if the duration changes."""
    curves = {name: getattr(config.anneal, name) for name in type(config.anneal).model_fields}
    values = {name: [value(curve, images, duration) for duration in durations] for name, curve in curves.items()}
    return [name for name, (old, new) in values.items() if not math.isclose(old, new)]


def loss_at(config: ResolvedConfig, images: int) -> LossConfig:
    """The loss config after a number of images, with penalties and top_k annealed."""
    loss, anneal, duration = config.loss, config.anneal, config.train.duration
    if anneal.penalty is None and anneal.top_k is None:
        return loss
    penalty, kept = value(anneal.penalty, images, duration), value(anneal.top_k, images, duration)
    changed = {name: getattr(loss, name) * penalty for name in ("r1", "r2", "gradient_penalty")}
    return loss.model_copy(update={**changed, "top_k": min(1.0, loss.top_k * kept)})


def betas_at(config: ResolvedConfig, images: int) -> tuple[float, float]:
    """The betas of Adam after a number of images."""
    first, second = config.optimizer.betas
    curve = config.anneal.beta2
    return first, second if curve is None else value(curve, images, config.train.duration)
