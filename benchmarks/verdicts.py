"""Is the verdict to be believed on data that it has never seen? More than a thousand labeled sample sets.

    python benchmarks/verdicts.py measure DATA [--out FILE] [--sources NAME...] [--seed S]
    python benchmarks/verdicts.py fit [FILE] [--write]

`fit` leaves out one source after the other: the weights are fitted to the others, and tested on it. All figures that it
prints are of sources that were left out. --write fits the weights to all sources and writes verdict_weights.json.

`measure` computes the figures of every set of labeled.py, with fixed and with trained features, and appends them to a
file of JSON lines; the same command goes on where it was stopped. DATA is the folder with the files of labeled.SOURCES.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import verdict_fit
from labeled import SOURCES, Case, Maker, Source, load
from verdict_fit import WORDS, Sets

from gancli.health import Figure
from gancli.networks.feature_extractors import FeatureExtractor, pretrained
from gancli.stats import memorization
from gancli.stats.comparison import Comparison, Reference
from gancli.stats.figures import FIGURES, panel
from gancli.stats.sample_sets import prepared
from gancli.stats.verdict import HIGH, UNDECIDED

Row = dict[str, Any]
WITHOUT_CLASSES = ("frogs", "emoji")  # sources whose modes are parts by k-means


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("data", type=Path)
    measuring.add_argument("--out", type=Path, default=Path("verdicts.jsonl"))
    measuring.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    measuring.add_argument("--samples", type=int, nargs="+", help="per side; default: those of SOURCES")
    measuring.add_argument("--seed", type=int, default=1)
    measuring.add_argument("--threads", type=int, default=1)
    measuring.set_defaults(run=measure)
    fitting = commands.add_parser("fit")
    fitting.add_argument("file", type=Path, nargs="?", default=Path("verdicts.jsonl"))
    fitting.add_argument("--write", action="store_true")
    fitting.set_defaults(run=fit)
    given = parser.parse_args()
    given.run(given)


def read(path: Path) -> list[Row]:
    """What was measured so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(given: argparse.Namespace) -> None:
    """Append a line for every set that has none yet."""
    torch.set_num_threads(given.threads)
    extractor = pretrained()
    if extractor is None:
        sys.exit("install gancli[pretrained]: every set is measured with both kinds of features")
    there = {(row["source"], row["seed"], row["samples"], row["case"]) for row in read(given.out)}
    with given.out.open("a") as file:
        for name in given.sources:
            for count in given.samples or SOURCES[name].counts:
                for row in rows_of(name, count, given.seed, given.data, extractor, there):
                    file.write(json.dumps(row) + "\n")
                    file.flush()


def fit(given: argparse.Namespace) -> None:
    """Test every source with the weights that were fitted to the others; then fit to all."""
    models = {}
    for name in ("fixed", "trained"):
        sets = verdict_fit.sets_of(read(given.file), trained=name == "trained")
        chances = verdict_fit.left_out(sets)
        print(f"\n## {name} features\n")
        steps, seen = report(sets, chances)
        models[name] = replace(verdict_fit.fitted(sets), reliability=steps, seen=seen)
    if given.write:
        text = json.dumps({name: asdict(model) for name, model in models.items()}, indent=1)
        (resources.files("gancli.stats") / "verdict_weights.json").write_text(text + "\n")


