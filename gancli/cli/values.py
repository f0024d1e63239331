"""What the values of options mean: seeds, lengths, config changes.

Imports neither torch nor the models of the config: with those, the Tab key would be slow.
"""

import os
from pathlib import Path
from typing import Any

import typer

from gancli import process
from gancli.errors import CannotCreate, UsageError
from gancli.results import MAX_COUNT, printable

MAX_SEED = 2**32 - 1  # limit of numpy's RandomState
MAX_SEEDS, MAX_DIGITS = 1_000_000, 20


def checkpoint_of(ckpt: str | None, outdir: str) -> Path:
    """The checkpoint argument, or the newest run if it is missing. Raises InputMissing."""
    from gancli import runs

    return Path(ckpt) if ckpt is not None else runs.newest(Path(outdir)).path


def seeds(text: str) -> list[int]:
    """[0, 1, ..., 9, 42] from "0-9,42". Raises UsageError."""
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{part.strip()!r} is not a seed", where="--seeds", hint="use the form 0-63,100")
        long = max(len(first), len(last)) > MAX_DIGITS
        low, high = (0, 0) if long else (int(first), int(last or first))
        if long or max(low, high) > MAX_SEED:
            raise UsageError(
                f"{part.strip()[:40]!r} is too large", where="--seeds", hint=f"the largest seed is {MAX_SEED}"
            )
        if len(chosen) + high - low >= MAX_SEEDS:
            raise UsageError(f"more than {MAX_SEEDS:,} seeds", where="--seeds", hint="split them into several commands")
        if high < low:
            raise UsageError(f"{part.strip()!r} is not a range of seeds", where="--seeds", hint="use the form 0-63,100")
        chosen += range(low, high + 1)
    return chosen


def typed(ctx: typer.Context, name: str) -> bool:
    """Whether this parameter was given on the command line, not by a GANCLI_ variable."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def one_length(ctx: typer.Context, **given: float | None) -> list[float | None]:
    """The options for the length of a run, of which one may be given. Raises UsageError.

    Those of the command line take precedence over GANCLI_ variables.
    """
    there = [name for name, value in given.items() if value is not None]
    wanted = [name for name in there if typed(ctx, name)] or there
    if len(wanted) > 1:
        what, where = "the length of the run is given twice", ", ".join(f"--{name}" for name in given)
        raise UsageError(what, where=where, hint="use one of them")
    return [value if name in wanted else None for name, value in given.items()]


def neighbors(ctx: typer.Context, threads: int | None) -> process.Neighbors | None:
    """What adapts the number of threads to other processes; None if it is set, or shared with other workers."""
    source = ctx.get_parameter_source("threads")
    is_set = source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
    fixed = is_set or "OMP_NUM_THREADS" in os.environ or process.world_size() > 1
    return None if fixed else process.Neighbors(threads or process.cores())


def changes(ctx: typer.Context, sets: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Config changes as dotted keys, from --set and from the options that correspond to a config key.

    --set has priority over environment variables, and a length of any kind over one of another kind. Raises UsageError
    if --set and an option set the same key.
    """
    from gancli.config import overrides

    keys = {
        "seed": "train.seed",
        "kimg": "train.duration",
        "minutes": "train.minutes",
        "resolution": "network.resolution",
        "batch": "train.batch_size",
        "snap": "train.checkpoint_every",
        "tick": "train.tick_every",
        "precision": "train.precision",
        "mirror": "data.mirror",
        "channels": "data.channels",
        "fit": "data.fit",
        "features": "loss.perceptual.features",
    }
    in_images = {"kimg", "snap", "tick"}
    said = overrides.parse(sets or [])
    lengths = {f"train.{key}" for key in (*overrides.LENGTHS, "minutes")}
    replaced = said.keys() | (lengths if lengths & said.keys() else ())
    given = {
        keys[name]: images(name, value) if name in in_images else value
        for name, value in flags.items()
        if typed(ctx, name) or keys[name] not in replaced
    }
    return overrides.merge(given, said)


def images(name: str, kimg: float | None) -> int | None:
    """Convert the kimg of an option to images. Raises UsageError."""
    if kimg is None:
        return None
    if not abs(kimg) * 1000 <= MAX_COUNT:
        raise UsageError(f"{kimg} is not a number of images", where=f"--{name}", hint="give a finite number of kimg")
    return round(kimg * 1000)


def words(text: str | None) -> tuple[str, ...]:
    """("collapse", "diverged") from "collapse,diverged"."""
    return tuple(word.strip() for word in text.split(",")) if text is not None else ()


def folder_of(path: Path) -> None:
    """Check before any work that the folder of an output file exists. Raises CannotCreate."""
    if not path.absolute().parent.is_dir():
        raise CannotCreate("the folder does not exist", where=printable(str(path)), hint="create the folder first")
