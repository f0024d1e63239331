"""Options that several commands share, declared once: one long list. What their values mean is in `values`.

Imports neither torch nor the models of the config: with those, the Tab key would be slow.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from gancli import process
from gancli.cli import show
from gancli.errors import UsageError
from gancli.folders import preset_names, run_folders

FROM_PRESET = "as in the preset or run"  # shown as a default


def _quiet(value: bool) -> bool:
    show.voice.quiet |= value
    return value


def _verbose(value: int) -> int:
    show.voice.verbosity = max(show.voice.verbosity, value)
    return value


def _no_progress(value: bool) -> bool:
    show.voice.progress &= not value
    return value


def _not_empty(data: str | None) -> str | None:
    if data == "":
        raise UsageError("the name is empty", where="DATA", hint="give a folder or a file")
    return data


def _cores(threads: int | None) -> int:
    return threads or process.cores()


QuietOption = Annotated[
    bool, typer.Option("-q", "--quiet", envvar="GANCLI_QUIET", callback=_quiet, help="Print errors only.")
]
VerboseOption = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, callback=_verbose, help="Print more details. -vv also prints tracebacks."
    ),
]
NoProgressOption = Annotated[
    bool,
    typer.Option(
        "--no-progress",
        envvar="GANCLI_NO_PROGRESS",
        callback=_no_progress,
        help="Print plain lines instead of a live table and progress bars.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object with schema_version.")]


def complete_preset(incomplete: str) -> list[str]:
    """Shell completion: presets that start with the text."""
    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Shell completion: run folders that start with the text, in runs/ or in the folder typed so far."""
    outdir = Path(incomplete).parent if "/" in incomplete else Path("runs")
    return sorted(path for run in run_folders(outdir) if (path := str(run)).startswith(incomplete))


Checkpoint = Annotated[
    str | None,
    typer.Argument(
        help="A .pt file or a run folder. Default: the newest run.", show_default=False, autocompletion=complete_run
    ),
]
Data = Annotated[
    str | None,
    typer.Argument(
        callback=_not_empty,
        help="Folder, zip, tar, idx, .npy, .npz, or builtin:NAME. Default: the data of the preset.",
        show_default=False,
    ),
]
SourceData = Annotated[
    str | None,
    typer.Argument(help="Data, as for train. Default: the data of the source.", show_default=False),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a config key, e.g. train.lr=0.002. Can be repeated.",
        show_default=False,
    ),
]
DeviceOption = Annotated[str, typer.Option(envvar="GANCLI_DEVICE", help="Device: auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="GANCLI_THREADS",
        callback=_cores,
        help="Number of CPU threads.",
        show_default="all available to this process; in training, fewer while other processes use them",
    ),
]
OutdirOption = Annotated[str, typer.Option(envvar="GANCLI_OUTDIR", help="Folder that contains the run folders.")]
ProcessesOption = Annotated[
    str | None,
    typer.Option(
        "--processes",
        metavar="N|gpu",
        help="Number of worker processes on this machine that share the work; gpu: one per GPU.",
        show_default="1",
    ),
]
ReduceOption = Annotated[
    str,
    typer.Option(
        "--reduce",
        help="How workers add gradients. exact: the same result with any number of workers; sum: less traffic.",
    ),
]
MaxRestartsOption = Annotated[
    int, typer.Option("--max-restarts", min=0, help="How often workers are restarted from the last checkpoint.")
]
RunOption = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="Name of the run folder.", show_default=False)
]
NewOption = Annotated[
    bool, typer.Option("--new", help="Start a new run even if the same command has already created one.")
]
KimgOption = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        envvar="GANCLI_KIMG",
        help="Training length in thousands of images.",
        show_default=FROM_PRESET,
    ),
]
ResolutionOption = Annotated[
    int | None,
    typer.Option(
        min=4,
        envvar="GANCLI_RESOLUTION",
        help="Final height in pixels. A progressive preset adapts its channels and schedule.",
        show_default=FROM_PRESET,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(min=1, envvar="GANCLI_BATCH", help="Images per step, at every resolution.", show_default=FROM_PRESET),
]
SnapOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        envvar="GANCLI_SNAP",
        help="Thousands of images between checkpoints. One is also saved every 10 minutes.",
        show_default=FROM_PRESET,
    ),
]
TickOption = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        envvar="GANCLI_TICK",
        help="Thousands of images between lines of the log.",
        show_default=FROM_PRESET,
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        envvar="GANCLI_MINUTES",
        help="Scale the schedule to end after this time on this machine. Not with --kimg.",
        show_default=False,
    ),
]
HoursOption = Annotated[
    float | None, typer.Option(min=0.01, envvar="GANCLI_HOURS", help="The same in hours.", show_default=False)
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, envvar="GANCLI_SEED", help="Random seed of the training run.", show_default=FROM_PRESET),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(envvar="GANCLI_PRECISION", help="Precision: auto (fp32), fp32 or bf16.", show_default=FROM_PRESET),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", envvar="GANCLI_STRICT", help="Stop if any file of the data cannot be used.")
]
StopOnOption = Annotated[
    str | None,
    typer.Option(
        "--stop-on",
        metavar="WARNINGS",
        help="Stop with exit code 4 on these warnings: collapsed, low-diversity, diverged, overfitting, dead.",
        show_default=False,
    ),
]
LogFormatOption = Annotated[
    str,
    typer.Option(
        "--log-format", envvar="GANCLI_LOG_FORMAT", help="Log format: auto (a table on a terminal), plain or jsonl."
    ),
]


