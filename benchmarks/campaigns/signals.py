"""Signals at random moments of every command: exit by the signal within 10 s, and the work goes on afterwards.

One case has a training step of several seconds, and gets its signal in the middle of one.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from campaigns import harness
from campaigns.harness import Command, Ended, Progress, Row

SENT = ("INT", "TERM", "HUP", "INT INT", "TERM TERM", "HUP TERM", "USR1 TERM", "USR1 USR1 INT")
PAUSE = 0.03  # seconds between two signals of a case
MOST_SECONDS = 10.0  # from the signal to the exit
SHORTEST = 0.02  # seconds; before, a process does not know SIGUSR1 yet
LONGEST = 4.0  # seconds of a command after which no signal is sent
RESUMED = ("train", "grow", "ablate")
SLOW = {
    "network.resolution": 32,
    "network.max_channels": 512,
    "network.channels": None,
    "growth": {"stable": 8, "start_at": 32},
    "train.batch_size": 4,
    "loss.penalty_interval": 1,
}  # about 10 s a step on one thread


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` signals, and one in a slow step."""
    row, draw = Row("5", "signals"), random.Random(seed)
    data = harness.make_pictures(work / "data", 300)
    preset = harness.write_preset(work / "p.yaml", data, {"growth": {"fade": 160, "stable": 240}})
    os.environ["GANCLI_CACHE_DIR"] = str(work / "base-cache")
    harness.must(harness.train(preset, work / "base"), work / "o")
    turns, worst, slowest = commands(work, preset), 0.0, ""
    for number in range(count):
        os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
        if number % 4 == 0:
            shutil.rmtree(work / "cache", ignore_errors=True)  # so that some signals meet the scan
        words, sent = next(turns), draw.choice(SENT)
        took, problems = meet(words, sent, SHORTEST + draw.uniform(0, LONGEST) * draw.random(), work / "o")
        row.case(f"{sent} to {' '.join(map(str, words))}", problems)
        row.count(str(words[0]))
        worst, slowest = max((worst, slowest), (took, str(words[0])))
        progress(number + 1)
    took, problems = in_a_slow_step(work, data, small=count < 20)
    row.case("TERM in a slow step", problems)
    row.worst = f"{worst:.1f} s from signal to exit ({slowest}); {took:.1f} s in a slow step"
    return row


def commands(work: Path, preset: Path) -> Iterator[list[object]]:
    """Commands without end, each with its own output. Training comes most often."""
    run, number = work / "base/x", 0
    usual: list[object] = ["--quiet", "--threads", 1]
    while True:
        number += 1
        out = work / f"out-{number}"
        yield from [
            harness.train(preset, out),
            ["inspect-stats", run, *usual],
            ["sample", run, "--seeds", "0-2000", "-o", out / "s", *usual],
            ["train", "--preset", preset, "--threads", 1, "--outdir", out / "t"],  # with the estimate
            ["report", run, "-o", work / "page.html", *usual],
            ["interpolate", run, work / "i.gif", "--frames", 600, *usual],
            ["grow", run, "--outdir", out / "g", "--run", "x", "--kimg", 1.5, *usual],
            ["ablate", "--preset", preset, "--vary", "train.lr=0.001,0.002", "--outdir", out / "a", *usual],
            ["train", "--preset", preset, "--dry-run", "--threads", 1],
        ]


def meet(words: list[object], sent: str, delay: float, name: Path) -> tuple[float, list[str]]:
    """Start a command, send the signals after a while. Returns the seconds to its exit, and the problems."""
    command = Command(words, name)
    end = time.monotonic() + delay
    while command.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    began, ended = time.monotonic(), send(command, sent)
    took = time.monotonic() - began
    stopping = [number_of(word) for word in sent.split() if word != "USR1"]
    problems = ended.problems(0, *(128 + number for number in stopping))
    if took > MOST_SECONDS and ended.code:
        problems.append(f"{took:.1f} s from signal to exit")
    if left := members(command.pid):
        problems.append(f"child processes are left: {left}")
    if words[0] in RESUMED and ended.code and "--dry-run" not in words:
        problems += [f"afterwards: {problem}" for problem in harness.run(words, name).problems(0)]
    return (took if ended.code else 0.0), problems


def send(command: Command, sent: str) -> Ended:
    """Send the signals, one after the other, and wait for the end."""
    for word in sent.split():
        if command.poll() is None:
            command.send(number_of(word))
            time.sleep(PAUSE)
    return command.wait()


def number_of(word: str) -> int:
    """15 for TERM."""
    return signal.Signals[f"SIG{word}"]


def members(session: int) -> list[int]:
    """Processes of a session that still run. Empty where there is no /proc."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = file.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(owner) == session and state != "Z":
            found.append(int(file.parent.name))
    return found


def in_a_slow_step(work: Path, data: Path, *, small: bool) -> tuple[float, list[str]]:
    """SIGTERM in the middle of the second step."""
    changes = {**SLOW, **({"network.max_channels": 64} if small else {})}
    preset = harness.write_preset(work / "slow.yaml", data, changes)
    began = time.monotonic()
    command = Command(harness.train(preset, work / "slow"), work / "o")
    while command.poll() is None and not (work / "slow/x/last.pt").exists():  # written after the first step
        time.sleep(0.01)
    first_step = time.monotonic() - began
    time.sleep(first_step / 3)
    began = time.monotonic()
    ended = send(command, "TERM")
    took = time.monotonic() - began
    problems = ended.problems(128 + signal.SIGTERM)
    return took, problems + ([f"{took:.1f} s from signal to exit"] if took > MOST_SECONDS else [])
