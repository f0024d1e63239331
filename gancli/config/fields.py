"""Types of config values, and the strict base model of all config sections."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt

MAX_CHANNELS = 8192
MAX_BATCH = 1 << 20
MAX_SEED = (1 << 63) - 1  # torch's generators take 64-bit seeds
MAX_COUNT = (1 << 53) - 1  # larger integers are not exact in JSON readers and in floating-point arithmetic


def no_bool(value: Any) -> Any:
    """Reject booleans, which pydantic would accept as numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def exact(value: int) -> int:
    """Reject integers that a float does not represent exactly."""
    if value > MAX_COUNT:
        raise ValueError(f"must be at most {MAX_COUNT:,}")
    return value


Count = Annotated[PositiveInt, BeforeValidator(no_bool), AfterValidator(exact)]
Images = Annotated[NonNegativeInt, BeforeValidator(no_bool), AfterValidator(exact)]
Batch = Annotated[PositiveInt, Field(le=MAX_BATCH), BeforeValidator(no_bool)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(no_bool)]
Rate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False), BeforeValidator(no_bool)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(no_bool)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(no_bool)]
Factor = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), BeforeValidator(no_bool)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(no_bool)]
Beta = Annotated[float, Field(ge=0, lt=1), BeforeValidator(no_bool)]
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS), BeforeValidator(no_bool)]


class Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
