"""What a preset may say: frozen, typed, strict models. All durations are in images."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

MAX_RESOLUTION = 2048  # also the reader's bound: a hostile header may not ask for more memory
MAX_CHANNELS = 8192


def _no_bool(value: Any) -> Any:
    """`true` is not 1: a boolean where a number belongs is a mistake."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number is needed")
    return value


Count = Annotated[PositiveInt, BeforeValidator(_no_bool)]
Images = Annotated[NonNegativeInt, BeforeValidator(_no_bool)]
Weight = Annotated[NonNegativeFloat, BeforeValidator(_no_bool), BeforeValidator(_finite)]
Rate = Annotated[PositiveFloat, Field(le=10), BeforeValidator(_no_bool), BeforeValidator(_finite)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_bool), BeforeValidator(_finite)]
Positive = Annotated[PositiveFloat, BeforeValidator(_no_bool), BeforeValidator(_finite)]
Beta = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_no_bool)]
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS), BeforeValidator(_no_bool)]


class Strict(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Strict):
    """Where the samples come from and how they are brought to one size."""

    source: str | None = None  # used when no DATA is given; builtin:NAME, folder, zip, idx.gz, npy
    kind: Literal["auto", "image", "signal", "points"] = "auto"
    channels: Literal[1, 3, 4] | None = None  # None: 1 if every picture is grey, else 3
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how another aspect is brought to ours
    mirror: bool = False  # flip half of the pictures left to right
    held_out: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_no_bool)] = (
        0.05  # never trained on; at most 1,000, none under 500 samples
    )
    fingerprint: str | None = None  # of the samples' content; filled in when a run starts


class MinibatchStd(Strict):
    """The layer that shows the critic how much its samples differ."""

    group_size: Count | Literal["all"] = 4
    statistic: Literal["position", "channel"] = "position"  # deviation at each position (paper), or of each channel
    feature_groups: Count = 1


