"""Every command under an audit hook on connections, in its child processes, too: none is made."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns import harness
from campaigns.harness import Progress, Row

EVENTS = (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto",
    "socket.sendmsg", "socket.bind", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect",
)  # fmt: skip
SITE = """import os, sys
def hook(event, given):
    if event in {events}:
        with open({report!r}, "a") as out:
            out.write(f"{{event}} {{given}}\\n")
sys.addaudithook(hook)
"""


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """Every command once. The count is not used."""
    row, report = Row("13", "offline"), work / "report"
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    hooks = harness.new_folder(work / "hooks")
    (hooks / "sitecustomize.py").write_text(SITE.format(events=EVENTS, report=str(report)))
    path = os.pathsep.join(filter(None, (str(hooks), os.environ.get("PYTHONPATH"))))
    changes = {"growth": {"fade": 16, "stable": 16}}
    preset = harness.write_preset(work / "p.yaml", harness.make_pictures(work / "data", 24), changes)
    for number, words in enumerate(commands(work, preset)):
        report.write_text("")
        ended = harness.run(words, work / "o", env={"PYTHONPATH": path}, before=watcher(report))
        row.case(" ".join(map(str, words)), [*ended.problems(0), *report.read_text().splitlines()[:3]])
        progress(number + 1)
    row.worst = f"{row.failed} of {row.tried} commands"
    return row


def watcher(report: Path) -> Callable[[], None]:
    """A function that makes its process report connections."""

    def watch() -> None:
        def hook(event: str, given: tuple[Any, ...]) -> None:
            if event in EVENTS:
                with report.open("a") as out:
                    out.write(f"{event} {given}\n")

        sys.addaudithook(hook)

    return watch


def commands(work: Path, preset: Path) -> list[list[object]]:
    """Every command, in an order in which each finds what it needs."""
    run, threads = work / "runs/x", ["--threads", 1]
    few = ["--samples", 64, "--quick", *threads]
    vary = ["--vary", "train.lr=0.001", "--show", "critic_loss"]
    return [
        ["--help"],
        ["--version"],
        ["doctor"],
        ["presets", "list"],
        ["presets", "show", "quickstart"],
        ["presets", "validate", preset],
        ["train", "--preset", preset, "--dry-run", *threads],
        ["train", "--preset", preset, "--outdir", work / "runs", "--run", "x", *threads],
        ["resume", run, "--kimg", 0.1, *threads],
        ["runs", "--outdir", work / "runs"],
        ["sample", run, "-o", work / "s.png", *threads],
        ["sample", run, "-o", work / "s.zip", *threads],
        ["interpolate", run, work / "i.gif", "--frames", 4, *threads],
        ["inspect-stats", run, *few],
        ["inspect-stats", work / "data", "--against", work / "data", *few],
        ["report", run, *few],
        ["grow", run, "--outdir", work / "g", "--kimg", 0.1, *threads],
        ["train", "--from", run, work / "data", "--outdir", work / "f", "--kimg", 0.02, *threads],
        ["ablate", "--preset", preset, *vary, "--outdir", work / "a", *threads],
    ]
