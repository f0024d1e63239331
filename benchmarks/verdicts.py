"""Is the verdict to be believed? Hundreds of labeled sample sets, thresholds from one half, a table of the other.

    python benchmarks/verdicts.py DATA [--runs LIST] [--fit]

DATA is a folder with the five files of labeled.FILES. LIST names trained runs, a line each: a word, a run folder.
What was measured is kept in --out as JSON lines, so that the same command goes on where it was stopped.
The first of SEEDS chose the limits of gancli/stats/verdict.py (--fit prints what would be best on it); the second tests
them, with another split of the data, other samples, other strengths; the third was drawn when they stood. Of the runs
every second one is in each of the first two.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labeled import COUNTS, OTHERS, Case, Source, cases, load

from gancli import checkpoint
from gancli.health import Figure
from gancli.sampling import Generator
from gancli.stats import inspect, memorization, sample_sets
from gancli.stats.comparison import Comparison, Reference
from gancli.stats.figures import panel
from gancli.stats.sample_sets import prepared
from gancli.stats.verdict import LIMITS, Limits, decide

Row = dict[str, Any]
RUN_SAMPLES = 500
SEEDS = (1, 2, 3)
PARTS = ("chosen on", "tested on", "not looked at before the limits stood")


def main() -> None:
    """Measure what is missing, then fit or report."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("data", type=Path)
    words.add_argument("--runs", type=Path)
    words.add_argument("--out", type=Path, default=Path("verdicts.jsonl"))
    words.add_argument("--threads", type=int, default=2)
    words.add_argument("--fit", action="store_true")
    words.add_argument("--sources", nargs="+", default=list(COUNTS), choices=list(COUNTS))
    words.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    words.add_argument("--samples", type=int, help="of each side; left out: those of COUNTS")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    wanted = {name: (given.samples,) if given.samples else COUNTS[name] for name in given.sources}
    measure(given.data, given.runs, given.out, wanted, given.seeds)
    rows = read(given.out)
    if given.fit:
        print(fit([row for row in rows if row["half"] == 0]))
    report(rows)


