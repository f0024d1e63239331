"""ablate(): the same run with one thing varied, from the same seeds and the same order of the data.

Every variant is an ordinary run in one folder, trained by a process of its own, so that an interrupted
ablation goes on where it stood, and each of its runs can be sampled, inspected and gone on with.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gancli import config as configs
from gancli import media, plots, runs, signals
from gancli.config import Config, yaml
from gancli.data import Dataset, Feed
from gancli.errors import ChildFailed, UsageError
from gancli.growth import Schedule
from gancli.results import Ablation, AblationRow, Progress, plain, silent
from gancli.runs import Run
from gancli.training import curves, log
from gancli.training.state import TrainState
from gancli.training.verbs import prepare, set_up
from gancli.training.watch import Silent, Watcher

OUTDIR = "ablations"
SHOW = ("critic_loss", "score_gap", "std_ratio", "colour_distance", "saturation")
DIVERGED = 70  # exit code of a run that is no longer finite: a result, not a failure
POLL = 0.3  # seconds


@dataclass(frozen=True)
class Variant:
    """One combination of the varied values."""

    name: str
    changes: Mapping[str, Any]  # dotted key -> value


@dataclass(frozen=True)
class Job:
    """One run that is wanted."""

    variant: Variant
    seed: int
    config: Config  # resolved

    @property
    def name(self) -> str:
        """For files."""
        return f"{runs.slug(self.variant.name)}-seed{self.seed}"

    def run(self, outdir: Path) -> Run | None:
        """The run folder that it has, if it was ever begun."""
        return runs.match(outdir, self.config)

    def is_done(self, outdir: Path) -> bool:
        """Has it been trained to the end?"""
        run = self.run(outdir)
        ticks = run.stats() if run and run.last.exists() and not runs.is_locked(run) else []
        return bool(ticks) and ticks[-1]["images"] >= (self.config.train.duration or 0)


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
    device: str = "auto",
    watch: Watcher | None = None,
    progress: Progress = silent,
) -> Ablation:
    """Train every combination of `vary` ("key=a,b,c") with every seed, and compare them.

    show: keys of stats.jsonl. window: generator steps of the running mean and median. between: generator steps
    whose mean is asked for. jobs: runs at a time, each with its share of the processor's threads.
    Finished runs are not trained again. Raises as `train`; ChildFailed where a run fails; Interrupted.
    """
    watch, place = watch or Silent(), Path(outdir)
    keys = curves.check_keys(show)
    set_up(max(1, (os.cpu_count() or 1) // jobs))
    wanted: list[Job] = []
    datasets: dict[str, Dataset] = {}
    for variant, seed in itertools.product(variants(vary), seeds):
        said = {**(changes or {}), **variant.changes, "train.seed": seed}
        config, datasets[variant.name] = prepare(configs.load(preset, said), data, watch if not wanted else Silent())
        wanted.append(Job(variant, seed, config))
    _train_all(_by_seed(wanted), preset, data, changes or {}, place, jobs, device, watch, progress)
    rows = []
    for _, group in itertools.groupby(wanted, key=lambda job: job.variant.name):
        rows.append(_row(list(group), datasets, place, keys, window, between))
    return Ablation(preset, wanted[0].config.data.source or "", place, keys, window, between, tuple(rows))


def _by_seed(wanted: Sequence[Job]) -> list[Job]:
    """All variants of the first seed first, so that there is soon something to compare."""
    return sorted(wanted, key=lambda job: job.seed)


def variants(vary: Sequence[str]) -> tuple[Variant, ...]:
    """Every combination of the values of some "key=a,b,c". Raises UsageError for one that is none."""
    axes = []
    for text in vary:
        key, sign, values = text.partition("=")
        texts = split(values)
        if not sign or not key.strip() or not all(texts) or len(set(texts)) != len(texts):
            mend = "write it as --vary network.output=tanh,bn-tanh,bn-clip"
            raise UsageError(f"{text!r} is not KEY=A,B,C", where="--vary", mend=mend)
        axes.append([(key.strip(), value, yaml.parse(value, f"--vary {key}")) for value in texts])
    if not axes:
        raise UsageError("nothing is varied", where="--vary", mend="--vary network.output=tanh,bn-tanh")
    found = []
    for chosen in itertools.product(*axes):
        alone = len(axes) == 1 and isinstance(chosen[0][2], str)  # a word speaks for itself; a number does not
        names = [text if alone else f"{key.rpartition('.')[2]} {text}" for key, text, _ in chosen]
        found.append(Variant(", ".join(names), {key: value for key, _, value in chosen}))
    return tuple(found)


def split(text: str) -> list[str]:
    """Parts between commas that stand outside of brackets. "a,{b: 1, c: 2}" -> ["a", "{b: 1, c: 2}"]."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _train_all(
    wanted: Sequence[Job], preset: str, data: str | None, changes: Mapping[str, Any], outdir: Path,
    jobs: int, device: str, watch: Watcher, progress: Progress,
) -> None:  # fmt: skip
    """Keep `jobs` processes busy until every run is done. Raises ChildFailed, or Interrupted with all saved."""
    waiting = [job for job in wanted if not job.is_done(outdir)]
    for job in wanted:
        if job not in waiting:
            watch.say(f"{job.variant.name}, seed {job.seed}: done already")
    total = sum(job.config.train.duration or 0 for job in waiting)
    alive: dict[int, Child] = {}
    done = 0
    try:
        while waiting or alive:
            while waiting and len(alive) < jobs:
                job = waiting.pop(0)
                words = _words(job, preset, data, changes, outdir, jobs, device)
                alive[id(job)] = Child(job, words, outdir / "logs" / f"{job.name}.log")
                watch.say(f"{job.variant.name}, seed {job.seed}: training")
            time.sleep(POLL)
            signals.poll()
            for key, child in list(alive.items()):
                if child.has_ended():
                    done += child.job.config.train.duration or 0
                    watch.say(f"{child.job.variant.name}, seed {child.job.seed}: {child.outcome()}")
                    del alive[key]
            progress("training", done + sum(child.images() for child in alive.values()), total)
    finally:
        for child in alive.values():
            child.stop()


