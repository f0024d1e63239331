"""Result classes of the commands, and the JSON contract. cli/show.py renders them; nothing here prints.

Every `--json` output is one object: `schema_version`, then the fields of one of these classes. The file is long because
the contract is in one place.
A field may be added without notice; renaming or removing one raises `schema_version`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 4

MAX_COUNT = 1 << 53  # limit of a number of images or steps in a file: the integers that a float holds exactly

# Training warns of collapse or of low diversity if the batch std of the fakes divided by that of the reals is below
# these limits. Healthy runs of the quickstart preset end between .95 and 1.06, collapsed ones between .05 and .09.
COLLAPSED_RATIO, LOW_RATIO = 0.3, 0.6

Progress = Callable[[str, int, int | None], None]  # (name of the task, steps done, total steps or None)


def silent(what: str, done: int, total: int | None) -> None:
    """A Progress that shows nothing. It is the default everywhere."""


def plain(value: Any) -> Any:
    """Convert a result to JSON values: paths become text, NaN and infinity become null."""
    if hasattr(value, "__dataclass_fields__"):
        shown = (f.name for f in fields(value) if f.metadata.get("json", True))
        return {name: plain(getattr(value, name)) for name in shown}
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
    """Escape control characters and invalid bytes, so that the text fits on one line of a message or log."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


@dataclass(frozen=True)
class Rejected:
    """One file or row of a data set that could not be used."""

    name: str  # file name or row number
    reason: str  # why it was rejected


@dataclass(frozen=True)
class DataReport:
    """Result of scanning a data set."""

    source: str  # path or builtin:NAME
    kind: str  # image, signal or points
    count: int  # number of usable samples, including held-out samples
    held_out: int  # number of held-out samples
    shape: tuple[int, ...]  # shape of one sample in the cache: (H, W, C), (C, L) or (2,)
    smallest: tuple[int, int] | None = None  # (height, width) of the smallest source image by area, in pixels
    largest: tuple[int, int] | None = None  # (height, width) of the largest source image by area, in pixels
    enlarged: int = 0  # number of images that are smaller than the training size
    duplicates: int = 0  # number of samples that are equal to an earlier sample
    ignored: int = 0  # number of files whose suffix is not that of an image
    rejected: tuple[Rejected, ...] = ()  # files or rows that could not be used
    advice: tuple[str, ...] = ()  # hints for the user, one sentence each


@dataclass(frozen=True)
class Warned:
    """A warning of a tick. Each warning is given once per run."""

    name: str  # collapsed, low-diversity, diverged, rolled-back, penalty, saturation, overfitting, dead
    text: str  # what was measured and what it means
    since: int  # number of images shown when the problem began
    checkpoint: str | None  # file name in checkpoints/ of the last checkpoint before the problem; it is never deleted

    def __str__(self) -> str:
        """The warning as one line of text."""
        before = f"checkpoints/{self.checkpoint}" if self.checkpoint else "none"
        return f"{self.name}: {self.text}; since {self.since / 1000:g} kimg; the last checkpoint before it: {before}"


def warnings_of(row: Mapping[str, Any]) -> list[str]:
    """The warnings of a line of `stats.jsonl` as text."""
    return [str(Warned(**warning)) for warning in row["warnings"]]


