"""Evaluate samples from files against real data."""

from dataclasses import replace
from functools import partial

from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, facts, open_dataset, units
from gancli.data.labels import labels_of
from gancli.errors import DataError, UsageError
from gancli.health import Health
from gancli.results import Progress, printable
from gancli.seeds import permutation
from gancli.stats.comparison import Comparison
from gancli.stats.evaluate import evaluate
from gancli.stats.inspection import How, too_few, undecided
from gancli.stats.known_modes import mode_counter
from gancli.stats.sample_sets import MAX_HEIGHT, Reals
from gancli.stats.verdict import MIN_SAMPLES


def of_files(target: str, data: str | None, how: How) -> Health:
    """Evaluate samples from files against a set of reals, at the size of the samples."""
    if data is None:
        hint = "add --against REALS, a folder or zip of the training images"
        raise UsageError(
            "no real data to compare the samples with",
            where=printable(target),
            hint=hint,
        )
    fakes, reals = _open_both(target, data, how.progress)
    count = min(how.samples, len(fakes.values), len(reals.values) // 2)
    center, scale = units(reals)
    base = undecided(count, "files", target, data, reals.kind, how)
    if count < MIN_SAMPLES:
        return too_few(base)
    labels, extractor = labels_of(data, reals, how.labels), how.extractor(reals.kind)
    sets = Reals(reals, center=center, scale=scale, labels=labels, extractor=extractor)
    reference, trained = sets.reference(count, quick=how.quick, progress=how.progress)
    places = permutation(0, 1, len(fakes.values)).numpy()[:count]
    x = Reals(fakes, center=center, scale=scale).shown(places)
    c = Comparison(x, reference, network=how.network, count_modes=mode_counter(data, center, scale))
    health = evaluate(
        base, c, places.tolist(), reals=sets.both(count), rows=trained, quick=not how.slow, progress=how.progress
    )
    if 2 * reals.report.enlarged <= len(reals.values):
        return health
    enlarged = f"{reals.report.enlarged} of the reals were upscaled to the size of the samples: sharpness is unreliable"
    return replace(health, confidence="low", right=None, evidence=(*health.evidence, enlarged))


def _open_both(target: str, data: str, progress: Progress) -> tuple[Dataset, Dataset]:
    """Samples and reals at the size of the samples, at most MAX_HEIGHT; gray becomes color if the other is color."""
    shape = Shape.within(facts(target).size or USUAL_SIZE, MAX_HEIGHT)
    opened = partial(open_dataset, held_out=0.0, progress=progress)
    fakes, reals = opened(target, shape), opened(data, shape)
    if fakes.sample_shape != reals.sample_shape and len(fakes.sample_shape) == len(reals.sample_shape) == 3:
        shape = replace(shape, channels=max(fakes.sample_shape[0], reals.sample_shape[0]))
        fakes, reals = opened(target, shape), opened(data, shape)
    if fakes.sample_shape != reals.sample_shape:
        what = f"the samples have shape {fakes.sample_shape}, the reals {reals.sample_shape}"
        raise DataError(what, where=printable(data), hint="give reals of the same kind")
    return fakes, reals
