"""gancli resume."""

from typing import Annotated

import typer

from gancli import process
from gancli.cli import options, show, values, workers
from gancli.cli.live import announce_end, watcher
from gancli.cli.options import JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import Finding


def resume(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            help="Run folder. Default: the newest run.", show_default=False, autocompletion=options.complete_run
        ),
    ] = None,
    kimg: options.KimgOption = None,
    stop_on: options.StopOnOption = None,
    outdir: options.OutdirOption = "runs",
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
    """Resume a run from its last checkpoint, with its own config and data.

    Prints the path of the last checkpoint. Use --kimg to train a finished run longer.

    Example: gancli resume runs/00000-shapes-quickstart
    """
    workers.share(processes, max_restarts)
    process.keep_memory()
    import gancli

    with watcher(log_format, values.neighbors(ctx, threads)) as callback:
        report = gancli.resume(
            run, duration=values.images("kimg", kimg), outdir=outdir, stop_on=values.words(stop_on), device=device,
            threads=threads, reduce=reduce, callback=callback,
        )  # fmt: skip
    announce_end(report)
    show.result(report, json_wanted=json)
    if report.finding:
        raise Finding(report.finding)
