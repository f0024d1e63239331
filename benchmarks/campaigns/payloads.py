"""Files that run code when a careless program opens them, given to every command that takes a file.

An audit hook watches for processes, foreign code, connections and files outside of the work folder. No payload may
create its canary, and every command must refuse its file.
"""

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from campaigns import harness
from campaigns.harness import Progress, Row
from campaigns.payload_files import payloads

REFUSED = (2, 65, 66, 78)
STARTED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "pty.spawn")
CONNECTED = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "webbrowser.open")
OUTSIDE = ("/dev/null", "/dev/shm/")  # where any process may write


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` random pairs of a payload and a command, or with 0 all of them."""
    row, canary = Row("3", "payloads"), harness.new_folder(work / "canary")
    os.environ["GANCLI_CACHE_DIR"] = str(work / "cache")
    preset = harness.write_preset(work / "p.yaml", "builtin:shapes", {"growth": {"stable": 8}})
    harness.must(harness.train(preset, work / "runs"), work / "o")
    files = payloads(canary)
    pairs = [(name, place) for name in files for place in commands(Path(), work)]
    if count:
        pairs = random.Random(seed).sample(pairs, count)
    for number, (name, place) in enumerate(pairs):
        folder = harness.new_folder(work / "case")
        words = commands(folder, work)[place](name, files[name])
        audit = work / "audit"
        ended = harness.run(words, work / "o", before=watcher(work, canary, audit), limit=60)
        problems = [*ended.problems(*REFUSED), *audit.read_text().splitlines()[:2], *created(work, canary)]
        if row.case(f"{name} to {place}", problems):
            (work / "kept").mkdir(exist_ok=True)
            (work / "kept" / name).write_bytes(files[name])
        progress(number + 1)
    row.worst = f"{len(files)} files, {row.failed} of {row.tried} commands wrong"
    return row


def created(work: Path, canary: Path) -> list[str]:
    """Files that a payload has made. They are removed."""
    found = [*canary.iterdir(), *work.rglob("up.png"), *work.parent.glob("up.png"), *work.rglob("middle.png")]
    for file in found:
        file.unlink()
    return [f"code has run: {file} was created" for file in found]


def commands(folder: Path, work: Path) -> dict[str, Callable[[str, bytes], list[object]]]:
    """Every place of a command line where a file may stand: (name, content) -> the words."""
    usual = ("--threads", 1, "--quiet")
    trained = ("--outdir", folder / "runs", "--kimg", 0.008, *usual)

    def as_data(name: str, content: bytes) -> Path:
        return written(folder / name, content)

    def as_checkpoint(name: str, content: bytes) -> Path:
        return written(folder / f"{Path(name).stem}.pt", content)

    def as_preset(name: str, content: bytes) -> Path:
        return written(folder / f"{Path(name).stem}.yaml", content)

    def as_run(name: str, content: bytes) -> Path:
        """A run folder whose config or whose checkpoints are the payload."""
        shutil.copytree(work / "runs/x", folder / "run")
        yaml = name.endswith(".yaml")
        inside = ["config.yaml"] if yaml else ["last.pt", *(f"checkpoints/{n}" for n in numbered(work / "runs/x"))]
        for place in inside:
            written(folder / "run" / place, content)
        return folder / "run"

    return {
        "train DATA": lambda *f: ["train", as_data(*f), *trained],
        "train --from": lambda *f: ["train", "builtin:shapes", "--from", as_checkpoint(*f), *trained],
        "train --preset": lambda *f: ["train", "builtin:shapes", "--preset", as_preset(*f), *trained],
        "grow": lambda *f: ["grow", as_checkpoint(*f), "builtin:shapes", *trained],
        "sample": lambda *f: ["sample", as_checkpoint(*f), "-o", folder / "s", *usual],
        "interpolate": lambda *f: ["interpolate", as_checkpoint(*f), folder / "i.gif", *usual],
        "inspect-stats CKPT": lambda *f: ["inspect-stats", as_checkpoint(*f), *usual],
        "inspect-stats SAMPLES": lambda *f: ["inspect-stats", as_data(*f), "--against", "builtin:shapes", *usual],
        "--features": lambda *f: ["inspect-stats", work / "runs/x", "--features", as_checkpoint(*f), *usual],
        "report": lambda *f: ["report", as_run(*f), *usual],
        "resume": lambda *f: ["resume", as_run(*f), "--kimg", 1, *usual],
        "presets show": lambda *f: ["presets", "show", as_preset(*f)],
        "presets validate": lambda *f: ["presets", "validate", as_preset(*f)],
    }


def numbered(run: Path) -> Iterator[str]:
    """Names of the numbered checkpoints of a run."""
    return (file.name for file in (run / "checkpoints").glob("*.pt"))


def written(path: Path, content: bytes) -> Path:
    """The file, with this content."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def watcher(work: Path, canary: Path, report: Path) -> Callable[[], None]:
    """A function that makes its process report suspicious events to a file, a line each."""
    report.write_text("")

    def watch() -> None:
        out = os.open(report, os.O_WRONLY | os.O_APPEND)

        def hook(event: str, given: tuple[Any, ...]) -> None:
            if suspicious(event, given, str(work), str(canary)):
                os.write(out, f"{event} {str(given)[:150]}\n".encode(errors="replace"))

        sys.addaudithook(hook)

    return watch


def suspicious(event: str, given: tuple[Any, ...], work: str, canary: str) -> bool:
    """Whether an audit event is something that opening a file must not do."""
    if event in STARTED or event in CONNECTED:
        return True
    if event == "compile":
        return canary in str(given[0])
    if event == "import":
        return given[0] == "antigravity"
    if event == "pickle.find_class":
        return not str(given[0]).startswith(("torch", "collections"))
    writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
    path = os.fsdecode(given[0]) if writes and isinstance(given[0], str | bytes) else work
    return not os.path.abspath(path).startswith((work, *OUTSIDE))
