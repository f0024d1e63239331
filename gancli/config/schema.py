"""Config models of a preset: frozen, typed, strict. All durations are in images unless stated otherwise.

The file is long because all keys of a preset are in one place.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, SerializeAsAny, model_validator

from gancli.config.family import MAX_VALUES, Family, Pixels, Size, Sizes
from gancli.config.fields import (
    MAX_SEED,
    Batch,
    Beta,
    Count,
    Factor,
    Images,
    Number,
    Positive,
    Rate,
    Share,
    Strict,
    Weight,
    no_bool,
)
from gancli.results import printable

LOSSES = {  # names of adversarial losses; `gancli.register_loss` adds to them
    "wasserstein",
    "non-saturating",
    "hinge",
    "least-squares",
    "relativistic",
    "none",  # no critic, for networks with another loss
}


Seed = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(no_bool)]
Minutes = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), BeforeValidator(no_bool)]  # up to two years
Epochs = Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(no_bool)]
Steps = Annotated[int, Field(ge=1, le=10_000_000), BeforeValidator(no_bool)]  # each is computed when a run starts
HeldOut = Annotated[float, Field(ge=0, lt=1), BeforeValidator(no_bool)]


def known_loss(name: str) -> str:
    """The name, if it is a known adversarial loss. Raises ValueError."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss; use one of {', '.join(sorted(LOSSES))}")
    return name


class DataConfig(Strict):
    """Source of the samples, and how they are converted to one size."""

    source: str | None = None  # default for DATA: builtin:NAME, folder, zip, tar, npy, npz or idx file
    kind: Literal["auto", "image", "signal", "points"] = "auto"  # expected kind of the data; auto: detect it
    channels: Literal[1, 3, 4] | None = None  # of images; None: 1 if all are gray, else 3
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how to fit images of another aspect ratio
    mirror: bool = False  # flip each image left to right with probability 1/2
    held_out: HeldOut = 0.05  # fraction not trained on; at most 1,000 samples, none if there are fewer than 500


class MomentsConfig(Strict):
    """Moment stabilization: match the means and variances of the real batch in the generator loss."""

    weight: Weight = 0.1  # of the moment distance in the generator loss
    over: Literal["feature", "channel", "pooled"] = "feature"  # per value, per channel, or per pool x pool block
    pool: Count = 4  # side of a block, for over: pooled


