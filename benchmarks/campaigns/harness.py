"""What the campaigns share: commands in forks of one process that has torch loaded, tiny presets, made data, digests.

A fork starts in hundredths of a second instead of seconds, so thousands of cases are affordable. Only forks train; the
process itself stays without threads.
"""

import importlib
import json
import os
import pkgutil
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

import gancli
from gancli import checkpoint
from gancli import config as configs
from gancli.folders import preset_names

Progress = Callable[[int], None]  # cases done
BUGS = ("Traceback", "a bug in gancli", "Fatal Python", "Segmentation", "terminate called", "Aborted")
HANG = -1  # the code of a command that was killed because it ran too long
LIMIT = 120.0  # seconds; a tiny command takes about one
TIMING = ("seconds", "images_per_s", "memory_mib")  # fields of stats.jsonl that differ from run to run
NOTES_OF_A_SORT = 3

TINY: dict[str, Any] = {
    "data": {"held_out": 0.0},
    "network": {"resolution": 16, "z_dim": 8, "channels": [8, 8, 4]},
    "loss": {"adversarial": "relativistic", "r1": 0.1, "r2": 0.1, "penalty_interval": 3},
    "growth": {"fade": 80, "stable": 120},
    "optimizer": {"reset": "start"},
    "train": {
        "batch_size": 8,
        "lr": 0.002,
        "tick_every": 40,
        "sample_every": 200,
        "checkpoint_every": 24,
        "ema_half_life": 50,
    },
}  # 4 to 16 px through two fades, 65 steps
BATCH_NORM: dict[str, Any] = {
    "network": {
        "family": "mlp",
        "resolution": 8,
        "z_dim": 8,
        "generator": {"hidden": [16, 16], "norm": "batch"},
        "critic": {"hidden": [16, 16], "dropout": [0.3]},
    },
    "growth": {},
    "train.duration": 320,
}  # changes of it: batch norm and dropout, 40 steps
WASSERSTEIN: dict[str, Any] = {
    "loss": {"adversarial": "wasserstein", "gradient_penalty": 10, "drift": 0.001},
    "growth": {"fade": 128, "stable": 128},
    "train.critic_steps": {"base": 2},
}  # changes of it: a gradient penalty and two critic steps before each generator step, 40 steps


@dataclass
class Row:
    """The result of one campaign: a case is one thing that was tried, and failed if it broke the promise."""

    promise: str
    campaign: str
    tried: int = 0
    failed: int = 0
    worst: str = ""  # the worst figure, with its unit
    seconds: float = 0.0
    skipped: str = ""  # why nothing was tried
    tallies: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sorts: dict[str, int] = field(default_factory=dict)  # how often each sort of problem was found

    def count(self, what: str) -> int:
        """Count something in the tallies. Returns how often it happened so far."""
        self.tallies[what] = self.tallies.get(what, 0) + 1
        return self.tallies[what]

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.failed == 0

    def case(self, name: str, problems: Iterable[str]) -> bool:
        """Count one case. Returns whether it failed; the first ones of each sort are noted."""
        problems = list(problems)
        self.tried += 1
        self.failed += bool(problems)
        if problems:
            sort = re.sub(r"[0-9]+|/\S+|'[^']*'", "#", problems[0])[:60]
            self.sorts[sort] = self.sorts.get(sort, 0) + 1
            if self.sorts[sort] <= NOTES_OF_A_SORT:
                self.notes.append(f"{name}: {'; '.join(problems)}")
        return bool(problems)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # exit code, or 128 + signal; HANG
    err: str
    seconds: float
    peak_mib: float  # includes the 300 MiB of torch

    def said(self) -> str:
        """The end of its standard error, on one line."""
        return " ".join(self.err.split())[-250:]

    def problems(self, *codes: int) -> list[str]:
        """What is wrong with the end of a command that should exit with one of these codes."""
        if self.code == HANG:
            return [f"ran longer than {self.seconds:.0f} s"]
        found = [] if self.code in codes else [f"exit {self.code}: {self.said()}"]
        found += [f"standard error has {word!r}: {self.said()}" for word in BUGS if word in self.err]
        return found + (["standard error has control characters"] if "\x1b" in self.err else [])


