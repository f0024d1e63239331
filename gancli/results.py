"""What the verbs return: frozen data, and the JSON contract. cli/show.py renders it; nothing here prints.

Every `--json` output is one object: `schema_version`, then the fields of one of these classes.
A field may be added without notice; renaming or removing one raises `schema_version`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 3

# Batch std of fakes / reals below which training warns of a collapse, and of low diversity. Healthy runs of the
# quickstart end between .95 and 1.06, collapsed ones between .05 and .09.
COLLAPSED_RATIO, LOW_RATIO = 0.3, 0.6

Progress = Callable[[str, int, int | None], None]  # (what is being done, done so far, of how many)


def silent(what: str, done: int, total: int | None) -> None:
    """A Progress that shows nothing: the default of every long function."""


def plain(value: Any) -> Any:
    """A result as JSON values: paths as text, NaN and infinity as null, numbers kept."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return value


def printable(text: str) -> str:
    """Text for one line of a message or log: control characters and broken bytes are shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


@dataclass(frozen=True)
class Rejected:
    """One file or row that could not be used."""

    name: str
    reason: str


@dataclass(frozen=True)
class DataReport:
    """What the scan found."""

    source: str
    kind: str  # image, signal or points
    count: int  # samples that can be used, held-out ones included
    held_out: int
    shape: tuple[int, ...]  # of one sample in the cache: (H, W, C), (C, L) or (2,)
    smallest: tuple[int, int] | None = None  # (height, width) of a source picture, by area
    largest: tuple[int, int] | None = None
    enlarged: int = 0  # pictures smaller than the training size
    duplicates: int = 0  # samples that equal an earlier one
    ignored: int = 0  # files that are no pictures by their suffix
    rejected: tuple[Rejected, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Warned:
    """What a tick warns of: each alarm once in a run."""

    name: str  # collapse, low-diversity, overfitting ...
    text: str
    since: int  # images
    checkpoint: str | None  # the last one from before, by its name in checkpoints/; it is kept

    def __str__(self) -> str:
        """One line for people."""
        before = f"checkpoints/{self.checkpoint}" if self.checkpoint else "none"
        return f"{self.name}: {self.text}; since {self.since / 1000:g} kimg; the last checkpoint before it: {before}"


def warnings_of(row: Mapping[str, Any]) -> list[str]:
    """The warnings of a line of `stats.jsonl`, for people."""
    return [str(Warned(**warning)) for warning in row["warnings"]]


@dataclass(frozen=True)
class Tick:
    """One line of `stats.jsonl`: what training looked like at one moment. Documented in the README."""

    kimg: float
    images: int
    generator_steps: int
    resolution: int
    alpha: float
    batch: int
    lr: float
    critic_loss: float
    d_real: float  # the critic's mean score of the reals
    d_fake: float  # and of the fakes
    score_gap: float  # d_real - d_fake: the Wasserstein estimate where the loss is one
    penalty: float  # gradient penalty, R1 and R2 as weighted in the loss; a lazy one shows its last value
    generator_loss: float
    std_real: float
    std_fake: float
    std_ratio: float
    feature_std_real: float
    feature_std_fake: float
    feature_std_ratio: float
    saturation: float  # share of generated values at or beyond -1 or 1
    images_per_s: float
    memory_mib: float
    seconds: float  # of training so far, earlier sessions included
    saturation_real: float = math.nan  # the same of the reals
    moments: float = math.nan  # the moment penalty, as weighted in the generator's loss; a switch
    perceptual: float = math.nan  # the perceptual loss, as weighted; networks that enlarge pictures
    color_distance: float = math.nan  # Wasserstein, values against the training data's; mean over channels, 0-255
    change: float = math.nan  # of the fakes on fixed inputs since the last tick, over the reals' deviation
    ema_std_ratio: float = math.nan  # batch std of the average's fakes over the reals'
    ema_nearest_ratio: float = math.nan  # distance to the nearest other sample, of the average's fakes over the reals'
    overfitting: float = math.nan  # (D(train) - D(held-out)) / (D(train) - D(fake)): toward 1 it knows the training set
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True)
class StageForecast:
    """One resolution of the schedule and what it will cost."""

    height: int
    width: int
    fade: int  # images
    stable: int  # images
    batch_size: int
    lr: float
    seconds: float | None  # estimate
    timed: bool  # measured at this resolution, or scaled by operations from a lower one


@dataclass(frozen=True)
class Forecast:
    """What a training would be: `train --dry-run`. Times are estimates."""

    config: Mapping[str, Any]
    generator_parameters: int
    critic_parameters: int
    stages: tuple[StageForecast, ...]
    duration: int  # images
    seconds: float | None
    memory_mib: float
    disk_mib: float  # of the checkpoints that are kept, and of the data cache
    cache_mib: float  # of the data cache alone
    device: str
    advice: tuple[str, ...] = ()


Forecaster = Callable[[], Forecast]  # takes seconds: called where somebody will see what it says


@dataclass(frozen=True)
class TrainReport:
    """How a training ended."""

    run: Path
    checkpoint: Path
    images: int
    duration: int
    state: str  # finished, already finished, stopped (by --stop-on), or interrupted (by a signal)
    seconds: float
    finding: str | None = None  # what --stop-on found


@dataclass(frozen=True)
class SampleReport:
    """What sampling or interpolating wrote."""

    path: Path
    files: tuple[Path, ...]
    count: int
    height: int
    width: int


@dataclass(frozen=True)
class PageReport:
    """The page of a run that was written."""

    path: Path
    verdict: str
    confidence: str


@dataclass(frozen=True)
class Spread:
    """A number over seeds."""

    mean: float
    spread: float  # standard deviation (n - 1); 0 for one seed

    def __str__(self) -> str:
        """0.512 ± 0.054, or a dash where there is no number."""
        if not math.isfinite(self.mean):
            return "-"
        return f"{self.mean:.3g}" + (f" ± {self.spread:.2g}" if self.spread else "")


@dataclass(frozen=True)
class AblationRow:
    """One variant over its seeds."""

    variant: str
    changes: Mapping[str, Any]
    seeds: tuple[int, ...]
    runs: tuple[Path, ...]  # one a seed
    durations: tuple[int, ...]  # images, one a seed
    diverged: tuple[int, ...]  # seeds whose run diverged
    measures: Mapping[str, Mapping[str, Spread]]  # key of stats.jsonl -> untrained, last, peak, peak at, between
    figures: Mapping[str, Spread] = field(default_factory=dict)  # key of the health panel -> its value at the end
    verdicts: tuple[str, ...] = ()  # at the end, one a run; empty where runs were not evaluated


@dataclass(frozen=True)
class Ablation:
    """The same run with one thing varied: what `ablate` found."""

    preset: str
    data: str
    outdir: Path
    quantities: tuple[str, ...]  # keys of stats.jsonl
    window: int  # generator steps of the running mean and median
    between: tuple[int, int] | None  # generator steps
    rows: tuple[AblationRow, ...]
    figures: tuple[str, ...] = ()  # keys of the health panel
    notes: tuple[str, ...] = ()  # why something is missing from the table
    page: Path | None = None

    def table(self) -> list[tuple[str, list[str]]]:
        """(head, one cell a variant) of every line: the verdicts, the health panel, then the log."""
        lines = []
        if any(row.verdicts for row in self.rows):
            lines.append(("verdict", [_counted(row.verdicts) for row in self.rows]))
        lines += [(key, [str(row.figures.get(key, "-")) for row in self.rows]) for key in self.figures]
        for head, key, name in self._of_the_log():
            lines.append((head, [str(row.measures[key].get(name, "-")) for row in self.rows]))
        return lines

    def _of_the_log(self) -> list[tuple[str, str, str]]:
        """(head, key of stats.jsonl, measure) of every line that rests on the log."""
        if not self.quantities:
            return []
        first = self.quantities[0]
        lines = [(f"{first} peak", first, "peak"), ("  at step", first, "peak at")]
        if self.between is not None:
            lines.append((f"{first}, steps {self.between[0]}-{self.between[1]}", first, "between"))
        for key in self.quantities:
            if any("untrained" in row.measures[key] for row in self.rows):
                lines.append((f"{key}, untrained", key, "untrained"))
            lines.append((f"{key} at the end", key, "last"))
        return lines


def _counted(verdicts: Sequence[str]) -> str:
    """ "healthy", or where seeds differ "healthy 2, collapsed 1"."""
    counts = Counter(verdicts)
    return next(iter(counts), "-") if len(counts) < 2 else ", ".join(f"{v} {n}" for v, n in counts.most_common())


@dataclass(frozen=True)
class RunSummary:
    """One row of `gancli runs`."""

    name: str
    path: Path
    preset: str
    kimg: float
    duration_kimg: float
    state: str  # finished, running, stopped, empty
    std_ratio: float | None
    warning: str | None
    at_full_size: bool  # is the last tick at the last resolution, faded in?
    verdict: str | None = None  # of the last `inspect-stats` or `report`; None: it was never evaluated
    verdict_kimg: float | None = None  # where the run was then


@dataclass(frozen=True)
class Extra:
    """An optional package: what it would add, and whether it is there."""

    name: str
    adds: str
    version: str | None


@dataclass(frozen=True)
class Doctor:
    """The machine and the installation, as gancli sees them."""

    gancli: str
    python: str
    torch: str
    platform: str
    device: str
    threads: int
    cores: int
    memory_gib: float
    bf16: bool
    cache: Path
    packages: Mapping[str, str]
    extras: tuple[Extra, ...]
