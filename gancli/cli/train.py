"""gancli train."""

from typing import Annotated

import typer

from gancli.cli import options, show
from gancli.cli.live import watcher
from gancli.cli.options import Data, JsonOption, NoProgressOption, QuietOption, SetOption, VerboseOption
from gancli.errors import Finding, UsageError

DEFAULT_PRESET = "quickstart"


def train(
    data: Data = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            envvar="GANCLI_PRESET",
            help="Name or .yaml file. [default: quickstart]",
            show_default=False,
        ),
    ] = None,
    kimg: options.KimgOption = None,
    seed: options.SeedOption = None,
    batch: options.BatchOption = None,
    mirror: Annotated[
        bool,
        typer.Option("--mirror", envvar="GANCLI_MIRROR", help="Flip half of the pictures left to right."),
    ] = False,
    channels: Annotated[
        int | None,
        typer.Option(help="1 (grey), 3 or 4 (with alpha). [default: as the data]", show_default=False),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            envvar="GANCLI_FIT",
            help="crop, pad or stretch to the network's aspect. [default: crop]",
            show_default=False,
        ),
    ] = None,
    precision: options.PrecisionOption = None,
    set_: SetOption = None,
    snap: options.SnapOption = None,
    tick: options.TickOption = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="CKPT", help="Start from another run's weights (transfer).", show_default=False),
    ] = None,
    outdir: options.OutdirOption = "runs",
    run: options.RunOption = None,
    new: options.NewOption = False,
    strict: options.StrictOption = False,
    rescan: Annotated[bool, typer.Option("--rescan", help="Read every file again, whatever the cache says.")] = False,
    stop_on: options.StopOnOption = None,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("-n", "--dry-run", help="Print config, schedule, time, memory and disk; train nothing."),
    ] = False,
    log_format: options.LogFormatOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Train a GAN. To resume a run, give the same command again.

    Prints the path of the last checkpoint. Ctrl-C saves and leaves; defaults are those of the preset.

    Example: gancli train --preset progan-64 data/ --set growth.lr=0.0005
    """
    if start_from and preset:
        raise UsageError("--from brings its own preset", where="--from, --preset", mend="leave out --preset")
    changes = options.changes(
        set_, seed=seed, kimg=kimg, batch=batch, snap=snap, tick=tick, precision=precision,
        mirror=mirror or None, channels=channels, fit=fit,
    )  # fmt: skip
    watch = watcher(log_format)
    if data and not preset and not start_from:
        watch.say("preset: quickstart's recipe, 32 px; for photographs on a CPU take --preset progan-64-lite")

    import gancli  # torch loads on the first use of a verb, so that --help stays quick

    if dry_run:
        show.result(
            gancli.plan(preset or DEFAULT_PRESET, data, changes=changes, device=device, watch=watch),
            json_wanted=json,
        )
        return
    report = gancli.train(
        preset or DEFAULT_PRESET, data, changes=changes, outdir=outdir, name=run, new=new, start_from=start_from,
        strict=strict, rescan=rescan, stop_on=options.words(stop_on), device=device, threads=threads, watch=watch,
    )  # fmt: skip
    show.result(report, json_wanted=json)
    if report.finding:
        raise Finding(report.finding)
