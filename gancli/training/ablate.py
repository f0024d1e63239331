"""ablate(): train variants of a preset with the same seeds and the same data order, and compare them.

Every variant is an ordinary run, trained in a separate process. An interrupted ablation can be resumed, and each of
its runs can be sampled, inspected and resumed.
"""

import itertools
import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gancli import checkpoint, devices, files, media, plots, runs, signals
from gancli import config as configs
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.errors import CheckpointError, InputMissing, UsageError
from gancli.growth import Schedule
from gancli.results import Ablation, AblationRow, Progress, Spread, plain, silent
from gancli.runs import Run
from gancli.stats.figures import FIGURES
from gancli.stats.inspect import inspect_stats
from gancli.training import curves, log, loop
from gancli.training.callbacks import Callback, Silent
from gancli.training.setup import prepare
from gancli.training.state import TrainState
from gancli.training.step import make_noise
from gancli.training.subprocesses import Task, run_all
from gancli.training.tick_metrics import TickMetrics
from gancli.training.variants import Variant, variants

OUTDIR = "ablations"
SHOW = (
    "coverage", "modes_covered", "recall", "unique_fraction", "kernel_distance",
    "critic_loss", "score_gap", "std_ratio", "color_distance", "saturation",
)  # fmt: skip
EVALUATED = 400  # samples per side


@dataclass(frozen=True)
class Job:
    """One run of the ablation: a variant and a seed."""

    variant: Variant
    seed: int
    config: ResolvedConfig

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.variant.name}, seed {self.seed}"

    def run(self, outdir: Path) -> Run | None:
        """The run folder of this job, if it exists."""
        return runs.match(outdir, self.config)

    def is_done(self, outdir: Path) -> bool:
        """Whether the run is finished. Uses the checkpoint, because the log is ahead of it if saving failed."""
        run = self.run(outdir)
        if run is None or not run.last.exists() or runs.is_locked(run):
            return False
        with suppress(CheckpointError):
            opened = checkpoint.read(run.last)
            return opened.images >= self.duration(run) and not loop.is_unfinished(opened.extra)
        return False

    def duration(self, run: Run) -> int:
        """Length of the run in images; with `train.minutes`, the one that was fitted when it began."""
        return (self.config if self.config.train.minutes is None else run.config()).train.duration


