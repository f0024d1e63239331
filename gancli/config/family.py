"""What every family of networks may say, and what the rest of gancli asks of any of them."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gancli.config.fields import Channels, Count, Positive, Share, Strict, no_bool

MAX_RESOLUTION = 2048  # also the reader's bound: a hostile header may not ask for more memory
MAX_VALUES = 1 << 24  # of one sample
USUAL_SIZE = (32, 32)  # to which pictures are brought where a preset does not care

Pixels = Annotated[int, Field(ge=1, le=MAX_RESOLUTION), BeforeValidator(no_bool)]
Size = Annotated[int, Field(ge=1, le=MAX_VALUES), BeforeValidator(no_bool)]


class MinibatchStd(Strict):
    """The layer that shows the critic how much its samples differ."""

    group_size: Count | Literal["all"] = 4
    statistic: Literal["position", "channel"] = "position"  # deviation at each position (paper), or of each channel
    feature_groups: Count = 1


class Family(Strict):
    """The switches of every pair of networks, and what the rest of gancli asks of any of them."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)  # of data that the family takes

    latent: Channels = 100
    latents: Literal["normal", "uniform"] = "normal"  # N(0, 1), or uniform over (-1, 1)
    latent_scale: Positive = 1.0  # latents are multiplied by it
    output: Literal["linear", "tanh", "sigmoid", "bn-tanh", "bn-clip"] = "linear"
    freeze_output: bool = False  # the final batch norm's gamma and beta stay as they begin
    bn_keep: Share = 0.9  # what batch norm's moving statistics keep of their old value at each batch
    minibatch_std: MinibatchStd | None = None
    equalized_lr: bool = False

    @property
    def stages(self) -> int:
        """How many resolutions there are, the first included."""
        return 1

    def size_at(self, stage: int) -> tuple[int, int]:
        """(height, width) of the pictures of a stage; (length, 1) of signals, (dimensions, 1) of points."""
        raise NotImplementedError

    @property
    def full_height(self) -> int:
        """The first size of a full-size sample: pixels, length or dimensions."""
        return self.size_at(self.stages - 1)[0]

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) to which pictures are brought; None where only the data can tell."""
        return self.size_at(self.stages - 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *S) of one full-size sample. The config must be resolved."""
        raise NotImplementedError

    @property
    def is_resolved(self) -> bool:
        """Is the shape of the samples known?"""
        raise NotImplementedError

    def of_data(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The keys that samples of shape (C, *S) settle."""
        raise NotImplementedError

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Does the generator, does the critic have batch norm?"""
        return self.output.startswith("bn-"), False

    @property
    def enlarges(self) -> int:
        """By which factor a generator enlarges the pictures that go in; 0: latents go in."""
        return 0


class FixedFamily(Family):
    """Networks that do not grow: one size from the start, that of the samples."""

    resolution: Pixels | tuple[Pixels, Pixels] | None = None  # pictures are brought to it; signals and points: left out
    sample_shape: tuple[Size, ...] | None = None  # (C, *S), filled in from the data

    @model_validator(mode="after")
    def _small_enough(self) -> Self:
        values = 1
        for size in self.sample_shape or ():
            values *= size
        if values > MAX_VALUES:
            raise ValueError(f"a sample of {values} values is too large")
        return self

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) to which pictures are brought."""
        if isinstance(self.resolution, int):
            return self.resolution, self.resolution
        if self.resolution is None and self.sample_shape is not None and len(self.sample_shape) == 3:
            return self.sample_shape[1], self.sample_shape[2]
        return self.resolution

    def size_at(self, stage: int) -> tuple[int, int]:
        """(height, width) of pictures, (length, 1) of signals, (dimensions, 1) of points."""
        if self.sample_shape is None:
            return self.picture_size or (1, 1)
        sizes = self.sample_shape[1:] or self.sample_shape
        return sizes[0], sizes[1] if len(sizes) > 1 else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *S)."""
        assert self.sample_shape is not None, "resolve(config, data) comes first"
        return self.sample_shape

    @property
    def is_resolved(self) -> bool:
        """Is the shape of the samples known?"""
        return self.sample_shape is not None

    def of_data(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The whole shape."""
        return {"sample_shape": shape}
