"""Seeded damage to every kind of file that gancli reads: one clear error, or the original content.

Cases run in batches in forks, under a memory limit and a time limit. A checkpoint that opens must have exactly the
original content, unless the mutation was an edit (see `mutators`).
"""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns import harness, readers
from campaigns.harness import Progress, Row
from campaigns.mutators import DAMAGE, EDITS, TWO_FOLD, Mutator
from campaigns.readers import Kind
from gancli import GancliError

BATCH, SECONDS, MEMORY = 100, 20, 3 << 30  # cases in a fork; limits of one case, and of a fork over what it has
SHARES = {  # of all cases
    "checkpoint": 5, "preset": 2, "set": 1, "image": 3, "archive": 1, "array": 1, "samples": 1, "run": 1, "cache": 1,
}  # fmt: skip
ALLOWED = (2, 65, 66, 70, 73, 74, 78)  # exit codes of errors; 70 and 73 where a damaged config is followed


@dataclass(frozen=True)
class Case:
    """One damaged file, as a function of the seed and its number."""

    number: int
    kind: Kind
    seed: int

    def make(self) -> tuple[str, bytes, Mutator]:
        """The original's name, the damaged bytes, and how they were damaged."""
        draw = random.Random(f"{self.seed} {self.number}")
        name, data = draw.choice(self.kind.originals)
        known = self.kind.edits and draw.random() < 0.4
        mutator = draw.choice((*EDITS, *TWO_FOLD) if known else DAMAGE)
        return name, self.kind.finish(mutator(bytearray(data), draw), name, draw), mutator


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` damaged files."""
    row = Row("4", "damage")
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    kinds = {kind.name: kind for kind in readers.kinds(work)}
    order = [kinds[name] for name, share in SHARES.items() for _ in range(share)]
    cases = [Case(number, order[number % len(order)], seed) for number in range(count)]
    slowest = 0.0
    for start in range(0, count, BATCH):
        for outcome in outcomes(cases[start : start + BATCH], work):
            case, slowest = cases[outcome["number"]], max(slowest, outcome["seconds"])
            row.count(f"{case.kind.name}: {outcome['result']}")
            name = f"case {case.number}, {case.kind.name} by {outcome['how']}"
            if row.case(name, outcome["problems"]):
                keep(case, work / "kept")
        progress(min(count, start + BATCH))
    row.worst = f"slowest {slowest:.1f} s"
    return row


def keep(case: Case, folder: Path) -> None:
    """Write the file of a failed case."""
    folder.mkdir(exist_ok=True)
    name, data, _ = case.make()
    (folder / f"{case.number}-{name}").write_bytes(data)


def outcomes(cases: list[Case], work: Path) -> Iterator[dict[str, object]]:
    """What came of each case. After a case that ended its fork, another fork goes on."""
    done, file = 0, work / "outcomes"
    while done < len(cases):
        sys.stdout.flush()
        file.write_text("")
        if (pid := os.fork()) == 0:
            read_all(cases[done:], file, harness.new_folder(work / "fork"))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        yield from lines
        done += len(lines)
        if status and done < len(cases):
            why = f"took more than {SECONDS} s" if status == -signal.SIGALRM else f"the process ended with {status}"
            number = cases[done].number
            yield {"number": number, "result": "death", "how": "?", "problems": [why], "seconds": float(SECONDS)}
            done += 1


def read_all(cases: list[Case], file: Path, folder: Path) -> None:
    """The life of a fork: a line of JSON for each case."""
    try:
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except OSError:
        pass  # no /proc: without a limit
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    code = 1
    try:
        with file.open("w") as out, open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            for case in cases:
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                out.write(json.dumps(outcome(case, folder)) + "\n")
                out.flush()
        code = 0
    finally:
        os._exit(code)


def outcome(case: Case, folder: Path) -> dict[str, object]:
    """Damage one file and read it."""
    name, data, mutator = case.make()
    began, problems = time.monotonic(), []
    try:
        content = case.kind.read(data, name, folder)
        result = "same" if content == case.kind.wanted.get(name) else "other"
        if result == "other" and case.kind.exact and mutator not in EDITS:
            problems = ["it opens with other content"]
    except GancliError as error:
        result = f"refused with {error.exit_code}"
        if error.exit_code not in ALLOWED or "\x1b" in str(error):
            problems = [f"exit {error.exit_code}: {error}"]
    except OSError as error:
        result = "refused with 74"
        problems = [] if error.filename else [f"an OSError without a path: {error}"]
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result, problems = (
            "bug",
            [f"{type(error).__name__}: {str(error)[:150]} at {Path(where.filename).name}:{where.lineno}"],
        )
    seconds = time.monotonic() - began
    return {
        "number": case.number, "result": result, "how": mutator.__name__, "problems": problems, "seconds": seconds
    }  # fmt: skip