class Command:
    """A command of gancli, running in a fork. Its output goes to NAME.out and NAME.err."""

    def __init__(
        self,
        words: Iterable[object],
        name: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
        memory: int | None = None,
    ) -> None:
        """before: called in the fork, to patch or to watch. memory: limit of its address space in bytes."""
        self.error_file, self.started = name.with_name(f"{name.name}.err"), time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        ready, says_ready = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run_and_exit([str(word) for word in words], name, env or {}, before, memory, says_ready)
        os.close(says_ready)
        os.read(ready, 1)  # from here on it is in gancli's main(), which sets the handlers first
        os.close(ready)

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.ended is None:
            os.kill(self.pid, number)

    ended: Ended | None = None

    def poll(self) -> Ended | None:
        """How it ended; None while it runs."""
        if self.ended is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.ended = self._end(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
        return self.ended

    def wait(self, limit: float = LIMIT) -> Ended:
        """Wait until it ends. After `limit` seconds it is killed and the code is HANG."""
        end = time.monotonic() + limit
        while (ended := self.poll()) is None:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                _, _, usage = os.wait4(self.pid, 0)
                self.ended = self._end(None, usage.ru_maxrss)
            time.sleep(0.002)
        return ended

    def wait_or_kill(self, delay: float) -> Ended:
        """Kill it with SIGKILL after `delay` seconds, unless it ends before."""
        end = time.monotonic() + delay
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        self.send(signal.SIGKILL)
        return self.wait()

    def _end(self, code: int | None, peak: int) -> Ended:
        took, mib = time.monotonic() - self.started, peak / (2**20 if sys.platform == "darwin" else 2**10)
        err = self.error_file.read_text(errors="replace") if self.error_file.exists() else ""
        return Ended(HANG if code is None else 128 - code if code < 0 else code, err, took, mib)


def _run_and_exit(
    words: list[str],
    name: Path,
    env: Mapping[str, str],
    before: Callable[[], object] | None,
    memory: int | None,
    says_ready: int,
) -> None:
    """The life of a fork."""
    code = 99
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(env)
        os.chdir(name.parent)
        for descriptor, file in ((0, os.devnull), (1, f"{name}.out"), (2, f"{name}.err")):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(file, flags), descriptor)
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        sys.argv = ["gancli", *words]
        if before:
            before()
        os.write(says_ready, b"x")
        os.close(says_ready)
        code = _exit_code_of_main()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code_of_main() -> int:
    from gancli.__main__ import main

    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def run(words: Iterable[object], name: Path, *, limit: float = LIMIT, **how: Any) -> Ended:
    """Run a command to its end. The keywords are those of Command."""
    return Command(words, name, **how).wait(limit)


def must(words: Iterable[object], name: Path, **how: Any) -> Ended:
    """Run a command that is not under test. Raises RuntimeError if it fails."""
    ended = run(words, name, **how)
    if ended.code:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {ended.code}: {ended.err[-2000:]}")
    return ended


def train(preset: Path, outdir: Path, *more: object) -> list[object]:
    """The words of a training run in OUTDIR/x. `--stop-on overfitting` cannot stop it: no sample is held out.

    It makes every field of the log a function of the images; else some are skipped to save time. `--quiet` leaves out
    the estimate of the cost, which takes longer than the training.
    """
    usual = ["--quiet", "--threads", 1, "--outdir", outdir, "--run", "x", "--stop-on", "overfitting"]
    return ["train", "--preset", preset, *usual, *more]


