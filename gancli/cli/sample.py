"""gancli sample."""

from typing import Annotated

import typer

from gancli.cli import options, show
from gancli.cli.options import Checkpoint, JsonOption, NoProgressOption, QuietOption, VerboseOption
from gancli.errors import UsageError


def sample(
    ckpt: Checkpoint,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Such as 0-63 or 1,5,42; a seed is one picture for ever.")
    ] = "0-15",
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder, FILE.png (a grid of several), .npy, .zip, or - . [default: <run>-<kimg>-samples/]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="What -o - writes: png, npy or zip.")] = "png",
    trunc: options.TruncOption = 1.0,
    raw: options.RawOption = False,
    cols: Annotated[
        int | None,
        typer.Option("--cols", min=1, help="Columns of a grid. [default: about square]", show_default=False),
    ] = None,
    size: options.SizeOption = None,
    device: options.DeviceOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_progress: NoProgressOption = False,
) -> None:
    """Draw pictures from a checkpoint, one a seed, and print where they lie.

    Example: gancli sample ckpt.pt --seeds 0-63 -o grid.png
    """
    chosen = options.seeds(seeds)
    if json and show.is_stdout(output):
        raise UsageError("--json and -o - both want standard output", where="-o", mend="keep one of them")

    from gancli import sampling

    if show.is_stdout(output):
        show.out(sampling.encoded(ckpt, chosen, form, trunc=trunc, raw=raw, columns=cols, size=size, device=device))
        return
    with show.progress() as progress:
        report = sampling.sample(
            ckpt,
            chosen,
            output,
            trunc=trunc,
            raw=raw,
            columns=cols,
            size=size,
            device=device,
            progress=progress,
        )
    show.result(report, json_wanted=json)
