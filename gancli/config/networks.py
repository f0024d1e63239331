"""Config models of the network families."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gancli.config.family import MAX_RESOLUTION, Family, FixedFamily, MinibatchStd, Sizes
from gancli.config.fields import Channels, Count, Positive, Share, Strict, no_bool

Activation = Literal["relu", "leaky", "elu"]  # leaky: slope 0.2
Norm = Literal["none", "batch", "layer"]  # layer: over the channels at each position
MAX_WEIGHTS = 1 << 30  # of the hidden layers of one network: 4 GiB in fp32
Kernel = Annotated[int, Field(ge=1, le=31), BeforeValidator(no_bool)]


def refuse_huge(weights: float) -> None:
    """Raise ValueError if the hidden layers of a network have too many weights."""
    if weights > MAX_WEIGHTS:
        raise ValueError(f"more than {MAX_WEIGHTS:,} weights: use fewer or narrower layers")


class ProgressiveConfig(Family):
    """Progressive growing (Karras et al. 2018). Each technique of the paper can be switched on or off."""

    family: Literal["progressive"] = "progressive"  # name of the network family
    resolution: Annotated[int, Field(ge=4, le=MAX_RESOLUTION), BeforeValidator(no_bool)]  # px; height of the last stage
    base: tuple[Annotated[int, Field(ge=2, le=64)], Annotated[int, Field(ge=2, le=64)]] = (4, 4)  # px; size of stage 0
    z_dim: Channels = 512  # dimensions of a latent
    channels: tuple[Channels, ...] | None = None  # one per stage; None: min(channel_base / 2^(stage + 1), max_channels)
    channel_base: Count = 8192  # channels are channel_base / 2^(stage + 1)
    max_channels: Channels = 512  # channels per stage, at most
    equalized_lr: bool = True  # initialize weights from N(0, 1) and scale them at run time
    pixel_norm: bool = True  # pixel norm after each activation of the generator
    normalize_z: bool = True  # pixel norm of the latents
    minibatch_std: MinibatchStd | None = MinibatchStd()  # minibatch standard deviation in the critic; None: off
    upsampling: Literal["nearest", "bilinear"] = "nearest"  # doubling in the generator; nearest can leave a grid
    noise: bool = False  # add noise, a function of the latent, after each doubling in the generator, for textures
    residual_critic: bool = False  # add a 1x1 convolution past each block of the critic, as in StyleGAN2
    fused_down: bool = True  # fuse convolution and 2x2 mean; the activation is then after the mean, as in the reference

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        height, last = self.base[0], self.resolution
        stages = 1
        while height < last:
            height, stages = height * 2, stages + 1
        if height != last:
            raise ValueError(f"resolution {last} is not {self.base[0]} times a power of 2")
        if self.channels is not None and len(self.channels) != stages:
            raise ValueError(f"channels needs {stages} numbers, one per stage from {self.base[0]} to {last} px")
        widths = [self.width_of(stage) for stage in range(stages)]
        dense = self.z_dim * widths[0] * self.base[0] * self.base[1]
        refuse_huge(dense + sum(9 * wide * (wide + next_) for wide, next_ in pairwise([*widths, 0])))
        return self

    @property
    def stages(self) -> int:
        """Number of resolutions, including the first."""
        return (self.resolution // self.base[0]).bit_length()

    def sizes(self, shape: tuple[int, ...]) -> Sizes:
        """(height, width) of each stage: the base, doubled at each stage."""
        return tuple((self.base[0] << stage, self.base[1] << stage) for stage in range(self.stages))

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the last stage."""
        return self.sizes(())[-1]

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights of all stages in px."""
        return tuple(height for height, _ in self.sizes(()))

    def width_of(self, stage: int) -> int:
        """Channels of a stage, counted from 0 (the paper counts from 1, hence the + 1)."""
        if self.channels is not None and stage < len(self.channels):
            return self.channels[stage]
        return max(1, min(self.channel_base >> (stage + 1), self.max_channels))


class ConvLayer(Strict):
    """A convolution with its resampling."""

    channels: Channels  # output channels
    kernel: Kernel = 3  # side of the kernel
    stride: Annotated[int, Field(ge=1, le=16), BeforeValidator(no_bool)] = 1  # stride of the convolution
    padding: Literal["same", "none"] = "same"  # same: keeps the size at stride 1
    resample: Literal["keep", "up", "down"] = "keep"  # up: nearest 2x before; down: 2x2 mean after the activation


class ConvSide(Strict):
    """Keys of both convolutional networks."""

    layers: Annotated[tuple[ConvLayer, ...], Field(max_length=64)]  # convolutions; in the critic, before minibatch std
    activation: Activation = "leaky"  # after each layer; leaky: slope 0.2
    norm: Norm = "none"  # in each layer; layer: over the channels at each position
    norm_first: bool = True  # true: norm before the activation; false: after it


def conv_weights(*layers: ConvLayer) -> int:
    """Number of weights of consecutive convolutions, without the first, whose input is not known."""
    return sum(second.kernel**2 * first.channels * second.channels for first, second in pairwise(layers))


class ConvGenerator(ConvSide):
    """A dense layer to a small base, the layers, and a final convolution to the channels of the samples."""

    dense: Channels  # channels of the base, whose size is the sample size halved for each `up` layer
    last_kernel: Kernel = 3  # kernel of the final convolution


class ConvCritic(ConvSide):
    """The layers, optional minibatch std, more layers, dense layers, and a score."""

    last: Annotated[tuple[ConvLayer, ...], Field(max_length=64)] = ()  # convolutions after minibatch std
    dense: Annotated[tuple[Channels, ...], Field(max_length=16)] = ()  # units of the hidden dense layers, ReLU
    score: Literal["linear", "tanh"] = "linear"  # output function of the score


class ConvConfig(FixedFamily):
    """Convolutional networks for images and 1-D signals: iwgan-32, minibatch-std-128, signal-1d and others."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "signal")

    family: Literal["conv"]  # name of the network family
    generator: ConvGenerator  # layers of the generator
    critic: ConvCritic  # layers of the critic
    width: Annotated[float, Field(gt=0, le=4), BeforeValidator(no_bool)] = 1.0  # multiplier of all channels
    init_std: Positive | None = None  # std of the initial weights at width 1; None: He initialization

    @model_validator(mode="after")
    def _moderate(self) -> Self:
        refuse_huge(self.width**2 * conv_weights(*self.generator.layers))
        refuse_huge(self.width**2 * conv_weights(*self.critic.layers, *self.critic.last))
        return self

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Whether (the generator, the critic) has batch norm."""
        return super().uses_batch_norm[0] or self.generator.norm == "batch", self.critic.norm == "batch"


class MlpSide(Strict):
    """Keys of both dense networks."""

    hidden: Annotated[tuple[Channels, ...], Field(max_length=32)]  # units of each hidden layer
    activation: Activation = "leaky"  # after each hidden layer; leaky: slope 0.2
    norm: Norm = "none"  # in each hidden layer
    norm_first: bool = True  # true: norm before the activation; false: after it
    dropout: Annotated[tuple[Share, ...], Field(max_length=32)] = ()  # rate of each hidden layer; 0 for the rest

    @model_validator(mode="after")
    def _moderate(self) -> Self:
        refuse_huge(sum(first * second for first, second in pairwise(self.hidden)))
        return self


class MlpConfig(FixedFamily):
    """Dense networks for images, signals and points."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "signal", "points")

    family: Literal["mlp"]  # name of the network family
    generator: MlpSide  # hidden layers of the generator
    critic: MlpSide  # hidden layers of the critic

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Whether (the generator, the critic) has batch norm."""
        return super().uses_batch_norm[0] or self.generator.norm == "batch", self.critic.norm == "batch"


class SuperresConfig(FixedFamily):
    """4x super-resolution (Johnson et al. 2016): a residual generator and a convolutional critic."""

    family: Literal["superres"]  # name of the network family
    channels: Channels = 64  # of all layers of the generator
    blocks: Annotated[int, Field(ge=1, le=64), BeforeValidator(no_bool)] = 4  # number of residual blocks
    critic: ConvCritic  # layers of the critic

    @model_validator(mode="after")
    def _enlarges(self) -> Self:
        if self.picture_size is None or any(side % 4 for side in self.picture_size):
            raise ValueError("resolution must be a multiple of 4, the upscaling factor")
        refuse_huge(2 * self.blocks * 9 * self.channels**2)
        refuse_huge(conv_weights(*self.critic.layers, *self.critic.last))
        return self

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Whether (the generator, the critic) has batch norm. The generator always has."""
        return True, self.critic.norm == "batch"

    @property
    def enlarges(self) -> int:
        """4, as in table 2 of the supplement of the paper."""
        return 4


