"""What training writes: ticks, checkpoints and grids of samples."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from gancli import checkpoint, files, media, plots, runs, signals
from gancli.config import ResolvedConfig
from gancli.data import Dataset, Feed
from gancli.growth import Phase
from gancli.results import Warned
from gancli.runs import Run
from gancli.training import alarms, log
from gancli.training.alarms import Alarm
from gancli.training.session import LOSS, Session
from gancli.training.state import STEERED, TrainState
from gancli.training.step import make_noise


def take_tick(session: Session, state: TrainState, phase: Phase, *more: Warned) -> tuple[str | None, Tensor | None]:
    """Measure a tick, check for alarms, append it to the log, call the callback, and check `stop_on`.

    more: warnings that are not from the alarms. Returns what `stop_on` found, and the strength of steered augmentation.
    """
    trained = state.images - session.images_at_tick  # 0 in the tick that a stopped session has left to this one
    speed = trained / max(1e-9, time.monotonic() - session.since_tick) if trained else math.nan
    levels = session.levels(phase)
    make_noise(state, session.config, "tick")  # so that a tick that the next session takes is the same
    tick = log.measure(
        state, session.config, session.feed, phase, session.losses, levels, session.tick_metrics, images_per_s=speed
    )
    judged = alarms.may_judge(session.schedule, state.images, session.config.train.duration)
    raised = alarms.raised(tick, session.history, judged=judged)
    said = {tuple(warning.values()) for row in session.history for warning in row["warnings"]}
    more = (*(warned for warned in session.rollbacks if tuple(asdict(warned).values()) not in said), *more)
    unsaid = {
        name: alarm
        for name, alarm in alarms.unsaid(raised, session.history).items()
        if name not in {warned.name for warned in more}
    }
    word = alarms.verdict(tick, session.history, judged=judged)
    tick = replace(tick, verdict=word, warnings=(*_warnings(unsaid, session), *more))
    found = (f"{name}: {alarm.text}" for name, alarm in raised.items() if name in session.stop_on)
    finding = next(found, None)
    if (augment := session.config.steered_augment) is not None:
        shown = state.images - (session.history[-1]["images"] if session.history else 0)
        state.steer_augment(augment, tick.overfitting, shown)
    session.history.append(log.append(session.run, tick))
    session.callback.tick(tick)
    session.since_tick, session.images_at_tick = time.monotonic(), state.images
    return finding, state.extra.get(STEERED)


def _warnings(unsaid: Mapping[str, Alarm], session: Session) -> tuple[Warned, ...]:
    """The alarms as warnings, each with the last checkpoint before it began."""
    found = []
    for name, alarm in unsaid.items():
        before = [path.name for path in session.run.checkpoints() if _images_at(path, session) < alarm.began]
        found.append(Warned(name, alarm.text, alarm.began, before[-1] if before else None))
    return tuple(found)


def _images_at(path: Path, session: Session) -> int:
    """Images at a checkpoint: exact if saved in this session, otherwise the maximum that its name allows."""
    latest = runs.images_of(path.stem) + (0 if len(path.stem) == 9 else 999)
    return session.saved.get(path.name, latest)


def save(session: Session, state: TrainState) -> None:
    """Write a checkpoint, link last.pt to it, then delete old ones, except those that a warning refers to."""
    run, keep, kept = session.run, session.config.train.keep, alarms.kept_checkpoints(session.history)
    name = f"{name_of(state.images, session.config.train.checkpoint_every)}.pt"
    path = run.path / "checkpoints" / (name if name not in kept else f"{state.images:09d}.pt")
    state.extra |= {f"{LOSS}{name}": loss.detach().cpu() for name, loss in session.losses.items()}
    if run.stats_file.exists():
        files.sync(run.stats_file)  # after a power failure, the log must reach as far as the checkpoint
    checkpoint.write(path, state.as_checkpoint(session.config))
    files.link(path, run.last)
    newest = [file for file in run.checkpoints() if file != path and file.name not in kept]
    for old in newest[: max(0, len(newest) + 1 - keep)]:
        old.unlink(missing_ok=True)
    session.saved[path.name] = state.images


def name_of(images: int, every: int) -> str:
    """The number in a file name: kimg, or images if the interval is shorter than 1 kimg."""
    return f"{images:09d}" if 0 < every < 1000 else f"{images // 1000:06d}"


@torch.inference_mode()
def draw_fakes(session: Session, state: TrainState) -> bool:
    """Write samples/fakes-<kimg>.png: samples of the EMA generator on fixed latents, in the layout of reals.png.

    Returns False, and writes nothing, once a signal has arrived.
    """
    phase = session.schedule.phase_at(state.images)
    kind = session.feed.kind
    z = session.feed.inputs(plots.COUNTS[kind], phase).to(state.device)
    chunks = []
    for part in z.split(16 if kind == "image" else 256):
        if signals.stop_requested():
            return False
        chunks.append(state.ema(part, phase.stage, phase.alpha))
    folder = session.run.path / "samples"
    files.make_folder(folder)
    name = f"fakes-{name_of(state.images, session.config.train.sample_every)}.png"
    sheet = plots.sheet(torch.cat(chunks), kind)
    media.save(folder / name, sheet)
    return True


def draw_reals(run: Run, config: ResolvedConfig, dataset: Dataset) -> None:
    """Write reals.png: the first training samples at full size, in the layout of the fakes."""
    count = min(plots.COUNTS[dataset.kind], len(dataset.train_rows))
    x = Feed(dataset, config).first(count)
    media.save(run.path / "reals.png", plots.sheet(x, dataset.kind))