def report(sets: Sets, chances: np.ndarray) -> tuple[list[tuple[float, float]], float]:
    """Print how often the verdicts were right, and which were not. Returns the reliability, and the losses seen."""
    found, sure = chances.argmax(1), chances.max(1)
    right = (found == sets.words.numpy()) & (sure >= UNDECIDED)
    cases, samples = [row["case"] for row in sets.rows], np.array([row["samples"] for row in sets.rows])
    healthy = np.array([case.startswith("healthy") for case in cases])
    dropped = np.array([" modes" in row["case"] and 0.35 < row["strength"] <= 0.65 for row in sets.rows])
    dropped &= np.array([row["source"] not in WITHOUT_CLASSES for row in sets.rows])
    images = np.array([row["kind"] == "image" for row in sets.rows])
    accused = (found != 0) & (sure >= UNDECIDED)
    print(f"{len(np.unique(sets.sources))} sources, undecided: {(sure < UNDECIDED).sum()}")
    share("right", right)
    share("accused healthy sets of 500 or more samples", accused[healthy & (samples >= 500)])
    share("accused healthy sets", accused[healthy])
    share("losses of 35% to 65% of the classes seen", (found != 0)[dropped])
    share("the same, images", (found != 0)[dropped & images])
    for source in np.unique(sets.sources):
        share(f"right, {source}", right[sets.sources == source])
    steps = verdict_fit.reliability(sure, right)
    high = sure >= min((low for low, part in steps if part >= HIGH), default=2)
    share("right among those of high confidence", right[high])
    print("reliability:", ", ".join(f"from {low:.1%}: {part:.1%}" for low, part in steps))
    confusion(sets, found, sure)
    for row, word, p, good in zip(sets.rows, found, sure, right, strict=True):
        if not good:
            called = WORDS[word] if p >= UNDECIDED else f"undecided ({WORDS[word]})"
            print(f"- {row['source']} {row['samples']}, {row['case']}: {row['word']}, called {called}, {p:.0%}")
    return steps, round(float((found != 0)[dropped & images].mean()), 4)


def share(what: str, true: np.ndarray) -> None:
    """Print a share with its interval."""
    if len(true):
        low, high = verdict_fit.wilson(int(true.sum()), len(true))
        print(f"{what}: {true.sum()} of {len(true)}, {true.mean():.1%} ({low:.1%} to {high:.1%})")


def confusion(sets: Sets, found: np.ndarray, sure: np.ndarray) -> None:
    """Rows are labels, columns verdicts, as Markdown."""
    named = [WORDS[word] if p >= UNDECIDED else "undecided" for word, p in zip(found, sure, strict=True)]
    counts = Counter(zip((WORDS[word] for word in sets.words.tolist()), named, strict=True))
    columns = (*WORDS, "undecided")
    print("\n| made as | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for label in WORDS:
        print(f"| {label} | " + " | ".join(str(counts[label, word] or "") for word in columns) + " |")
    print()


def rows_of(
    name: str, count: int, seed: int, folder: Path, extractor: FeatureExtractor, there: set[tuple[Any, ...]]
) -> Iterator[Row]:
    """The sets of one source at one size that are not there yet."""
    began, source = time.time(), load(name, folder, seed)
    others = [load(other, folder, seed, like=source) for other in SOURCES[name].others]
    fixed, trained = (reference_of(source, count, each) for each in (None, extractor))
    made = 0
    for case in Maker(source, count, seed, others).cases():
        if (name, seed, count, case.name) in there:
            continue
        made += 1
        yield {
            **{"source": name, "kind": source.kind, "seed": seed, "samples": count},
            **{"case": case.name, "word": case.word, "strength": round(case.strength, 4)},
            "fixed": [packed(figure) for figure in panel(compared(case, fixed), quick=True)],
            "trained": [packed(figure) for figure in content(compared(case, trained))]
            if source.kind == "image"
            else [],
        }
    print(f"{name}, {count} samples: {made} sets in {time.time() - began:.0f} s", file=sys.stderr, flush=True)


def reference_of(source: Source, count: int, extractor: FeatureExtractor | None) -> Reference:
    """Two halves of what was trained on, and all of it."""
    train, held = (prepared(x, source.kind) for x in (source.train, source.held_out))
    small = memorization.small(train), memorization.small(held)
    return Reference(train[:count], train[count : 2 * count], source.kind, *small, extractor=extractor)


def compared(case: Case, reference: Reference) -> Comparison:
    """The inputs of the figures."""
    return Comparison(prepared(case.fakes, reference.kind), reference)


def content(c: Comparison) -> Sequence[Figure]:
    """The figures that differ between fixed and trained features."""
    return [figure for spec in FIGURES.values() if spec.content for figure in spec.figures(c)]


def packed(figure: Figure) -> list[Any]:
    """A figure as a short list."""
    numbers = (figure.value, figure.baseline, figure.fake, figure.real)
    return [figure.key, figure.part, *(None if number is None else float(f"{number:.6g}") for number in numbers)]


if __name__ == "__main__":
    main()
