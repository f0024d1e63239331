"""The preset `auto`: a preset and settings for a data set and a device."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from gancli.data import HELD_OUT_FROM, facts

NAME = "auto"
OWN = {"builtin:shapes": "quickstart", "builtin:ring8": "ring8", "builtin:grid25": "grid25"}  # made for built-in data
OTHER = {"signal": "signal-1d", "points": "ring8"}  # by kind of data
SMALL, LARGE = 48, 96  # px; sides below which images are trained at 32 px, and from which at 128 px on a GPU
STEERABLE = 2 * HELD_OUT_FROM  # images from which some are held out for sure, even if many are unreadable
MANY = 50_000  # images from which augmentation does more harm than good
FIXED: dict[str, Any] = {"augment.translation": 0.5, "augment.color": 0.3, "augment.scale": 0.3}
STEERED: dict[str, Any] = {
    **{"augment.translation": 0.8, "augment.color": 0.5, "augment.scale": 0.5},
    **{"augment.target": 0.5, "augment.steer_images": 40_000},
}


class Choice(NamedTuple):
    """What `auto` chooses."""

    preset: str
    changes: dict[str, Any]  # dotted keys
    reason: str  # one line for the user


def choose(data: str | None, device: torch.device, changes: Mapping[str, Any]) -> Choice:
    """The preset for a data set on a device. changes: what the user has set. Raises as `data.facts`."""
    data = data or changes.get("data.source") or "builtin:shapes"
    if data in OWN:
        return Choice(OWN[data], {}, f"{OWN[data]}, for {data}")
    found = facts(data)
    if found.size is None:
        kind = {"signal": "signals", "points": "points"}[found.kind]
        return Choice(OTHER[found.kind], {}, f"{OTHER[found.kind]}, for {kind}")
    gpu = device.type != "cpu"
    given = changes.get("network.resolution")
    side = given if isinstance(given, int) else _side(min(found.size), gpu)
    preset = f"progan-{128 if side >= 128 else 64}{'' if gpu else '-lite'}"
    size = f"{found.size[1]} x {found.size[0]}"
    augment, why = _augmentation(found.count, changes)
    reason = f"{preset} at {side} px, for images of {size} on a {'GPU' if gpu else 'CPU'}{why}"
    return Choice(preset, {"network.resolution": side, **augment}, reason)


def _side(side: int, gpu: bool) -> int:
    """Resolution of training for images whose smaller side this is."""
    if side < SMALL:
        return 32
    return 128 if gpu and side >= LARGE else 64


def _augmentation(count: int, changes: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The augmentation for a number of images, and the reason; none if the user has set it."""
    if count >= MANY or any(key.partition(".")[0] == "augment" for key in changes):
        return {}, ""
    share = changes.get("data.held_out")
    if count < STEERABLE or (isinstance(share, int | float) and round(share * count) == 0):
        return FIXED, f"; augmented, because there are only {count:,} images"
    return STEERED, "; augmented as much as the critic overfits"
