"""gancli runs."""

from dataclasses import replace
from pathlib import Path

from gancli import runs as run_folders
from gancli.cli import options, show
from gancli.cli.options import JsonOption
from gancli.errors import GancliError
from gancli.results import RunSummary


def runs(outdir: options.OutdirOption = "runs", json: JsonOption = False) -> None:
    """List the runs with their kimg, state and the verdict of their last tick.

    Example: gancli runs
    """
    summaries = []
    for run in run_folders.all_runs(Path(outdir)):
        try:
            summaries.append(_judged(run_folders.summary(run)))
        except (GancliError, KeyError) as error:
            show.say(f"passed over {run.path}: {error.what if isinstance(error, GancliError) else error}")
    show.result(summaries, json_wanted=json)


def _judged(summary: RunSummary) -> RunSummary:
    if summary.std_ratio is None or not summary.at_full_size:
        return summary
    from gancli.stats.verdict import by_spread

    return replace(summary, verdict=by_spread(summary.std_ratio))