def refuse_other_stages(resolution: int, channels: tuple[int, ...]) -> None:
    """Raise ValueError if the channels, one number per stage from 4 px, do not end at the resolution."""
    if resolution != 4 << (len(channels) - 1):
        raise ValueError(f"{len(channels)} channels are of {4 << (len(channels) - 1)} px")


class ProjectedConfig(FixedFamily):
    """Projected GAN (Sauer et al. 2021): the critic judges fixed features of a trained network."""

    uses_pretrained: ClassVar[bool] = True

    family: Literal["projected"]  # name of the network family
    resolution: Annotated[int, Field(ge=16, le=MAX_RESOLUTION), BeforeValidator(no_bool)]  # px; height = width
    channels: tuple[Channels, ...]  # of the generator, one per stage, from 4 px
    feature_size: Literal[128, 256] = 128  # px; images are enlarged to it for the trained network
    critic_width: Channels = 64  # channels of the mixed features and of the heads of the critic
    output: Literal["linear", "tanh", "sigmoid", "bn-tanh", "bn-clip"] = "tanh"  # final layer of the generator

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        refuse_other_stages(self.resolution, self.channels)
        refuse_huge(16 * self.z_dim * self.channels[0] + sum(18 * a * b for a, b in pairwise(self.channels)))
        return self

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Whether (the generator, the critic) has batch norm."""
        return True, False


class ResidualConfig(FixedFamily):
    """Residual networks without normalization (R3GAN, Huang et al. 2024)."""

    family: Literal["residual"]  # name of the network family
    resolution: Annotated[int, Field(ge=8, le=MAX_RESOLUTION), BeforeValidator(no_bool)]  # px; height = width
    z_dim: Channels = 64  # dimensions of a latent
    channels: tuple[Channels, ...]  # one per stage, from 4 px
    blocks: Annotated[int, Field(ge=1, le=16), BeforeValidator(no_bool)] = 2  # residual blocks per stage
    group_width: Channels = 16  # channels of each group of the grouped convolutions

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        refuse_other_stages(self.resolution, self.channels)
        for width in self.channels:
            if 2 * width % self.group_width:
                raise ValueError(f"twice {width} channels are not divisible into groups of {self.group_width}")
        refuse_huge(sum(self.blocks * width * (4 * width + 18 * self.group_width) for width in self.channels))
        return self


FAMILIES: dict[str, type[Family]] = {
    "progressive": ProgressiveConfig,
    "conv": ConvConfig,
    "mlp": MlpConfig,
    "superres": SuperresConfig,
    "projected": ProjectedConfig,
    "residual": ResidualConfig,
}  # by name; `gancli.register_family` adds to it
