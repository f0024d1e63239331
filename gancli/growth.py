"""The schedule of progressive growing, as a pure function of the number of images shown to the critic."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Self

from gancli.config import Config, ResolvedConfig
from gancli.config.family import Sizes
from gancli.config.schema import StageConfig


@dataclass(frozen=True)
class Phase:
    """Settings of training at one position: stage, fade-in, batch size and learning rate."""

    stage: int  # index of the resolution, from 0
    height: int  # pixels
    width: int  # pixels
    alpha: float  # weight of the new, finer path: 0 at the start of a fade, 1 at its end
    batch_size: int  # images per critic step
    lr: float  # learning rate before any decay
    segment: int  # index of the fade or stable period, from 0; the Adam state is reset when it changes
    fading: bool  # whether the stage is fading in

    def with_batch(self, batch_size: int) -> "Phase":
        """The same with another batch size."""
        return replace(self, batch_size=batch_size)


@dataclass(frozen=True)
class Segment:
    """One fade or one stable period."""

    start: int  # position, in images
    length: int  # in images; the last segment has no end
    stage: int
    fading: bool


@dataclass(frozen=True)
class Schedule:
    """The segments of a run, in order.

    Each resolution has a fade and a stable period; the first has no fade (Karras et al. 2018,
    arXiv:1710.10196, section 2). A run that starts at a later resolution starts with its fade, unless all
    its stages were already trained by another run (transfer).
    """

    segments: tuple[Segment, ...]
    phases: tuple[Phase, ...]  # one per segment, with its final alpha

    @classmethod
    def of(cls, config: ResolvedConfig) -> Self:
        """The schedule of a run."""
        return cls.planned(config, config.sizes)

    @classmethod
    def planned(cls, config: Config, sizes: Sizes) -> Self:
        """The schedule of a config. sizes: (height, width) of the samples at each stage."""
        segments: list[Segment] = []
        at = 0
        for stage, fading, length in _plan(config, sizes):
            if length > 0:
                segments.append(Segment(at, length, stage, fading))
                at += length
        if not segments or segments[-1].stage != config.network.stages - 1:
            segments.append(Segment(at, 0, config.network.stages - 1, False))
        return cls(tuple(segments), tuple(_phase(config, sizes, s, i) for i, s in enumerate(segments)))

    @property
    def total(self) -> int:
        """Length of the whole schedule, in images."""
        return self.segments[-1].start + self.segments[-1].length

    @property
    def full_size_at(self) -> int:
        """Position at which the last resolution has faded in, in images."""
        last = self.segments[-1]
        return last.start + (last.length if last.fading else 0)

    def phase_at(self, images: int) -> Phase:
        """The phase after `images` images. Past the end, the last phase continues."""
        index = bisect_right([s.start for s in self.segments], images) - 1
        segment, phase = self.segments[index], self.phases[index]
        if not segment.fading:
            return phase
        alpha = min(1.0, (images - segment.start) / segment.length)
        return replace(phase, alpha=alpha)


def _plan(config: Config, sizes: Sizes) -> list[tuple[int, bool, int]]:
    """(stage, whether it is a fade, images) of each segment, including empty ones."""
    plan, first = [], _first_stage(config, sizes)
    trained = config.origin is not None and config.origin.verb == "transfer"
    for stage in range(first, config.network.stages):
        fade, stable = lengths(config, sizes[stage][0])
        fades = stage > first or (stage > 0 and not trained)
        plan += [(stage, True, fade if fades else 0), (stage, False, stable)]
    return plan


def lengths(config: Config, height: int) -> tuple[int, int]:
    """The lengths of the fade and of the stable period at a height in px, in images, scaled.

    Scaling makes no period shorter than one batch: it would be skipped.
    """
    growth, own = config.growth, config.growth.at.get(height, StageConfig())
    written = growth.fade if own.fade is None else own.fade, growth.stable if own.stable is None else own.stable
    least = own.batch_size or config.train.batch_size
    fade, stable = (max(min(least, length), round(length * growth.scale)) for length in written)
    return fade, stable


def unscaled(config: ResolvedConfig) -> ResolvedConfig:
    """The same schedule with scale 1: the lengths of each stage are written as they are."""
    if config.growth.scale == 1:
        return config
    at = {}
    for height, _ in config.sizes:
        fade, stable = lengths(config, height)
        at[height] = config.growth.at.get(height, StageConfig()).model_copy(update={"fade": fade, "stable": stable})
    return config.model_copy(update={"growth": config.growth.model_copy(update={"at": at, "scale": 1.0})})


def _first_stage(config: Config, sizes: Sizes) -> int:
    heights = [height for height, _ in sizes]
    return 0 if config.growth.start_at is None else heights.index(config.growth.start_at)


def _phase(config: Config, sizes: Sizes, segment: Segment, index: int) -> Phase:
    train = config.train
    height, width = sizes[segment.stage]
    own = config.growth.at.get(height)
    return Phase(
        stage=segment.stage,
        height=height,
        width=width,
        alpha=1.0,
        batch_size=train.batch_size if own is None or own.batch_size is None else own.batch_size,
        lr=train.lr if own is None or own.lr is None else own.lr,
        segment=index,
        fading=segment.fading,
    )


def resets_optimizer(config: Config, before: Phase, after: Phase) -> bool:
    """Whether to reset the Adam state between two phases. The reference does so at the start and end of each fade."""
    if before.segment == after.segment or config.optimizer.reset == "never":
        return False
    return config.optimizer.reset == "both" or after.stage != before.stage


def images_of(config: Config, schedule: Schedule, generator_steps: int) -> int:
    """Number of images shown to the critic in `generator_steps` generator steps and their critic steps."""
    images = 0
    for step in range(generator_steps):
        images += critic_steps(config, step) * schedule.phase_at(images).batch_size
    return images


def critic_steps_before(config: Config, generator_steps: int) -> int:
    """Number of critic steps before those of the next generator step."""
    steps = config.train.critic_steps
    boosted = min(steps.first, generator_steps)
    if steps.every > 0:  # multiples of `every` from `first` on
        boosted += -(-generator_steps // steps.every) - -(-boosted // steps.every)
    return generator_steps * steps.base + boosted * (steps.boost - steps.base)


def critic_steps(config: Config, generator_steps: int) -> int:
    """Number of critic steps before the next generator step."""
    steps = config.train.critic_steps
    boosted = generator_steps < steps.first or (steps.every > 0 and generator_steps % steps.every == 0)
    return steps.boost if boosted else steps.base
