"""The options that several commands share, and how their words are read. No torch here."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from gancli import process, runs
from gancli.cli import show
from gancli.config import overrides, presets
from gancli.errors import CannotCreate, UsageError
from gancli.results import printable

MAX_SEED = 2**32 - 1  # what numpy's frozen generator takes
MAX_SEEDS = 1_000_000


def _quiet(value: bool) -> bool:
    show.voice.quiet |= value
    return value


def _verbose(value: int) -> int:
    show.voice.verbosity = max(show.voice.verbosity, value)
    return value


def _no_progress(value: bool) -> bool:
    show.voice.progress &= not value
    return value


def _cores(threads: int | None) -> int:
    return threads or process.cores()


QuietOption = Annotated[
    bool, typer.Option("-q", "--quiet", envvar="GANCLI_QUIET", callback=_quiet, help="Say nothing but errors.")
]
VerboseOption = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, callback=_verbose, help="Say more; -vv shows tracebacks."),
]
NoProgressOption = Annotated[
    bool,
    typer.Option(
        "--no-progress", envvar="GANCLI_NO_PROGRESS", callback=_no_progress, help="No live table, no bars: plain lines."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object with schema_version.")]


def complete_preset(incomplete: str) -> list[str]:
    """For Tab: presets that begin so."""
    return [name for name in presets.names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """For Tab: run folders below runs/, or whatever folder was begun, that begin so."""
    outdir = Path(incomplete).parent if "/" in incomplete else Path("runs")
    return [path for run in runs.all_runs(outdir) if (path := str(run.path)).startswith(incomplete)]


Checkpoint = Annotated[
    str | None,
    typer.Argument(
        help="A .pt file or a run folder. Left out: the newest run.", show_default=False, autocompletion=complete_run
    ),
]
Data = Annotated[
    str | None,
    typer.Argument(
        help="Folder, .zip, idx .gz, .npy, .npz, or builtin:NAME. Left out: the preset's own.",
        show_default=False,
    ),
]
SourceData = Annotated[
    str | None,
    typer.Argument(help="As for train. Left out: the data of the source.", show_default=False),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the preset, e.g. train.lr=0.002.",
        show_default=False,
    ),
]
DeviceOption = Annotated[str, typer.Option(envvar="GANCLI_DEVICE", help="auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="GANCLI_THREADS",
        callback=_cores,
        help="CPU threads.",
        show_default="all that this process may use",
    ),
]
OutdirOption = Annotated[str, typer.Option(envvar="GANCLI_OUTDIR", help="Where run folders are made.")]
RunOption = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="Name of the run folder.", show_default=False)
]
NewOption = Annotated[
    bool, typer.Option("--new", help="Start another run, though the same words have made one before.")
]
KimgOption = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        envvar="GANCLI_KIMG",
        help="Thousands of images to show in all.",
        show_default="the schedule",
    ),
]
ResolutionOption = Annotated[
    int | None,
    typer.Option(
        min=4,
        envvar="GANCLI_RESOLUTION",
        help="Final height in pixels; a progressive preset adapts its channels and schedule.",
        show_default="as in the preset",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(min=1, envvar="GANCLI_BATCH", help="Images a step, at every resolution.", show_default=False),
]
SnapOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        envvar="GANCLI_SNAP",
        help="kimg between checkpoints (and every 10 minutes).",
        show_default=False,
    ),
]
TickOption = Annotated[
    float | None,
    typer.Option(min=0.001, envvar="GANCLI_TICK", help="kimg between lines of the log.", show_default=False),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, envvar="GANCLI_SEED", help="Seed of the training.", show_default=False)
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(envvar="GANCLI_PRECISION", help="auto (= fp32), fp32 or bf16.", show_default=False),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", envvar="GANCLI_STRICT", help="Stop if a single file cannot be used.")
]
StopOnOption = Annotated[
    str | None,
    typer.Option(
        "--stop-on",
        metavar="WORDS",
        help="Stop, exit 4: collapse, low-diversity, diverged, overfitting, dead.",
        show_default=False,
    ),
]
LogFormatOption = Annotated[
    str,
    typer.Option("--log-format", envvar="GANCLI_LOG_FORMAT", help="auto (a table on a terminal), plain or jsonl."),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        envvar="GANCLI_PRESET",
        autocompletion=complete_preset,
        help="Name or .yaml file.",
        show_default="quickstart",
    ),
]
MirrorOption = Annotated[
    bool,
    typer.Option("--mirror", envvar="GANCLI_MIRROR", help="Flip half of the pictures left to right."),
]
ChannelsOption = Annotated[
    int | None,
    typer.Option(envvar="GANCLI_CHANNELS", help="1 (gray), 3 or 4 (with alpha).", show_default="as the data"),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        envvar="GANCLI_FIT",
        help="crop, pad or stretch to the network's aspect.",
        show_default="crop",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="CKPT", help="Start from another run's weights (transfer).", show_default=False),
]
RescanOption = Annotated[bool, typer.Option("--rescan", help="Read every file again, whatever the cache says.")]
DryRunOption = Annotated[
    bool,
    typer.Option("-n", "--dry-run", help="Print config, schedule, time, memory and disk; train nothing."),
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Such as 0-63 or 1,5,42; a seed is one picture for ever.")]
OutOption = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--out",
        help="Folder, FILE.png (a grid of several), .npy, .zip, or - .",
        show_default="<run>-<kimg>-samples/",
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", help="A picture to enlarge, for such checkpoints; may be given again.", show_default=False
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features", envvar="GANCLI_FEATURES",
        help="VGG-16's weights for a perceptual loss: a state dict.", show_default=False,
    ),
]  # fmt: skip
FormatOption = Annotated[str, typer.Option("--format", help="What -o - writes: png, npy or zip.")]
ColsOption = Annotated[
    int | None,
    typer.Option("--cols", min=1, help="Columns of a grid.", show_default="about square"),
]
RawOption = Annotated[
    bool, typer.Option("--raw", envvar="GANCLI_RAW", help="The weights of the last step, not their average.")
]
TruncOption = Annotated[
    float,
    typer.Option(
        "--trunc",
        envvar="GANCLI_TRUNC",
        min=0.01,
        max=1,
        help="Central share of the latents' distribution to draw from; 1 = off.",
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        envvar="GANCLI_SIZE",
        help="Enlarge to about this height, by whole factors.",
        show_default=False,
    ),
]


SamplesOption = Annotated[int, typer.Option("--samples", min=2, help="Samples of each side; at most half the reals.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="400 samples at most, without the slower figures.")]


def checkpoint_of(ckpt: str | None, outdir: str) -> Path:
    """The checkpoint argument, or the newest run where it is left out. Raises InputMissing."""
    return Path(ckpt) if ckpt is not None else runs.newest(Path(outdir)).path


def seeds(text: str) -> list[int]:
    """[0, 1, ..., 9, 42] from "0-9,42". Raises UsageError."""
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{part.strip()!r} is no seed", where="--seeds", hint="write them as 0-63,100")
        low, high = int(first), int(last or first)
        if max(low, high) > MAX_SEED:
            raise UsageError(f"{part.strip()!r} is too large", where="--seeds", hint=f"seeds end at {MAX_SEED}")
        if len(chosen) + high - low >= MAX_SEEDS:
            raise UsageError(f"more than {MAX_SEEDS:,} seeds", where="--seeds", hint="draw them in several goes")
        if high < low:
            raise UsageError(f"{part.strip()!r} is no range of seeds", where="--seeds", hint="write them as 0-63,100")
        chosen += range(low, high + 1)
    return chosen


def typed(ctx: typer.Context, name: str) -> bool:
    """Was this parameter given on the command line, rather than by a GANCLI_ variable?"""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def changes(ctx: typer.Context, sets: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Dotted changes to a preset from --set and from flags with a key of their own (those given).

    --set is a flag, so it wins over a variable. Raises UsageError where --set and a flag name one key.
    """
    keys = {
        "seed": "train.seed",
        "kimg": "train.duration",
        "resolution": "network.resolution",
        "batch": "train.batch_size",
        "snap": "train.checkpoint_every",
        "tick": "train.tick_every",
        "precision": "train.precision",
        "mirror": "data.mirror",
        "channels": "data.channels",
        "fit": "data.fit",
        "features": "loss.perceptual.features",
    }
    in_images = {"kimg", "snap", "tick"}
    said = overrides.parse(sets or [])
    given = {
        keys[name]: images(name, value) if name in in_images else value
        for name, value in flags.items()
        if typed(ctx, name) or keys[name] not in said
    }
    return overrides.merge(given, said)


def images(name: str, kimg: float | None) -> int | None:
    """Images from the kimg of an option. Raises UsageError."""
    if kimg is None:
        return None
    if not math.isfinite(kimg):
        raise UsageError(f"{kimg} is not a number of images", where=f"--{name}", hint="give a finite number of kimg")
    return round(kimg * 1000)


def words(text: str | None) -> tuple[str, ...]:
    """("collapse", "diverged") from "collapse,diverged"."""
    return tuple(word.strip() for word in text.split(",")) if text is not None else ()


def folder_of(path: Path) -> None:
    """Make sure before any work that a file can be written there. Raises CannotCreate."""
    if not path.absolute().parent.is_dir():
        raise CannotCreate("its folder does not exist", where=printable(str(path)), hint="make the folder first")
