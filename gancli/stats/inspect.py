"""inspect_stats(): is this generator healthy? Samples of it beside the reals, a verdict, and the run's history."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli import checkpoint, latents, runs
from gancli.checkpoint import Checkpoint
from gancli.config.family import USUAL_SIZE
from gancli.data import Dataset, Shape, fade, open_dataset, scaled, to_unit
from gancli.errors import DataError, GancliError, InputMissing
from gancli.networks.layers import downscale
from gancli.results import Figure, Health, Histogram, Progress, silent
from gancli.runs import Run
from gancli.sampling import Generator
from gancli.seeds import permutation
from gancli.stats.known_modes import coverage_of
from gancli.stats.modes import Coverage
from gancli.stats.panel import channel_histograms, mode_figures, panel, value_of
from gancli.stats.verdict import ENOUGH, Verdict, judge

SAMPLES = 1_000
JUDGED_HEIGHT = 128  # larger pictures are judged after 2x2 means down to this height
FIRST_SEED = 1_000_000  # of the judged samples: not those that people look at


def inspect_stats(
    target: str | Path | None = None,
    data: str | None = None,
    *,
    outdir: str | Path = "runs",
    samples: int = SAMPLES,
    raw: bool = False,
    need_reals: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
) -> Health:
    """Judge a run folder or checkpoint (left out: the newest run under `outdir`) against its reals.

    data: the reals, where they no longer lie where the run found them. raw: judge the last weights
    instead of their average. N is the same on both sides: min(samples, reals / 2). Without reals
    the verdict is `undecided`, or InputMissing with `need_reals`. Raises CheckpointError, DataError.
    """
    run = None if target is not None else runs.newest(Path(outdir))
    path = checkpoint.locate(run.path if run else str(target))
    opened = checkpoint.read(path)
    history = _history(path)
    try:
        dataset = _reals(opened, data, progress)
    except GancliError as error:
        if need_reals or data is not None:
            raise
        return Health(
            "undecided",
            "low",
            (f"no reals to compare with: {error.what}",),
            source=str(path),
            history=history,
        )
    return _judge(opened, dataset, samples, raw=raw, device=device, history=history, progress=progress)


def _reals(opened: Checkpoint, data: str | None, progress: Progress) -> Dataset:
    """The data set that the checkpoint was trained on, or the one given. Raises InputMissing where it has changed."""
    config = opened.config
    source = data or config.data.source
    if source is None:
        raise InputMissing("the checkpoint names no data", where="DATA", mend="give the data after the checkpoint")
    dataset = _opened(opened, source, config.data.channels, progress)
    shape = dataset.sample_shape
    both_pictures = len(shape) == len(config.network.shape) == 3
    if both_pictures and shape[0] != config.network.shape[0]:  # a grey set beside a generator of colour
        dataset = _opened(opened, source, config.network.shape[0], progress)
        shape = dataset.sample_shape
    if shape != config.network.shape:
        what = f"the generator draws samples of shape {config.network.shape}, and these have {shape}"
        raise DataError(what, where=source, mend="give data of the kind that it was trained on")
    if data is None and dataset.fingerprint != config.data.fingerprint:
        raise InputMissing("the data has changed since the training", where=source, mend="give the data as DATA")
    return dataset


def _opened(opened: Checkpoint, source: str, channels: int | None, progress: Progress) -> Dataset:
    config = opened.config
    height, width = config.network.picture_size or USUAL_SIZE
    shape = Shape(height, width, channels, config.data.fit)
    return open_dataset(source, shape, held_out=config.data.held_out, progress=progress)


def _judge(
    opened: Checkpoint,
    dataset: Dataset,
    samples: int,
    *,
    raw: bool,
    device: str,
    history: Mapping[str, Any],
    progress: Progress,
) -> Health:
    same_source = opened.config.data.source == dataset.report.source
    count = min(samples, len(dataset.values) // 2)
    if count < ENOUGH:
        few = judge(1.0, 1.0, count, None)
        return Health(few.word, few.confidence, few.evidence, source=str(opened.path), samples=count, history=history)
    generators = [Generator.of(opened, raw=flag, device=device) for flag in (raw, not raw)]
    reals, others = _halves(dataset, generators[0], count)
    data = opened.config.data
    known = partial(coverage_of, dataset.report.source if same_source else "", centre=data.centre, scale=data.scale)
    judged = [_look(_fakes(g, count, others, progress), reals, others, g.kind, known) for g in generators]
    (verdict, figures, bars), (other_verdict, _, _) = judged
    verdict, other_verdict = (_unfinished(v, generators[0]) for v in (verdict, other_verdict))
    names = ("raw", "ema") if raw else ("ema", "raw")
    evidence = verdict.evidence
    if other_verdict.word != verdict.word:
        evidence += (f"the {names[1]} weights are judged otherwise: {other_verdict.word}",)
    return Health(
        verdict=verdict.word,
        confidence=verdict.confidence,
        evidence=evidence,
        panel=figures,
        histograms=bars,
        samples=count,
        weights=names[0],
        raw_verdict=verdict.word if raw else other_verdict.word,
        source=str(opened.path),
        reals=dataset.report.source,
        history=history,
    )


def _unfinished(verdict: Verdict, generator: Generator) -> Verdict:
    """What still grows may be called collapsed, but not yet healthy."""
    phase, last = generator.phase, generator.checkpoint.config.network.full_height
    if verdict.word != "healthy" or (phase.height == last and phase.alpha >= 1):
        return verdict
    growing = f"it still grows: {phase.height} of {last} px, alpha {phase.alpha:.2f}"
    return Verdict("undecided", "low", (*verdict.evidence, growing))


def _look(
    fakes: Tensor, reals: Tensor, others: Tensor, kind: str, known: Callable[..., Coverage | None]
) -> tuple[Verdict, tuple[Figure, ...], tuple[Histogram, ...]]:
    """Verdict, panel and histograms of one set of fakes. `known` counts modes, where they are known."""
    figures = panel(fakes, reals, others, kind)
    covered, of_reals = known(x=fakes), known(x=others)
    if covered and of_reals:
        figures += mode_figures(covered, of_reals)
    spread = value_of(figures, "batch std ratio")
    near = value_of(figures, "coverage")
    verdict = judge(spread.value, spread.floor, len(fakes), covered, near.value / max(near.floor, 1e-12))
    return verdict, figures, channel_histograms(fakes, reals, kind)


def _halves(dataset: Dataset, generator: Generator, count: int) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of reals, as the generator's phase shows them. (count, C, *S) each."""
    rows = permutation(0, 0, len(dataset.values)).numpy()
    first, second = (_as_shown(dataset, generator, rows[i * count : (i + 1) * count]) for i in range(2))
    return first, second