def read(path: Path) -> list[Row]:
    """What was measured so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(
    folder: Path, runs: Path | None, out: Path, wanted: dict[str, tuple[int, ...]], seeds: Sequence[int]
) -> None:
    """Append a line for every set that has none yet."""
    there = {(row["source"], row["seed"], row["samples"], row["case"]) for row in read(out)}
    with out.open("a") as file:
        for row in every_case(folder, there, wanted, seeds):
            file.write(json.dumps(row) + "\n")
            file.flush()
        for row in every_run(runs, there):
            file.write(json.dumps(row) + "\n")
            file.flush()


def every_case(
    folder: Path, there: set[tuple[Any, ...]], wanted: dict[str, tuple[int, ...]], seeds: Sequence[int]
) -> Iterator[Row]:
    """The made sets, source by source."""
    for name, counts in wanted.items():
        for seed in seeds:
            done = [key for key in there if key[:2] == (name, seed)]
            source = None
            for count in counts:
                if (name, seed, count, "black and white") in done:
                    continue
                source = source or load(name, folder, seed)
                others = load(OTHERS[name][0], folder, seed, *OTHERS[name][1:]) if name in OTHERS else None
                reference, began = reference_of(source, count), time.time()
                for case in cases(source, count, seed, others):
                    if (name, seed, count, case.name) not in there:
                        yield row_of(case, seed, count, figures_of(case.fakes, reference))
                print(f"{name}, seed {seed}, {count} samples: {time.time() - began:.0f} s", file=sys.stderr)


def reference_of(source: Source, count: int) -> Reference:
    """Two halves of what was trained on, and all of it."""
    train, held = (prepared(x, source.kind) for x in (source.train, source.held_out))
    halves = train[:count], train[count : 2 * count]
    return Reference(*halves, source.kind, memorization.small(train), memorization.small(held))


def figures_of(fakes: torch.Tensor, reference: Reference) -> tuple[Figure, ...]:
    """The figures that the verdict rests on."""
    return panel(Comparison(prepared(fakes, reference.kind), reference), quick=True)


def row_of(case: Case, seed: int, count: int, figures: tuple[Figure, ...]) -> Row:
    """One line of the file."""
    about = {"source": case.source, "seed": seed, "samples": count, "case": case.name, "half": SEEDS.index(seed)}
    return {**about, "word": case.word, "strength": case.strength, "figures": [packed(f) for f in figures]}


def packed(figure: Figure) -> list[Any]:
    """A figure as a short list."""
    numbers = (figure.value, figure.baseline, figure.fake, figure.real)
    return [figure.key, figure.part, *(None if number is None else float(f"{number:.6g}") for number in numbers)]


def every_run(runs: Path | None, there: set[tuple[Any, ...]]) -> Iterator[Row]:
    """Trained runs, judged without their known modes, as a stranger's would be."""
    lines = [line.split(maxsplit=1) for line in runs.read_text().splitlines() if line.strip()] if runs else []
    for number, (word, path) in enumerate(lines):
        for raw in (False, True):
            name = f"{path}{' (raw)' if raw else ''}"
            if ("run", SEEDS[0], RUN_SAMPLES, name) in there:
                continue
            opened = checkpoint.read(path.strip())
            dataset = inspect.reals_of(opened, None, inspect.silent)
            generator = Generator.of(opened, raw=raw)
            reals = sample_sets.of_generator(generator, dataset, trained=True)
            count = min(RUN_SAMPLES, len(dataset.values) // 2)
            halves, (_, train, unseen) = reals.halves(count), reals.training_set()
            fakes = sample_sets.generated(generator, halves[1], inspect.silent)
            reference = Reference(*halves, dataset.kind, train, unseen)
            label = None if word == "-" else word.replace("_", " ")
            case = Case("run", name, label, fakes, train, halves[0], dataset.kind)
            yield {**row_of(case, SEEDS[0], RUN_SAMPLES, figures_of(fakes, reference)), "half": number % 2}


def word_of(row: Row, limits: Limits) -> tuple[str, str]:
    """(word, confidence) of the verdict."""
    figures = [Figure(key, key, *numbers, part=part) for key, part, *numbers in row["figures"]]
    verdict = decide(figures, row["samples"], None, limits)
    return verdict.word, verdict.confidence


def errors(rows: list[Row], limits: Limits) -> float:
    """Sets that got another word, a false alarm on an honest set counting five times."""
    wrong = [row for row in rows if row["word"] and word_of(row, limits)[0] != row["word"]]
    return sum(5.0 if row["case"].startswith("honest") else 1.0 for row in wrong)


def fit(rows: list[Row], rounds: int = 3) -> Limits:
    """Limit by limit: the middle of the widest range in which the fewest sets are wrong."""
    limits, factors = LIMITS, np.exp(np.linspace(-0.7, 0.7, 41))
    for _ in range(rounds):
        for field in fields(Limits):
            start = getattr(limits, field.name)
            found = [errors(rows, replace(limits, **{field.name: start * factor})) for factor in factors]
            best = np.array(found) == min(found)
            limits = replace(limits, **{field.name: float(f"{start * factors[middle(best)]:.3g}")})
        print(f"{errors(rows, limits):g} wrong of {len(rows)}", file=sys.stderr)
    return limits


def middle(good: np.ndarray) -> int:
    """The middle of the longest run of True."""
    runs, start = [], None
    for i, value in enumerate([*good, False]):
        if value and start is None:
            start = i
        elif not value and start is not None:
            runs.append((i - start, (start + i - 1) // 2))
            start = None
    return max(runs)[1]


def report(rows: list[Row]) -> None:
    """Both halves: the share that is right, the confusion table, and every set that is wrong."""
    for half in sorted({row["half"] for row in rows}):
        scored = [(row, *word_of(row, LIMITS)) for row in rows if row["word"] and row["half"] == half]
        right = [row["word"] == word for row, word, _ in scored]
        print(f"\n{PARTS[half]}: {sum(right)} of {len(right)} right, {np.mean(right):.1%}")
        for level in ("high", "low"):
            some = [row["word"] == word for row, word, sure in scored if sure == level]
            print(f"confidence {level}: {sum(some)} of {len(some)} right")
        honest = [word for row, word, _ in scored if row["case"].startswith("honest") and row["samples"] >= 500]
        alarms = sum(word != "healthy" for word in honest)
        print(f"honest sets of 500 and more: {len(honest)}, of them not called healthy: {alarms}")
        confusion(scored)
        for row, word, sure in scored:
            if row["word"] != word:
                where = f"{row['source']} {row['samples']} seed {row['seed']}"
                print(f"wrong: {where}: {row['case']}: {row['word']}, called {word} ({sure})")
    smallest_loss(rows)


def confusion(scored: list[tuple[Row, str, str]]) -> None:
    """Rows are labels, columns verdicts, as Markdown."""
    names = sorted({row["word"] for row, _, _ in scored} | {word for _, word, _ in scored})
    counts = Counter((row["word"], word) for row, word, _ in scored)
    print("\n| made as | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for label in names:
        print(f"| {label} | " + " | ".join(str(counts[label, word] or "") for word in names) + " |")


def smallest_loss(rows: list[Row]) -> None:
    """How many sets without some of the modes, or of distinct samples, are noticed, by what is left."""
    print("\n| left | sets | not called healthy |\n|---|---|---|")
    for low, high in ((0, 0.101), (0.101, 0.35), (0.35, 0.55), (0.55, 0.65), (0.65, 0.8), (0.8, 0.95)):
        for kind in ("modes", "repeated"):
            some = [
                row for row in rows if kind in row["case"] and low < row["strength"] <= high and row["source"] != "run"
            ]
            seen = sum(word_of(row, LIMITS)[0] != "healthy" for row in some)
            if some:
                print(f"| {low:.0%} to {high:.0%}, {kind} | {len(some)} | {seen} |")


if __name__ == "__main__":
    main()
