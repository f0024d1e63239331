"""write_report(): inspect a run and write its HTML page."""

from pathlib import Path

import numpy as np

from gancli import checkpoint, devices, plots, runs
from gancli.errors import GancliError, InputMissing, UsageError
from gancli.health import Health
from gancli.report import run_page
from gancli.report.run_page import Pair
from gancli.results import PageReport, Progress, printable, silent
from gancli.runs import Run
from gancli.sampling import Generator
from gancli.stats import sample_sets
from gancli.stats.inspect import SAMPLES, inspect_stats
from gancli.stats.inspect_checkpoint import reals_of


@devices.uses_threads
def write_report(
    target: str | Path | None = None,
    data: str | None = None,
    *,
    out: Path | None = None,
    outdir: str | Path = "runs",
    samples: int = SAMPLES,
    quick: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = silent,
) -> PageReport:
    """Inspect a run folder (default: the newest) and write its page to `out`, by default `report.html` in the folder.

    Raises InputMissing if there is no such folder, UsageError if it is not a run folder, and as inspect_stats.
    """
    run = runs.newest(Path(outdir)) if target is None else Run(Path(target))
    hint = "give a run folder, as listed by `gancli runs`"
    if not run.path.exists():
        raise InputMissing("no such run folder", where=printable(str(run.path)), hint=hint)
    if not run.config_file.is_file():
        raise UsageError("not a run folder", where=printable(str(run.path)), hint=hint)
    health = inspect_stats(run.path, data, samples=samples, quick=quick, device=device, progress=progress)
    path = out or run.path / "report.html"
    run_page.write(run, health, path, _pairs(run, health, data, device))
    return PageReport(path, health.verdict, health.confidence)


def _pairs(run: Run, health: Health, data: str | None, device: str) -> list[Pair]:
    """The samples that look most like copies, regenerated, with their nearest training samples."""
    if not health.nearest or health.kind == "points":
        return []
    opened = checkpoint.read(run.path)
    generator = Generator.of(opened, raw=health.weights == "raw", device=device)
    try:
        dataset = reals_of(opened, data, silent)
    except GancliError:
        return []
    reals = sample_sets.of_generator(generator, dataset, trained=True)
    drawn = sample_sets.prepared(generator.samples([near.fake for near in health.nearest]), health.kind)
    fakes = plots.pictures(drawn, health.kind)
    rows = np.array([near.real for near in health.nearest])
    beside = plots.pictures(reals.shown(rows), health.kind)
    turned = [np.fliplr(real) if near.mirrored else real for near, real in zip(health.nearest, beside, strict=True)]
    return [Pair(*three) for three in zip(fakes, turned, health.nearest, strict=True)]
