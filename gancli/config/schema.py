"""What a preset may say: frozen, typed, strict models. All durations are in images."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, NonNegativeInt, SerializeAsAny, model_validator

from gancli.config.family import MAX_VALUES, Family, Size, Sizes
from gancli.config.fields import Beta, Count, Images, Number, Positive, Rate, Share, Strict, Weight, no_bool

LOSSES = {  # names of games; `gancli.register_loss` adds to them
    "wasserstein",
    "non-saturating",
    "hinge",
    "least-squares",
    "relativistic",
    "none",  # no critic, for networks that have another aim
}


def known_loss(name: str) -> str:
    """The name of a game that there is. Raises ValueError."""
    if name not in LOSSES:
        raise ValueError(f"no such loss; choose one of {', '.join(sorted(LOSSES))}")
    return name


class DataConfig(Strict):
    """Where the samples come from and how they are brought to one size."""

    source: str | None = None  # used when no DATA is given; builtin:NAME, folder, zip, idx.gz, npy
    kind: Literal["auto", "image", "signal", "points"] = "auto"
    channels: Literal[1, 3, 4] | None = None  # None: 1 if every picture is gray, else 3
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how another aspect is brought to ours
    mirror: bool = False  # flip half of the pictures left to right
    held_out: Annotated[float, Field(ge=0, lt=1), BeforeValidator(no_bool)] = (
        0.05  # never trained on; at most 1,000, none under 500 samples
    )


class MomentsConfig(Strict):
    """Moment stabilization: the generator is pulled to the batch's own means and variances."""

    weight: Weight = 0.1
    over: Literal["feature", "channel", "pooled"] = "feature"  # each value; each channel; means over pool x pool blocks
    pool: Count = 4  # side of a block, with over: pooled


class PerceptualConfig(Strict):
    """For networks that enlarge pictures: how far features of the output are from those of the original."""

    weight: Weight = 1.0
    layers: dict[str, Weight] = Field({"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0})  # of VGG-16, with weights
    features: str | None = None  # a file with VGG-16's weights, a state dict; None: fixed random weights
    digest: str | None = None  # of that file; filled in when a run starts


class LossConfig(Strict):
    """The game, and what keeps the critic smooth."""

    adversarial: Annotated[str, AfterValidator(known_loss)] = "wasserstein"
    gradient_penalty: Weight = 0.0  # WGAN-GP's lambda; the paper uses 10
    r1: Weight = 0.0  # gamma of gamma/2 |grad D(real)|^2
    r2: Weight = 0.0  # gamma of gamma/2 |grad D(fake)|^2
    drift: Weight = 0.0  # weight of D(real)^2; the paper uses 0.001
    penalty_interval: Count = 1  # lazy: gradient penalty, R1 and R2 on every n-th critic step, weighted n times
    moments: MomentsConfig | None = None
    perceptual: PerceptualConfig | None = None


class StageConfig(Strict):
    """What one resolution does differently. Left out: as `growth` and `train` say."""

    fade: Images | None = None  # images
    stable: Images | None = None  # images
    batch_size: Count | None = None  # of train.batch_size
    lr: Rate | None = None  # of train.lr


class GrowthConfig(Strict):
    """The schedule: at each resolution a fade (not at the first), then a stable time, in images."""

    fade: Images = 0
    stable: Images = 0
    at: dict[int, StageConfig] = Field(default_factory=dict)  # exceptions, by height in pixels
    start_at: Count | None = None  # height of the first stage; those before it came trained. None: the base


class LrDecay(Strict):
    """Learning rates fall linearly to `to` times their value over the last `share` of the images."""

    share: Share = 0.3
    to: Share = 0.05


class OptimizerConfig(Strict):
    """Adam, for both networks. The learning rate is `train.lr`."""

    betas: tuple[Beta, Beta] = (0.0, 0.99)
    eps: Positive = 1e-8
    generator_lr_factor: Positive = 1.0  # the generator's learning rate over the critic's
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

    seed: Annotated[NonNegativeInt, BeforeValidator(no_bool)] = 0
    batch_size: Count
    lr: Rate = 0.001
    duration: Count | None = None  # images shown to the critic, in all; None: the whole schedule, or one of the next
    epochs: Count | None = None  # as a source says it: becomes `duration` when a run starts, if that is left out
    generator_steps: Count | None = None  # likewise
    critic_steps: CriticSteps = CriticSteps()
    shared_fakes: bool = True  # the generator's step judges the fakes of the last critic step again
    critic_fakes: Literal["train", "eval"] = "train"  # batch norm in the critic's fakes: batch or moving statistics
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
    """A whole preset, as written. `resolve` makes it a ResolvedConfig once the data is known."""

    preset: str = "custom"
    data: DataConfig = DataConfig()
    network: SerializeAsAny[InstanceOf[Family]]  # presets.build reads it by its family
    loss: LossConfig = LossConfig()
    growth: GrowthConfig = GrowthConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig
    origin: Origin | None = None

    @model_validator(mode="after")
    def _stages_exist(self) -> Self:
        heights = self.network.heights
        for height in [*self.growth.at, self.growth.start_at]:
            if height is not None and height not in heights:
                raise ValueError(f"growth speaks of {height} px, but the network has {list(heights)}")
        return self


class ResolvedData(DataConfig):
    """The data section of a run: its source is known."""

    source: str


class ResolvedTrain(TrainConfig):
    """The train section of a run: its length is known, and what `auto` means."""

    duration: Count
    precision: Literal["fp32", "bf16"]


class SampleFacts(Strict):
    """What the data itself has settled. `resolve` fills it in; no preset says any of it."""

    kind: Literal["image", "signal", "points"]
    shape: Annotated[
        tuple[Size, ...], Field(min_length=1, max_length=3)
    ]  # (C, *S) of one sample, as the networks see it
    fingerprint: str  # of the samples' content
    center: Number = 0.0  # signals and points: (value - center) / scale is what the networks see
    scale: Positive = 1.0
    mean: tuple[Number, ...] | None = None  # per channel, as the networks see it; for a final layer that starts there
    std: tuple[Number, ...] | None = None


class ResolvedConfig(Config):
    """The config of a run: nothing that training needs is left open."""

    data: ResolvedData
    train: ResolvedTrain
    samples: SampleFacts

    @property
    def sizes(self) -> Sizes:
        """(height, width) of every stage; (length, 1) of signals, (dimensions, 1) of points."""
        return self.network.sizes(self.samples.shape)

    @property
    def full_height(self) -> int:
        """The first size of a full-size sample: pixels, length or dimensions."""
        return self.sizes[-1][0]

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of the pictures; None for signals and points."""
        return self.sizes[-1] if self.samples.kind == "image" else None

    @model_validator(mode="after")
    def _shape_fits(self) -> Self:
        shape, wanted = self.samples.shape, self.network.picture_size
        if len(shape) != {"image": 3, "signal": 2, "points": 1}[self.samples.kind] or math.prod(shape) > MAX_VALUES:
            raise ValueError(f"{self.samples.kind} data of shape {shape}")
        if self.samples.kind == "image" and (shape[0] not in (1, 3, 4) or wanted not in (None, shape[1:])):
            raise ValueError(f"samples of shape {shape} for networks of {wanted} px")
        return self
