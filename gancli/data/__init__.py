"""Data sets: sources, decoding, the cache, and batches by position."""

from gancli.data.cache import HELD_OUT_FROM, Dataset, Facts, facts, open_dataset, plan_cache
from gancli.data.feed import Feed, fade, scaled, to_unit, units
from gancli.data.images import Shape
from gancli.data.scan import write_rejected

__all__ = [
    "HELD_OUT_FROM",
    "Dataset",
    "Facts",
    "Feed",
    "Shape",
    "facts",
    "fade",
    "open_dataset",
    "plan_cache",
    "scaled",
    "to_unit",
    "units",
    "write_rejected",
]
