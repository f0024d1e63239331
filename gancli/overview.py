"""What the scan of a data set found, and what training would make of it: sizes, crop and augmentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import devices, files, media, plots
from gancli.augment import Augment
from gancli.config import Config
from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, facts, open_dataset, scaled, to_unit
from gancli.data.given import Data, place_of
from gancli.errors import UsageError
from gancli.results import DataReport, Progress, silent
from gancli.seeds import stream
from gancli.training.callbacks import Silent
from gancli.training.resolve import refuse_other_kind
from gancli.training.setup import shape_of, written

SHOWN, COLUMNS = 64, 8  # samples on the sheet
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
    """Scan a data set, at the size of a preset or, without one, at the most common size of its images.

    sheet: a PNG with random samples as the networks would see them: cropped, and in units of the data. If the preset
    has augmentation, the same samples augmented are beside them. Writes the data cache. Raises InputMissing, DataError,
    ConfigError, StorageError.
    """
    place = place_of(data)
    if place is None:
        raise UsageError("no data to scan", where="DATA", hint="give DATA, such as builtin:shapes")
    config = None if preset is None else written(preset, place, changes, None, devices.choose(), Silent())[0]
    if config is None and changes:
        raise UsageError("changes need a preset", where="--set", hint="give --preset, too")
    dataset = _opened(place, config, rescan, progress)
    if config is not None:
        refuse_other_kind(config, dataset, place)
    if sheet is not None:
        files.make_folder(Path(sheet).parent)
        media.save(Path(sheet), _sheet(dataset, config))
    return dataset.report


def _opened(place: str, config: Config | None, rescan: bool, progress: Progress) -> Dataset:
    if config is None:
        height, width = facts(place).size or USUAL_SIZE
        return open_dataset(place, Shape(height, width, None, "crop"), rescan=rescan, progress=progress)
    own = config.data
    return open_dataset(place, shape_of(config), held_out=own.held_out, kind=own.kind, rescan=rescan, progress=progress)


def _sheet(dataset: Dataset, config: Config | None) -> NDArray[np.uint8]:
    """Random samples, and the same ones augmented if the config has augmentation. (H, W, C)."""
    count = min(SHOWN, len(dataset.values))
    rows = np.sort(np.random.RandomState(0).permutation(len(dataset.values))[:count])
    values = np.asarray(dataset.values[rows])
    if dataset.kind == "image":
        x = to_unit(values)
    else:
        low, high = float(values.min()), float(values.max())
        x = scaled(values, (low + high) / 2, (high - low) / 2 or 1.0)
    plain = plots.sheet(x, dataset.kind, COLUMNS)
    if config is None or config.augment is None or dataset.kind == "points":
        return plain
    augmented = Augment(config.augment, config.augment.p, stream(config.train.seed, "sheet", 0))(x)
    beside = plots.sheet(augmented, dataset.kind, COLUMNS)
    gap = np.full((len(plain), GAP, plain.shape[2]), 255, np.uint8)
    return np.concatenate([plain, gap, beside], axis=1)