def new_folder(path: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write_preset(path: Path, data: Path | str | None, changes: Mapping[str, Any] | None = None) -> Path:
    """The tiny preset with dotted changes, as a file."""
    source = {} if data is None else {"data.source": str(data)}
    path.write_text(configs.yaml.dump(configs.overrides.apply(TINY, {**source, **(changes or {})})))
    return path


def make_pictures(folder: Path, count: int, size: int = 16, seed: int = 0) -> Path:
    """`count` PNGs of smooth random colors."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    for i in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((size, size)).save(folder / f"{i:04d}.png")
    return folder


def digest(path: Path) -> str:
    """A hash of all tensors of a checkpoint (weights, Adam states, extra) and its counters. Raises as `read`."""
    opened = checkpoint.read(path)
    whole = blake2b(f"{opened.images} {opened.generator_steps}".encode(), digest_size=12)
    for name, tensor in sorted(tensors_of(opened)):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        whole.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def tensors_of(opened: checkpoint.Opened) -> list[tuple[str, torch.Tensor]]:
    """All tensors of a checkpoint, with names."""
    found = [(f"extra {name}", tensor) for name, tensor in opened.extra.items()]
    for network, weights in opened.weights.items():
        found += [(f"{network} {name}", tensor) for name, tensor in weights.items()]
    for network, memories in opened.optimizers.items():
        found += [(f"adam {network} {p} {k}", tensor) for p, memory in memories.items() for k, tensor in memory.items()]
    return found


def log_of(run: Path) -> list[dict[str, Any]]:
    """The lines of stats.jsonl without timing, and without the checkpoint that a warning names.

    Which checkpoint that is depends on where a run was stopped. A torn last line is left out. Raises ValueError.
    """
    file = run / "stats.jsonl"
    if not file.exists():
        return []
    *lines, last = file.read_text().split("\n")
    rows = [json.loads(line) for line in lines]
    if last:
        with suppress(ValueError):  # torn
            rows.append(json.loads(last))
    for row in rows:
        for warning in row["warnings"]:
            del warning["checkpoint"]
    return [{key: value for key, value in row.items() if key not in TIMING} for row in rows]


@dataclass(frozen=True)
class Wanted:
    """What an undisturbed run leaves."""

    digest: str
    log: list[dict[str, Any]]
    seconds: float  # that it took

    @classmethod
    def of(cls, run: Path, seconds: float = 0.0) -> "Wanted":
        """Of a finished run."""
        return cls(digest(run), log_of(run), seconds)

    def differences(self, run: Path, without: tuple[str, ...] = ()) -> list[str]:
        """What is different in another finished run, apart from warnings of these names."""
        try:
            weights = [] if digest(run) == self.digest else ["the final weights differ"]
        except gancli.GancliError as error:
            return [f"the final checkpoint does not load: {error.what}"]
        log = log_of(run)
        for row in log:
            row["warnings"] = [warning for warning in row["warnings"] if warning["name"] not in without]
        return weights + log_difference(self.log, log, whole=True)


def log_difference(wanted: list[dict[str, Any]], found: list[dict[str, Any]], *, whole: bool) -> list[str]:
    """What is different in a log, or with whole=False in the beginning of one."""
    images = [row["images"] for row in found]
    if images != [row["images"] for row in wanted][: None if whole else len(found)]:
        return [f"the log has ticks at {images}"]
    for one, other in zip(wanted, found, strict=False):
        odd = [key for key in one if one[key] != other.get(key)]
        if odd:
            key = odd[0]
            return [f"the log differs at {one['images']} images: {key} {other.get(key)!r}, not {one[key]!r}"]
    return []


def files_problems(run: Path) -> list[str]:
    """Which checkpoints of a run do not load."""
    found = []
    for file in [*sorted((run / "checkpoints").glob("[0-9]*.pt")), run / "last.pt"]:
        if file.exists():
            try:
                checkpoint.read(file)
            except Exception as error:
                found.append(f"{file.name} does not load: {type(error).__name__} {str(error).splitlines()[0]}")
    return found


def temporary_files(folder: Path) -> list[str]:
    """Unfinished files and folders below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*") if "tmp-" in p.name or "building-" in p.name)


def warm(work: Path) -> None:
    """Import here what torch and gancli import late, so that every fork has it, as it is now."""
    for module in pkgutil.walk_packages(gancli.__path__, "gancli."):
        importlib.import_module(module.name)
    torch.set_num_threads(1)
    folder = new_folder(work / "warm")
    changes = {"growth": {"fade": 8, "stable": 8}, "train.checkpoint_every": 0}
    preset = write_preset(folder / "p.yaml", None, changes)
    np.save(folder / "d.npy", np.random.default_rng(0).integers(0, 255, (64, 16, 16, 3), dtype=np.uint8))
    before = os.environ.get("GANCLI_CACHE_DIR")
    os.environ["GANCLI_CACHE_DIR"] = str(folder / "cache")
    done = gancli.train(str(preset), str(folder / "d.npy"), outdir=folder / "r", threads=1)
    gancli.inspect_stats(done.checkpoint, quick=True, samples=64)
    os.environ["GANCLI_CACHE_DIR"] = before or str(work / "cache")
    assert preset_names()
    Image.init()
