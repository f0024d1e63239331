"""gancli ablate."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gancli.cli import options, show, values
from gancli.cli.live import watcher
from gancli.cli.options import Data, JsonOption, NoProgressOption, QuietOption, SetOption, VerboseOption
from gancli.errors import UsageError

DEFAULT_PRESET = "quickstart"


def ablate(
    ctx: typer.Context,
    data: Data = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=A,B,C",
            help="Config key and its values. Repeat for every combination of several keys.",
        ),
    ] = None,
    preset: options.ComparedPresetOption = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds to train each variant with: 0,1,2 or 0-2.")] = "0",
    kimg: options.KimgOption = None,
    batch: options.BatchOption = None,
    precision: options.PrecisionOption = None,
    set_: SetOption = None,
    tick: options.TickOption = None,
    quantities: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="KEYS",
            help="Quantities to compare: keys of stats.jsonl and of inspect-stats.",
            show_default="coverage, modes_covered, recall, kernel_distance, verdict, critic_loss, std_ratio, ...",
        ),
    ] = None,
    window: Annotated[
        int, typer.Option("--window", min=1, help="Length of the running mean, in generator steps.")
    ] = 51,
    between: Annotated[
        str | None,
        typer.Option(
            "--between", metavar="A-B", help="Also compare the means over these generator steps.", show_default=False
        ),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            "--points",
            metavar="KIMG",
            help="Training progress at which to show samples, such as 5,20,60.",
            show_default="four evenly spaced points",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="PAGE", help="HTML file to write.", show_default="OUTDIR/ablation.html"),
    ] = None,
    outdir: Annotated[str, typer.Option("--outdir", help="Folder for the runs.")] = "ablations",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Number of parallel runs. They share the CPU threads.")
    ] = 1,
    print_commands: Annotated[
        bool,
        typer.Option(
            "--print-commands",
            help="Print one `gancli train` command per run, for xargs, SLURM and others; train none.",
        ),
    ] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Compare the runs that are in the folder; train none.")
    ] = False,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Train variants of a preset and compare them.

    Prints a table and writes an HTML page with curves and samples.
    --vary preset=A,B compares presets.
    To resume, run the same command again; finished runs are not repeated.
    --print-commands leaves the training to other programs; --collect compares.

    Example: gancli ablate --vary network.pixel_norm=true,false --seeds 0-2 --kimg 13
    """
    changes = values.changes(ctx, set_, kimg=kimg, batch=batch, precision=precision, tick=tick)
    chosen = values.seeds(seeds)
    steps, moments = _steps(between), _points(points)

    if print_commands and (collect or json):
        what = "--print-commands prints nothing else"
        raise UsageError(what, where="--collect, --json", hint="leave them out")
    if output is not None:
        values.folder_of(Path(output))

    from gancli.report import ablation as report
    from gancli.training import ablate as verb

    if print_commands:
        own = ["--device", device] if values.typed(ctx, "device") else []
        own += ["--threads", str(threads)] if values.typed(ctx, "threads") else []
        lines = verb.commands(
            vary or [], preset or DEFAULT_PRESET, data, seeds=chosen, changes=changes, outdir=outdir, options=own
        )
        show.out("".join(f"{line}\n" for line in lines))
        return
    with watcher("plain") as callback, show.progress() as progress:
        found = verb.ablate(
            vary or [], preset or DEFAULT_PRESET, data, seeds=chosen, changes=changes,
            show=verb.SHOW if quantities is None else values.words(quantities),
            window=window, between=steps, outdir=outdir, jobs=jobs, collect=collect, device=device,
            threads=threads, callback=callback, progress=progress,
        )  # fmt: skip
    page = Path(output) if output is not None else Path(outdir) / "ablation.html"
    report.write(found, page, moments)
    show.result(replace(found, page=page), json_wanted=json)


def _points(text: str | None) -> list[float]:
    """[5.0, 20.0] from "5,20". Raises UsageError."""
    try:
        return [float(word) for word in values.words(text)]
    except ValueError as error:
        raise UsageError(f"{text!r} is not a list of numbers", where="--points", hint="use the form 5,20,60") from error


def _steps(text: str | None) -> tuple[int, int] | None:
    """(51, 150) from "51-150". Raises UsageError."""
    if text is None:
        return None
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise UsageError(f"{text!r} is not a range of steps", where="--between", hint="use the form 51-150")
    return int(low), int(high)