def _as_shown(dataset: Dataset, generator: Generator, rows: NDArray[np.int64]) -> Tensor:
    phase, data, parts = generator.phase, generator.checkpoint.config.data, []
    for chunk in np.array_split(rows, max(1, len(rows) // 64)):
        values = np.asarray(dataset.values[chunk])
        if dataset.kind != "image":
            parts.append(scaled(values, data.centre, data.scale))
            continue
        x = to_unit(values, dataset.values.shape[1] // phase.height)
        parts.append(_for_judging(fade(x, phase.alpha) if phase.fading else x, generator))
    return torch.cat(parts)


def _fakes(generator: Generator, count: int, others: Tensor, progress: Progress) -> Tensor:
    """Fakes of latents that nobody has looked at, or the other half of the reals made small and enlarged again."""
    if generator.network.enlarges:
        z = downscale(others, generator.network.enlarges)
    else:
        z = latents.from_seeds(range(FIRST_SEED, FIRST_SEED + count), generator.prior)
    return torch.cat([_for_judging(x, generator) for x in generator.draw(z, progress)])


def _for_judging(x: Tensor, generator: Generator) -> Tensor:
    """Pictures as a viewer has them: in whole grey levels, at most JUDGED_HEIGHT high. Others as they are."""
    if generator.kind != "image":
        return x
    small = x if generator.network.enlarges else downscale(x, max(1, x.shape[2] // JUDGED_HEIGHT))
    return small.add(1).mul(127.5).round().clamp(0, 255).div(127.5).sub(1)


def _history(path: Path) -> dict[str, Any]:
    """What stats.jsonl tells of the run that the checkpoint lies in; empty where there is none."""
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    ticks = Run(folder).stats()
    if not ticks:
        return {}
    return {
        "kimg": [tick["kimg"] for tick in ticks],
        "std_ratio": [tick["std_ratio"] for tick in ticks],
        "critic_loss": [tick["critic_loss"] for tick in ticks],
        "warnings": [f"{tick['kimg']:g} kimg: {warning}" for tick in ticks for warning in tick["warnings"]],
    }
