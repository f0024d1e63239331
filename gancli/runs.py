"""Run folders: create, find, match and lock them; read config.yaml and stats.jsonl. Does not import torch."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gancli import files, locks, ticks
from gancli.config import ResolvedConfig, as_text, presets, renamed, yaml
from gancli.errors import CannotCreate, ConfigError, GancliError, InputMissing, RunBusy, UsageError
from gancli.folders import run_folders
from gancli.results import MAX_COUNT, RunSummary, printable, warnings_of

RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}
NEW_RUN = "start a new run with gancli train --new"
LINES_SHOWN = 5  # numbers of damaged lines in a message
CADENCE = (
    "duration", "epochs", "generator_steps",
    "tick_every", "sample_every", "checkpoint_every", "checkpoint_minutes", "keep", "shards",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run folder: config, log, checkpoints and samples of one training run."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def stats_file(self) -> Path:
        """The log: one JSON object per tick."""
        return self.path / "stats.jsonl"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that is training."""
        return self.path / ".lock"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.pt"

    @property
    def verdict_file(self) -> Path:
        """The last verdict of `inspect-stats` or `report` on this run."""
        return self.path / "verdict.json"

    def checkpoints(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("[0-9]*.pt")
        return sorted(path for path in found if path.stem.isdecimal())  # other files there belong to the user

    def config(self) -> ResolvedConfig:
        """Read the resolved config. Raises InputMissing or ConfigError."""
        values = yaml.load(self.config_file)
        try:
            values = renamed.translated(values)
        except renamed.MALFORMED as error:
            where = printable(str(self.config_file))
            raise ConfigError("not the config of a run", where=where, hint="restore the file") from error
        return presets.build_resolved(values, str(self.config_file))

    def stats(self) -> list[dict[str, Any]]:
        """Read the ticks so far, without damaged lines."""
        return self.log()[0]

    def log(self) -> tuple[list[dict[str, Any]], list[int]]:
        """The ticks so far, and the numbers of the damaged lines, such as one that was not written completely."""
        return ticks.parse(self.stats_file.read_bytes()) if self.stats_file.is_file() else ([], [])

    def damage(self) -> str | None:
        """A sentence about the damaged lines of the log; None if there are none."""
        lines = self.log()[1]
        if not lines:
            return None
        shown = ", ".join(map(str, lines[:LINES_SHOWN])) + (", …" if len(lines) > LINES_SHOWN else "")
        return f"{self.stats_file}: {'line' if len(lines) == 1 else 'lines'} {shown} damaged and ignored"


@dataclass(frozen=True)
class StoredVerdict:
    """The last verdict of `inspect-stats` or `report` on a run."""

    verdict: str
    confidence: str  # high or low
    images: int  # images of the checkpoint that was evaluated

    def write(self, run: Run) -> None:
        """Save the verdict in the run folder. Does nothing if the folder is not writable."""
        with suppress(GancliError):
            files.replace_text(run.verdict_file, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, run: Run) -> "StoredVerdict | None":
        """Read the last verdict. None if there is none or it is unreadable."""
        try:
            found = cls(**json.loads(run.verdict_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        well_formed = isinstance(found.verdict, str) and isinstance(found.confidence, str)
        return found if well_formed and type(found.images) is int and 0 <= found.images <= MAX_COUNT else None


def images_of(digits: str) -> int:
    """Images from the file name of a checkpoint or grid: nine digits are images, fewer are kimg, rounded down."""
    return int(digits) * (1 if len(digits) == 9 else 1_000)


def create(outdir: Path, data: str, config: ResolvedConfig, name: str | None = None) -> Run:
    """Create the next free `00000-<data>-<preset>` (or `name`) with its config.yaml. Raises CannotCreate."""
    if name is not None and (Path(name).name != name or name in ("", ".", "..")):
        raise UsageError(f"{name!r} is not a folder name", where="--run", hint="give a name without slashes")
    files.make_folder(outdir, hint="give another --outdir")
    files.sweep(outdir)
    contents = {"config.yaml": as_text(config)}
    for folder in _free_names(outdir, f"{slug(data)}-{slug(config.preset)}") if name is None else [outdir / name]:
        with suppress(FileExistsError):  # another process took the number
            files.create_folder(folder, contents)
            return Run(folder)
    there = Run(outdir / str(name))
    what = "it is a run already" if there.config_file.exists() else "there are other files in it"
    what, where = f"cannot create a run folder: {what}", printable(str(there.path))
    raise CannotCreate(what, where=where, hint="give another --run")


def _free_names(outdir: Path, suffix: str) -> Iterator[Path]:
    """Folders with the next numbers."""
    first = max((int(p.name[:5]) for p in outdir.glob("[0-9][0-9][0-9][0-9][0-9]-*")), default=-1) + 1
    return (outdir / f"{number:05d}-{suffix}" for number in itertools.count(first))


def slug(text: str) -> str:
    """A folder name: ASCII letters, digits and single dashes, at most 40 characters, no name reserved by Windows."""
    stem = re.sub(r"(\.(zip|npy|npz|gz|yaml))+$", "", Path(text.removeprefix("builtin:")).name, flags=re.IGNORECASE)
    word = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:40].strip("-")
    return word if word and word.lower() not in RESERVED else f"data-{word}".strip("-")


def identity(config: ResolvedConfig, *, data: bool = True) -> dict[str, Any]:
    """The config values that identify a run: all but the duration, the intervals and the path of the data.

    With data=False, the content of the data is excluded, too.
    """
    values = config.model_dump(mode="json")
    values["train"] = {key: value for key, value in values["train"].items() if key not in CADENCE}
    values["data"].pop("source")
    if not data:
        values.pop("samples")
    if config.train.minutes is not None:  # the schedule was fitted to it when the run began
        values["growth"].pop("scale")
    if values["loss"]["perceptual"]:
        values["loss"]["perceptual"].pop("features")  # the digest of the file is kept
    if values["origin"]:
        values["origin"].pop("checkpoint")
    return values


def all_runs(outdir: Path) -> list[Run]:
    """The run folders under `outdir`, oldest first."""
    found = [Run(path) for path in run_folders(outdir)]
    return sorted(found, key=lambda run: (_modified(run.config_file), run.path.name))


def _modified(path: Path) -> int:
    """Modification time in ns; 0 for a file that has been deleted meanwhile."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def match(outdir: Path, config: ResolvedConfig) -> Run | None:
    """The newest run with the same identity as the config, if any."""
    return next((run for run, theirs in _readable(outdir) if identity(theirs) == identity(config)), None)


def match_before_change(outdir: Path, config: ResolvedConfig) -> Run | None:
    """The newest run with the same config on data at the same path, whose content has changed since."""
    for run, theirs in _readable(outdir):
        same_words = identity(theirs, data=False) == identity(config, data=False)
        same_place = theirs.data.source == config.data.source
        if same_words and same_place and theirs.samples.fingerprint != config.samples.fingerprint:
            return run
    return None


def _readable(outdir: Path) -> Iterator[tuple[Run, ResolvedConfig]]:
    """The runs whose config can be read, newest first. Damaged or foreign folders are skipped."""
    for run in reversed(all_runs(outdir)):
        with suppress(GancliError):
            yield run, run.config()


def newest(outdir: Path) -> Run:
    """The run with the newest checkpoint. Raises InputMissing."""
    found = [run for run in all_runs(outdir) if run.last.exists()]
    if not found:
        raise InputMissing("no run yet", where=printable(str(outdir)), hint="train one: gancli train")
    return max(found, key=lambda run: _modified(run.last))


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Lock the run for this process. Raises RunBusy with the pid of the other process."""
    try:
        with locks.held(run.lock_file):
            yield
    except locks.Taken as other:
        raise RunBusy(
            f"process {other.pid} is training in this run folder",
            where=printable(str(run.path)),
            hint=f"wait for it to end, or {NEW_RUN}",
        ) from other


def is_locked(run: Run) -> bool:
    """Whether a live process is training in this run. The check does not take the lock."""
    return locks.is_held(run.lock_file)


def summary(run: Run) -> RunSummary:
    """One row of `gancli runs`. Raises ConfigError or InputMissing for a folder that is not a run."""
    config, rows = run.config(), run.stats()
    images = rows[-1]["images"] if rows else 0
    duration = config.train.duration
    state = "running" if is_locked(run) else "empty" if not run.last.exists() else "stopped"
    if state == "stopped" and images >= duration:
        state = "finished"
    warned = [warning for row in rows for warning in warnings_of(row)]
    said = StoredVerdict.read(run)
    return RunSummary(
        name=run.path.name,
        path=run.path,
        preset=config.preset,
        kimg=images / 1000,
        duration_kimg=duration / 1000,
        state=state,
        std_ratio=rows[-1]["std_ratio"] if rows else None,
        at_full_size=bool(rows) and rows[-1]["resolution"] == config.full_height and rows[-1]["alpha"] >= 1,
        warning=warned[-1] if warned else None,
        verdict=said.verdict if said else None,
        verdict_kimg=said.images / 1000 if said else None,
    )