@dataclass(frozen=True)
class Tick:
    """One line of `stats.jsonl`: the state of training at one tick. The fields are documented in docs/log.md."""

    kimg: float  # real images shown to the critic so far, in thousands
    images: int  # real images shown to the critic so far
    generator_steps: int  # generator steps so far
    resolution: int  # current height in pixels
    alpha: float  # weight of the new blocks, 0 to 1; 1 outside of a fade
    batch: int  # images per step
    lr: float  # learning rate of the last step
    critic_loss: float  # of the last step; includes a lazy penalty, times its interval, if that step computed it
    d_real: float  # mean critic score of the reals
    d_fake: float  # mean critic score of the fakes
    score_gap: float  # d_real - d_fake; the Wasserstein estimate if the loss is the Wasserstein loss
    penalty: float  # gradient penalty, R1 and R2, weighted; a lazy one: the last value, not times its interval
    generator_loss: float  # generator loss of the last step, including all its terms
    std_real: float  # batch std of 64 reals: std over samples, averaged over values
    std_fake: float  # batch std of 64 fakes, raw generator weights
    std_ratio: float  # std_fake / std_real
    feature_std_real: float  # batch std of the critic's features of 64 reals, at the minibatch-std layer
    feature_std_fake: float  # batch std of the critic's features of 64 fakes
    feature_std_ratio: float  # feature_std_fake / feature_std_real
    saturation: float  # share of the generated values at or beyond -1 or 1
    images_per_s: float  # training speed since the last tick, in images per second
    memory_mib: float  # peak memory in MiB, of the GPU if there is one, otherwise of the process
    seconds: float  # training time so far in seconds, including earlier sessions
    saturation_real: float = math.nan  # share of the real values at or beyond -1 or 1
    moments: float = math.nan  # moment penalty as weighted in the generator loss; NaN if it is off
    consistency: float = math.nan  # consistency as weighted in the critic loss; NaN if it is off
    perceptual: float = math.nan  # perceptual loss as weighted in the generator loss; NaN if it is off
    color_distance: float = math.nan  # Wasserstein distance of fake to training values, mean over channels, 0 to 255
    change: float = math.nan  # mean absolute change of the fakes on fixed inputs since the last tick, over std_real
    ema_std_ratio: float = math.nan  # batch std of 64 samples of the EMA generator, over that of the reals
    ema_nearest_ratio: float = math.nan  # median distance to the nearest other sample, EMA fakes over reals
    overfitting: float = math.nan  # (D(train) - D(held-out)) / (D(train) - D(fake)); near 1 the critic is overfitted
    held_out_gap: float = math.nan  # D(train) - D(held-out), the numerator of `overfitting`
    augment_p: float = math.nan  # factor of the probabilities of augmentation; NaN if it is off
    verdict: str | None = None  # what the signs at this tick say: see VERDICTS of training/alarms.py
    warnings: tuple[Warned, ...] = ()  # new warnings at this tick


@dataclass(frozen=True)
class StageForecast:
    """One resolution of the schedule and its estimated cost."""

    height: int  # pixels
    width: int  # pixels
    fade: int  # length of the fade in images
    stable: int  # length of the stable phase in images
    batch_size: int  # images per step
    lr: float  # learning rate, before any decay
    seconds: float | None  # estimated training time in seconds
    timed: bool  # True if measured at this resolution, False if scaled by operations from a lower one


@dataclass(frozen=True)
class Forecast:
    """Result of `train --dry-run`: the plan and the estimated cost of a training run."""

    config: Mapping[str, Any]  # the resolved config
    generator_parameters: int  # number of parameters of the generator
    critic_parameters: int  # number of parameters of the critic
    stages: tuple[StageForecast, ...]  # one per resolution
    duration: int  # total number of images
    seconds: float | None  # estimated training time in seconds
    memory_mib: float  # estimated memory in MiB
    disk_mib: float  # disk space of the checkpoints that are kept and of the data cache, in MiB
    cache_mib: float  # disk space of the data cache alone, in MiB
    device: str  # torch device, such as cpu or cuda
    workers: int = 1  # number of processes that share the training; memory is that of one of them
    shards: int = 1  # parts of a batch that they share
    advice: tuple[str, ...] = ()  # hints for the user, one sentence each


Forecaster = Callable[[], Forecast]  # takes seconds to run, so it is called only if the result is shown


@dataclass(frozen=True)
class TrainReport:
    """Result of `train`, `resume` and `grow`."""

    run: Path  # the run folder
    checkpoint: Path  # the newest checkpoint, last.pt
    images: int  # images shown so far
    duration: int  # images of the whole run
    state: str  # finished, already finished, stopped (by --stop-on) or interrupted (by a signal)
    seconds: float  # training time in seconds, including earlier sessions
    finding: str | None = None  # the warning that stopped training, with --stop-on


@dataclass(frozen=True)
class SampleReport:
    """Result of `sample` and `interpolate`."""

    path: Path  # the file or folder that was written
    files: tuple[Path, ...]  # every file that was written
    count: int  # number of samples or frames
    height: int  # height of one image in pixels
    width: int  # width of one image in pixels


@dataclass(frozen=True)
class PageReport:
    """Result of `report`."""

    path: Path  # the HTML page
    verdict: str  # as in inspect-stats
    confidence: str  # high or low


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float  # mean over seeds
    spread: float  # standard deviation over seeds (n - 1); 0 for one seed

    def __str__(self) -> str:
        """Text such as "0.512 ± 0.054", or a dash if the mean is not finite."""
        if not math.isfinite(self.mean):
            return "-"
        return f"{self.mean:.3g}" + (f" ± {self.spread:.2g}" if self.spread else "")


