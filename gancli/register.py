"""Register custom losses and network families, then use them by name in a preset.

    import gancli
    gancli.register_loss("my-loss", critic=..., generator=...)      # loss.adversarial: my-loss
    gancli.register_family(MyConfig, generator=..., critic=...)     # network.family: the Literal in MyConfig

A process must register them before it opens such a preset or checkpoint. See docs/extending.md for an example.
"""

from collections.abc import Callable
from typing import Any, get_args

from gancli.config.family import Family
from gancli.config.networks import FAMILIES
from gancli.config.schema import LOSSES
from gancli.losses import ADVERSARIAL, Adversarial, Loss
from gancli.networks import Critic, Generator
from gancli.networks.build import MAKERS, Makers
from gancli.networks.output import Moments, Shape

BUILT_IN = frozenset(LOSSES | FAMILIES.keys())


def register_loss(name: str, critic: Loss, generator: Loss, *, generator_needs_reals: bool = False) -> None:
    """Register an adversarial loss for `loss.adversarial: name`.

    critic, generator: functions of the scores (d_x, d_y) of reals and fakes, shapes (N,), (N,) -> (N,). Both are
    averaged over the batch and minimized.
    generator_needs_reals: whether the generator loss depends on d_x, which is a constant there.
    A name can be registered again, unless it is built in. Raises ValueError.
    """
    _refuse_built_in(name)
    LOSSES.add(name)
    ADVERSARIAL[name] = Adversarial(critic, generator, generator_needs_reals)


def register_family(
    config: type[Family],
    generator: Callable[[Any, Shape, Moments | None], Generator],
    critic: Callable[[Any, Shape], Critic],
) -> None:
    """Register a network family under the name in `config`: `family: Literal["my-family"]`.

    config: a subclass of `Family`, or of `FixedFamily` for networks of one size; its fields are the keys of a preset.
    generator, critic: build the networks from a config and the shape (C, *S) of one sample at full size; the classes
    derive from `gancli.networks.Generator` and `Critic`. Layers from `gancli.networks.layers` are initialized from the
    seed of the run; other layers initialize themselves. A name can be registered again, unless it is built in.
    Raises ValueError.
    """
    names = get_args(config.model_fields["family"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise ValueError(f"{config.__name__}.family must be a Literal with one string")
    _refuse_built_in(names[0])
    FAMILIES[names[0]] = config
    MAKERS[names[0]] = Makers(generator, critic)


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is built in; choose another name")
