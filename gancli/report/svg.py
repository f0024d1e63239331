"""Charts as SVG text: line charts with bands, and histograms. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from gancli.results import printable

Floats = NDArray[np.float64]

# the color-blind safe palette of Okabe and Ito
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8f7a00")
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 22, 40
MOST_POINTS = 600  # of a line; more are not visible
STRIP = 34  # px; height of a strip
MOST_SAID = 20  # spans of a strip in its description
HATCH = 6  # px between the strokes of a fade-in phase
LARGEST = 1e100  # values are drawn at this, at most, so that no difference overflows
SMALLEST = 1e-100  # smaller differences count as none


def label(text: str) -> str:
    """Text of a page: HTML escaped, and without control, bidirectional and other invisible characters."""
    return escape(printable(text))


@dataclass(frozen=True)
class Line:
    """One line of a chart, with an optional band."""

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True)
class Phase:
    """A phase of training, drawn behind the lines: alternate names are shaded, fade-in phases are hatched."""

    name: str
    start: float
    end: float
    fading: bool = False


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if not high - low > max(SMALLEST, 1e-12 * max(abs(low), abs(high))):
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(lines: Sequence[Line], x_name: str, title: str, phases: Sequence[Phase] = ()) -> str:
    """Lines over a common axis, with a legend. Values that are not finite are omitted."""
    lines = _drawable(lines)
    return _svg(_drawn(lines, x_name, phases), title, lines) if lines else ""


def bare_chart(lines: Sequence[Line], x_name: str) -> str:
    """The same chart as a nested SVG, without legend and title."""
    lines = _drawable(lines)
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(_drawn(lines, x_name))}</svg>' if lines else ""


def _drawable(lines: Sequence[Line]) -> list[Line]:
    """The lines with at least one finite point, thinned and without extreme values."""
    return [_thinned(_moderate(line)) for line in lines if (np.isfinite(line.x) & np.isfinite(line.y)).any()]


def _moderate(line: Line) -> Line:
    parts = (None if part is None else _clipped(part) for part in (line.x, line.y, line.low, line.high))
    return Line(line.name, *parts)  # type: ignore[arg-type]


def _clipped(values: Floats) -> Floats:
    return np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), values)


def _drawn(lines: Sequence[Line], x_name: str, phases: Sequence[Phase] = ()) -> list[str]:
    x_low, x_high = _range([line.x for line in lines], 0.0)
    y_low, y_high = _range([part for line in lines for part in (line.y, line.low, line.high) if part is not None], 0.04)
    frame = Frame(x_low, x_high, y_low, y_high)
    parts = [frame.shades(phases), frame.axes(x_name)]
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        if line.low is not None and line.high is not None:
            parts.append(f'<polygon points="{frame.band(line)}" fill="{color}" fill-opacity="0.16"/>')
        parts.append(frame.stroke(line, color))
    return parts


@dataclass(frozen=True)
class Frame:
    """Maps values to positions in the SVG."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        """(x, y) in pixels."""
        right = LEFT + (x - self.x_low) / (self.x_high - self.x_low or 1) * (WIDTH - LEFT - RIGHT)
        down = TOP + (self.y_high - y) / (self.y_high - self.y_low or 1) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    def points(self, x: Floats, y: Floats) -> str:
        """SVG point list of the finite values."""
        kept = np.isfinite(x) & np.isfinite(y)
        placed = (self.place(float(a), float(b)) for a, b in zip(x[kept], y[kept], strict=True))
        return " ".join(f"{a},{b}" for a, b in placed)

    def band(self, line: Line) -> str:
        """SVG point list of the outline of a band."""
        assert line.low is not None
        assert line.high is not None
        return f"{self.points(line.x, line.high)} {self.points(line.x[::-1], line.low[::-1])}"

    def stroke(self, line: Line, color: str) -> str:
        """The line; a single point is drawn as a dot."""
        points = self.points(line.x, line.y)
        cap = ' stroke-width="6" stroke-linecap="round"' if " " not in points else ""
        twice = f"{points} {points}" if cap else points  # a dot is a line of length 0
        return f'<polyline points="{twice}" fill="none" stroke="{color}"{cap}/>'

    def shades(self, phases: Sequence[Phase]) -> str:
        """A rectangle per phase, and each name once above its phases if there is room."""
        names, parts = list(dict.fromkeys(phase.name for phase in phases)), []
        edges = {phase: [self._edge(at) for at in (phase.start, phase.end)] for phase in phases}
        for phase, (left, right) in edges.items():
            parts.append(_shade(left, right, dark=names.index(phase.name) % 2 == 1, hatched=phase.fading))
        for name in names:
            own = [x for phase in phases if phase.name == name for x in edges[phase]]
            if max(own) - min(own) >= 13 * len(name) + 6:  # width of the letters on a phone
                middle = round((min(own) + max(own)) / 2, 1)
                parts.append(f'<text x="{middle}" y="{TOP - 6}" text-anchor="middle">{label(name)}</text>')
        return "".join(parts)

    def _edge(self, x: float) -> float:
        return self.place(min(max(x, self.x_low), self.x_high), self.y_low)[0]

    def axes(self, x_name: str) -> str:
        """Grid lines, tick labels, and the name of the x axis."""
        parts = []
        for value in ticks(self.y_low, self.y_high):
            x, y = self.place(self.x_low, value)
            parts.append(f'<path class="rule" d="M{x} {y}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{_number(value)}</text>')
        for value in ticks(self.x_low, self.x_high, 7):
            x, _ = self.place(value, self.y_low)
            parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(value)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{label(x_name)}</text>')
        return "".join(parts)


def _shade(left: float, right: float, *, dark: bool, hatched: bool) -> str:
    bottom = HEIGHT - BOTTOM
    strokes = [f"M{x:.1f} {TOP}V{bottom}" for x in np.arange(left + HATCH / 2, right, HATCH)] if hatched else []
    box = f'x="{left}" y="{TOP}" width="{max(0.0, right - left):.1f}" height="{bottom - TOP}"'
    return f'<rect class="{"dark" if dark else "light"} phase" {box}/><path class="hatch" d="{"".join(strokes)}"/>'


def strip(spans: Sequence[Phase], colors: Mapping[str, str], x_name: str, title: str) -> str:
    """Named spans side by side on one axis, each in its color, with a legend."""
    frame = Frame(spans[0].start, spans[-1].end, 0.0, 1.0)
    parts, bottom = [], TOP + STRIP
    for span in spans:
        left, right = frame.place(span.start, 0)[0], frame.place(span.end, 0)[0]
        width = max(1.0, right - left)
        parts.append(f'<rect x="{left}" y="{TOP}" width="{width:.1f}" height="{STRIP}" fill="{colors[span.name]}"/>')
    for value in ticks(frame.x_low, frame.x_high, 7):
        x = frame.place(value, 0)[0]
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 34}" text-anchor="middle">{label(x_name)}</text>'
    )
    names = list(dict.fromkeys(span.name for span in spans))
    legend = "".join(f'<span class="key"><i style="background:{colors[n]}"></i>{label(n)}</span>' for n in names)
    said = ", ".join(f"{span.name} from {_number(span.start)} to {_number(span.end)}" for span in spans[:MOST_SAID])
    return (
        f'<figure><figcaption>{label(title)}</figcaption><div class="legend">{legend}</div>'
        f'<svg viewBox="0 0 {WIDTH} {bottom + 40}" role="img" aria-label="{label(f"{title}: {said}")}">'
        f"{''.join(parts)}</svg></figure>"
    )


def histogram(real: Sequence[float], fake: Sequence[float], color: str, title: str) -> str:
    """Two normalized histograms: the reals filled, the fakes as a line. No axes."""
    top = max([*real, *fake, 1e-9])
    steps = len(real)

    def outline(shares: Sequence[float]) -> str:
        corners = [(i + d, share) for i, share in enumerate(shares) for d in (0, 1)]
        return " ".join(f"{x * 120 / steps:.1f},{48 - y / top * 44:.1f}" for x, y in corners)

    return (
        f'<svg class="histogram" viewBox="0 0 120 48" role="img" aria-label="{label(title)}">'
        f'<polygon points="0,48 {outline(real)} 120,48" fill="#c9c9c9"/>'
        f'<polyline points="{outline(fake)}" fill="none" stroke="{color}" stroke-width="1.6"/></svg>'
    )


def _svg(parts: Sequence[str], title: str, lines: Sequence[Line]) -> str:
    keys = []
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        keys.append(f'<span class="key"><i style="background:{color}"></i>{label(line.name)}</span>')
    legend = "" if [line.name for line in lines] == [title] else f'<div class="legend">{"".join(keys)}</div>'
    ends = ", ".join(f"{line.name} ends at {line.y[np.isfinite(line.y)][-1]:.3g}" for line in lines)
    return (
        f"<figure><figcaption>{label(title)}</figcaption>{legend}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label(f"{title}: {ends}")}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _range(parts: Sequence[Floats], margin: float) -> tuple[float, float]:
    values = np.concatenate([part[np.isfinite(part)] for part in parts])
    low, high = float(values.min()), float(values.max())
    room = (high - low) * margin or (abs(high) * 0.05 or 1.0) * (margin > 0)
    return low - room, high + room


def _thinned(line: Line) -> Line:
    if len(line.x) <= MOST_POINTS:
        return line
    kept = np.linspace(0, len(line.x) - 1, MOST_POINTS).astype(int)
    low, high = (None if part is None else part[kept] for part in (line.low, line.high))
    return Line(line.name, line.x[kept], line.y[kept], low, high)


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 10_000 else f"{value / 1000:g}k"