def _words(
    job: Job, preset: str, data: str | None, changes: Mapping[str, Any], outdir: Path, jobs: int, device: str
) -> list[str]:
    """The command line of one run."""
    said = {**changes, **job.variant.changes, "train.seed": job.seed}
    sets = [word for key, value in said.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    where = [] if data is None else [data]
    fixed = ["--preset", preset, "--outdir", str(outdir), "--threads", str(threads), "--device", device]
    return [sys.executable, "-m", "gancli", "train", *where, *fixed, *sets, "--log-format", "plain"]


class Child:
    """One training in a process of its own; its words are in a log."""

    def __init__(self, job: Job, words: Sequence[str], log_file: Path) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.job, self.log_file = job, log_file
        with log_file.open("ab") as out:
            # in a process group of its own: Ctrl-C reaches us alone, and we pass it on once
            self.process = subprocess.Popen(words, stdout=out, stderr=out, process_group=0)

    def has_ended(self) -> bool:
        """Is it over, well or badly?"""
        return self.process.poll() is not None

    def outcome(self) -> str:
        """One word on how it ended. Raises ChildFailed."""
        code = self.process.returncode
        if code not in (0, DIVERGED):
            said = [line for line in self.tail().splitlines() if line.startswith("error:")]
            what = f"{self.job.variant.name}, seed {self.job.seed}: {(said or [f'exit code {code}'])[-1]}"
            raise ChildFailed(what, code, where=str(self.log_file), mend="see the log; the same command goes on")
        return "done" if code == 0 else "diverged"

    def images(self) -> int:
        """How far it is, by the last line of its log."""
        words = [word for word in self.tail().split() if word.startswith("images=")]
        return int(words[-1].removeprefix("images=")) if words else 0

    def tail(self) -> str:
        """The end of the log."""
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - 2_000))
            return file.read().decode(errors="replace")

    def stop(self) -> None:
        """Ask it to save and leave, and wait for it."""
        self.process.send_signal(2)
        self.process.wait()


def _row(
    group: Sequence[Job], datasets: Mapping[str, Dataset], outdir: Path, keys: Sequence[str], window: int,
    between: tuple[int, int] | None,
) -> AblationRow:  # fmt: skip
    """One variant over its seeds."""
    variant, trained = group[0].variant, [(job, run) for job in group if (run := job.run(outdir))]
    found: dict[str, list[dict[str, float]]] = {key: [] for key in keys}
    for job, run in trained:
        untrained, ticks = _untrained(job, datasets[variant.name], run), run.stats()
        for key in keys:
            wanted = curves.curve(ticks, key, job.config.train.duration or 0)
            before = {} if untrained[key] is None else {"untrained": untrained[key]}
            found[key].append(before | curves.measures(wanted, window, between))
    return AblationRow(
        variant=variant.name,
        changes=dict(variant.changes),
        seeds=tuple(job.seed for job, _ in trained),
        runs=tuple(run.path for _, run in trained),
        durations=tuple(job.config.train.duration or 0 for job, _ in trained),
        unfinished=tuple(job.seed for job in group if not job.is_done(outdir)),
        measures={key: curves.over_seeds(found[key]) for key in keys},
    )


def _untrained(job: Job, dataset: Dataset, run: Run) -> dict[str, Any]:
    """What the networks of a job drew before their first step: the tick of image 0; its picture beside the others."""
    state = TrainState.fresh(job.config, torch.device("cpu"))
    feed, phase = Feed(dataset, job.config), Schedule.of(job.config).phase_at(0)
    tick = log.measure(state, job.config, feed, phase, {}, log.reference_levels(feed, phase), images_per_s=0.0)
    path = run.path / "samples" / "untrained.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        media.save(path, plots.sheet(log.fakes_seen(state, job.config, feed, phase), feed.kind))
    found: dict[str, Any] = plain(tick)
    return found


def pairs(row: AblationRow, key: str) -> Iterator[tuple[int, curves.Curve]]:
    """(seed, curve) of every run of a row."""
    for seed, path, until in zip(row.seeds, row.runs, row.durations, strict=True):
        yield seed, curves.curve(Run(path).stats(), key, until)
