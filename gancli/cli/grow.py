"""gancli grow."""

from typing import Annotated

import typer

from gancli import process
from gancli.cli import options, show, values, workers
from gancli.cli.live import announce_end, watcher
from gancli.cli.options import (
    Checkpoint,
    JsonOption,
    NoProgressOption,
    QuietOption,
    SetOption,
    VerboseOption,
)
from gancli.errors import Finding


def grow(
    ctx: typer.Context,
    ckpt: Checkpoint = None,
    data: options.SourceData = None,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="PX", help="New height in pixels.", show_default="twice the current height"),
    ] = None,
    kimg: options.KimgOption = None,
    batch: options.BatchOption = None,
    precision: options.PrecisionOption = None,
    set_: SetOption = None,
    snap: options.SnapOption = None,
    tick: options.TickOption = None,
    keep_adam: Annotated[bool, typer.Option("--keep-adam", help="Keep the optimizer state of the source.")] = False,
    outdir: options.OutdirOption = "runs",
    run: options.RunOption = None,
    new: options.NewOption = False,
    strict: options.StrictOption = False,
    stop_on: options.StopOnOption = None,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    processes: options.ProcessesOption = None,
    reduce: options.ReduceOption = "exact",
    max_restarts: options.MaxRestartsOption = 0,
    log_format: options.LogFormatOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Add blocks to a trained progressive network and train it at a higher resolution.

    Creates a new run folder; the source is not changed.
    To resume: gancli resume, or the same command with CKPT.

    Example: gancli grow ckpt.pt data/ --to 128
    """
    changes = values.changes(ctx, set_, kimg=kimg, batch=batch, snap=snap, tick=tick, precision=precision)

    workers.share(processes, max_restarts)
    process.keep_memory()
    import gancli

    source = values.checkpoint_of(ckpt, outdir)
    with watcher(log_format, values.neighbors(ctx, threads)) as callback:
        report = gancli.grow(
            source, data, to=to, changes=changes, outdir=outdir, name=run, new=new, fresh_adam=not keep_adam,
            strict=strict, stop_on=values.words(stop_on), device=device, threads=threads, reduce=reduce,
            callback=callback,
        )  # fmt: skip
    announce_end(report)
    show.result(report, json_wanted=json)
    if report.finding:
        raise Finding(report.finding)
