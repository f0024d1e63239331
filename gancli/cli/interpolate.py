"""gancli interpolate."""

from pathlib import Path
from typing import Annotated

import typer

from gancli.cli import options, show
from gancli.cli.options import Checkpoint, JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import UsageError


def interpolate(
    ckpt: Checkpoint = None,
    out: Annotated[
        str | None,
        typer.Argument(
            help=".gif, .webp, .png (animated), .mp4 (extra `video`), or a folder of frames.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=2, help="Frames in all.")] = 60,
    seeds: Annotated[str, typer.Option("--seeds", help="Keyframes, in order.")] = "0-3",
    fps: Annotated[
        float, typer.Option("--fps", min=0.1, max=100, help="Frames a second; a GIF shows 50 at the most.")
    ] = 20,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Come back to the first keyframe.")] = True,
    lerp: Annotated[
        bool, typer.Option("--lerp", help="Straight lines between latents; the default is along the sphere.")
    ] = False,
    cols: Annotated[int, typer.Option("--cols", min=1, max=64, help="Walks side by side.")] = 1,
    rows: Annotated[int, typer.Option("--rows", min=1, max=64, help="Walks one above the other.")] = 1,
    trunc: options.TruncOption = 1.0,
    raw: options.RawOption = False,
    size: options.SizeOption = None,
    outdir: options.OutdirOption = "runs",
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Interpolate between seeds: an animation, or a folder of frames.

    Example: gancli interpolate ckpt.pt --frames 60 out.gif
    """
    keys = options.seeds(seeds)
    if out is None:  # a single argument is OUT, unless it is there already as a checkpoint
        ckpt, out = None, ckpt
    if out is None or Path(out).suffix == ".pt" or (Path(out) / "last.pt").exists():
        raise UsageError("OUT is missing", where="gancli interpolate", hint="give a name that ends in .gif")
    if show.is_stdout(out):
        raise UsageError("a walk is written to a file", where="OUT", hint="give a name that ends in .gif")

    source = options.checkpoint_of(ckpt, outdir)

    import gancli

    with show.progress() as progress:
        report = gancli.interpolate(
            source, out, frames=frames, seeds=keys, fps=fps, loop=loop, path="lerp" if lerp else "slerp", columns=cols,
            rows=rows, trunc=trunc, raw=raw, size=size, device=device, threads=threads, progress=progress,
        )  # fmt: skip
    show.result(report, json_wanted=json)
