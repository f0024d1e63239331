"""gancli sample."""

import sys

import typer

from gancli import process
from gancli.cli import options, show, values, workers
from gancli.cli.options import Checkpoint, JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import UsageError


def sample(
    ctx: typer.Context,
    ckpt: Checkpoint = None,
    seeds: options.SeedsOption = "0-15",
    output: options.OutOption = None,
    form: options.FormatOption = "png",
    trunc: options.TruncOption = 1.0,
    raw: options.RawOption = False,
    cols: options.ColsOption = None,
    size: options.SizeOption = None,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    processes: options.ProcessesOption = None,
    input_: options.InputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Generate samples from a checkpoint, one per seed.

    Prints the path of the output.
    A super-resolution checkpoint takes images from --input instead of seeds.

    Example: gancli sample ckpt.pt --seeds 0-63 -o grid.png
    """
    chosen = values.seeds(seeds)
    _refuse_unused(ctx, output, input_)
    if json and show.is_stdout(output):
        raise UsageError("--json and -o - both write to standard output", where="-o", hint="keep one of them")

    if input_ and show.is_stdout(output):
        what = "--input cannot write to standard output"
        raise UsageError(what, where="-o", hint="give a folder, or a .png for one image")

    if show.is_stdout(output) and sys.stdout.isatty():
        raise UsageError("-o - writes binary data", where="standard output is a terminal", hint="redirect it: > FILE")
    place = values.checkpoint_of(ckpt, outdir)

    count = workers.number_of(processes)
    process.keep_memory()
    from gancli import sampling

    if show.is_stdout(output):
        show.out(
            sampling.encoded(
                place,
                chosen,
                form,
                trunc=trunc,
                raw=raw,
                columns=cols,
                size=size,
                device=device,
                threads=threads,
            )
        )
        return
    with show.progress() as progress:
        if input_:
            from gancli.superres import enlarge

            enlarged = enlarge(place, input_, output, raw=raw, device=device, threads=threads, progress=progress)
            show.result(enlarged, json_wanted=json)
            return
        report = sampling.sample(
            place,
            chosen,
            output,
            trunc=trunc,
            raw=raw,
            columns=cols,
            size=size,
            device=device,
            threads=threads,
            processes=count,
            progress=progress,
        )
    show.result(report, json_wanted=json)


def _refuse_unused(ctx: typer.Context, output: str | None, inputs: list[str] | None) -> None:
    """Raise UsageError if an option was typed that has no effect with the others."""
    names: tuple[str, ...]
    if inputs:
        names, reason = ("seeds", "trunc", "cols", "size", "form", "processes"), "with --input"
    elif show.is_stdout(output):
        names, reason = ("processes",), "with -o -"
    else:
        names, reason = ("form",), "without -o -"
    for name in names:
        if values.typed(ctx, name):
            option = "--format" if name == "form" else f"--{name}"
            raise UsageError(f"{option} has no effect {reason}", where=option, hint="leave it out")
