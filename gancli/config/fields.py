"""The kinds of values that a preset may hold, and the strict model that all of its sections are."""

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
    """`true` is not 1: a boolean where a number belongs is a mistake."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


def finite(value: Any) -> Any:
    """Neither infinite nor NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number is needed")
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
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
