"""What a preset may say of its networks: one strict model a family."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gancli.config.family import MAX_RESOLUTION, Family, FixedFamily, MinibatchStd, Sizes
from gancli.config.fields import Channels, Count, Positive, Share, Strict, no_bool

Activation = Literal["relu", "leaky", "elu"]  # leaky: slope 0.2
Norm = Literal["none", "batch", "layer"]  # layer: over the channels at each position


class ProgressiveConfig(Family):
    """Karras et al. 2018: generator and critic that grow together. Every technique of the paper is a switch."""

    family: Literal["progressive"] = "progressive"
    resolution: Annotated[int, Field(ge=4, le=MAX_RESOLUTION), BeforeValidator(no_bool)]  # height of the last stage
    base: tuple[Annotated[int, Field(ge=2, le=64)], Annotated[int, Field(ge=2, le=64)]] = (4, 4)  # first stage
    z_dim: Channels = 512
    channels: tuple[Channels, ...] | None = None  # one a stage; None: min(channel_base / 2^stage, max_channels)
    channel_base: Count = 8192
    max_channels: Channels = 512
    equalized_lr: bool = True
    pixel_norm: bool = True  # generator only, after each activation
    normalize_z: bool = True
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

    def sizes(self, shape: tuple[int, ...]) -> Sizes:
        """(height, width) of every stage: the base, doubled and doubled again."""
        return tuple((self.base[0] << stage, self.base[1] << stage) for stage in range(self.stages))

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the last stage."""
        return self.sizes(())[-1]

    @property
    def heights(self) -> tuple[int, ...]:
        """Of every stage, in pixels."""
        return tuple(height for height, _ in self.sizes(()))

    def width_of(self, stage: int) -> int:
        """Channels of a stage, counted from 0 (the papers count from 1, hence the + 1)."""
        if self.channels is not None and stage < len(self.channels):
            return self.channels[stage]
        return max(1, min(self.channel_base >> (stage + 1), self.max_channels))


class ConvLayer(Strict):
    """A convolution and what comes right before or after it."""

    channels: Channels
    kernel: Annotated[int, Field(ge=1, le=31), BeforeValidator(no_bool)] = 3
    stride: Annotated[int, Field(ge=1, le=16), BeforeValidator(no_bool)] = 1
    padding: Literal["same", "none"] = "same"
    resample: Literal["keep", "up", "down"] = "keep"  # doubled (nearest) before it, or 2-means after its activation


class ConvSide(Strict):
    """What both networks of a convolutional pair are described by."""

    layers: Annotated[tuple[ConvLayer, ...], Field(max_length=64)]
    activation: Activation = "leaky"
    norm: Norm = "none"
    norm_first: bool = True  # the norm comes before the activation; else after it


class ConvGenerator(ConvSide):
    """Dense to a small base, then the layers, then one more convolution to the sample's channels."""

    dense: Channels  # channels of the base, which is the sample's size halved by every `up`
    last_kernel: Annotated[int, Field(ge=1, le=31), BeforeValidator(no_bool)] = 3


class ConvCritic(ConvSide):
    """The layers, minibatch std if it is on, more layers, dense layers, a score."""

    last: Annotated[tuple[ConvLayer, ...], Field(max_length=64)] = ()  # after minibatch std
    dense: Annotated[tuple[Channels, ...], Field(max_length=16)] = ()  # hidden ones, ReLU
    score: Literal["linear", "tanh"] = "linear"


class ConvConfig(FixedFamily):
    """Convolutional pairs for pictures and for 1-D signals: iWGAN, minibatch-std-128, signal-1d, moments-conv."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "signal")

    family: Literal["conv"]
    generator: ConvGenerator
    critic: ConvCritic
    width: Annotated[float, Field(gt=0, le=4), BeforeValidator(no_bool)] = 1.0  # of all channels; see init_std
    init_std: Positive | None = None  # weights ~ N(0, init_std), times sqrt(1 / width) where fan-in shrank; None: He

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Does the generator, does the critic have batch norm?"""
        return super().uses_batch_norm[0] or self.generator.norm == "batch", self.critic.norm == "batch"


class MlpSide(Strict):
    """One hidden layer a number."""

    hidden: Annotated[tuple[Channels, ...], Field(max_length=32)]
    activation: Activation = "leaky"
    norm: Norm = "none"
    norm_first: bool = True
    dropout: Annotated[tuple[Share, ...], Field(max_length=32)] = ()  # one a hidden layer; none for those left out


class MlpConfig(FixedFamily):
    """Dense layers only: pictures, signals and points alike."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "signal", "points")

    family: Literal["mlp"]
    generator: MlpSide
    critic: MlpSide

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Does the generator, does the critic have batch norm?"""
        return super().uses_batch_norm[0] or self.generator.norm == "batch", self.critic.norm == "batch"


class SuperresConfig(FixedFamily):
    """Johnson et al. 2016: a residual generator that enlarges pictures fourfold; a convolutional critic, if any."""

    family: Literal["superres"]
    channels: Channels = 64
    blocks: Annotated[int, Field(ge=1, le=64), BeforeValidator(no_bool)] = 4
    critic: ConvCritic

    @model_validator(mode="after")
    def _enlarges(self) -> Self:
        if self.picture_size is None or any(side % 4 for side in self.picture_size):
            raise ValueError("resolution must be a multiple of 4, the factor by which pictures are enlarged")
        return self

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """The generator's blocks have it."""
        return True, self.critic.norm == "batch"

    @property
    def enlarges(self) -> int:
        """Four times, as in the paper's supplement, table 2."""
        return 4


FAMILIES: dict[str, type[Family]] = {
    "progressive": ProgressiveConfig,
    "conv": ConvConfig,
    "mlp": MlpConfig,
    "superres": SuperresConfig,
}  # by name; `gancli.register_family` adds to it
