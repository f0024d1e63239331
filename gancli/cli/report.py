"""gancli report."""

from pathlib import Path
from typing import Annotated

import typer

from gancli import process
from gancli.cli import options, show, values
from gancli.cli.options import JsonOption, NoProgressOption, QuietOption, VerboseOption


def report(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Run folder. Default: the newest run.", show_default=False, autocompletion=options.complete_run
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Argument(help="Real data. Default: the training data of the run.", show_default=False)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="HTML file to write.", show_default="report.html in the run folder"),
    ] = None,
    samples: options.SamplesOption = 1000,
    quick: options.QuickOption = False,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Write a self-contained HTML report of a run.

    The page shows the verdict, the panel, curves, samples over training and
    nearest neighbors. It loads nothing from the network.
    Prints the path of the page.

    Example: gancli report runs/00000-shapes-quickstart
    """
    if out is not None:
        values.folder_of(Path(out))

    process.keep_memory()
    import gancli

    with show.progress() as progress:
        page = gancli.write_report(
            target, data, out=None if out is None else Path(out), outdir=outdir, samples=samples, quick=quick,
            device=device, threads=threads, progress=progress,
        )  # fmt: skip
    show.result(page, json_wanted=json)
