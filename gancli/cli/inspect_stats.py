"""gancli inspect-stats."""

from typing import Annotated

import typer

from gancli.cli import options, show
from gancli.cli.options import JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import Finding, UsageError

FINDINGS = {"collapse": "collapsed", "collapsed": "collapsed", "low-diversity": "low diversity"}


def inspect_stats(
    target: Annotated[
        str | None, typer.Argument(help="Run folder or .pt. Left out: the newest run.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Argument(help="The reals. Left out: the data of the training.", show_default=False)
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=2, help="Samples of each side; at most half the reals.")
    ] = 1000,
    raw: options.RawOption = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="WORDS",
            envvar="GANCLI_FAIL_ON",
            help="Exit 4 on collapse, low-diversity.",
            show_default=False,
        ),
    ] = None,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Mode-collapse diagnostics: figures beside their real-against-real floors, and a verdict.

    The verdict is healthy, low diversity, collapsed or undecided.

    Example: gancli inspect-stats ckpt.pt data/ --fail-on collapse
    """
    wanted = {_finding(word) for word in options.words(fail_on)}

    import gancli

    with show.progress() as progress:
        health = gancli.inspect_stats(
            target, data, outdir=outdir, samples=samples, raw=raw, need_reals=bool(wanted),
            device=device, progress=progress,
        )  # fmt: skip
    show.result(health, json_wanted=json)
    if health.verdict in wanted:
        raise Finding(health.verdict)


def _finding(word: str) -> str:
    if word not in FINDINGS:
        raise UsageError(f"unknown word {word!r}", where="--fail-on", mend=f"use {', '.join(FINDINGS)}")
    return FINDINGS[word]