def _preset(default: str, more: str = "") -> Any:
    return typer.Option(
        "--preset",
        envvar="GANCLI_PRESET",
        autocompletion=complete_preset,
        help=f"Preset name or .yaml file.{more}",
        show_default=default,
    )


CHOSEN = " auto: chosen by the data and the device."
PresetOption = Annotated[str | None, _preset("auto", CHOSEN)]
ComparedPresetOption = Annotated[str | None, _preset("quickstart")]
SizePresetOption = Annotated[str | None, _preset("none: the size of the images", CHOSEN)]
MirrorOption = Annotated[
    bool,
    typer.Option("--mirror", envvar="GANCLI_MIRROR", help="Flip half of the images left to right."),
]
SheetOption = Annotated[
    str | None, typer.Option("--sheet", help="Write a PNG with samples of the data.", show_default="no sheet")
]
ChannelsOption = Annotated[
    int | None,
    typer.Option(
        envvar="GANCLI_CHANNELS", help="Channels: 1 (gray), 3 (RGB) or 4 (with alpha).", show_default="as in the data"
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        envvar="GANCLI_FIT",
        help="Fit images to the network's aspect ratio: crop, pad or stretch.",
        show_default="crop",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="CKPT", help="Start from the weights of another run (transfer).", show_default=False
    ),
]
RescanOption = Annotated[bool, typer.Option("--rescan", help="Read all data files again and ignore the cache.")]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "-n", "--dry-run", help="Print config, schedule and estimated time, memory and disk space, without training."
    ),
]
SeedsOption = Annotated[
    str, typer.Option("--seeds", help="Seeds, such as 0-63 or 1,5,42. A seed always gives the same sample.")
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--out",
        help="Output: folder, FILE.png (a grid if there are several), .npy, .zip, or - for standard output.",
        show_default="<run>-<kimg>-samples/",
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="Image to enlarge, for super-resolution checkpoints. Can be repeated.",
        show_default=False,
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features", envvar="GANCLI_FEATURES",
        help="State dict of VGG-16 for a perceptual loss.", show_default=False,
    ),
]  # fmt: skip
FormatOption = Annotated[str, typer.Option("--format", help="Format of -o -: png, npy or zip.")]
ColsOption = Annotated[
    int | None,
    typer.Option("--cols", min=1, help="Number of columns of a grid.", show_default="about square"),
]
RawOption = Annotated[
    bool, typer.Option("--raw", envvar="GANCLI_RAW", help="Use the raw weights instead of the EMA weights.")
]
TruncOption = Annotated[
    float,
    typer.Option(
        "--trunc",
        envvar="GANCLI_TRUNC",
        min=0.01,
        max=1,
        help="Truncation: sample latents from this central share of their distribution. 1 turns it off.",
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        envvar="GANCLI_SIZE",
        help="Enlarge images to about this height in pixels, by an integer factor.",
        show_default=False,
    ),
]
SamplesOption = Annotated[
    int, typer.Option("--samples", min=2, help="Number of samples per side, at most half of the reals.")
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Use at most 400 samples; skip slower metrics, copies and the raw weights.")
]
