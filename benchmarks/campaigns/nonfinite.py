"""NaN, infinity and 1e30 put into the numbers of a training run, once at a random step or every time.

Once: the run goes back to its last good checkpoint and ends as an undisturbed one. Every time: exit 70. In both cases
every number in every checkpoint is finite. 1e30 is finite itself and may do no harm.
"""

import math
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from campaigns import harness
from campaigns.harness import BATCH_NORM, Progress, Row, Wanted
from gancli import checkpoint
from gancli.training.adam import Adam

VALUES = (math.nan, math.inf, 1e30)
BATCH = 8
DIVERGED = 70


@dataclass(frozen=True)
class Injection:
    """A value at one place, at one step or whenever that step is reached."""

    place: str
    value: float
    step: int  # generator steps, from 1
    always: bool

    def __str__(self) -> str:
        when = "whenever" if self.always else "once when"
        return f"{self.value} in {self.place}, {when} step {self.step} is reached"


def first(tensors: Any) -> Tensor:
    """The first tensor, by name order."""
    return next(iter(tensors))


STATE: dict[str, Callable[[Any], Tensor]] = {  # places in a TrainState
    "a generator weight": lambda state: first(state.G.parameters()),
    "a critic weight": lambda state: first(state.D.parameters()),
    "the average": lambda state: first(state.ema.parameters()),
    "a batch norm buffer": lambda state: first(b for n, b in state.G.named_buffers() if "running" in n),
    "Adam's exp_avg": lambda state: first(state.opt_G.state.values())["exp_avg"],
    "Adam's exp_avg_sq": lambda state: first(state.opt_D.state.values())["exp_avg_sq"],
}
PLACES = (*STATE, "a gradient", "a batch", "a loss")
AT_ONCE = ("a generator weight", "a critic weight", "a gradient", "a batch", "a loss")  # the next loss is not finite


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` injections, half of them persistent; places and values take turns."""
    row, draw, data = Row("8", "nonfinite"), random.Random(seed), harness.make_pictures(work / "data", 60)
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    preset = harness.write_preset(work / "bn.yaml", data, {**BATCH_NORM, "train.checkpoint_every": 40})
    straight = harness.must(harness.train(preset, work / "straight"), work / "o")
    wanted = Wanted.of(work / "straight/x", straight.seconds)
    every = [(place, value, always) for value in VALUES for always in (False, True) for place in PLACES]
    draw.shuffle(every)
    for number in range(count):
        place, value, always = every[number % len(every)]
        injection = Injection(place, value, draw.randrange(2, 40), always)
        outdir = work / f"run-{number}"
        if not row.case(f"{injection} ({outdir})", meet(injection, preset, outdir, wanted)):
            shutil.rmtree(outdir)
        row.count("persistent" if always else "once")
        progress(number + 1)
    row.worst = f"{row.failed} of {row.tried} runs harmed"
    return row


def meet(injection: Injection, preset: Path, outdir: Path, wanted: Wanted) -> list[str]:
    """Train with the injection. Returns the problems."""
    words = [word for word in harness.train(preset, outdir) if word != "--quiet"]
    ended = harness.run(words, outdir.parent / "o", before=lambda: inject(injection))
    harmless = injection.value == 1e30
    codes = (0, DIVERGED) if harmless else (DIVERGED,) if injection.always else (0,)
    problems = [*ended.problems(*codes), *not_finite(outdir / "x")]
    if harmless or injection.always or problems:
        return problems
    warnings = [warning for row in harness.log_of(outdir / "x") for warning in row["warnings"]]
    noticed = [warning["since"] for warning in warnings if warning["name"] == "rolled-back"]
    if not noticed:
        problems.append("no warning 'rolled-back' in the log")
    elif injection.place in AT_ONCE and noticed[0] > BATCH * (injection.step + 1):
        problems.append(f"noticed at {noticed[0]} images, not within a step")
    if "finite" not in ended.err:
        problems.append(f"the screen does not say it: {ended.said()}")
    return problems + wanted.differences(outdir / "x", without=("rolled-back",))


def not_finite(run: Path) -> list[str]:
    """The checkpoints that do not load, or have a number that is not finite."""
    found = harness.files_problems(run)
    for file in [*sorted((run / "checkpoints").glob("[0-9]*.pt")), run / "last.pt"]:
        if file.exists() and not found:
            tensors = harness.tensors_of(checkpoint.read(file))
            found += [f"{file.name}: {name} is not finite" for name, t in tensors if not t.isfinite().all()][:1]
    return found if (run / "last.pt").exists() else [*found, "last.pt is missing"]


def inject(injection: Injection) -> None:
    """Patch this process."""
    clock = Clock(injection)
    patches = {"a gradient": into_gradient, "a batch": into_batch, "a loss": into_loss}
    patches.get(injection.place, into_state)(clock)


class Clock:
    """Says when to inject: at one number of images, the first time or each time."""

    def __init__(self, injection: Injection) -> None:
        self.injection, self.images, self.done = injection, 0, False

    def now(self, images: int | None = None) -> bool:
        """Whether the value is put in now, at the step that begins with these images."""
        at = (self.images if images is None else images) == BATCH * (self.injection.step - 1)
        ready = at and (self.injection.always or not self.done)
        self.done |= ready
        return ready

    def watch(self) -> None:
        """Follow the images of the training, step by step."""
        from gancli.data.feed import Feed

        before = Feed.batch_at

        def batch_at(feed: Feed, images: int, phase: Any, *part: Any) -> Tensor:
            self.images = images
            return before(feed, images, phase, *part)

        Feed.batch_at = batch_at  # type: ignore[method-assign]


def into_state(clock: Clock) -> None:
    """A weight, a buffer or Adam's state, after the step."""
    from gancli.cli.live import Lines
    from gancli.training.state import TrainState

    states: list[Any] = []
    loaded, step, injection = TrainState.load, Lines.step, clock.injection

    def kept(self: TrainState, *given: Any) -> None:
        loaded(self, *given)
        states.append(self)

    def poisoned(self: Lines, images: int) -> None:
        step(self, images)
        if clock.now(images - BATCH):
            with torch.no_grad():
                STATE[injection.place](states[-1]).view(-1)[0] = injection.value

    TrainState.load = kept  # type: ignore[method-assign]
    Lines.step = poisoned  # type: ignore[method-assign]


def into_batch(clock: Clock) -> None:
    """One value of the reals."""
    from gancli.data.feed import Feed

    before = Feed.batch_at

    def batch_at(feed: Feed, images: int, phase: Any, *part: Any) -> Tensor:
        x = before(feed, images, phase, *part)
        if clock.now(images):
            x = x.clone()
            x[(0,) * x.ndim] = clock.injection.value
        return x

    Feed.batch_at = batch_at  # type: ignore[method-assign]


def into_gradient(clock: Clock) -> None:
    """One value of the gradient of the first weight, before Adam's step."""
    clock.watch()
    before = Adam.step

    def step(optimizer: Adam, *given: Any) -> Any:
        if clock.now():
            weights = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
            first(weights).grad.view(-1)[0] = clock.injection.value
        return before(optimizer, *given)

    Adam.step = step  # type: ignore[method-assign, assignment]


def into_loss(clock: Clock) -> None:
    """The critic loss times the value."""
    clock.watch()
    before = Tensor.backward

    def backward(loss: Tensor, *given: Any, **named: Any) -> None:
        before(loss * clock.injection.value if clock.now() else loss, *given, **named)

    Tensor.backward = backward  # type: ignore[method-assign, assignment]
