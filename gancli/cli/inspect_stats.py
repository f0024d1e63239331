"""gancli inspect-stats."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gancli.cli import options, piped, show, watching
from gancli.cli.options import JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import Finding, UsageError
from gancli.health import WORDS

FINDINGS = {"collapse": "collapsed"} | {word: word for word in WORDS if word not in ("healthy", "undecided")}


def inspect_stats(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Run folder, .pt, or a folder, zip, tar or array of anybody's samples; - is a pipe. "
            "Left out: the newest run.",
            show_default=False,
            autocompletion=options.complete_run,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Argument(help="The reals. Left out: the data of the training.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REALS", help="The reals, for a set of samples.", show_default=False),
    ] = None,
    samples: options.SamplesOption = 1000,
    quick: options.QuickOption = False,
    raw: options.RawOption = False,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="FILE",
            help="Weights of inception-v3 or vgg16 (a state dict): adds a FID and a KID on their features.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on", metavar="WORDS", envvar="GANCLI_FAIL_ON",
            help=f"Exit 4 on {', '.join(FINDINGS)}.", show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every figure, histograms, spectra and history.")
    ] = False,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.svg", help="Draw every figure.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow a run that is being trained.")] = False,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:  # fmt: skip
    """Diagnose mode collapse: metrics beside their real-versus-real baselines, and a verdict.

    The verdict is healthy, low-diversity, collapsed, memorizing, washed-out, artifacts, diverged or undecided.

    Example: gancli inspect-stats fakes/ --against photos.zip --fail-on collapse,memorizing
    """
    wanted = {_finding(word) for word in options.words(fail_on)}
    if data is not None and against is not None:
        raise UsageError("the reals are given twice", where=f"{data}, --against {against}", hint="keep one of them")
    if watch:
        if wanted or plot or data or against or features:
            hint = "leave them out; training stops by itself with train --stop-on"
            raise UsageError("--watch only shows the log", where="--fail-on, --plot, --features or DATA", hint=hint)
        watching.follow(target, Path(outdir), as_json=json)
        return
    if quick and "memorizing" in wanted:
        raise UsageError("copies are not looked for", where="--quick, --fail-on memorizing", hint="leave out --quick")
    drawing = None if plot is None else _target(Path(plot))

    import gancli

    with show.progress() as progress, piped.spooled(target) as place:
        health = gancli.inspect_stats(
            place, data or against, outdir=outdir, samples=samples, raw=raw, quick=quick, features=features,
            need_reals=bool(wanted), device=device, threads=threads, progress=progress,
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
    """Where the plot goes, looked at before any work is done. Raises UsageError or CannotCreate."""
    if path.suffix.lower() != ".svg":
        raise UsageError("the plot is an SVG", where=f"--plot {path}", hint="give a name that ends in .svg")
    options.folder_of(path)
    return path


def _finding(word: str) -> str:
    if word not in FINDINGS:
        raise UsageError(f"unknown word {word!r}", where="--fail-on", hint=f"use {', '.join(FINDINGS)}")
    return FINDINGS[word]