@dataclass(frozen=True)
class AblationRow:
    """Results of one variant of an ablation, over its seeds."""

    variant: str  # name of the variant
    changes: Mapping[str, Any]  # config key -> value
    seeds: tuple[int, ...]  # seeds that have a run
    runs: tuple[Path, ...]  # run folders, one per seed
    durations: tuple[int, ...]  # length of each run in images
    diverged: tuple[int, ...]  # seeds whose run diverged
    unfinished: tuple[int, ...]  # seeds whose run is not there, or not finished yet
    measures: Mapping[str, Mapping[str, Spread]]  # key of stats.jsonl -> untrained, last, peak, peak at, between
    figures: Mapping[str, Spread] = field(default_factory=dict)  # metric of inspect-stats, part -> value at the end
    verdicts: tuple[str, ...] = ()  # final verdict of each run; empty if the runs were not evaluated


@dataclass(frozen=True)
class Ablation:
    """Result of `ablate`: a comparison of variants of a preset."""

    preset: str  # name of the preset
    data: str  # path or builtin:NAME
    outdir: Path  # folder of the runs
    quantities: tuple[str, ...]  # keys of stats.jsonl that are compared
    window: int  # length of the running mean and median in generator steps
    between: tuple[int, int] | None  # range of generator steps whose mean is also reported
    rows: tuple[AblationRow, ...]  # one per variant
    figures: tuple[str, ...] = ()  # metrics of inspect-stats that are compared, one per part
    notes: tuple[str, ...] = ()  # why cells of the table are empty
    page: Path | None = None  # the HTML page

    def table(self) -> list[tuple[str, list[str]]]:
        """(head, one cell per variant) of every line: the verdicts, the health panel, then the log."""
        lines = []
        if any(row.verdicts for row in self.rows):
            lines.append(("verdict", [_counted(row.verdicts) for row in self.rows]))
        lines += [(key, [str(row.figures.get(key, "-")) for row in self.rows]) for key in self.figures]
        for head, key, name in self._of_the_log():
            lines.append((head, [str(row.measures[key].get(name, "-")) for row in self.rows]))
        return lines

    def _of_the_log(self) -> list[tuple[str, str, str]]:
        """(head, key of stats.jsonl, measure) of every line that is computed from the log."""
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
    """ "healthy", or if the seeds differ "healthy 2, collapsed 1"."""
    counts = Counter(verdicts)
    return next(iter(counts), "-") if len(counts) < 2 else ", ".join(f"{v} {n}" for v, n in counts.most_common())


@dataclass(frozen=True)
class RunSummary:
    """One row of `gancli runs`."""

    name: str  # name of the run folder
    path: Path  # the run folder
    preset: str  # name of the preset
    kimg: float  # images shown so far, in thousands
    duration_kimg: float  # length of the whole run in thousands of images
    state: str  # finished, running, stopped or empty
    std_ratio: float | None  # std_ratio of the last tick
    warning: str | None  # the last warning
    at_full_size: bool  # whether the last tick is at the final resolution, with its fade completed
    verdict: str | None = None  # verdict of the last `inspect-stats` or `report`; None if it was never evaluated
    verdict_kimg: float | None = None  # kimg of the checkpoint that was evaluated


@dataclass(frozen=True)
class Extra:
    """An optional dependency."""

    name: str  # name of the extra, as in gancli[video]
    adds: str  # the feature that it enables
    version: str | None  # installed version; None if it is not installed


@dataclass(frozen=True)
class Doctor:
    """Result of `doctor`: the machine and the installation."""

    gancli: str  # version
    python: str  # version
    torch: str  # version
    platform: str  # operating system
    device: str  # the device that --device auto selects, and its name
    threads: int  # CPU threads that gancli uses by default
    cores: int  # CPU cores of the machine
    memory_gib: float  # RAM in GiB
    bf16: bool  # whether bfloat16 is fast on this device
    cache: Path  # folder of the data cache
    packages: Mapping[str, str]  # dependency -> version, or "missing"
    extras: tuple[Extra, ...]  # optional dependencies
