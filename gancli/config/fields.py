"""Types of config values, and the strict base model of all config sections."""

import math
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

MAX_CHANNELS = 8192


def no_bool(value: Any) -> Any:
    """Reject booleans, which pydantic would accept as numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def finite(value: Any) -> Any:
    """Reject infinite values and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    return value


Count = Annotated[PositiveInt, BeforeValidator(no_bool)]
Images = Annotated[NonNegativeInt, BeforeValidator(no_bool)]
Weight = Annotated[NonNegativeFloat, BeforeValidator(no_bool), BeforeValidator(finite)]
Rate = Annotated[PositiveFloat, Field(le=10), BeforeValidator(no_bool), BeforeValidator(finite)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(no_bool), BeforeValidator(finite)]
Positive = Annotated[PositiveFloat, BeforeValidator(no_bool), BeforeValidator(finite)]
Number = Annotated[float, BeforeValidator(no_bool), BeforeValidator(finite)]
Beta = Annotated[float, Field(ge=0, lt=1), BeforeValidator(no_bool)]
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS), BeforeValidator(no_bool)]


class Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
