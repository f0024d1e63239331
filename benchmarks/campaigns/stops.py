"""A signal at every step of a 40-step run; then the same command again: the log and every bit as if undisturbed."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns import harness
from campaigns.harness import BATCH_NORM, WASSERSTEIN, Progress, Row, Wanted
from gancli import checkpoint

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
PRESETS: dict[str, dict[str, Any]] = {
    "two fades": {"growth": {"fade": 64, "stable": 64}},
    "batch norm and dropout": BATCH_NORM,
    "gradient penalty, two critic steps": WASSERSTEIN,
}
STEPS = 40


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` random cases, or with 0 every preset with every signal at every step."""
    row, data = Row("2", "stops"), harness.make_pictures(work / "data", 60)
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    wanted = {}
    for number, (name, changes) in enumerate(PRESETS.items()):
        preset = harness.write_preset(work / f"{number}.yaml", data, {**changes, "train.checkpoint_every": 56})
        took = harness.must(harness.train(preset, work / f"straight-{number}"), work / "o").seconds
        wanted[name] = preset, Wanted.of(work / f"straight-{number}/x", took)
    cases = [(name, number, k) for k in range(1, STEPS + 1) for number in SIGNALS for name in PRESETS]
    if count:
        cases = random.Random(seed).sample(cases, count)
    for done, (name, number, step) in enumerate(cases):
        preset, undisturbed = wanted[name]
        outdir = work / f"{preset.stem}-{number.name}-{step}"
        if not row.case(f"{name}, {number.name} at step {step}", meet(preset, outdir, undisturbed, number, step)):
            shutil.rmtree(outdir)
        progress(done + 1)
    row.worst = f"{row.failed} of {row.tried} differ"
    return row


def meet(preset: Path, outdir: Path, wanted: Wanted, number: signal.Signals, step: int) -> list[str]:
    """Stop at a step, look, go on to the end. Returns the problems."""
    name, words = outdir.parent / "o", harness.train(preset, outdir)
    problems = harness.run(words, name, before=at_step(step, number)).problems(128 + number)
    problems += harness.files_problems(outdir / "x")
    if number != signal.SIGKILL and not problems:
        saved, reached = checkpoint.read(outdir / "x").generator_steps, min(step, STEPS)
        problems += [] if saved == reached else [f"saved at step {saved}"]
    again = harness.run(words, name)
    return problems + (again.problems(0) or wanted.differences(outdir / "x"))


def at_step(step: int, number: int) -> Callable[[], None]:
    """A function that makes its process send itself a signal after a step, once."""

    def patch() -> None:
        from gancli.cli.live import Lines

        steps, before = iter(range(1, 1 << 30)), Lines.step

        def counted(self: Lines, images: int) -> None:
            before(self, images)
            if next(steps) == step:
                os.kill(os.getpid(), number)

        Lines.step = counted  # type: ignore[method-assign]

    return patch
