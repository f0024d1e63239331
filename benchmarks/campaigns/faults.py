"""Every I/O call under the run folder and the cache fails, or the process dies there; then the same command again.

"EIO once", "ENOSPC once" and "ENOSPC from there on" must end with exit 0 or 74, a message that has the path, and no
temporary file. The same command again must end with the same files as an undisturbed one.
"""

import hashlib
import itertools
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns import harness, shim
from campaigns.harness import Ended, Progress, Row
from campaigns.shim import FAULTS, Fault

SMALL = {
    "network.resolution": 8,
    "network.channels": [8, 4],
    "growth": {"fade": 16, "stable": 16},
    "train.tick_every": 8,
    "train.sample_every": 24,
    "train.checkpoint_every": 16,
    "train.keep": 2,
}
KILLED = 128 + signal.SIGKILL
Result = dict[str, str]


@dataclass(frozen=True)
class Subject:
    """A command under test. It works in PLACE, where copies of finished work may lie before."""

    name: str
    words: tuple[object, ...]
    copied: tuple[str, ...]  # from the folder of finished work
    result: Callable[[Path], Result]  # name -> hash of everything that the command should leave
    apart: bool = False  # whether the faults meet its child processes


@dataclass(frozen=True)
class Case:
    """The fault at the n-th call of a subject."""

    subject: Subject
    fault: str
    n: int
    call: str


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` random cases, or with 0 all of them."""
    row = Row("1, 6", "faults", skipped=shim.missing())
    if row.skipped:
        return row
    place, done, draw = work / "place", harness.new_folder(work / "done"), random.Random(seed)
    every = [undisturbed(subject, place, done) for subject in subjects(work, place, done)]
    wanted = {subject.name: result for subject, _, result in every}
    lists = [draw.sample(found, len(found)) for subject, calls, _ in every if (found := list(cases(subject, calls)))]
    order = [case for cases_ in itertools.zip_longest(*lists) for case in cases_ if case]
    for number, case in enumerate(order[: count or None]):
        problems = meet(case, place, done, wanted[case.subject.name])
        name = f"{case.subject.name}: {case.fault} at call {case.n}, {case.call}"
        if row.case(name, problems):
            shutil.copytree(place, work / f"failed-{number}", symlinks=True, dirs_exist_ok=True)
        row.count(case.fault)
        progress(number + 1)
    row.worst = f"{row.failed} broken of {len(order):,} places"
    return row


def subjects(work: Path, place: Path, done: Path) -> list[Subject]:
    """The commands, and the finished work that they need in `done`."""
    data = harness.make_pictures(work / "data", 24)
    preset = harness.write_preset(work / "small.yaml", data, SMALL)
    env = {"GANCLI_CACHE_DIR": str(done / "cache")}
    harness.must(harness.train(preset, done / "runs"), work / "o", env=env)
    ablate = ("ablate", "--preset", preset, "--show", "critic_loss", "--threads", 1, "-q", "--vary")
    harness.must([*ablate, "train.lr=0.001,0.003", "--outdir", done / "a"], work / "o", env=env)
    made, usual = place / "runs/x", ("-q", "--threads", 1)
    grown = ("--outdir", place / "g", "--run", "x", "--to", 16, "--stop-on", "overfitting")
    page = ("--samples", 64, "--quick")
    pages = ("a/ablation.html", "a/*/samples/untrained.png")
    return [
        Subject("train", tuple(harness.train(preset, place / "runs")), (), lambda p: of_run(p / "runs/x")),
        Subject("grow", ("grow", made, *usual, *grown), ("runs", "cache"), lambda p: of_run(p / "g/x")),
        Subject("report", ("report", made, *usual, *page), ("runs", "cache"), of_files("runs/x/report.html")),
        Subject("sample", ("sample", made, *usual, "-o", place / "s.png"), ("runs",), of_files("s.png")),
        Subject("sample to a folder", ("sample", made, *usual, "-o", place / "s"), ("runs",), of_files("s/*")),
        Subject("ablate", (*ablate, "train.lr=0.001,0.003", "--outdir", place / "a"), ("a", "cache"), of_files(*pages)),
        Subject("ablate's runs", (*ablate, "train.lr=0.001", "--outdir", place / "b"), ("cache",), of_ablation, True),
    ]


def of_run(run: Path) -> Result:
    """The tensors and the log of a run."""
    rows = {f"the log at {row['images']} images, {key}": str(row[key]) for row in harness.log_of(run) for key in row}
    return {"weights": harness.digest(run), **rows}


def of_ablation(place: Path) -> Result:
    """The tensors of its only run."""
    (run,) = (place / "b").glob("0*")
    return {"weights": harness.digest(run)}


def of_files(*patterns: str) -> Callable[[Path], Result]:
    """The bytes of all files of these names."""

    def result(place: Path) -> Result:
        found = [file for pattern in patterns for file in sorted(place.glob(pattern))]
        return {str(file.relative_to(place)): hashlib.md5(file.read_bytes()).hexdigest() for file in found}

    return result


def prepare(subject: Subject, place: Path, done: Path) -> None:
    """Make `place` as it is before the command. The dates stay: a cache knows its files by them."""
    harness.new_folder(place)
    for name in subject.copied:
        shutil.copytree(done / name, place / name)
    for folder in (place / "a").glob("0*/samples"):
        shutil.rmtree(folder)


def start(subject: Subject, place: Path, fault: Fault | None = None, n: int = 0, calls: Path | None = None) -> Ended:
    """Run the command, with a fault at the n-th call."""
    setter = shim.for_children if subject.apart else shim.setter
    before = setter(fault, n, place, calls) if fault else None
    return harness.run(
        subject.words, place.with_name("o"), env={"GANCLI_CACHE_DIR": str(place / "cache")}, before=before
    )


def undisturbed(subject: Subject, place: Path, done: Path) -> tuple[Subject, list[str], Result]:
    """The calls of the command, and what it leaves."""
    prepare(subject, place, done)
    log = place.with_name("calls")
    log.unlink(missing_ok=True)
    ended = start(subject, place, shim.COUNTED, 0, log)
    if ended.code:
        raise RuntimeError(f"{subject.name}: {ended.err}")
    return subject, log.read_text().splitlines(), subject.result(place)


def cases(subject: Subject, calls: list[str]) -> Iterator[Case]:
    """Every fault at every call; only a write can be cut in half. Processes that start slowly meet one fault a call."""
    for n, call in enumerate(calls, start=1):
        names = [name for name in FAULTS if name != "death within" or call.startswith("write")]
        for name in names if not subject.apart else [names[n % len(names)]]:
            yield Case(subject, name, n, call)


def meet(case: Case, place: Path, done: Path, wanted: Result) -> list[str]:
    """Let the command meet its fault, look, and run it again. Returns the problems."""
    subject, fault = case.subject, FAULTS[case.fault]
    prepare(subject, place, done)
    ended = start(subject, place, fault, case.n)
    problems = ended.problems(KILLED) if fault.kills else ended.problems(0, 74)
    if ended.code == 74 and str(place) not in ended.err:
        problems.append(f"the message has no path: {ended.said()}")
    if not fault.kills and not case.call.startswith("unlink") and (left := harness.temporary_files(place)):
        problems.append(f"temporary files are left: {left}")
    for run in {file.parent for file in place.glob("*/*/config.yaml")}:
        problems += harness.files_problems(run)
    again = start(subject, place)
    if again.code:
        return [*problems, f"the same command again: exit {again.code}: {again.said()}"]
    found = subject.result(place)
    odd = [name for name in sorted(wanted.keys() | found.keys()) if found.get(name) != wanted.get(name)]
    return problems + ([f"other in the end: {', '.join(odd[:3])}"] if odd else [])
