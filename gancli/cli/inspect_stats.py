"""gancli inspect-stats."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gancli import process
from gancli.cli import options, piped, show, values, watching, workers
from gancli.cli.options import JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import Finding, UsageError
from gancli.health import WORDS

FINDINGS = {"collapse": "collapsed"} | {word: word for word in WORDS if word not in ("healthy", "undecided")}


def inspect_stats(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Run folder, .pt file, or samples of any model: a folder, zip, tar or array; - reads standard input. "
            "Default: the newest run.",
            show_default=False,
            autocompletion=options.complete_run,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Argument(help="Real data. Default: the training data of the run.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="REALS", help="Real data to compare a set of samples with.", show_default=False
        ),
    ] = None,
    samples: options.SamplesOption = 1000,
    quick: options.QuickOption = False,
    raw: options.RawOption = False,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="FILE",
            help="State dict of inception-v3 or vgg16. Adds FID and KID on its features.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Classes of the real data: a .csv with the columns file,label, or a .npy or idx file. "
            "Default: a labels.csv beside the images, or their folders.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on", metavar="VERDICTS", envvar="GANCLI_FAIL_ON",
            help=f"Exit with code 4 on these verdicts: {', '.join(FINDINGS)}.", show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all metrics, histograms, spectra and history.")
    ] = False,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.svg", help="Plot all metrics to a file.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the log of a run while it trains.")] = False,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    processes: options.ProcessesOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:  # fmt: skip
    """Diagnose mode collapse and other problems of generated samples.

    Compares metrics with their real-versus-real baselines and gives a verdict:
    healthy, low-diversity, collapsed, memorizing, washed-out, artifacts,
    diverged or undecided.

    Example: gancli inspect-stats fakes/ --against photos.zip --fail-on collapsed,memorizing
    """
    wanted = {_finding(word) for word in values.words(fail_on)}
    if data is not None and against is not None:
        raise UsageError("real data is given twice", where=f"{data}, --against {against}", hint="keep one of them")
    if watch:
        if wanted or plot or data or against or features or labels:
            hint = "leave them out; to stop training automatically, use train --stop-on"
            raise UsageError(
                "--watch only shows the log", where="--fail-on, --plot, --features, --labels or DATA", hint=hint
            )
        watching.follow(target, Path(outdir), as_json=json)
        return
    if quick and "memorizing" in wanted:
        what = "--quick does not search for copies of training samples"
        raise UsageError(what, where="--quick, --fail-on memorizing", hint="leave out --quick")
    drawing = None if plot is None else _target(Path(plot))
    shown_all = json or everything or drawing is not None

    process.keep_memory()
    import gancli

    with show.progress() as progress, piped.spooled(target) as place:
        health = gancli.inspect_stats(
            place, data or against, outdir=outdir, samples=samples, raw=raw, quick=quick, slow=shown_all,
            features=features, labels=labels, need_reals=bool(wanted), device=device, threads=threads,
            processes=workers.number_of(processes), progress=progress,
        )  # fmt: skip
    if target == "-":
        health = replace(health, source="-")
    show.result(health, json_wanted=json, everything=everything)
    if drawing is not None:
        from gancli.report import health_plot

        health_plot.write(health, drawing)
    if health.verdict in wanted:
        raise Finding(health.verdict)


def _target(path: Path) -> Path:
    """Check the path of the plot before the evaluation. Raises UsageError or CannotCreate."""
    if path.suffix.lower() != ".svg":
        raise UsageError("the plot is an SVG file", where=f"--plot {path}", hint="give a name that ends in .svg")
    values.folder_of(path)
    return path


def _finding(word: str) -> str:
    if word not in FINDINGS:
        raise UsageError(f"unknown verdict {word!r}", where="--fail-on", hint=f"use {', '.join(FINDINGS)}")
    return FINDINGS[word]
