"""Config keys and properties that all network families have."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from gancli.config.fields import Channels, Count, Positive, Share, Strict, no_bool

MAX_RESOLUTION = 2048  # px; also limits the memory that a damaged or hostile checkpoint can request
MAX_VALUES = 1 << 24  # values of one sample
USUAL_SIZE = (32, 32)  # px; size of images if the preset does not set one

Pixels = Annotated[int, Field(ge=1, le=MAX_RESOLUTION), BeforeValidator(no_bool)]
Size = Annotated[int, Field(ge=1, le=MAX_VALUES), BeforeValidator(no_bool)]
Sizes = tuple[tuple[int, int], ...]  # (height, width) of each stage


class MinibatchStd(Strict):
    """Minibatch standard deviation layer of the critic."""

    group_size: Count | Literal["all"] = 4  # samples per group; all: the whole batch
    statistic: Literal["position", "channel"] = "position"  # std per position (as in the paper) or per channel
    feature_groups: Count = 1  # number of channel groups; each appends one channel


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n up to `at_most`; if that is 1 (n = 5, 7 ...), n itself. Groups of n samples have it."""
    divisor = max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)
    return n if divisor == 1 else divisor


class Family(Strict):
    """Config keys of all network families."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)  # kinds of data that the family supports
    uses_pretrained: ClassVar[bool] = False  # the critic needs the trained features of the extra `pretrained`

    family: str  # `progressive`, `conv`, `mlp`, `superres`, `projected`, `residual`, or a registered one
    z_dim: Channels = 100  # dimensions of a latent
    z_distribution: Literal["normal", "uniform"] = "normal"  # N(0, 1), or uniform over (-1, 1)
    z_scale: Positive = 1.0  # factor by which latents are multiplied
    output: Literal["linear", "tanh", "sigmoid", "bn-tanh", "bn-clip"] = "linear"  # final layer of the generator
    freeze_output: bool = False  # keep gamma and beta of the final batch norm at their initial values
    bn_decay: Share = 0.9  # decay of the running statistics of batch norm (1 - momentum in PyTorch)
    minibatch_std: MinibatchStd | None = None  # minibatch standard deviation in the critic; None: off
    pack: Annotated[int, Field(ge=1, le=64), BeforeValidator(no_bool)] = 1  # samples that get one score (PacGAN)
    equalized_lr: bool = False  # initialize weights from N(0, 1) and scale them at run time

    @property
    def stages(self) -> int:
        """Number of resolutions, including the first."""
        return 1

    def sizes(self, shape: tuple[int, ...]) -> Sizes:
        """(height, width) of images at each stage; (length, 1) of signals, (dimensions, 1) of points.

        shape: (C, *S) of one sample at full size.
        """
        space = shape[1:] or shape
        return ((space[0], space[1] if len(space) > 1 else 1),)

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of the training images; None if it depends on the data."""
        return None

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights of all stages in px; empty if they depend on the data."""
        return () if self.picture_size is None else (self.picture_size[0],)

    @property
    def uses_batch_norm(self) -> tuple[bool, bool]:
        """Whether (the generator, the critic) has batch norm."""
        return self.output.startswith("bn-"), False

    @property
    def enlarges(self) -> int:
        """Upscaling factor of a super-resolution generator; 0 if the input is latents."""
        return 0


class FixedFamily(Family):
    """Networks of a fixed size, without growth."""

    resolution: Pixels | tuple[Pixels, Pixels] | None = None  # px: height = width, or [height, width]; images only

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of the training images."""
        if isinstance(self.resolution, int):
            return self.resolution, self.resolution
        return self.resolution
