"""The panel as one SVG: each metric with its baseline, the histograms and the spectra."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli import files
from gancli.health import GROUPS, Figure, Health
from gancli.report import pictures, svg

WIDTH, ROW, NAMES, BARS = 900, 20, 330, 360  # px: page width, row height, width of the name column, width of the bars
TILE = 84  # px; an example with its gap
SIGNS = {"good": ("●", "#2e8b3d"), "watch": ("▲", "#b26a00"), "bad": ("✖", "#c43131"), "": ("", "#667788")}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1d2330}.soft{fill:#667}.head{font-weight:600;font-size:14px}"
    ".rule{stroke:#dde1e8}polyline{stroke-width:2}"
)
HISTOGRAM, ASIDE, CHART = 90, 220, 320  # px: height of a histogram, its width with the gap; height of the spectrum


def write(health: Health, path: Path) -> None:
    """Write the plot. Raises StorageError."""
    files.replace_text(path, plot(health))


def plot(health: Health) -> str:
    """A standalone SVG: a bar per metric with a line at its baseline, then histograms and spectra."""
    parts, down = [_text(16, 26, f"{health.verdict} ({health.certainty})", "head")], 44
    for line in (
        *health.evidence,
        *([health.compared_by] if health.compared_by else []),
        f"{health.samples} samples per side; bar: value of the metric, dark line: its baseline",
    ):
        parts.append(_text(16, down, line, "soft"))
        down += ROW
    for shown in health.examples:
        if len(shown.pictures):
            parts.append(_text(16, down + 14, shown.caption, "soft"))
            parts += [_picture(picture, 16 + i * TILE, down + 22) for i, picture in enumerate(shown.pictures)]
            down += 22 + TILE
    for group in GROUPS:
        figures = [figure for figure in health.panel if figure.group == group]
        if figures:
            parts.append(_text(16, down + 24, group.capitalize(), "head"))
            down += 34
            parts += [_bar(figure, down + i * ROW) for i, figure in enumerate(figures)]
            down += len(figures) * ROW
    for part, height in _charts(health):
        parts.append(f'<g transform="translate(16 {down + 20})">{part}</g>')
        down += height
    label = svg.label(f"Health panel: {health.verdict}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{down + 40}" '
        f'viewBox="0 0 {WIDTH} {down + 40}" role="img" aria-label="{label}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _picture(pixels: NDArray[np.uint8], right: float, down: float) -> str:
    side, address = TILE - 4, pictures.address(pixels, TILE)
    return (
        f'<image x="{right}" y="{down}" width="{side}" height="{side}" href="{address}" image-rendering="pixelated"/>'
    )


def _bar(figure: Figure, down: float) -> str:
    """One row: mark, name, bar on its own scale, value and baseline as text. No bar for a value that is not finite."""
    value = figure.value if math.isfinite(figure.value) else 0.0
    low, high = min(0.0, value, figure.baseline), max(0.0, value, figure.baseline)
    scale = BARS / (1.1 * (high - low) or 1.0)
    zero, end, baseline = (NAMES + (x - low) * scale for x in (0.0, value, figure.baseline))
    sign, ink = SIGNS.get(figure.mark, SIGNS[""])
    return (
        f"{_text(16, down + 12, sign)}{_text(34, down + 12, figure.label)}"
        f'<rect x="{min(zero, end):.1f}" y="{down + 3}" width="{abs(end - zero):.1f}" height="11" fill="{ink}"/>'
        f'<path d="M{baseline:.1f} {down}V{down + 17}" stroke="#1d2330" stroke-width="2"/>'
        f"{_text(NAMES + BARS + 14, down + 12, f'{figure.value:.4g}')}"
        f"{_text(NAMES + BARS + 104, down + 12, f'baseline {figure.baseline:.4g}', 'soft')}"
    )


def _charts(health: Health) -> Sequence[tuple[str, int]]:
    """The charts below the bars, with their heights: the histograms in a row, and the spectra."""
    found, row = [], ""
    for i, bars in enumerate(health.histograms):
        chart = svg.histogram(bars.real, bars.fake, svg.COLORS[1], bars.channel)
        placed = chart.replace("<svg ", f'<svg x="{i * ASIDE}" y="18" width="{ASIDE - 20}" height="{HISTOGRAM}" ', 1)
        row += _text(i * ASIDE, 10, f"{bars.channel}: reals filled, samples as a line", "soft") + placed
    if row:
        found.append((row, HISTOGRAM + 40))
    if health.spectrum is not None:
        sides = (("reals", health.spectrum.real), ("samples", health.spectrum.fake))
        lines = [svg.Line(name, np.array(health.spectrum.frequency), np.array(power)) for name, power in sides]
        inner = svg.bare_chart(lines, "cycles per pixel or value")
        found.append((_text(0, 10, "power spectrum, log10: reals blue, samples orange", "soft") + inner, CHART))
    return found


def _text(right: float, down: float, text: str, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{right}" y="{down}"{shown}>{svg.label(text)}</text>'
