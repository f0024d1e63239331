"""Trainings in processes of their own, a few at a time: what `ablate` keeps busy."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gancli import signals
from gancli.errors import ChildFailed
from gancli.results import Progress

DIVERGED = 70  # exit code of a run that is no longer finite: a result, not a failure
POLL = 0.3  # seconds
KEPT_VARIABLES = ("GANCLI_CACHE_DIR",)  # the others would change a run behind its command line


@dataclass(frozen=True)
class Task:
    """One command to run."""

    name: str
    words: Sequence[str]
    log: Path
    images: int  # that it will show, for the bar


def run_all(tasks: Sequence[Task], at_once: int, say: Callable[[str], None], progress: Progress) -> None:
    """Keep `at_once` processes busy until every task is done. Raises ChildFailed; Interrupted with all saved."""
    waiting, alive, done = list(tasks), list[Child](), 0
    total = sum(task.images for task in tasks)
    try:
        while waiting or alive:
            while waiting and len(alive) < at_once:
                alive.append(Child(waiting.pop(0)))
                say(f"{alive[-1].task.name}: training")
            time.sleep(POLL)
            signals.poll()
            for child in [child for child in alive if child.has_ended()]:
                alive.remove(child)
                done += child.task.images
                say(f"{child.task.name}: {child.outcome()}")
            progress("training", done + sum(child.images() for child in alive), total)
    finally:
        for child in alive:
            child.ask_to_stop()
        for child in alive:
            child.process.wait()


class Child:
    """One process; its words are in a log."""

    def __init__(self, task: Task) -> None:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        self.task = task
        variables = {k: v for k, v in os.environ.items() if not k.startswith("GANCLI_") or k in KEPT_VARIABLES}
        with task.log.open("wb") as out:
            # in a process group of its own: Ctrl-C reaches us alone, and we pass it on once
            self.process = subprocess.Popen(task.words, stdout=out, stderr=out, env=variables, process_group=0)

    def has_ended(self) -> bool:
        """Is it over, well or badly?"""
        return self.process.poll() is not None

    def outcome(self) -> str:
        """One word on how it ended. Raises ChildFailed."""
        code = self.process.returncode
        if code not in (0, DIVERGED):
            said = [line for line in self.tail().splitlines() if line.startswith("error:")]
            what = f"{self.task.name}: {(said or [f'exit code {code}'])[-1]}"
            raise ChildFailed(what, code, where=str(self.task.log), hint="see the log; the same command goes on")
        return "done" if code == 0 else "diverged"

    def images(self) -> int:
        """How far it is, by the last line of its log."""
        words = [word for word in self.tail().split()[:-1] if word.startswith("images=")]
        return int(words[-1].removeprefix("images=")) if words else 0

    def tail(self) -> str:
        """The end of the log."""
        with self.task.log.open("rb") as file:
            file.seek(max(0, self.task.log.stat().st_size - 2_000))
            return file.read().decode(errors="replace")

    def ask_to_stop(self) -> None:
        """It saves and leaves."""
        self.process.send_signal(signal.SIGINT)
