"""gancli runs."""

from pathlib import Path

from gancli import runs as run_folders
from gancli.cli import options, show
from gancli.cli.options import JsonOption
from gancli.errors import GancliError


def runs(outdir: options.OutdirOption = "runs", json: JsonOption = False) -> None:
    """List the runs.

    Shows kimg, state, std ratio of the last tick, and the verdict of the last inspect-stats or report.

    Example: gancli runs
    """
    summaries = []
    for run in run_folders.all_runs(Path(outdir)):
        try:
            summaries.append(run_folders.summary(run))
        except GancliError as error:
            show.say(f"skipped {run.path}: {error.what}")
            continue
        if damage := run.damage():
            show.say(damage)
    if not summaries:
        show.say(f"no runs in {outdir}")
    show.result(summaries, json_wanted=json)
