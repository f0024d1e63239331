"""gancli train."""

import typer

from gancli import process
from gancli.cli import options, show, values, workers
from gancli.cli.live import announce_end, watcher
from gancli.cli.options import Data, JsonOption, NoProgressOption, QuietOption, SetOption, VerboseOption
from gancli.errors import Finding, UsageError


def train(
    ctx: typer.Context,
    data: Data = None,
    preset: options.PresetOption = None,
    kimg: options.KimgOption = None,
    minutes: options.MinutesOption = None,
    hours: options.HoursOption = None,
    seed: options.SeedOption = None,
    resolution: options.ResolutionOption = None,
    batch: options.BatchOption = None,
    mirror: options.MirrorOption = False,
    channels: options.ChannelsOption = None,
    fit: options.FitOption = None,
    precision: options.PrecisionOption = None,
    features: options.FeaturesOption = None,
    set_: SetOption = None,
    snap: options.SnapOption = None,
    tick: options.TickOption = None,
    start_from: options.FromOption = None,
    outdir: options.OutdirOption = "runs",
    run: options.RunOption = None,
    new: options.NewOption = False,
    strict: options.StrictOption = False,
    rescan: options.RescanOption = False,
    stop_on: options.StopOnOption = None,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    processes: options.ProcessesOption = None,
    reduce: options.ReduceOption = "exact",
    max_restarts: options.MaxRestartsOption = 0,
    dry_run: options.DryRunOption = False,
    log_format: options.LogFormatOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Train a GAN.

    Prints the path of the last checkpoint. Ctrl-C saves a checkpoint and exits.
    To resume, run the same command again.

    Example: gancli train --preset progan-64 data/ --set train.lr=0.0005
    """
    if start_from and not values.typed(ctx, "preset"):
        preset = None  # the preset of the source is used
    if start_from and preset:
        raise UsageError("--from uses its own preset", where="--from, --preset", hint="leave out --preset")
    kimg, minutes, hours = values.one_length(ctx, kimg=kimg, minutes=minutes, hours=hours)
    minutes = minutes if hours is None else hours * 60
    changes = values.changes(
        ctx, set_, seed=seed, kimg=kimg, minutes=minutes, resolution=resolution, batch=batch, snap=snap, tick=tick,
        precision=precision, mirror=mirror or None, channels=channels, fit=fit, features=features,
    )  # fmt: skip
    name = preset or "auto"

    if not dry_run:
        workers.share(processes, max_restarts)
    process.keep_memory()
    import gancli  # torch is imported on the first use of a function, so --help is fast

    with watcher(log_format, values.neighbors(ctx, threads)) as callback:
        if dry_run:
            from gancli.training.alarms import stop_names

            stop_names(values.words(stop_on))
            count = workers.number_of(processes)
            forecast = gancli.plan(
                name,
                data,
                changes=changes,
                start_from=start_from,
                rescan=rescan,
                workers=count,
                device=device,
                threads=threads if values.typed(ctx, "threads") else max(1, process.cores() // count),
                callback=callback,
            )
            show.result(forecast, json_wanted=json)
            return
        report = gancli.train(
            name, data, changes=changes, outdir=outdir, name=run, new=new, start_from=start_from, strict=strict,
            rescan=rescan, stop_on=values.words(stop_on), device=device, threads=threads, reduce=reduce,
            callback=callback,
        )  # fmt: skip
    announce_end(report)
    show.result(report, json_wanted=json)
    if report.finding:
        raise Finding(report.finding)
