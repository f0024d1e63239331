"""Results as rich renderables: health panel, forecast, ablation, doctor, list of runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from gancli.health import GROUPS, Figure, Health, Histogram, with_fixed
from gancli.results import Ablation, DataReport, Doctor, Forecast, RunSummary, printable

BLOCKS = " ▁▂▃▄▅▆▇█"
COLORS = {
    "healthy": "green",
    "low-diversity": "yellow",
    "washed-out": "yellow",
    "artifacts": "yellow",
    "collapsed": "red",
    "memorizing": "red",
    "diverged": "red",
    "undecided": "cyan",
}
MAIN = (  # keys of the figures shown without --all: those that the verdict rests on, and FID
    "modes_covered", "classes_covered", "batch_std_ratio", "contrast_ratio", "unique_fraction", "missing_share",
    "foreign_share", "coverage", with_fixed("coverage"), "precision", with_fixed("precision"), "train_nearer_fraction",
    "fid", "kid", "kernel_distance", with_fixed("kernel_distance"), "spectrum_fine", "roughness", "color_distance",
    "value_distance",
)  # fmt: skip
WORST = ("bad", "watch", "good", "")  # marks, the worst first
WIDE = 100  # terminal width that has room for explanations
MARKS = {"good": ("●", "green"), "watch": ("▲", "yellow"), "bad": ("✖", "red")}  # distinct without color, too


def bars(values: Sequence[float]) -> str:
    """Numbers as a row of block characters, scaled from 0 to the largest."""
    top = max([*values, 1e-12])
    return "".join(BLOCKS[round(max(0.0, v) / top * 8)] for v in values)


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The last `width` numbers as block characters, scaled from smallest to largest; blank if missing or not finite."""
    shown = [v if v is not None and math.isfinite(v) else None for v in list(values)[-width:]]
    there = [v for v in shown if v is not None]
    low, high = min(there, default=0.0), max(there, default=1.0)
    span = max(high / 2 - low / 2, 1e-12)  # halves, because the difference of two huge numbers is infinite
    return "".join(" " if v is None else BLOCKS[1 + round((v / 2 - low / 2) / span * 7)] for v in shown)


def health_panel(health: Health, width: int = 120, *, everything: bool = False) -> list[Any]:
    """Verdict, evidence, the main figures, advice, and the verdict again. Explanations need a wide terminal.

    everything: show all figures, histograms, spectra and history.
    """
    color = COLORS.get(health.verdict, "white")
    verdict, certainty = printable(health.verdict), printable(health.certainty)
    head = Text.assemble(("verdict: ", "bold"), (verdict, f"bold {color}"), f"  ({certainty})")
    parts: list[Any] = [Text(printable(health.source)), head]
    parts += [Text(f"  {printable(line)}") for line in health.evidence]
    parts += [Text(f"  {printable(health.compared_by)}", style="dim")] if health.compared_by else []
    if not health.panel:
        return parts + (_details(health) if everything else [])
    figures = health.panel if everything else _main(health.panel)
    title = f"{health.samples} samples on each side, {health.weights} weights"
    parts.append(_panel(figures, title, explained=width >= WIDE))
    if hidden := len(health.panel) - len(figures):
        parts.append(Text(f"{hidden} more metrics, histograms and spectra: --all", style="dim"))
    return [*parts, *_advice(figures), *(_details(health) if everything else []), head]


def _main(panel: Sequence[Figure]) -> list[Figure]:
    """Those that the verdict rests on; with fixed features where there are both kinds."""
    keys = {figure.key for figure in panel}
    return [figure for figure in panel if figure.key in MAIN and with_fixed(figure.key) not in keys]


def _details(health: Health) -> list[Any]:
    """Histograms, spectra and the history of the run."""
    parts: list[Any] = [_histogram(h) for h in health.histograms]
    if health.spectrum is not None:
        lines = (("real", health.spectrum.real, "cyan"), ("fake", health.spectrum.fake, "magenta"))
        parts += [Text.assemble(f"spectrum  {name}  ", (sparkline(line, 60), style)) for name, line, style in lines]
    if health.history:
        parts.append(Text(f"batch std ratio   {sparkline(health.history['std_ratio'])}"))
        parts.append(Text(f"critic loss       {sparkline(health.history['critic_loss'])}"))
        parts += [Text(f"warning at {printable(line)}", style="yellow") for line in health.history["warnings"]]
    return parts


def _panel(figures: Sequence[Figure], title: str, *, explained: bool) -> Table:
    table = Table(title=Text(title), box=None, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "metric", "value", "baseline", "fake", "real", *(["what it means"] if explained else [])):
        table.add_column(name, justify="right" if name in ("value", "baseline", "fake", "real") else "left")
    said = ""
    for f in worst_first(figures):
        note, said = "" if f.note == said else f.note, f.note  # a note is shown once for all channels
        numbers = [_number(x) for x in (f.value, f.baseline, f.fake, f.real)]
        sign, color = MARKS.get(f.mark, (" ", ""))
        table.add_row(
            Text(sign, style=color), Text(f.label), numbers[0], Text(numbers[1], style="dim"), *numbers[2:],
            *([Text(note, style="dim")] if explained else []),
        )  # fmt: skip
    return table


def worst_first(figures: Sequence[Figure]) -> list[Figure]:
    """The figures by group: first the groups with the worst mark, and in each of them the worst figures."""
    worst = {f.group: min(WORST.index(g.mark) for g in figures if g.group == f.group) for f in figures}
    order = {f.key: place for place, f in reversed(list(enumerate(figures)))}

    def key(f: Figure) -> tuple[int, int, int, int]:
        mark = min(WORST.index(g.mark) for g in figures if g.key == f.key)  # the parts of a figure stay together
        return worst[f.group], GROUPS.index(f.group), mark, order[f.key]

    return sorted(figures, key=key)


