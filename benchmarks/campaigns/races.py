"""Several processes at once on one cache and one run folder: no run is overwritten, and each one ends as if alone."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from campaigns import harness
from campaigns.harness import Command, Ended, Progress, Row, Wanted

BUSY = 75
KIMG, LONGER = 0.2, 1.2
PROCESSES = 8
Words = Callable[[int], list[object]]


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` rounds of all races, with 8 processes each; 3 in a single round."""
    row, draw = Row("10", "races"), random.Random(seed)
    changes = {"growth": {"fade": 24, "stable": 40}}
    preset = harness.write_preset(work / "p.yaml", harness.make_pictures(work / "data", 200), changes)
    several = PROCESSES if count > 1 else 3
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache-alone")
    harness.must(train(preset, work / "alone"), work / "o")
    wanted = Wanted.of(work / "alone/x")
    for number in range(count):
        folder = harness.new_folder(work / f"round-{number}")
        os.environ["GANCLI_CACHE_DIR"] = str(folder / "cache")
        for race in (one_cache, one_run, no_name, new_runs, rescans, two_grows):
            row.case(f"{race.__name__}, round {number}", race(folder / race.__name__, preset, several, wanted))
        row.case(f"readers, round {number}", readers(folder / "readers", preset, draw))
        progress(number + 1)
    row.worst = f"{several} processes, {row.failed} of {row.tried} races wrong"
    return row


def train(preset: Path, outdir: Path, *more: object) -> list[object]:
    """The words of a short run in OUTDIR/x."""
    return harness.train(preset, outdir, "--kimg", KIMG, *more)


def unnamed(preset: Path, outdir: Path, *more: object) -> list[object]:
    """The same without --run."""
    return [word for word in train(preset, outdir, *more) if word not in ("--run", "x")]


def together(folder: Path, several: int, words: Words) -> list[Ended]:
    """Start the commands at once, and wait for all."""
    folder.mkdir(exist_ok=True)
    commands = [Command(words(i), folder / f"out-{i}") for i in range(several)]
    return [command.wait() for command in commands]


def code_problems(ended: list[Ended], *, winners: int | None) -> list[str]:
    """Exit codes are 0 and 75 only. winners: how many must be 0; None for at least one."""
    problems = [problem for end in ended for problem in end.problems(0, BUSY)]
    codes = Counter(end.code for end in ended)
    if codes[0] < (winners or 1):
        problems.append(f"exit codes {dict(codes)}")
    return problems


def all_equal(runs: list[Path], wanted: Wanted) -> list[str]:
    """Every run is as the one that ran alone."""
    return [f"{run.name}: {problem}" for run in runs for problem in wanted.differences(run)]


def one_cache(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """The first scan, by all at once; each has its own run."""
    ended = together(folder, several, lambda i: train(preset, folder / f"own-{i}"))
    return code_problems(ended, winners=several) + all_equal(sorted(folder.glob("own-*/x")), wanted)


def one_run(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """The same --run by all: one trains, the others are told. A late one may find it finished."""
    ended = together(folder, several, lambda i: train(preset, folder / "runs"))
    return code_problems(ended, winners=None) + all_equal([folder / "runs/x"], wanted)


def no_name(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """The same command without a name: every run that there is ends as the one alone, after the command again."""
    ended = together(folder, several, lambda i: unnamed(preset, folder / "runs"))
    runs = sorted((folder / "runs").glob("0*"))
    for run in runs:
        harness.run(["resume", run, "--threads", 1, "--quiet", "--stop-on", "overfitting"], folder / "again")
    return code_problems(ended, winners=None) + all_equal(runs, wanted)


def new_runs(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """With --new, each gets its own run."""
    ended = together(folder, several, lambda i: unnamed(preset, folder / "runs", "--new"))
    runs = sorted((folder / "runs").glob("0*"))
    problems = code_problems(ended, winners=several) + all_equal(runs, wanted)
    return problems + ([] if len(runs) == several else [f"{len(runs)} runs of {several} commands"])


def rescans(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """All replace the cache while others train from it."""
    ended = together(folder, several, lambda i: train(preset, folder / f"own-{i}", "--rescan"))
    return code_problems(ended, winners=several) + all_equal(sorted(folder.glob("own-*/x")), wanted)


def two_grows(folder: Path, preset: Path, several: int, wanted: Wanted) -> list[str]:
    """One of two equal grows trains; the source stays as it is."""
    source = folder / "source/x"
    together(folder, 1, lambda i: train(preset, folder / "source"))
    usual = ("--threads", 1, "--quiet", "--run", "g", "--kimg", KIMG)
    ended = together(folder, 2, lambda i: ["grow", source, "--outdir", folder / "runs", *usual])
    return code_problems(ended, winners=None) + harness.files_problems(folder / "runs/g") + all_equal([source], wanted)


def readers(folder: Path, preset: Path, draw: random.Random) -> list[str]:
    """Other commands read a run while it trains; then its process is killed, and another one takes over."""
    folder.mkdir()
    run, usual = folder / "runs/x", ["--threads", 1, "--quiet"]
    longer, alone = (harness.train(preset, folder / name, "--kimg", LONGER) for name in ("runs", "alone"))
    harness.must(alone, folder / "o")
    trainer, problems = Command(longer, folder / "trainer"), []
    while trainer.poll() is None and not (run / "last.pt").exists():
        time.sleep(0.01)
    second = harness.run(longer, folder / "o")
    problems += second.problems(BUSY, *([0] if trainer.poll() else []))
    for words in (
        ["report", run, "--samples", 64, "--quick", *usual],
        ["sample", run, "-o", folder / "s", *usual],
        ["inspect-stats", run, "--samples", 64, "--quick", *usual],
        ["runs", "--outdir", folder / "runs"],
    ):
        problems += harness.run(words, folder / "o").problems(0)
    time.sleep(draw.uniform(0, 0.3))
    trainer.send(signal.SIGKILL)
    trainer.wait()
    problems += harness.run(longer, folder / "o").problems(0)
    return problems + Wanted.of(folder / "alone/x").differences(run)
