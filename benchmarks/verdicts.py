"""Is the verdict to be believed on data that it has never seen? More than a thousand labeled sample sets.

    python benchmarks/verdicts.py measure DATA [--out FILE] [--sources NAME...] [--seed S] [--runs LIST]
    python benchmarks/verdicts.py fit [FILE] [--write]

`fit` leaves out one source after the other: the weights are fitted to the others, and tested on it. All figures that it
prints are of sources that were left out. --write fits the weights to all sources, and writes verdict_weights.json and
docs/verdicts.md. Without FILE it takes what was measured for the current weights.

`measure` computes the figures of every set of labeled.py, with fixed and with trained features, and appends them to a
file of JSON lines; the same command goes on where it was stopped. --add computes one figure more of the sets that are
in the file, after a figure was added. DATA is the folder with the files of labeled.SOURCES.
LIST names trained runs, which were labeled by looking at their samples: a line each with a verdict, a source and a run.
"""

import argparse
import json
import lzma
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TextIO

import torch
import verdict_fit
import verdict_report
from labeled import SOURCES, Case, Maker, Source, load
from verdict_report import Judged

from gancli import checkpoint
from gancli.health import Figure
from gancli.networks.feature_extractors import FeatureExtractor, pretrained
from gancli.results import silent
from gancli.sampling import Generator
from gancli.stats import memorization, sample_sets
from gancli.stats.comparison import Comparison, Reference
from gancli.stats.figures import FIGURES, panel
from gancli.stats.inspect_checkpoint import reals_of
from gancli.stats.sample_sets import prepared

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
MOST = 1_000  # samples of a trained run
MEASURED, PAGE = ROOT / "benchmarks" / "results" / "verdicts.jsonl.xz", ROOT / "docs" / "verdicts.md"


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
    measuring.add_argument("--runs", type=Path)
    measuring.add_argument("--add", metavar="FIGURE", choices=list(FIGURES), help="only this one, to the sets in FILE")
    measuring.add_argument("--threads", type=int, default=1)
    measuring.set_defaults(run=measure)
    fitting = commands.add_parser("fit")
    fitting.add_argument("file", type=Path, nargs="?", default=MEASURED)
    fitting.add_argument("--write", action="store_true")
    fitting.set_defaults(run=fit)
    given = parser.parse_args()
    given.run(given)


def read(path: Path) -> list[Row]:
    """What was measured so far: JSON lines, possibly compressed by xz."""
    if not path.exists():
        return []
    with open_lines(path, "rt") as file:
        return [json.loads(line) for line in file]


def open_lines(path: Path, mode: Literal["rt", "wt", "at"]) -> TextIO:
    """A text file, compressed if its name ends in .xz."""
    return lzma.open(path, mode) if path.suffix == ".xz" else path.open(mode)


def measure(given: argparse.Namespace) -> None:
    """Append a line for every set that has none yet."""
    torch.set_num_threads(given.threads)
    extractor = pretrained()
    if extractor is None:
        sys.exit("install gancli[pretrained]: every set is measured with both kinds of features")
    if given.add is not None:
        add(given)
        return
    there = {(row["source"], row["seed"], row["samples"], row["case"]) for row in read(given.out)}
    with open_lines(given.out, "at") as file:
        for row in every_row(given, extractor, there):
            file.write(json.dumps(row) + "\n")
            file.flush()


def add(given: argparse.Namespace) -> None:
    """Compute one figure more of the labeled sets that are in the file; not of the trained runs."""
    rows, spec = read(given.out), FIGURES[given.add]
    missing = {
        (row["source"], row["seed"], row["samples"], row["case"]): row
        for row in rows
        if row["kind"] in spec.kinds and not is_run(row)
        if all(figure[0] != spec.key for figure in (*row["fixed"], *row["trained"]))
    }
    for name, seed, count in sorted({key[:3] for key in missing}):
        source = load(name, given.data, seed)
        others = [load(other, given.data, seed, like=source) for other in SOURCES[name].others]
        reference = reference_of(source, count, pretrained() if spec.content else None)
        for case in Maker(source, count, seed, others).cases():
            row = missing.get((name, seed, count, case.name))
            if row is not None:
                row["trained" if spec.content else "fixed"] += [
                    packed(figure) for figure in spec.figures(compared(case, reference))
                ]
        whole = given.out.with_name(f"new-{given.out.name}")
        with open_lines(whole, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        whole.replace(given.out)
        print(f"{name}, {count} samples", file=sys.stderr, flush=True)


def is_run(row: Row) -> bool:
    """Whether the set was made by a trained network."""
    return bool(row["case"].startswith("run "))


def every_row(given: argparse.Namespace, extractor: FeatureExtractor, there: set[tuple[Any, ...]]) -> Iterator[Row]:
    """Of the trained runs if there is a list of them, else of the labeled sets."""
    if given.runs is not None:
        yield from rows_of_runs(given.runs, extractor, there)
        return
    for name in given.sources:
        for count in given.samples or SOURCES[name].counts:
            yield from rows_of(name, count, given.seed, given.data, extractor, there)


def rows_of_runs(path: Path, extractor: FeatureExtractor, there: set[tuple[Any, ...]]) -> Iterator[Row]:
    """The averaged weights of trained runs, as `gancli inspect-stats` compares them with their data."""
    for line in filter(None, path.read_text().splitlines()):
        word, source, run = line.split(maxsplit=2)
        opened = checkpoint.read(checkpoint.locate(run))
        generator, dataset = Generator.of(opened), reals_of(opened, None, silent)
        count, case = min(MOST, len(dataset.values) // 2), f"run {Path(run).name}, {opened.images // 1000} kimg"
        if (source, opened.config.train.seed, count, case) in there:
            continue
        made, fakes = [], None
        for each in (None, extractor):
            reals = sample_sets.of_generator(generator, dataset, trained=True, extractor=each)
            reference, _ = reals.reference(count, quick=False, progress=silent)
            fakes = sample_sets.generated(generator, reference.others, silent) if fakes is None else fakes
            made.append(Comparison(fakes, reference))
        yield {
            **{"source": source, "kind": dataset.kind, "seed": opened.config.train.seed, "samples": count},
            **{"case": case, "word": None if word == "-" else word, "strength": 0.0},
            **measured(*made),
        }


def measured(fixed: Comparison, trained: Comparison) -> Row:
    """The figures of both kinds of features; signals have no trained ones."""
    return {
        "fixed": [packed(figure) for figure in panel(fixed, quick=True)],
        "trained": [packed(figure) for figure in content(trained)] if fixed.kind == "image" else [],
    }


def fit(given: argparse.Namespace) -> None:
    """Judge every source by the weights that were fitted to the others; then fit to all."""
    judged, models = {}, {}
    for name in ("fixed", "trained"):
        sets = verdict_fit.sets_of(read(given.file), trained=name == "trained")
        if not sets.rows:
            continue
        one = judged[name] = Judged(sets, verdict_fit.left_out(sets))
        models[name] = replace(verdict_fit.fitted(sets), reliability=one.steps(), seen=one.seen())
    page = verdict_report.page(judged)
    print(page)
    if given.write:
        text = json.dumps({name: asdict(model) for name, model in models.items()}, indent=1)
        (resources.files("gancli.stats") / "verdict_weights.json").write_text(text + "\n")
        PAGE.write_text(page)


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
            **measured(compared(case, fixed), compared(case, trained)),
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