@signals.handled()
@devices.uses_threads
def ablate(
    vary: Sequence[str],
    preset: str = "quickstart",
    data: str | None = None,
    *,
    seeds: Sequence[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    show: Sequence[str] = SHOW,
    window: int = 51,
    between: tuple[int, int] | None = None,
    outdir: str | Path = OUTDIR,
    jobs: int = 1,
    collect: bool = False,
    device: str = "auto",
    threads: int | None = None,
    callback: Callback | None = None,
    progress: Progress = silent,
) -> Ablation:
    """Train every combination of `vary` ("key=a,b,c") with every seed, and compare them.

    show: keys of stats.jsonl and of the health panel; for the latter, every finished run is evaluated. window: length
    of the running mean and median in generator steps. between: range of generator steps whose mean is also reported.
    jobs: number of parallel runs, which share the threads. Finished runs are not trained again. collect: train nothing,
    and compare the runs that are in `outdir`, such as those of `commands`.
    Raises InputMissing if there is none; the errors of `train`; ChildFailed if a run fails; Interrupted.
    """
    callback, place = callback or Silent(), Path(outdir)
    (keys, figures), changes = curves.sorted_keys(show), dict(changes or {})
    share = max(1, torch.get_num_threads() // jobs)
    wanted, datasets = _jobs(variants(vary), tuple(dict.fromkeys(seeds)), preset, data, changes, callback)
    waiting = [job for job in sorted(wanted, key=lambda job: job.seed) if not job.is_done(place)]
    for job in wanted:
        if job not in waiting:
            callback.say(f"{job.name}: already finished")
    if not collect:
        fixed = ["--device", device, "--threads", str(share), "--log-format", "plain"]
        run_all(_tasks(waiting, preset, data, changes, place, fixed), jobs, callback.say, progress)
    elif not any(job.run(place) for job in wanted):
        raise InputMissing("no run of this ablation", where=str(place), hint="train them: leave out --collect")
    rows = []
    for _, group in itertools.groupby(wanted, key=lambda job: job.variant.name):
        row = _row(list(group), datasets, place, keys, window, between)
        rows.append(_evaluated(row, data, figures, device, progress) if figures else row)
    found = tuple(dict.fromkeys(name for row in rows for name in row.figures))
    notes = tuple(_notes(rows, keys, figures, between))
    return Ablation(preset, wanted[0].config.data.source, place, keys, window, between, tuple(rows), found, notes)


def commands(
    vary: Sequence[str],
    preset: str = "quickstart",
    data: str | None = None,
    *,
    seeds: Sequence[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    outdir: str | Path = OUTDIR,
    options: Sequence[str] = (),
) -> list[str]:
    """The shell commands that train the runs of an ablation, in any order and on any machine that shares `outdir`.

    options: further arguments of `gancli train`. Raises as `ablate`, but for errors in training.
    """
    wanted, _ = _jobs(variants(vary), tuple(dict.fromkeys(seeds)), preset, data, changes or {}, Silent())
    return [
        shlex.join(["gancli", *_arguments(job, preset, data, changes or {}, Path(outdir)), *options]) for job in wanted
    ]


def _evaluated(
    row: AblationRow, data: str | None, figures: Sequence[str], device: str, progress: Progress
) -> AblationRow:
    """Add the health-panel figures, by key and part, and the verdicts of the finished runs to the row."""
    quick = all(FIGURES[key].quick for key in figures if key != curves.VERDICT)
    health = [
        inspect_stats(run, data, samples=EVALUATED, quick=quick, device=device, progress=progress) for run in row.runs
    ]
    found: dict[str, list[dict[str, float]]] = {}
    for key in figures:
        for figure in itertools.chain.from_iterable(one.panel for one in health):
            if figure.key == key:
                name = f"{key}, {figure.part}" if figure.part else key
                found.setdefault(name, []).append({name: figure.value})
    kept = {name: curves.over_seeds(values)[name] for name, values in found.items()}
    return replace(row, figures=kept, verdicts=tuple(one.verdict for one in health))


def _notes(
    rows: Sequence[AblationRow], keys: Sequence[str], figures: Sequence[str], between: tuple[int, int] | None
) -> Iterator[str]:
    """Explain empty cells of the table."""
    for row in rows:
        if row.diverged:
            seeds = ", ".join(map(str, row.diverged))
            yield f"{row.variant}: diverged with seed {seeds}; the last checkpoint is evaluated"
        if row.unfinished:
            seeds = ", ".join(map(str, row.unfinished))
            yield f"{row.variant}: not finished with seed {seeds}; the last checkpoint, if any, is evaluated"
        if row.runs and not any("last" in row.measures[key] for key in keys):
            yield f"{row.variant}: nothing was logged because the runs are shorter than a tick; use a smaller --tick"
        elif between and keys and row.runs and not any(_is_finite(row.measures[key].get("between")) for key in keys):
            yield f"{row.variant}: no tick in steps {between[0]}-{between[1]}; use a smaller --tick"
    there = {name.partition(", ")[0] for row in rows for name in row.figures} | {curves.VERDICT}
    absent = [key for key in figures if key not in there]
    if absent:
        yield f"not available for this data: {', '.join(absent)}"


def _is_finite(spread: Spread | None) -> bool:
    return spread is not None and math.isfinite(spread.mean)


def _jobs(
    found: Sequence[Variant], seeds: Sequence[int], preset: str, data: str | None, changes: Mapping[str, Any],
    callback: Callback,
) -> tuple[list[Job], dict[str, Dataset]]:  # fmt: skip
    """All jobs, and the data of each variant. Raises UsageError if two variants would be the same run."""
    if "train.seed" in {key for variant in found for key in variant.changes} | changes.keys():
        raise UsageError("train.seed cannot be set or varied", where="train.seed", hint="use --seeds 0,1,2")
    wanted: list[Job] = []
    datasets: dict[str, Dataset] = {}
    for variant in found:
        chosen, own = variant.of_preset(preset, changes)
        config = configs.load(chosen, {**own, "train.seed": seeds[0]})
        resolved, datasets[variant.name] = prepare(config, data, callback if not wanted else Silent())
        if any(runs.identity(job.config) == runs.identity(resolved) for job in wanted):
            what = f"{variant.name!r} is the same run as another variant: durations and intervals are not compared"
            raise UsageError(what, where="--vary", hint="vary a setting that changes the training")
        for seed in seeds:
            values = configs.overrides.apply(resolved.model_dump(), {"train.seed": seed})
            wanted.append(Job(variant, seed, configs.presets.build_resolved(values, "the resolved config")))
    return wanted, datasets


def _arguments(job: Job, preset: str, data: str | None, changes: Mapping[str, Any], outdir: Path) -> list[str]:
    """The arguments of `gancli` that train a job."""
    chosen, own = job.variant.of_preset(preset, changes)
    said = {**own, "train.seed": job.seed}
    sets = [word for key, value in said.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["train", *([] if data is None else [data]), "--preset", chosen, "--outdir", str(outdir), *sets]


def _tasks(
    wanted: Sequence[Job], preset: str, data: str | None, changes: Mapping[str, Any], outdir: Path, fixed: Sequence[str]
) -> list[Task]:
    """The command lines of the runs, with the same further options."""
    tasks = []
    for number, job in enumerate(wanted):
        words = [sys.executable, "-m", "gancli", *_arguments(job, preset, data, changes, outdir), *fixed]
        log_file = outdir / "logs" / f"{number:03d}-{runs.slug(job.variant.name)}-seed{job.seed}.log"
        tasks.append(Task(job.name, words, log_file, job.config.train.duration))
    return tasks


def _row(
    group: Sequence[Job], datasets: Mapping[str, Dataset], outdir: Path, keys: Sequence[str], window: int,
    between: tuple[int, int] | None,
) -> AblationRow:  # fmt: skip
    """The results of one variant over its seeds."""
    variant, trained = group[0].variant, [(job, run) for job in group if (run := job.run(outdir))]
    found: dict[str, list[dict[str, float]]] = {key: [] for key in keys}
    for job, run in trained:
        untrained, ticks = _untrained(job, datasets[variant.name], run), run.stats()
        for key in keys:
            wanted = curves.curve(ticks, key, job.duration(run))
            before = {} if untrained[key] is None else {"untrained": untrained[key]}
            found[key].append(before | curves.measures(wanted, window, between))
    diverged = tuple(job.seed for job, run in trained if not job.is_done(outdir) and _has_diverged(run))
    return AblationRow(
        variant=variant.name,
        changes=dict(variant.changes),
        seeds=tuple(job.seed for job, _ in trained),
        runs=tuple(run.path for _, run in trained),
        durations=tuple(job.duration(run) for job, run in trained),
        diverged=diverged,
        unfinished=tuple(job.seed for job in group if job.seed not in diverged and not job.is_done(outdir)),
        measures={key: curves.over_seeds(found[key]) for key in keys},
    )


def _has_diverged(run: Run) -> bool:
    """Whether training ended because a value was not finite."""
    return any(warning["name"] == "diverged" for tick in run.stats()[-1:] for warning in tick["warnings"])


def _untrained(job: Job, dataset: Dataset, run: Run) -> dict[str, Any]:
    """The tick of the untrained networks, at image 0. Also writes samples/untrained.png to the run folder."""
    state = TrainState.fresh(job.config, torch.device("cpu"))
    feed, phase = Feed(dataset, job.config), Schedule.of(job.config).phase_at(0)
    make_noise(state, job.config, "look")
    levels = log.reference_levels(feed, phase)
    tick = log.measure(state, job.config, feed, phase, {}, levels, TickMetrics(), images_per_s=0.0)
    path = run.path / "samples" / "untrained.png"
    if not path.exists():
        files.make_folder(path.parent)
        media.save(path, plots.sheet(log.fakes_seen(state, job.config, feed, phase), feed.kind))
    found: dict[str, Any] = plain(tick)
    return found