def _advice(figures: Sequence[Figure]) -> list[Text]:
    """Each piece of advice once, with the figures that it would improve."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if figure.mark == "bad" and figure.advice:
            found.setdefault(figure.advice, []).append(figure.label)
    return [Text(f"try: {advice}  ({_some(names)})", style="yellow") for advice, names in found.items()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _histogram(histogram: Histogram) -> Text:
    return Text.assemble(
        f"{histogram.channel:>6}  real ",
        (bars(histogram.real), "cyan"),
        "   fake ",
        (bars(histogram.fake), "magenta"),
    )


def duration(seconds: float | None) -> str:
    """Format seconds as H:MM:SS or days."""
    if seconds is None or not 0 <= seconds < math.inf:
        return "?"
    if seconds >= 2 * 86400:
        days = seconds / 86400
        return f"{days:.0f} days" if days < 1e6 else f"{days:.0e} days"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def forecast_table(forecast: Forecast) -> list[Any]:
    """Config, schedule with estimated costs, totals and advice."""
    from gancli.config import yaml  # with the models of the config: nothing else that is printed needs them

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("size", "fade kimg", "stable kimg", "batch", "rate", "time (estimate)"):
        table.add_column(name, justify="right")
    for s in forecast.stages:
        time = duration(s.seconds) + (" timed" if s.timed else " scaled")
        table.add_row(
            f"{s.height}x{s.width}",
            f"{s.fade / 1000:g}",
            f"{s.stable / 1000:g}",
            str(s.batch_size),
            f"{s.lr:g}",
            time,
        )
    total = (
        f"generator {forecast.generator_parameters:,} parameters, critic {forecast.critic_parameters:,}\n"
        f"{forecast.duration / 1000:g} kimg on {forecast.device}: about {duration(forecast.seconds)} (estimate), "
        f"about {forecast.memory_mib:,.0f} MiB of memory and {forecast.disk_mib:,.0f} MiB on disk, "
        f"of which {forecast.cache_mib:,.0f} MiB are the data cache"
    )
    if forecast.shards > 1:
        sizes = sorted({s.batch_size // forecast.shards for s in forecast.stages})
        samples = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        each = -(-forecast.shards // forecast.workers)
        total += (
            f"\n{forecast.workers} workers share the {forecast.shards} shards of a batch, at most {each} each, of "
            f"{samples} samples; the time is without communication, the memory is that of one worker"
        )
    return [
        Text(yaml.dump(dict(forecast.config))),
        table,
        Text(total),
        *(Text(a, style="yellow") for a in forecast.advice),
    ]


def ablation_table(ablation: Ablation) -> Table:
    """One row per quantity and one column per variant: mean and standard deviation over seeds."""
    table = Table(f"{(n := len(ablation.rows[0].seeds))} seed{'' if n == 1 else 's'}", box=None, padding=(0, 2))
    for row in ablation.rows:
        table.add_column(Text(printable(row.variant)), justify="right", no_wrap=True)
    for head, cells in ablation.table():
        table.add_row(*(Text(printable(cell)) for cell in (head, *cells)))
    return table


def data_table(report: DataReport, most: int | None) -> Table:
    """One row per item that there is. most: rejected files that are named; None: all."""
    sizes = [f"{width}x{height}" for height, width in filter(None, (report.smallest, report.largest))]
    rejected = [f"{item.name}: {item.reason}" for item in report.rejected[:most]]
    left = len(report.rejected) - len(rejected)
    rows = {
        "samples": f"{report.count:,}, {report.held_out:,} of them held out",
        "source sizes": " to ".join(dict.fromkeys(sizes)),
        "read as": f"{report.kind}, {'x'.join(map(str, report.shape))}",
        "enlarged": f"{report.enlarged:,}" if report.enlarged else "",
        "duplicates": f"{report.duplicates:,}" if report.duplicates else "",
        "other files": f"{report.ignored:,}, ignored" if report.ignored else "",
        "rejected": "\n".join([*rejected, *([f"and {left:,} more: -v lists all"] if left else [])]),
        "note": "\n".join(report.advice),
    }
    return _items({name: value for name, value in rows.items() if value})


def doctor_table(doctor: Doctor) -> Table:
    """One row per item."""
    rows = {
        "gancli": doctor.gancli,
        "python": f"{doctor.python} on {doctor.platform}",
        "torch": doctor.torch,
        "device": doctor.device,
        "threads": f"{doctor.threads} of {doctor.cores} cores; bf16 is {'fast' if doctor.bf16 else 'slow'}",
        "memory": f"{doctor.memory_gib:.1f} GiB",
        "cache": str(doctor.cache),
        **doctor.packages,
        **{f"extra {e.name}": f"{e.version or 'not installed'}: {e.adds}" for e in doctor.extras},
    }
    return _items({name: printable(value) for name, value in rows.items()})


def _items(rows: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table


def runs_table(summaries: Sequence[RunSummary]) -> Table:
    """One row per run."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "kimg", "state", "std ratio", "verdict", "last warning"):
        table.add_column(name, justify="right" if name in ("kimg", "std ratio") else "left")
    for s in summaries:
        kimg = f"{s.kimg:g}/{s.duration_kimg:g}"
        verdict = Text(printable(s.verdict or "-"), style=COLORS.get(s.verdict or "", ""))
        if s.verdict_kimg is not None and s.verdict_kimg != s.kimg:
            verdict.append(f" at {s.verdict_kimg:g} kimg", style="dim")
        named, warned = (Text(printable(text)) for text in (s.name, s.warning or ""))
        table.add_row(named, kimg, s.state, _number(s.std_ratio), verdict, warned)
    return table
