"""A signal at every step of a 40-step run; then the same command again: the log and every bit as if undisturbed."""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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


@dataclass(frozen=True)
class Stop:
    """A signal after the n-th training step, or within one: after the n-th step of an optimizer."""

    preset: str
    number: signal.Signals
    n: int
    within: bool

    def __str__(self) -> str:
        return f"{self.preset}: {self.number.name} {'within' if self.within else 'after'} step {self.n}"


def every_stop() -> list[Stop]:
    """Every signal after every step; and after every step of an optimizer, the signals in turn."""
    after = [Stop(name, s, k, False) for k in range(1, STEPS + 1) for s in SIGNALS for name in PRESETS]
    updates = {name: STEPS * (3 if changes is WASSERSTEIN else 2) for name, changes in PRESETS.items()}
    within = [Stop(name, SIGNALS[n % 4], n, True) for name, count in updates.items() for n in range(1, count + 1)]
    return after + within


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` random stops, or with 0 all of them."""
    row, data = Row("2", "stops"), harness.make_pictures(work / "data", 60)
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    wanted = {}
    for number, (name, changes) in enumerate(PRESETS.items()):
        preset = harness.write_preset(work / f"{number}.yaml", data, {**changes, "train.checkpoint_every": 56})
        harness.must(harness.train(preset, work / f"straight-{number}"), work / "o")
        wanted[name] = preset, Wanted.of(work / f"straight-{number}/x")
    stops = random.Random(seed).sample(every_stop(), count) if count else every_stop()
    for done, stop in enumerate(stops):
        preset, undisturbed = wanted[stop.preset]
        outdir = work / f"stopped-{done}"
        if not row.case(f"{stop} ({outdir})", meet(stop, preset, outdir, undisturbed)):
            shutil.rmtree(outdir)
        progress(done + 1)
    row.worst = f"{row.failed} of {row.tried} differ"
    return row


def meet(stop: Stop, preset: Path, outdir: Path, wanted: Wanted) -> list[str]:
    """Stop, look, go on to the end. Returns the problems."""
    name, words = outdir.parent / "o", harness.train(preset, outdir)
    before = within_step(stop) if stop.within else after_step(stop)
    problems = harness.run(words, name, before=before).problems(128 + stop.number)
    problems += harness.files_problems(outdir / "x")
    if stop.number != signal.SIGKILL and not stop.within and not problems:
        saved = checkpoint.read(outdir / "x").generator_steps
        problems += [] if saved == stop.n else [f"saved at step {saved}"]
    again = harness.run(words, name)
    return problems + (again.problems(0) or wanted.differences(outdir / "x"))


def after_step(stop: Stop) -> Callable[[], None]:
    """A function that makes its process send itself the signal after a training step."""

    def patch() -> None:
        from gancli.cli.live import Lines

        send, before = sender(stop), Lines.step

        def counted(self: Lines, images: int) -> None:
            before(self, images)
            send()

        Lines.step = counted  # type: ignore[method-assign]

    return patch


def within_step(stop: Stop) -> Callable[[], None]:
    """The same after a step of an optimizer."""

    def patch() -> None:
        send, before = sender(stop), torch.optim.Adam.step

        def counted(self: torch.optim.Adam, *given: Any) -> Any:
            done = before(self, *given)
            send()
            return done

        torch.optim.Adam.step = counted  # type: ignore[method-assign, assignment]

    return patch


def sender(stop: Stop) -> Callable[[], None]:
    """A function whose n-th call sends the signal."""
    calls = itertools.count(1)

    def send() -> None:
        if next(calls) == stop.n:
            os.kill(os.getpid(), stop.number)

    return send
