"""Hours of training through kills and signals; in the end, the same as without a disturbance, bit for bit.

Half of the time, the same command is given again and again with a growing --kimg, and disturbed at random; first
`train`, which grows through two fades, then `grow`. Then both run once to the same length, undisturbed, while the
memory of the process is watched. Where there is no /proc, the memory is not.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from campaigns import harness
from campaigns.harness import Command, Ended, Progress, Row, Wanted

FULL_SIZE = 1_200  # images; `grow` refuses a source that has not reached it
TICK = 400  # images; --kimg is always a multiple of it, so that the end of a command adds no tick
CHANGES = {
    "growth": {"fade": 160, "stable": 240},
    "train.tick_every": TICK,
    "train.sample_every": 5 * TICK,
    "train.checkpoint_every": 240,
}
KINDS = ("KILL", "KILL", "KILL", "TERM", "INT", "HUP", "TERM TERM", "USR1 KILL", "USR1 KILL")
SHORTEST_DELAY, LONGEST_DELAY = 0.05, 12.0  # seconds; a process that has just begun does not know SIGUSR1 yet
SHARE_OF_TRAIN = 0.65  # of the disturbed time; the rest is for grow
MOST_CREEP = 60.0  # MiB an hour: the log in memory grows by a few
LONG_ENOUGH = 300.0  # seconds of a process after which its memory is judged
PAGE = os.sysconf("SC_PAGE_SIZE")

Words = Callable[[int], list[object]]  # from the number of images of the whole run


@dataclass
class Memory:
    """Resident memory of processes over time."""

    samples: list[tuple[float, float]] = field(default_factory=list)  # (seconds, MiB)

    def sample(self, pid: int) -> None:
        """Add a sample, about one a second."""
        now = time.monotonic()
        statm = Path(f"/proc/{pid}/statm")
        if statm.exists() and (not self.samples or now - self.samples[-1][0] >= 1):
            try:
                self.samples.append((now, int(statm.read_text().split()[1]) * PAGE / 2**20))
            except (OSError, IndexError):  # it has just ended
                return

    def creep(self) -> float | None:
        """Slope over the second half in MiB an hour; None if that is too short to tell."""
        later = np.array(self.samples[len(self.samples) // 2 :])
        if len(later) < 3 or later[-1, 0] - later[0, 0] < LONG_ENOUGH:
            return None
        return float(np.polyfit(later[:, 0], later[:, 1], 1)[0]) * 3600


def campaign(work: Path, count: float, seed: int, progress: Progress) -> Row:
    """About `count` minutes in all. A case is a disturbance, the end of a run, or the memory of a process."""
    row, draw, half = Row("15", "soak"), random.Random(seed), count * 60 / 2
    preset = harness.write_preset(work / "p.yaml", harness.make_pictures(work / "data", 300), CHANGES)
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    longest = {}
    for verb, share in (("train", SHARE_OF_TRAIN), ("grow", 1 - SHARE_OF_TRAIN)):
        words = words_of(verb, preset, work / "disturbed")
        longest[verb] = disturbed(row, words, work / "disturbed" / verb / "x", half * share, draw, progress)
    creeps = []
    for verb in ("train", "grow"):
        memory = Memory()
        straight(words_of(verb, preset, work / "straight")(longest[verb]), work / "o", memory)
        wanted = Wanted.of(work / "straight" / verb / "x")
        row.case(f"{verb}, {longest[verb]} images", wanted.differences(work / "disturbed" / verb / "x"))
        if (creep := memory.creep()) is not None:
            row.case(f"memory of {verb}", [f"grows by {creep:.0f} MiB an hour"] if creep > MOST_CREEP else [])
            creeps.append(f"{creep:+.1f} MiB an hour in {verb}")
    images = sum(longest.values())
    row.worst = (
        f"{row.tallies.get('disturbances', 0)} disturbances, {images:,} images; memory {', '.join(creeps) or '-'}"
    )
    return row


def words_of(verb: str, preset: Path, folder: Path) -> Words:
    """The command as a function of its length."""

    def train(images: int) -> list[object]:
        return harness.train(preset, folder / "train", "--kimg", images / 1000)

    def grow(images: int) -> list[object]:
        usual = ["--quiet", "--threads", 1, "--run", "x", "--stop-on", "overfitting", "--tick", TICK / 1000]
        return ["grow", folder / "train/x", *usual, "--outdir", folder / "grow", "--kimg", images / 1000]

    return train if verb == "train" else grow


def disturbed(row: Row, words: Words, run: Path, seconds: float, draw: random.Random, progress: Progress) -> int:
    """Train through disturbances for so many seconds, then to the end. Returns the images of the run."""
    end, images, name = time.monotonic() + seconds, 2 * TICK, run.parents[2] / "o"
    most = min(30, 2 + int(seconds / 20))  # ticks that a command adds
    while time.monotonic() < end:
        kind, delay = draw.choice(KINDS), draw.uniform(SHORTEST_DELAY, min(LONGEST_DELAY, seconds / 4))
        command = Command(words(images), name)
        ended = disturb(command, kind.split(), delay)
        if ended.code == 0:
            images += TICK * draw.randint(1, most)
        stopping = [128 + signal.Signals[f"SIG{word}"] for word in kind.split() if word != "USR1"]
        problems = ended.problems(0, *stopping) + harness.files_problems(run) + holes(run)
        row.case(f"disturbance by {kind} after {delay:.2f} s", problems)
        row.count(kind)
        progress(row.count("disturbances"))
    images = max(images, FULL_SIZE)
    row.case("the last command", harness.run(words(images), name, limit=3600).problems(0))
    return images


def disturb(command: Command, kind: list[str], delay: float) -> Ended:
    """Send the signals, and wait for the end. After SIGUSR1 it goes on as long again."""
    for number, word in enumerate(kind):
        end = time.monotonic() + (delay if number == 0 or kind[0] == "USR1" else 0.02)
        while command.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        if command.poll() is None:
            command.send(signal.Signals[f"SIG{word}"])
    return command.wait()


def holes(run: Path) -> list[str]:
    """Ticks that are missing or twice."""
    try:
        images = [row["images"] for row in harness.log_of(run)]
    except ValueError as error:
        return [f"the log is damaged: {error}"]
    return [] if images == [TICK * (i + 1) for i in range(len(images))] else [f"the log has ticks at {images[-5:]}"]


def straight(words: list[object], name: Path, memory: Memory) -> None:
    """Run a command to its end, watching its memory. Raises RuntimeError."""
    command = Command(words, name)
    while command.poll() is None:
        memory.sample(command.pid)
        time.sleep(0.1)
    if command.wait().code:
        raise RuntimeError(command.wait().err)
