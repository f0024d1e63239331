"""gancli data."""

from pathlib import Path

import typer

from gancli.cli import options, show, values
from gancli.cli.options import Data, JsonOption, NoProgressOption, QuietOption, SetOption, VerboseOption


def data(
    ctx: typer.Context,
    data: Data = None,
    preset: options.SizePresetOption = None,
    sheet: options.SheetOption = None,
    resolution: options.ResolutionOption = None,
    channels: options.ChannelsOption = None,
    fit: options.FitOption = None,
    set_: SetOption = None,
    rescan: options.RescanOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Scan a data set: sizes, duplicates and rejected files, and a sheet of samples.

    With --preset, samples are as its networks see them, and its augmentation is shown beside them.

    Example: gancli data photos/ --preset projected-64 --sheet sheet.png
    """
    changes = values.changes(ctx, set_, resolution=resolution, channels=channels, fit=fit)

    from gancli import overview

    with show.progress() as progress:
        report = overview.scan(
            data, preset, changes=changes, sheet=Path(sheet) if sheet else None, rescan=rescan, progress=progress
        )
    if sheet:
        show.say(f"sheet: {sheet}")
    show.result(report, json_wanted=json)