class PerceptualConfig(Strict):
    """Perceptual loss of super-resolution: distance between VGG-16 features of the output and of the original."""

    weight: Weight = 1.0  # of the perceptual loss in the generator loss
    layers: dict[str, Weight] = Field({"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0})  # VGG-16 layers: weights
    features: str | None = None  # path of a VGG-16 state dict; None: fixed random weights
    digest: str | None = None  # digest of that file; filled in when a run starts


class LossConfig(Strict):
    """Adversarial loss, penalties and additional losses."""

    adversarial: Annotated[str, AfterValidator(known_loss)] = (
        "wasserstein"  # the adversarial loss: LOSSES, or a registered one
    )
    gradient_penalty: Weight = 0.0  # lambda of WGAN-GP; the paper uses 10; 0: off
    r1: Weight = 0.0  # gamma of the R1 penalty gamma/2 |grad D(real)|^2; 0: off
    r2: Weight = 0.0  # gamma of the R2 penalty gamma/2 |grad D(fake)|^2; 0: off
    drift: Weight = 0.0  # weight of the drift penalty D(real)^2; the paper uses 0.001; 0: off
    penalty_interval: Count = 1  # critic steps between gradient penalties (incl. R1, R2), which are weighted by it
    consistency: Weight = 0.0  # weight of the difference between the scores of two augmentations of a sample; 0: off
    top_k: Annotated[float, Field(gt=0, le=1), BeforeValidator(no_bool)] = (
        1.0  # share of the fakes that G learns from, best first
    )
    moments: MomentsConfig | None = None  # moment stabilization; None: off
    perceptual: PerceptualConfig | None = None  # perceptual loss; None: off


class AugmentConfig(Strict):
    """Augmentation of reals and fakes before the critic. Each operation has a probability per sample."""

    color: Share = 0.0  # images: brightness, contrast and saturation
    translation: Share = 0.0  # by up to 1/8 of the side, or of the length of a signal
    scale: Share = 0.0  # size of an image, or amplitude of a signal
    rotation: Share = 0.0  # images: by any angle
    flip: Share = 0.0  # images: left and right exchanged in half of the samples
    cutout: Share = 0.0  # images: a box of half the side is set to gray
    noise: Share = 0.0  # Gaussian noise is added
    warp: Share = 0.0  # signals: time runs faster and slower
    p: Share = 1.0  # factor of all probabilities, or its maximum
    ramp: Images = 0  # `p` rises from 0 over the first images
    target: Share | None = None  # steer `p` so that `overfitting` in the log stays at this value; None: fixed
    steer_images: Count = 100_000  # images in which steering takes `p` from 0 to its maximum


class StageConfig(Strict):
    """Settings of one resolution. None: use the value of `growth` or `train`."""

    fade: Images | None = None  # length of the fade at this height, in images
    stable: Images | None = None  # length of the stable phase at this height, in images
    batch_size: Batch | None = None  # images per step at this height
    lr: Rate | None = None  # learning rate at this height


class GrowthConfig(Strict):
    """Schedule of progressive growing: each resolution has a fade-in (except the first) and a stable period."""

    fade: Images = 0  # length of each fade-in, in images
    stable: Images = 0  # length of each stable period, in images
    at: dict[Pixels, StageConfig] = Field(default_factory=dict)  # settings of single resolutions, by height in px
    start_at: Pixels | None = None  # height in px of the first trained stage; None: the first resolution
    scale: Factor = 1.0  # factor of the length of every fade and stable period; `minutes` sets it


class LrDecay(Strict):
    """Linear decay of the learning rates at the end of training."""

    share: Share = 0.3  # fraction of the training, at its end, during which the learning rates decay
    to: Share = 0.05  # final learning rate, as a fraction of the initial one


class OptimizerConfig(Strict):
    """Adam, for both networks. The learning rate is `train.lr`."""

    betas: tuple[Beta, Beta] = (0.0, 0.99)  # Adam betas
    eps: Positive = 1e-8  # Adam epsilon
    generator_lr_factor: Positive = 1.0  # learning rate of the generator over that of the critic
    reset: Literal["both", "start", "never"] = "both"  # reset Adam at the start and end of fades, or at the start
    decay: LrDecay | None = None  # learning rate decay; None: constant


class Cosine(Strict):
    """Half a cosine from one factor to another, from the start of training; constant afterwards."""

    start: Weight = 1.0  # value at the first image
    end: Weight  # value at the end of the curve
    over: Annotated[float, Field(gt=0, le=1), BeforeValidator(no_bool)] = 1.0  # its length, as a fraction of training


class BetaCosine(Cosine):
    """The same for a beta of Adam."""

    start: Beta  # value at the first image
    end: Beta  # value at the end of the curve


class AnnealConfig(Strict):
    """Settings that change over the whole training, along half a cosine (R3GAN). None: constant."""

    lr: Cosine | None = None  # factor of the learning rates
    beta2: BetaCosine | None = None  # second beta of Adam, in place of that in `optimizer.betas`
    penalty: Cosine | None = None  # factor of `r1`, `r2` and `gradient_penalty`
    top_k: Cosine | None = None  # factor of `loss.top_k`
    augment: Cosine | None = None  # factor of `augment.p`
    ema_half_life: Cosine | None = None  # factor of `train.ema_half_life`


class CriticSteps(Strict):
    """Critic steps per generator step: `base`, or `boost` at the start and periodically."""

    base: Count = 1  # critic steps before a generator step
    boost: Count = 1  # critic steps before a boosted generator step
    first: Images = 0  # the boost applies to this many first generator steps
    every: Images = 0  # the boost applies again on every n-th generator step; 0: never


class TrainConfig(Strict):
    """Length of training, batch size, learning rate, EMA, logging and checkpoints."""

    seed: Seed = 0  # seed of weights, data order and latents
    batch_size: Batch  # images per critic step
    shards: Count | None = None  # parts of a batch, divided among the workers; `null`: one per worker at the start
    lr: Rate = 0.001  # learning rate of Adam
    duration: Count | None = None  # images shown to the critic in total; `null`: the whole schedule
    minutes: Minutes | None = None  # scale the schedule to end after this time on the machine that starts the run
    epochs: Epochs | None = None  # length in epochs instead; becomes `duration` when the run starts
    generator_steps: Steps | None = None  # length in generator steps instead; becomes `duration` when the run starts
    critic_steps: CriticSteps = CriticSteps()  # critic steps per generator step
    shared_fakes: bool = True  # the generator step uses the fakes of the last critic step
    critic_fakes: Literal["train", "eval"] = "train"  # batch norm mode of G for the fakes of the critic step
    ema_half_life: Images = 10_000  # half-life of the averaged generator (EMA), in images; 0: no averaging
    ema_ramp: Share = 0.05  # limits the half-life to this fraction of the images shown so far; 0: no limit
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # compute precision; auto: fp32
    tick_every: Count = 1_000  # images between two log entries
    sample_every: Images = 10_000  # images between two sample sheets; 0: only at the end
    checkpoint_every: Images = 50_000  # images between two checkpoints; 0: only by time and at the end
    checkpoint_minutes: Positive = 10.0  # minutes between two checkpoints
    keep: Count = 3  # how many checkpoints to keep


class Origin(Strict):
    """The checkpoint from which the weights of a run were initialized."""

    verb: Literal["grow", "transfer"]  # how the weights were used
    checkpoint: str  # path of the checkpoint
    digest: str  # blake2b hash of the file
    images: Images  # images that its weights were trained on, in all earlier runs
    keep_adam: bool = False  # whether Adam's state was taken from it, too


class Config(Strict):
    """A complete preset. `resolve` turns it into a ResolvedConfig once the data is known."""

    preset: Annotated[str, AfterValidator(printable)] = "custom"  # name of the preset
    data: DataConfig = DataConfig()  # training data
    network: SerializeAsAny[InstanceOf[Family]]  # generator and critic; the keys depend on `network.family`
    loss: LossConfig = LossConfig()  # losses and penalties
    augment: AugmentConfig | None = None  # augmentation; None: off
    growth: GrowthConfig = GrowthConfig()  # schedule of progressive growing
    optimizer: OptimizerConfig = OptimizerConfig()  # Adam
    anneal: AnnealConfig = AnnealConfig()  # settings that change over the training
    train: TrainConfig  # length of training, batch size, learning rate, EMA, logging and checkpoints
    origin: Origin | None = None  # checkpoint that the run was initialized from; set when a run starts

    @property
    def steered_augment(self) -> AugmentConfig | None:
        """The augmentation, if its strength follows the overfitting."""
        return self.augment if self.augment is not None and self.augment.target is not None else None

    @model_validator(mode="after")
    def _stages_exist(self) -> Self:
        heights = self.network.heights
        for height in [*self.growth.at, self.growth.start_at]:
            if height is not None and height not in heights:
                raise ValueError(f"growth names {height} px, but the network has {list(heights)}")
        return self


class ResolvedData(DataConfig):
    """The data section of a run. The source is set."""

    source: str  # data source of the run


class ResolvedTrain(TrainConfig):
    """The train section of a run. The length and the precision are set."""

    duration: Count  # length of training, in images
    precision: Literal["fp32", "bf16"]  # compute precision


class SamplesInfo(Strict):
    """Properties of the data. Set by `resolve`, not by presets."""

    kind: Literal["image", "signal", "points"]  # kind of the data
    shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=3)]  # (C, *S) of one sample
    fingerprint: str  # fingerprint of the content of the data set
    center: Number = 0.0  # networks are trained on (value - center) / scale; 0 for images
    scale: Positive = 1.0  # networks are trained on (value - center) / scale; 1 for images
    mean: tuple[Number, ...] | None = None  # mean of each channel after scaling, for output: bn-clip
    std: tuple[Number, ...] | None = None  # standard deviation of each channel after scaling, for output: bn-clip


