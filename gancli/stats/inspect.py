"""inspect_stats(): is this generator healthy? Samples of it beside the reals, a verdict, and the run's history."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gancli import checkpoint, latents, media, runs
from gancli.checkpoint import Checkpoint
from gancli.data import Dataset, Shape, fade, open_dataset, to_unit
from gancli.errors import DataError, GancliError, InputMissing
from gancli.networks.layers import downscale
from gancli.results import Figure, Health, Histogram, Progress, silent
from gancli.runs import Run
from gancli.sampling import Generator
from gancli.seeds import permutation
from gancli.stats import modes
from gancli.stats.modes import Coverage
from gancli.stats.panel import channel_histograms, mode_figures, panel, value_of
from gancli.stats.verdict import ENOUGH, Verdict, judge

Pictures = NDArray[np.uint8]

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
    if dataset.kind != "image":
        raise DataError(f"the generator draws pictures, not {dataset.kind}", where=source, mend="give pictures")
    if dataset.values.shape[3] != config.network.image_channels:  # a grey set beside a generator of colour
        dataset = _opened(opened, source, config.network.image_channels, progress)
    if data is None and dataset.fingerprint != config.data.fingerprint:
        raise InputMissing("the data has changed since the training", where=source, mend="give the data as DATA")
    return dataset


def _opened(opened: Checkpoint, source: str, channels: int | None, progress: Progress) -> Dataset:
    config = opened.config
    height, width = config.network.size_at(config.network.stages - 1)
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
    known = opened.config.data.source == "builtin:shapes" and dataset.report.source == "builtin:shapes"
    count = min(samples, len(dataset.values) // 2)
    if count < ENOUGH:
        few = judge(1.0, 1.0, count, None)
        return Health(few.word, few.confidence, few.evidence, source=str(opened.path), samples=count, history=history)
    generators = [Generator.of(opened, raw=flag, device=device) for flag in (raw, not raw)]
    reals, others = _halves(dataset, generators[0], count)
    reals_covered = modes.coverage(others) if known else None
    judged = [_look(_fakes(generator, count, progress), reals, others, reals_covered) for generator in generators]
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
    phase, last = generator.phase, generator.checkpoint.config.network.resolution
    if verdict.word != "healthy" or (phase.height == last and phase.alpha >= 1):
        return verdict
    growing = f"it still grows: {phase.height} of {last} px, alpha {phase.alpha:.2f}"
    return Verdict("undecided", "low", (*verdict.evidence, growing))


def _look(
    fakes: Pictures, reals: Pictures, others: Pictures, reals_covered: Coverage | None
) -> tuple[Verdict, tuple[Figure, ...], tuple[Histogram, ...]]:
    """Verdict, panel and histograms of one set of fakes. `reals_covered`: the reals' modes, where they are known."""
    figures = panel(fakes, reals, others)
    covered = modes.coverage(fakes) if reals_covered else None
    if covered and reals_covered:
        figures += mode_figures(covered, reals_covered)
    spread = value_of(figures, "batch std ratio")
    verdict = judge(spread.value, spread.floor, len(fakes), covered)
    return verdict, figures, channel_histograms(fakes, reals)


def _halves(dataset: Dataset, generator: Generator, count: int) -> tuple[Pictures, Pictures]:
    """Two disjoint sets of reals, as the generator's phase shows them."""
    rows = permutation(0, 0, len(dataset.values)).numpy()
    return tuple(_as_shown(dataset, generator, rows[i * count : (i + 1) * count]) for i in range(2))  # type: ignore[return-value]


def _as_shown(dataset: Dataset, generator: Generator, rows: NDArray[np.int64]) -> Pictures:
    phase, parts = generator.phase, []
    for chunk in np.array_split(rows, max(1, len(rows) // 64)):
        x = to_unit(np.asarray(dataset.values[chunk]), dataset.values.shape[1] // phase.height)
        parts.append(_for_judging(fade(x, phase.alpha) if phase.fading else x))
    return np.concatenate(parts)


def _fakes(generator: Generator, count: int, progress: Progress) -> Pictures:
    z = latents.from_seeds(range(FIRST_SEED, FIRST_SEED + count), generator.network.latent)
    return np.concatenate([_for_judging(x) for x in generator.draw(z, progress)])


def _for_judging(x: torch.Tensor) -> Pictures:
    return media.to_bytes(downscale(x, max(1, x.shape[2] // JUDGED_HEIGHT)))


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
