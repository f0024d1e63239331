"""The HTML page of one run: verdict, figures, curves and samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import files
from gancli.config import ResolvedConfig, yaml
from gancli.health import GROUPS as ORDER
from gancli.health import Examples, Figure, Health, Histogram, Nearest, Spectrum
from gancli.report import pages, pictures, svg
from gancli.results import printable, warnings_of
from gancli.runs import Run
from gancli.version import __version__

Ticks = Sequence[Mapping[str, Any]]

INKS = {"red": "#c43131", "green": "#2e8b3d", "blue": "#2f5fc4", "gray": "#444444", "alpha": "#6f42a8"}
MARKS = {
    "healthy": "good",
    "low-diversity": "watch",
    "washed-out": "watch",
    "artifacts": "watch",
    "collapsed": "bad",
    "memorizing": "bad",
    "diverged": "bad",
}  # color of each verdict; other verdicts have none
GROUPS = {
    "modes": "Modes: are all known modes covered?",
    "spread": "Spread: how much do the samples vary?",
    "neighbors": "Neighbors: is all of the data covered, and do the samples look like it?",
    "memorization": "Memorization: are samples copies of training data?",
    "distance": "Distance: how different are the two distributions?",
    "texture": "Texture: fine detail, noise and grid artifacts",
    "values": "Values: brightness and colors",
}
TICK_COLORS = {
    "early": "#c9c9c9",
    "healthy": "#009e73",
    "low-diversity": "#e69f00",
    "collapsed": "#d55e00",
    "overfitting": "#cc79a7",
    "dead": "#555555",
    "diverged": "#111111",
}  # of the words of ticks, see training.alarms.VERDICTS
EXAMPLE_SIDE = 128  # px; longest side of an example
PAIR_SIDE = 320  # px; longest side of a neighbor image
WARNINGS = 12  # shown by default; the rest is collapsed


@dataclass(frozen=True)
class Pair:
    """A sample and the training sample nearest to it, side by side."""

    fake: NDArray[np.uint8]  # (H, W, C) or (H, W)
    real: NDArray[np.uint8]
    nearest: Nearest


def page(run: Run, health: Health, pairs: Sequence[Pair] = ()) -> str:
    """The page as HTML text. Raises ConfigError or InputMissing if the folder is not a run."""
    config, ticks = run.config(), run.stats()
    steps = {t["images"]: t["generator_steps"] for t in ticks if None not in (t["images"], t["generator_steps"])}
    values = {
        **heading(run, config, ticks),
        "health": health,
        "mark": MARKS.get(health.verdict, ""),
        "warnings": [(number(tick["kimg"]), text) for tick in ticks for text in warnings_of(tick)],
        "warnings_shown": WARNINGS,
        "groups": groups(health.panel),
        "advised": any(figure.advice for figure in health.panel),
        "histograms": [histogram(bars, health.kind) for bars in health.histograms],
        "spectrum": "" if health.spectrum is None else spectrum(health.spectrum),
        "charts": charts(config, ticks),
        "phases": bool(phases(ticks)),
        "gallery": pictures.gallery(run, config, steps),
        "examples": [(shown.caption, examples(shown)) for shown in health.examples if len(shown.pictures)],
        "pairs": [neighbors(pair) for pair in pairs],
        "config": yaml.read_text(run.config_file).splitlines(),
    }
    return pages.render("run.html", values)


def write(run: Run, health: Health, path: Path, pairs: Sequence[Pair] = ()) -> None:
    """Write the page. Raises as `page`, and StorageError."""
    files.replace_text(path, page(run, health, pairs))


def heading(run: Run, config: ResolvedConfig, ticks: Ticks) -> dict[str, str]:
    """Values of the page header."""
    source = config.data.source
    return {
        "name": printable(run.path.resolve().name),
        "preset": printable(config.preset),
        "data": printable(source.rstrip("/").rsplit("/", 1)[-1]),
        "kimg": number(ticks[-1]["kimg"]) if ticks else "0",
        "duration": f"{config.train.duration / 1000:g}",
        "version": __version__,
    }


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """A number for a table: four digits, or a dash if it is not finite."""
    if value is None or not _is_finite(value):
        return "-"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def groups(panel: Sequence[Figure]) -> list[tuple[str, list[tuple[Figure, list[str]]]]]:
    """The figures by heading, each with its value, baseline, fake and real as text."""
    found: dict[str, list[tuple[Figure, list[str]]]] = {}
    for figure in sorted(panel, key=lambda figure: (*ORDER, figure.group).index(figure.group)):
        sides = ["" if side is None else number(side) for side in (figure.fake, figure.real)]
        row = (figure, [number(figure.value), number(figure.baseline), *sides])
        found.setdefault(GROUPS.get(figure.group, figure.group.capitalize() or "Figures"), []).append(row)
    return list(found.items())


def histogram(bars: Histogram, kind: str) -> tuple[str, str]:
    """(SVG, caption) of a channel."""
    apart = sum(abs(real - fake) for real, fake in zip(bars.real, bars.fake, strict=True)) / 2
    words = f"{bars.channel}: histograms differ by {apart:.0%}"
    ink = INKS.get(bars.channel, svg.COLORS[0])
    return svg.histogram(bars.real, bars.fake, ink, f"Histogram, {words}"), words


def spectrum(found: Spectrum) -> str:
    """Power spectra of both sides."""
    sides = (("reals", found.real), ("samples", found.fake))
    lines = [svg.Line(name, _floats(found.frequency), _floats(power)) for name, power in sides]
    return svg.line_chart(lines, "cycles per pixel or value (coarse to fine)", "power spectrum, log10")


def charts(config: ResolvedConfig, ticks: Ticks) -> list[str]:
    """Curves of the run over kimg. Quantities that were not measured are omitted."""
    gap = "Wasserstein estimate" if config.loss.adversarial == "wasserstein" else "score gap"
    wanted = {
        "critic loss": {"critic loss": "critic_loss"},
        "D(real) and D(fake)": {"D(real)": "d_real", "D(fake)": "d_fake"},
        gap: {gap: "score_gap"},
        "batch std of the samples over that of the reals": {
            "batch std ratio": "std_ratio",
            "feature std ratio": "feature_std_ratio",
            "batch std ratio (EMA)": "ema_std_ratio",
        },
        "overfitting of the critic: scores of training data compared with held-out data": {
            "overfitting": "overfitting"
        },
    }
    if any((tick.get("saturation") or 0) > 0 for tick in ticks):
        sides = {"samples": "saturation", "reals": "saturation_real"}
        wanted["saturation: share of values at the limits of the range"] = sides
    kimg, shades = _column(ticks, "kimg"), phases(ticks)
    words = verdicts(ticks)
    strip = svg.strip(words, TICK_COLORS, "kimg", "what each tick shows") if words else ""
    drawn = [strip] + [
        svg.line_chart([svg.Line(k, kimg, _column(ticks, key)) for k, key in lines.items()], "kimg", title, shades)
        for title, lines in wanted.items()
    ]
    return [chart for chart in drawn if chart]


def verdicts(ticks: Ticks) -> list[svg.Phase]:
    """Spans of ticks with the same word. Older logs have none."""
    found: list[svg.Phase] = []
    start = 0.0
    for tick in ticks:
        word, end = tick.get("verdict"), tick["kimg"]
        if word not in TICK_COLORS or not _is_finite(end):
            continue
        if found and found[-1].name == word:
            found[-1] = replace(found[-1], end=float(end))
        else:
            found.append(svg.Phase(word, start, float(end)))
        start = float(end)
    return found


def phases(ticks: Ticks) -> list[svg.Phase]:
    """The phases of growth, fading in or stable; empty if only one resolution was trained."""
    ticks = [tick for tick in ticks if all(_is_finite(tick[key]) for key in ("kimg", "resolution", "alpha"))]
    if len({tick["resolution"] for tick in ticks}) < 2:
        return []
    found, start = [], float(ticks[0]["kimg"])
    for (resolution, fading), group in groupby(ticks, key=lambda tick: (tick["resolution"], tick["alpha"] < 1)):
        end = float(list(group)[-1]["kimg"])
        found.append(svg.Phase(str(resolution), start, end, fading))
        start = end
    return found


def examples(shown: Examples) -> list[tuple[str, str]]:
    """(data: URL, description) of each picture."""
    what = "sample" if shown.side == "samples" else "real"
    return [
        (pictures.address(picture, EXAMPLE_SIDE), f"{what} {number}")
        for picture, number in zip(shown.pictures, shown.ids, strict=True)
    ]


def neighbors(pair: Pair) -> dict[str, str]:
    """Images and captions of a pair."""
    near = pair.nearest
    far = (
        f"{near.distance:.2f} times the median distance of unseen reals"
        if math.isfinite(near.distance)
        else "distance unknown"
    )
    return {
        "fake": pictures.address(pair.fake, PAIR_SIDE),
        "real": pictures.address(pair.real, PAIR_SIDE),
        "fake_name": f"sample {near.fake}",
        "real_name": f"training sample {near.real}" + (", mirrored" if near.mirrored else ""),
        "distance": far,
    }


def _column(ticks: Ticks, key: str) -> svg.Floats:
    """One quantity of the log, NaN where it is null. (T,)."""
    return _floats([math.nan if tick.get(key) is None else tick[key] for tick in ticks])


def _floats(values: Sequence[float]) -> svg.Floats:
    return np.array(values, dtype=np.float64)