class ResolvedConfig(Config):
    """The config of a run, with all values that training needs."""

    data: ResolvedData
    train: ResolvedTrain
    samples: SamplesInfo

    def with_train(self, **values: Any) -> Self:
        """A copy with other values in the section train."""
        return self.model_copy(update={"train": self.train.model_copy(update=values)})

    @property
    def shards(self) -> int:
        """The number of parts of a batch; see `gancli.training.shards`."""
        return self.train.shards or 1

    @property
    def sizes(self) -> Sizes:
        """(height, width) of each stage; (length, 1) of signals, (dimensions, 1) of points."""
        return self.network.sizes(self.samples.shape)

    @property
    def full_height(self) -> int:
        """First dimension of a full-size sample: height in px, length, or number of dimensions."""
        return self.sizes[-1][0]

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of images; None for signals and points."""
        return self.sizes[-1] if self.samples.kind == "image" else None

    @model_validator(mode="after")
    def _shape_fits(self) -> Self:
        shape, wanted = self.samples.shape, self.network.picture_size
        if len(shape) != {"image": 3, "signal": 2, "points": 1}[self.samples.kind] or math.prod(shape) > MAX_VALUES:
            raise ValueError(f"invalid shape {shape} of {self.samples.kind} data")
        if self.samples.kind == "image" and (shape[0] not in (1, 3, 4) or wanted not in (None, shape[1:])):
            raise ValueError(f"the samples have shape {shape}, but the network has size {wanted}")
        return self
