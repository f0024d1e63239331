"""The schedule of progressive growing, as a pure function of the images shown to the critic."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Self

from gancli.config import Config


@dataclass(frozen=True)
class Phase:
    """What training looks like at one image: which stage, how far it has faded in, how large a batch."""

    stage: int  # 0 is the first resolution
    height: int  # pixels
    width: int  # pixels
    alpha: float  # weight of the new, finer path: 0 at the start of a fade, 1 at its end
    batch_size: int  # images per critic step
    lr: float  # of Adam, before any decay
    segment: int  # counts fades and stable times from 0; Adam's memory is cleared where it changes
    fading: bool


@dataclass(frozen=True)
class Segment:
    """One fade or one stable time."""

    start: int  # images
    length: int  # images; the last one goes on for ever
    stage: int
    fading: bool


@dataclass(frozen=True)
class Schedule:
    """The segments of a run, in order.

    At each resolution a fade and a stable time, the first resolution without a fade (Karras et al.
    2018, arXiv:1710.10196, section 2). A run that starts at a later one begins with its fade.
    """

    segments: tuple[Segment, ...]
    phases: tuple[Phase, ...]  # one a segment, with the alpha of its end

    @classmethod
    def of(cls, config: Config) -> Self:
        """The schedule that a config describes."""
        segments: list[Segment] = []
        at = 0
        for stage, fading, length in _plan(config):
            if length > 0:
                segments.append(Segment(at, length, stage, fading))
                at += length
        if not segments or segments[-1].stage != config.network.stages - 1:
            segments.append(Segment(at, 0, config.network.stages - 1, False))
        return cls(tuple(segments), tuple(_phase(config, s, i) for i, s in enumerate(segments)))

    @property
    def total(self) -> int:
        """Images of the whole schedule."""
        return self.segments[-1].start + self.segments[-1].length

    def phase_at(self, images: int) -> Phase:
        """The phase when the critic has seen `images` images; past the end the last one goes on."""
        index = bisect_right([s.start for s in self.segments], images) - 1
        segment, phase = self.segments[index], self.phases[index]
        if not segment.fading:
            return phase
        alpha = min(1.0, (images - segment.start) / segment.length)
        return replace(phase, alpha=alpha)


def _plan(config: Config) -> list[tuple[int, bool, int]]:
    """(stage, is it a fade, images) for every segment, empty ones too."""
    growth, plan = config.growth, []
    for stage in range(_first_stage(config), config.network.stages):
        own = growth.at.get(config.network.size_at(stage)[0])
        fade = growth.fade if own is None or own.fade is None else own.fade
        stable = growth.stable if own is None or own.stable is None else own.stable
        plan += [(stage, True, fade if stage > 0 else 0), (stage, False, stable)]
    return plan


def _first_stage(config: Config) -> int:
    base = config.network.size_at(0)[0]
    return ((config.growth.start_at or base) // base).bit_length() - 1


def _phase(config: Config, segment: Segment, index: int) -> Phase:
    growth = config.growth
    height, width = config.network.size_at(segment.stage)
    own = growth.at.get(height)
    return Phase(
        stage=segment.stage,
        height=height,
        width=width,
        alpha=1.0,
        batch_size=growth.batch_size if own is None or own.batch_size is None else own.batch_size,
        lr=growth.lr if own is None or own.lr is None else own.lr,
        segment=index,
        fading=segment.fading,
    )


def lr_factor(config: Config, images: int, duration: int) -> float:
    """What the learning rate is multiplied by: 1, then falling linearly over the last part of the run."""
    decay = config.optimizer.decay
    if decay is None or decay.share == 0:
        return 1.0
    done = images / duration
    left = (1 - done) / decay.share  # 1 where the fall begins, 0 at the end
    return decay.to + (1 - decay.to) * min(1.0, max(0.0, left))


def resets_optimizer(config: Config, before: Phase, after: Phase) -> bool:
    """Is Adam's memory cleared between two phases? The reference does at the start and end of every fade."""
    if before.segment == after.segment or config.optimizer.reset == "never":
        return False
    return config.optimizer.reset == "both" or after.stage != before.stage


def critic_steps(config: Config, generator_steps: int) -> int:
    """How many critic steps come before the next generator step."""
    steps = config.train.critic_steps
    boosted = generator_steps < steps.first or (steps.every > 0 and generator_steps % steps.every == 0)
    return steps.boost if boosted else steps.base
