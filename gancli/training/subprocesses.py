"""Training runs in parallel subprocesses, for `ablate`."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gancli import files, process, signals
from gancli.errors import ChildFailed
from gancli.results import Progress

DIVERGED = 70  # exit code of a run that diverged: a result, not a failure
POLL = 0.3  # seconds
KEPT_VARIABLES = ("GANCLI_CACHE_DIR",)  # the other GANCLI_ variables would override the settings of a run


@dataclass(frozen=True)
class Task:
    """One command to run."""

    name: str
    words: Sequence[str]  # the command and its arguments
    log: Path  # file for its output
    images: int  # length of the run, for the progress bar


def run_all(tasks: Sequence[Task], at_once: int, say: Callable[[str], None], progress: Progress) -> None:
    """Run all tasks, `at_once` at a time. Raises ChildFailed; Interrupted, after every run saved a checkpoint."""
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
    """A process whose output goes to a log file."""

    def __init__(self, task: Task) -> None:
        files.make_folder(task.log.parent)
        self.task = task
        variables = {k: v for k, v in os.environ.items() if not k.startswith("GANCLI_") or k in KEPT_VARIABLES}
        variables[process.PARENT] = str(os.getpid())  # the run ends if this process is killed
        with task.log.open("wb") as out:
            # in a separate process group, so that Ctrl-C reaches only this process, which passes it on once
            self.process = subprocess.Popen(task.words, stdout=out, stderr=out, env=variables, process_group=0)

    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def outcome(self) -> str:
        """The result, "done" or "diverged". Raises ChildFailed."""
        code = self.process.returncode
        if code not in (0, DIVERGED):
            said = [line for line in self.tail().splitlines() if line.startswith("error:")]
            what = f"{self.task.name}: {(said or [f'exit code {code}'])[-1]}"
            raise ChildFailed(what, code, where=str(self.task.log), hint="see the log; to resume, run the same command")
        return "done" if code == 0 else "diverged"

    def images(self) -> int:
        """Images trained so far, from the last line of the log."""
        words = [word for word in self.tail().split()[:-1] if word.startswith("images=")]
        return int(words[-1].removeprefix("images=")) if words else 0

    def tail(self) -> str:
        """The last 2,000 bytes of the log."""
        with self.task.log.open("rb") as file:
            file.seek(max(0, self.task.log.stat().st_size - 2_000))
            return file.read().decode(errors="replace")

    def ask_to_stop(self) -> None:
        """Send SIGINT, on which the run saves a checkpoint and exits."""
        self.process.send_signal(signal.SIGINT)