class NetworkConfig(Strict):
    """The pair of networks. Every technique of the paper is a switch."""

    family: Literal["progressive"] = "progressive"
    resolution: Annotated[int, Field(ge=4, le=MAX_RESOLUTION), BeforeValidator(_no_bool)]  # height of the last stage
    base: tuple[Annotated[int, Field(ge=2, le=64)], Annotated[int, Field(ge=2, le=64)]] = (
        4,
        4,
    )  # first stage
    latent: Channels = 512
    channels: tuple[Channels, ...] | None = None  # one a stage; None: min(channel_base / 2^stage, max_channels)
    channel_base: Count = 8192
    max_channels: Channels = 512
    image_channels: Literal[1, 3, 4] | None = None  # None: as the data has
    equalized_lr: bool = True
    pixel_norm: bool = True  # generator only, after each activation
    normalize_latent: bool = True
    minibatch_std: MinibatchStd | None = MinibatchStd()
    fused_down: bool = True  # convolution and 2x2 mean as one; activation after the pool, as the reference has it

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        height, last = self.base[0], self.resolution
        stages = 1
        while height < last:
            height, stages = height * 2, stages + 1
        if height != last:
            raise ValueError(f"resolution {last} is not {self.base[0]} doubled some number of times")
        if self.channels is not None and len(self.channels) != stages:
            raise ValueError(f"channels needs {stages} numbers, one a stage from {self.base[0]} to {last} px")
        return self

    @property
    def stages(self) -> int:
        """How many resolutions there are, the first included."""
        return (self.resolution // self.base[0]).bit_length()

    def size_at(self, stage: int) -> tuple[int, int]:
        """(height, width) of the pictures of a stage, counted from 0."""
        return self.base[0] << stage, self.base[1] << stage

    def width_of(self, stage: int) -> int:
        """Channels of a stage, counted from 0 (METHODS counts from 1, hence the + 1)."""
        if self.channels is not None and stage < len(self.channels):
            return self.channels[stage]
        return max(1, min(self.channel_base >> (stage + 1), self.max_channels))


class LossConfig(Strict):
    """The game, and what keeps the critic smooth."""

    adversarial: Literal["wasserstein", "non-saturating", "relativistic"] = "wasserstein"
    gradient_penalty: Weight = 0.0  # WGAN-GP's lambda; the paper uses 10
    r1: Weight = 0.0  # gamma of gamma/2 |grad D(real)|^2
    r2: Weight = 0.0  # gamma of gamma/2 |grad D(fake)|^2
    drift: Weight = 0.0  # weight of D(real)^2; the paper uses 0.001
    penalty_every: Count = 1  # lazy: gradient penalty, R1 and R2 on every n-th critic step, weighted n times


class StageConfig(Strict):
    """What one resolution does differently. Left out: as the other stages."""

    fade: Images | None = None  # images
    stable: Images | None = None  # images
    batch_size: Count | None = None
    lr: Rate | None = None


class GrowthConfig(Strict):
    """The schedule: at each resolution a fade (not at the first), then a stable time, in images."""

    fade: Images
    stable: Images
    batch_size: Count
    lr: Rate = 0.001
    at: dict[int, StageConfig] = {}  # exceptions, by height in pixels
    start_at: Count | None = None  # height of the first stage; those before it came trained. None: the base


class LrDecay(Strict):
    """Learning rates fall linearly to `to` times their value over the last `share` of the images."""

    share: Share = 0.3
    to: Share = 0.05


class OptimizerConfig(Strict):
    """Adam, for both networks. Rates stand in `growth`, since they belong to a resolution."""

    betas: tuple[Beta, Beta] = (0.0, 0.99)
    eps: Positive = 1e-8
    generator_lr: Positive = 1.0  # generator's rate as a multiple of the critic's
    reset: Literal["both", "start", "never"] = "both"  # Adam's memory cleared: at both ends of a fade, at its start
    decay: LrDecay | None = None


class CriticSteps(Strict):
    """Critic steps per generator step: `base`, or `boost` for the first few and on every n-th."""

    base: Count = 1
    boost: Count = 1
    first: Images = 0  # generator steps
    every: Images = 0  # generator steps; 0: never again


class TrainConfig(Strict):
    """How long and how hard to train. All durations are in images, never in steps."""

    seed: Annotated[NonNegativeInt, BeforeValidator(_no_bool)] = 0
    duration: Count | None = None  # images shown to the critic, in all; None: the whole schedule
    critic_steps: CriticSteps = CriticSteps()
    shared_fakes: bool = True  # the generator's step judges the fakes of the last critic step again
    ema_half_life: Images = 10_000  # images; 0: no averaging
    ema_ramp: Share = 0.05  # the half-life is never longer than this share of the images shown
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto is fp32
    tick_every: Count = 1_000  # images between two lines of the log
    sample_every: Images = 10_000  # images between two pictures; 0: only at the end
    checkpoint_every: Images = 50_000  # images; 0: only by time and at the end
    checkpoint_minutes: Positive = 10.0
    keep: Count = 3  # checkpoints


class Origin(Strict):
    """Where a run's first weights came from: another checkpoint, by its digest."""

    verb: Literal["grow", "transfer"]
    checkpoint: str  # path, for people
    digest: str  # blake2b of the file
    images: Images  # that its weights had been trained on, in all runs before


class Config(Strict):
    """A whole preset. `resolve` fills what depends on the data."""

    preset: str = "custom"
    data: DataConfig = DataConfig()
    network: NetworkConfig
    loss: LossConfig = LossConfig()
    growth: GrowthConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    origin: Origin | None = None

    @model_validator(mode="after")
    def _stages_exist(self) -> Self:
        heights = [self.network.size_at(stage)[0] for stage in range(self.network.stages)]
        for height in [*self.growth.at, self.growth.start_at]:
            if height is not None and height not in heights:
                raise ValueError(f"growth speaks of {height} px, but the network has {heights}")
        return self
