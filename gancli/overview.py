"""What the scan of a data set found, and what training would make of it: sizes, crop and augmentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import config as configs
from gancli import devices, files, media, plots
from gancli.augment import Augment
from gancli.config import Config
from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, facts, open_dataset, scaled, to_unit, units
from gancli.data.given import Data, place_of
from gancli.errors import UsageError
from gancli.results import DataReport, Progress, silent
from gancli.seeds import stream
from gancli.training.callbacks import Silent
from gancli.training.resolve import refuse_other_kind
from gancli.training.setup import shape_of, written

SHOWN, COLUMNS = 64, 8  # samples on the sheet
MAX_SIDE = 256  # px; larger images are made smaller if no preset says how large they are
GAP = 16  # px between plain and augmented samples


def scan(
    data: Data | None,
    preset: str | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    sheet: str | Path | None = None,
    rescan: bool = False,
    progress: Progress = silent,
) -> DataReport:
    """Scan a data set, at the size of a preset or, without one, at the usual size of its images, at most MAX_SIDE px.

    data: None for that of the preset. changes: of the preset; without one, only `network.resolution`, `data.channels`
    and `data.fit`. sheet: a PNG with random samples as the networks would see them: cropped, and in units of the data.
    If the preset has augmentation, the same samples augmented are beside them. Writes the data cache. Raises
    InputMissing, DataError, UsageError, ConfigError, StorageError.
    """
    place = place_of(data)
    config = None if preset is None else written(preset, place, changes, None, devices.choose(), Silent())[0]
    place = config.data.source if config is not None and place is None else place
    if place is None:
        raise UsageError("no data to scan", where="DATA", hint="give DATA, such as builtin:shapes")
    shape = _chosen(place, changes or {}) if config is None else shape_of(config)
    own: dict[str, Any] = {} if config is None else config.data.model_dump(include={"held_out", "kind"})
    dataset = open_dataset(place, shape, **own, rescan=rescan, progress=progress)
    if config is not None:
        refuse_other_kind(config, dataset, place)
    if sheet is not None:
        files.make_folder(Path(sheet).parent)
        media.save(Path(sheet), _sheet(dataset, config))
    return dataset.report


def _chosen(place: str, changes: Mapping[str, Any]) -> Shape:
    """The size without a preset. Raises UsageError for a change that only a preset has."""
    if others := changes.keys() - {"network.resolution", "data.channels", "data.fit"}:
        what = f"there is no preset whose {min(others)} could be changed"
        raise UsageError(what, where="--set", hint="give --preset, too")
    height = changes.get("network.resolution")
    own = configs.load("quickstart", {k: v for k, v in changes.items() if k.startswith("data.")}).data  # checks them
    found = Shape.within(facts(place).size or USUAL_SIZE, MAX_SIDE)
    return Shape(height or found.height, height or found.width, own.channels, own.fit)


def _sheet(dataset: Dataset, config: Config | None) -> NDArray[np.uint8]:
    """Random samples, and the same ones augmented if the config has augmentation. (H, W, C)."""
    count = min(SHOWN, len(dataset.values))
    rows = np.sort(np.random.RandomState(0).permutation(len(dataset.values))[:count])
    values = np.asarray(dataset.values[rows])
    x = to_unit(values) if dataset.kind == "image" else scaled(values, *units(dataset))
    plain = plots.sheet(x, dataset.kind, COLUMNS)
    if config is None or config.augment is None or dataset.kind == "points":
        return plain
    augmented = Augment(config.augment, config.augment.p, stream(config.train.seed, "sheet", 0))(x)
    beside = plots.sheet(augmented, dataset.kind, COLUMNS)
    gap = np.full((len(plain), GAP, plain.shape[2]), 255, np.uint8)
    return np.concatenate([plain, gap, beside], axis=1)
