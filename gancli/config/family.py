"""What every family of networks may say, and what the rest of gancli asks of any of them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from gancli.config.fields import Channels, Count, Positive, Share, Strict, no_bool

MAX_RESOLUTION = 2048  # also the reader's bound: a hostile header may not ask for more memory
MAX_VALUES = 1 << 24  # of one sample
USUAL_SIZE = (32, 32)  # to which pictures are brought where a preset does not care

Pixels = Annotated[int, Field(ge=1, le=MAX_RESOLUTION), BeforeValidator(no_bool)]
Size = Annotated[int, Field(ge=1, le=MAX_VALUES), BeforeValidator(no_bool)]
Sizes = tuple[tuple[int, int], ...]  # (height, width) of every stage


class MinibatchStd(Strict):
    """The layer that shows the critic how much its samples differ."""

    group_size: Count | Literal["all"] = 4
    statistic: Literal["position", "channel"] = "position"  # deviation at each position (paper), or of each channel
    feature_groups: Count = 1


class Family(Strict):
    """The switches of every pair of networks, and what the rest of gancli asks of any of them."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)  # of data that the family takes

    family: str  # its name; every family narrows it to a Literal of its own
    z_dim: Channels = 100
    z_distribution: Literal["normal", "uniform"] = "normal"  # N(0, 1), or uniform over (-1, 1)
    z_scale: Positive = 1.0  # latents are multiplied by it
    output: Literal["linear", "tanh", "sigmoid", "bn-tanh", "bn-clip"] = "linear"
    freeze_output: bool = False  # the final batch norm's gamma and beta stay as they begin
    bn_decay: Share = 0.9  # of batch norm's moving statistics: the share of the old value that each batch keeps
    minibatch_std: MinibatchStd | None = None
    equalized_lr: bool = False

    @property
    def stages(self) -> int:
        """How many resolutions there are, the first included."""
        return 1

    def sizes(self, shape: tuple[int, ...]) -> Sizes:
        """(height, width) of the pictures of every stage; (length, 1) of signals, (dimensions, 1) of points.

        shape: (C, *S) of one sample at full size.
        """
        space = shape[1:] or shape
        return ((space[0], space[1] if len(space) > 1 else 1),)

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) to which pictures are brought; None where only the data can tell."""
        return None

    @property
    def heights(self) -> tuple[int, ...]:
        """Of the pictures of every stage, as far as the config tells."""
        return () if self.picture_size is None else (self.picture_size[0],)

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

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) to which pictures are brought."""
        if isinstance(self.resolution, int):
            return self.resolution, self.resolution
        return self.resolution
