"""The preset `auto`: a preset and settings for a data set and a device."""

from typing import Any, NamedTuple

import torch

from gancli.data import HELD_OUT_FROM, Facts, facts

NAME = "auto"
OWN = {"builtin:shapes": "quickstart", "builtin:ring8": "ring8", "builtin:grid25": "grid25"}  # made for built-in data
OTHER = {"signal": "signal-1d", "points": "ring8"}  # by kind of data
SMALL, LARGE = 48, 96  # px; sides below which images are trained at 32 px, and from which at 128 px on a GPU
MANY = 50_000  # images from which augmentation does more harm than good
FIXED = {"augment.translation": 0.5, "augment.color": 0.3, "augment.scale": 0.3}  # without held-out images
STEERED = {
    **{"augment.translation": 0.8, "augment.color": 0.5, "augment.scale": 0.5},
    **{"augment.target": 0.5, "augment.steer_images": 40_000},
}


class Choice(NamedTuple):
    """What `auto` chooses."""

    preset: str
    changes: dict[str, Any]  # dotted keys
    reason: str  # one line for the user


def choose(data: str | None, device: torch.device, resolution: int | None = None) -> Choice:
    """The preset for a data set on a device. resolution: px, if the user has set it. Raises as `data.facts`."""
    data = data or "builtin:shapes"
    if data in OWN:
        return Choice(OWN[data], {}, f"{OWN[data]}, for {data}")
    found = facts(data)
    if found.size is None:
        kind = {"signal": "signals", "points": "points"}[found.kind]
        return Choice(OTHER[found.kind], {}, f"{OTHER[found.kind]}, for {kind}")
    return _for_images(found, found.size, device.type != "cpu", resolution)


def _for_images(found: Facts, size: tuple[int, int], gpu: bool, resolution: int | None) -> Choice:
    side = resolution or _side(min(size), gpu)
    preset = f"progan-{128 if side >= 128 else 64}{'' if gpu else '-lite'}"
    changes: dict[str, Any] = {"network.resolution": side}
    reason = f"{preset} at {side} px, for images of {size[1]} x {size[0]} on a {'GPU' if gpu else 'CPU'}"
    if found.count < HELD_OUT_FROM:
        changes |= FIXED
        reason += f"; augmented, because there are only {found.count:,}"
    elif found.count < MANY:
        changes |= STEERED
        reason += "; augmented as much as the critic overfits"
    return Choice(preset, changes, reason)


def _side(side: int, gpu: bool) -> int:
    """Resolution of training for images whose smaller side this is."""
    if side < SMALL:
        return 32
    return 128 if gpu and side >= LARGE else 64
