"""The panel as one SVG: every figure beside its baseline, the histograms, the spectra."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from gancli import files
from gancli.health import GROUPS, Figure, Health
from gancli.report import svg

WIDTH, ROW, NAMES, BARS = 900, 20, 330, 360  # px: of the paper, a row's height, the names' column, the bars'
SIGNS = {"good": ("●", "#2e8b3d"), "watch": ("▲", "#b26a00"), "bad": ("✖", "#c43131"), "": ("", "#667788")}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1d2330}.soft{fill:#667}.head{font-weight:600;font-size:14px}"
    ".rule{stroke:#dde1e8}polyline{stroke-width:2}"
)
HISTOGRAM, ASIDE, CHART = 90, 220, 320  # height, width with its gap; height


def write(health: Health, path: Path) -> None:
    """Write the plot. Raises StorageError."""
    files.replace_text(path, plot(health))


def plot(health: Health) -> str:
    """A standalone SVG: a bar for every figure, its baseline as a line across; histograms; spectra."""
    parts, down = [_text(16, 26, f"{health.verdict} (confidence {health.confidence})", "head")], 44
    for line in (*health.evidence, f"{health.samples} samples a side; a bar is the figure, the dark line its baseline"):
        parts.append(_text(16, down, line, "soft"))
        down += ROW
    for group in GROUPS:
        figures = [figure for figure in health.panel if figure.group == group]
        if figures:
            parts.append(_text(16, down + 24, group.capitalize(), "head"))
            down += 34
            parts += [_bar(figure, down + i * ROW) for i, figure in enumerate(figures)]
            down += len(figures) * ROW
    for part, height in _pictures(health):
        parts.append(f'<g transform="translate(16 {down + 20})">{part}</g>')
        down += height
    label = escape(f"Health panel: {health.verdict}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{down + 40}" '
        f'viewBox="0 0 {WIDTH} {down + 40}" role="img" aria-label="{label}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _bar(figure: Figure, down: float) -> str:
    """One row: mark, name, bar on its own scale, value and baseline in numbers; no bar for what is no number."""
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


def _pictures(health: Health) -> Sequence[tuple[str, int]]:
    """What stands below the bars, with its height: the histograms in a row, the spectra."""
    found, row = [], ""
    for i, bars in enumerate(health.histograms):
        chart = svg.histogram(bars.real, bars.fake, svg.COLORS[1], bars.channel)
        placed = chart.replace("<svg ", f'<svg x="{i * ASIDE}" y="18" width="{ASIDE - 20}" height="{HISTOGRAM}" ', 1)
        row += _text(i * ASIDE, 10, f"{bars.channel}: reals filled, samples a line", "soft") + placed
    if row:
        found.append((row, HISTOGRAM + 40))
    if health.spectrum is not None:
        sides = (("reals", health.spectrum.real), ("samples", health.spectrum.fake))
        lines = [svg.Line(name, np.array(health.spectrum.frequency), np.array(power)) for name, power in sides]
        inner = svg.bare_chart(lines, "cycles a pixel")
        found.append(
            (_text(0, 10, "power by frequency, powers of ten: reals blue, samples red", "soft") + inner, CHART)
        )
    return found


def _text(right: float, down: float, text: str, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{right}" y="{down}"{shown}>{escape(text)}</text>'
