"""gancli interpolate."""

from pathlib import Path
from typing import Annotated

import typer

from gancli import process
from gancli.cli import options, show, values, workers
from gancli.cli.options import Checkpoint, JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import UsageError


def interpolate(
    ckpt: Checkpoint = None,
    out: Annotated[
        str | None,
        typer.Argument(
            help="Output: .gif, .webp, .png (animated), .mp4 (needs the extra `video`), or a folder for the frames.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=2, help="Number of frames.")] = 60,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds of the keyframes, in order.")] = "0-3",
    fps: Annotated[
        float, typer.Option("--fps", min=0.1, max=100, help="Frames per second. The maximum for a GIF is 50.")
    ] = 20,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Return to the first keyframe.")] = True,
    lerp: Annotated[
        bool, typer.Option("--lerp", help="Interpolate linearly. The default is spherical interpolation.")
    ] = False,
    cols: Annotated[int, typer.Option("--cols", min=1, max=64, help="Interpolations side by side.")] = 1,
    rows: Annotated[int, typer.Option("--rows", min=1, max=64, help="Rows of interpolations.")] = 1,
    trunc: options.TruncOption = 1.0,
    raw: options.RawOption = False,
    size: options.SizeOption = None,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    processes: options.ProcessesOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Interpolate between seeds and write an animation or a folder of frames.

    Example: gancli interpolate ckpt.pt --frames 60 out.gif
    """
    keys = values.seeds(seeds)
    if out is None:  # a single argument is OUT, unless it is an existing checkpoint
        ckpt, out = None, ckpt
    if out is None or Path(out).suffix == ".pt" or (Path(out) / "last.pt").exists():
        raise UsageError("OUT is missing", where="gancli interpolate", hint="give a name that ends in .gif")
    if show.is_stdout(out):
        raise UsageError("cannot write an animation to standard output", where="OUT", hint="use a name such as out.gif")

    source = values.checkpoint_of(ckpt, outdir)

    process.keep_memory()
    import gancli

    with show.progress() as progress:
        report = gancli.interpolate(
            source, out, frames=frames, seeds=keys, fps=fps, loop=loop, path="lerp" if lerp else "slerp", columns=cols,
            rows=rows, trunc=trunc, raw=raw, size=size, device=device, threads=threads,
            processes=workers.number_of(processes), progress=progress,
        )  # fmt: skip
    show.result(report, json_wanted=json)
