"""Losses and families of networks of one's own, without a fork: register them, then name them in a preset.

    import gancli
    gancli.register_loss("my-loss", critic=..., generator=...)      # loss.adversarial: my-loss
    gancli.register_family(MyConfig, generator=..., critic=...)     # network.family: the Literal in MyConfig

Whatever opens such a preset or checkpoint has to register first. docs/extending.md has a whole example.
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
    """Make a game known as `loss.adversarial: name`. Both sides are minimized; their mean over the batch is taken.

    critic, generator: of the scores (d_x, d_y) of reals and fakes, shapes (N,), (N,) -> (N,).
    generator_needs_reals: does the generator's side depend on d_x? It is a constant there.
    A name may be registered again, but not one of gancli's own. Raises ValueError.
    """
    _refuse_built_in(name)
    LOSSES.add(name)
    ADVERSARIAL[name] = Adversarial(critic, generator, generator_needs_reals)


def register_family(
    config: type[Family],
    generator: Callable[[Any, Shape, Moments | None], Generator],
    critic: Callable[[Any, Shape], Critic],
) -> None:
    """Make a family of networks known by the name in `config`: `family: Literal["my-family"]`.

    config: a subclass of `Family`, or of `FixedFamily` for networks of one size; its fields are the keys of a preset.
    generator, critic: make the networks of a config and of the shape (C, *S) of one sample at full size; they derive
    from `gancli.networks.Generator` and `Critic`. Weights made of `gancli.networks.layers` are drawn from the run's
    seed; others stay as they were made. A name may be registered again, but not one of gancli's own. Raises ValueError.
    """
    names = get_args(config.model_fields["family"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise ValueError(f"{config.__name__}.family must be a Literal of one name")
    _refuse_built_in(names[0])
    FAMILIES[names[0]] = config
    MAKERS[names[0]] = Makers(generator, critic)


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is one of gancli's own; choose another name")
