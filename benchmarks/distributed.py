"""Proofs that a training does not depend on the number of its workers, and what workers cost.

    python benchmarks/distributed.py bits                 1, 2 and 4 workers, and 4 -> 1 -> 2: the same weights and log?
    python benchmarks/distributed.py kills --count 20     kill -9 of random workers under --max-restarts
    python benchmarks/distributed.py machines             two network namespaces as two machines; the link is cut (root)
    python benchmarks/distributed.py overhead             two workers of one thread beside one of two threads
    python benchmarks/distributed.py model                the cost of a step: predicted, measured; calculated for GPUs

Workers are started by torchrun or by --processes, as a user does it, with one thread each.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from gancli import checkpoint
from gancli.runs import Run

SMALL = {
    "data": {"source": "builtin:shapes", "held_out": 0.0},
    "network": {
        "family": "progressive", "resolution": 16, "z_dim": 16, "channels": [16, 16, 8],
        "minibatch_std": {"group_size": 2},
    },
    "loss": {"adversarial": "relativistic", "r1": 0.1, "r2": 0.1, "penalty_interval": 3},
    "growth": {"fade": 320, "stable": 320},
    "train": {"batch_size": 8, "lr": 0.002, "shards": 4, "duration": 1600, "tick_every": 400, "sample_every": 0},
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "relativistic": {},
    "progressive": {"loss": {"adversarial": "wasserstein", "gradient_penalty": 10.0, "drift": 0.001}},
    "conv, batch norm": {
        "network": {
            "family": "conv", "resolution": 16, "z_dim": 16, "output": "bn-tanh",
            "generator": {"norm": "batch", "dense": 16, "layers": [{"channels": 8, "kernel": 3, "resample": "up"}]},
            "critic": {"layers": [{"channels": 8, "kernel": 3, "stride": 2}]},
        },
        "loss": {"adversarial": "non-saturating", "r1": 0.1, "penalty_interval": 3},
        "growth": {},
    },
    "mlp": {
        "data": {"source": "builtin:ring8", "held_out": 0.0},
        "network": {"family": "mlp", "z_dim": 2, "generator": {"hidden": [32]}, "critic": {"hidden": [32]}},
        "growth": {},
    },
    "projected": {
        "network": {
            "family": "projected", "resolution": 16, "z_dim": 16, "channels": [8, 8, 8], "critic_width": 8,
        },
        "loss": {"adversarial": "hinge"},
        "augment": {"color": 0.5, "translation": 0.5},
        "growth": {},
    },
    "super-resolution": {
        "network": {
            "family": "superres", "resolution": 16, "channels": 8, "blocks": 1, "output": "tanh",
            "critic": {"layers": [{"channels": 8, "kernel": 3}]},
        },
        "loss": {"adversarial": "none", "perceptual": {"weight": 1}},
        "growth": {},
    },
    "steered augmentation": {
        "data": {"source": "builtin:shapes", "held_out": 0.1},
        "augment": {"color": 1.0, "translation": 1.0, "target": 0.0001, "steer_images": 400},
    },
}  # fmt: skip
TIMES = {"seconds", "images_per_s", "memory_mib"}
W2 = {
    "network.channels": "[128,128,128,64,32]", "network.z_dim": "128", "network.minibatch_std.group_size": "4",
    "growth.start_at": "64", "growth.fade": "0",
    "train.batch_size": "16", "train.duration": "640", "train.tick_every": "160", "train.sample_every": "0",
}  # fmt: skip
W2_VALUES = 1_142_000  # gradients of each network

# Assumed, not measured: an H100 at a fifth of its bf16 peak, and at least 15 ms for the kernels of a step; NVLink
# inside a machine of 8, 400 Gb/s for each GPU between machines; 0.05 ms before anything arrives. The feed of a worker
# was measured on a CPU, by `speed.py feed`.
GPU = {"flop": 2e14, "least": 0.015, "inside": 4.5e11, "between": 5e10, "delay": 5e-5, "machine": 8, "feed": 1.8e5}
TASKS = {  # floating-point operations of an image, gradients of both networks, batch of the preset
    "r3gan-64": {"flop": 59e9, "values": 14.8e6, "batch": 64},
    "progan-64": {"flop": 464e9, "values": 46e6, "batch": 16},
}
JOB = Path(__file__).parents[1] / "docs" / "slurm" / "train.sbatch"
ADDRESSES = ("10.99.0.1", "10.99.0.2")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for work in (bits, kills, machines, overhead, model):
        command = commands.add_parser(work.__name__, help=(work.__doc__ or "").splitlines()[0])
        command.set_defaults(run=work)
        if work is bits:
            command.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
            command.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4], help="the first one is compared")
            command.add_argument("--no-resume", action="store_true", help="leave out 4, 1, 2")
        if work is kills:
            command.add_argument("--count", type=int, default=20)
            command.add_argument("--seed", type=int, default=0)
        if work in (overhead, model):
            command.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    given.run(given)


def bits(given: argparse.Namespace) -> None:
    """200 steps of several kinds of networks, by 1, 2 and 4 workers, and by 4, then 1, then 2."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds:
            place = Path(folder) / kind
            preset = written(place, KINDS[kind])
            names = [str(count) for count in given.workers]
            for name in names:
                ended(torchrun(int(name), preset, place / name))
            if not given.no_resume:
                names.append("4, 1, 2")
                for count, kimg in ((4, 0.4), (1, 1.2), (2, 1.6)):  # whole ticks
                    ended(torchrun(count, preset, place / names[-1], "--kimg", str(kimg)))
            for name in names[1:]:
                report(f"{kind}: {name} workers", equal(content(place / names[0]), content(place / name)))


def kills(given: argparse.Namespace) -> None:
    """Kill random workers at random times; all are started again from the last checkpoint."""
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        longer = {"train": {"duration": 16_000, "checkpoint_every": 200, "tick_every": 2_000}}
        preset = written(place, longer)
        ended(started(["train", "--preset", str(preset), "--outdir", str(place / "alone")]))
        words = ["train", "--preset", str(preset), "--outdir", str(place / "killed"), "--processes", "2"]
        launcher = started([*words, "--max-restarts", str(given.count)])
        done, at = 0, 0
        while done < given.count and launcher.poll() is None:
            time.sleep(0.5)
            if not is_training(place / "killed") or images_of(place / "killed") <= at:
                continue  # every kill meets workers that have trained since the last one
            at = images_of(place / "killed")
            time.sleep(chance.uniform(0, 2))
            if len(victims := children(launcher.pid)) == 2:
                os.kill(chance.choice(victims), signal.SIGKILL)
                done += 1
                print(f"killed {done} of {given.count}, last checkpoint {images_of(place / 'killed')}", flush=True)
        ended(launcher)
        report(f"{done} kills", equal(content(place / "alone"), content(place / "killed")))


def machines(given: argparse.Namespace) -> None:
    """Two network namespaces: the same bits as one machine; then the link is cut, and one machine goes on."""
    with tempfile.TemporaryDirectory() as folder, two_machines() as names:
        place = Path(folder)
        preset = written(place, {"train": {"duration": 8_000, "checkpoint_every": 400}})
        ended(started(["train", "--preset", str(preset), "--outdir", str(place / "one")]))
        ended(submitted(names, preset, place / "two"))
        report("two machines", equal(content(place / "one"), content(place / "two")))
        job = submitted(names, preset, place / "cut")
        while not is_training(place / "cut"):
            time.sleep(0.2)
        shell(f"ip netns exec {names[0]} ip link set gancli down")
        cut = time.monotonic()
        _, said = job.communicate(timeout=600)
        print(f"the job ended with exit code {job.returncode}, {time.monotonic() - cut:.0f} s after the cut, and said:")
        lines = said.splitlines()
        told = [i for i, line in enumerate(lines) if line.startswith(("error:", "after "))]
        print("\n".join(line for i in told for line in (lines[i : i + 3] if lines[i][0] == "e" else lines[i : i + 1])))
        print(f"last checkpoint: {images_of(place / 'cut')} images")
        ended(started(["train", "--preset", str(preset), "--outdir", str(place / "cut")]))
        report("one machine goes on", equal(content(place / "one"), content(place / "cut")))


def overhead(given: argparse.Namespace) -> None:
    """Images per second of two workers of one thread and of one worker of two threads, in turn."""
    found: dict[str, list[float]] = {"1 worker, 2 threads": [], "2 workers, 1 thread": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for name, own in zip(found, (["--threads", "2"], ["--processes", "2", "--threads", "1"]), strict=True):
                found[name].append(speeds([own], Path(folder))[0])
            print(number, {name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    one, two = found.values()
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    print(f"ratio: {median(ratios):.3f} (median of {len(ratios)}; {min(ratios):.3f} to {max(ratios):.3f})")


def speeds(trainings: Sequence[Sequence[str]], folder: Path) -> list[float]:
    """Images per second of trainings of workload W2 of `speed.py`, all at the same time. Each has its own options."""
    running = []
    for own in trainings:
        place = Path(tempfile.mkdtemp(dir=folder))
        words = [word for key, value in W2.items() for word in ("--set", f"{key}={value}")]
        words = ["train", "builtin:shapes", "--preset", "progan-64", *words, *own, "--outdir", str(place)]
        running.append((started(words, threads=None), place))
    for process, _ in running:
        ended(process)
    return [median([row["images_per_s"] for row in run_in(place).stats()[1:]]) for _, place in running]


def model(given: argparse.Namespace) -> None:
    """A step of two workers, predicted from its parts and measured; a step on GPUs, calculated."""
    with tempfile.TemporaryDirectory() as folder:
        place, half = Path(folder), ["--threads", "1", "--set", "train.batch_size=8"]
        rounds = [
            (8 / min(speeds([half, half], place)), 16 / speeds([["--processes", "2", "--threads", "1"]], place)[0])
            for _ in range(given.rounds)
        ]
        side, both = (median(times) for times in zip(*rounds, strict=True))
    fixed, each = fitted(gathers())
    exchange = 2 * (fixed + each * W2_VALUES)
    print(f"half a batch of W2, one thread, beside another process: {side:.4f} s; rounds: {rounds}")
    print(f"a gather between two processes: {fixed * 1e3:.2f} ms, and {each * 1e9:.2f} ns for each value of a worker")
    print(
        f"a step of two workers: {side + exchange:.4f} s predicted, of which {exchange:.4f} s are gathers; {both:.4f} s"
    )
    print("\n" + table_of_gpus())


def gathers() -> dict[int, float]:
    """Seconds in which two workers on this machine gather one row each, by the number of its values."""
    program = (
        "import time, torch, gancli.workers as w\n"
        "with w.joined(torch.device('cpu')) as group:\n"
        "    for values in (10_000, 100_000, 1_000_000, 4_000_000, 16_000_000):\n"
        "        x, times = torch.zeros(1, values), []\n"
        "        for _ in range(12):\n"
        "            began = time.perf_counter(); group.rows(x); times.append(time.perf_counter() - began)\n"
        "        if group.first: print(values, sorted(times)[6], flush=True)\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command = [*launcher, sys.executable, "-c", program]
    found = subprocess.run(command, check=True, env=environment(1), capture_output=True, text=True).stdout
    return {int(line.split()[0]): float(line.split()[1]) for line in found.splitlines()}


def fitted(times: Mapping[int, float]) -> tuple[float, float]:
    """Seconds of a gather of nothing, and those that each value adds: the shortest time, the slope of the longest."""
    (few, least), (many, most) = min(times.items()), max(times.items())
    return least, (most - least) / (many - few)


def table_of_gpus() -> str:
    """Milliseconds of a step by number of GPUs, calculated from the figures in GPU and TASKS. Markdown."""
    lines = [
        "| | GPUs | batch | feed | compute | `exact` | `sum` | share of compute |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        for count, batch in ((1, task["batch"]), (8, task["batch"]), (64, 8 * task["batch"])):
            feed, compute, exact, total = (1e3 * x for x in parts_of_step(task, count, batch))
            share = f"{compute / (feed + compute + exact):.0%}, {compute / (feed + compute + total):.0%}"
            times = f"{feed:.1f} | {compute:.1f} | {exact:.1f} | {total:.1f}"
            lines.append(f"| {name} | {count} | {batch} | {times} | {share} |")
    return "\n".join(lines)


def parts_of_step(task: Mapping[str, float], count: int, batch: float) -> tuple[float, float, float, float]:
    """Seconds of reading images, of computing, of gathering one shard per worker, and of an all-reduce instead."""
    compute = max(GPU["least"], batch / count * task["flop"] / GPU["flop"])
    bandwidth = GPU["inside"] if count <= GPU["machine"] else GPU["between"]
    size, rest = 4 * task["values"], (count - 1) / count
    delay = 0.0 if count == 1 else 2 * GPU["delay"]
    return (
        batch / count / GPU["feed"],
        compute,
        delay + rest * count * size / bandwidth,
        delay + 2 * rest * size / bandwidth,
    )


def written(place: Path, changes: Mapping[str, Any]) -> Path:
    """The small preset with changed sections, as a file."""
    place.mkdir(parents=True, exist_ok=True)
    sections = {**SMALL, **{key: {**SMALL.get(key, {}), **values} for key, values in changes.items()}}  # type: ignore[dict-item]
    for key in changes.keys() & {"network", "loss", "growth"}:
        sections[key] = changes[key]
    path = place / "preset.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def environment(threads: int | None) -> dict[str, str]:
    """That of this process, with a number of threads."""
    rest = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return rest if threads is None else rest | {"OMP_NUM_THREADS": str(threads)}


def started(words: Sequence[str], threads: int | None = 1, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A gancli command that runs."""
    command = [*before, sys.executable, "-m", "gancli", *words, "--device", "cpu", "-q"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(threads)
    )


def torchrun(count: int, preset: Path, outdir: Path, *more: str) -> subprocess.Popen[str]:
    """A training by workers that torchrun starts."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "gancli"]
    words = ["train", "--preset", str(preset), "--outdir", str(outdir), "--device", "cpu", "-q", *more]
    command = [sys.executable, *launcher, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(1))


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for it. Raises if it fails."""
    _, said = process.communicate(timeout=3_600)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {said[-2_000:]}")


def run_in(outdir: Path) -> Run:
    """The only run of a folder."""
    (folder,) = (path for path in outdir.iterdir() if (path / "config.yaml").exists())
    return Run(folder)


def content(outdir: Path) -> dict[str, Any]:
    """Weights, Adam's state and the log without times; figures that are only computed if there is time are left out."""
    run = run_in(outdir)
    opened = checkpoint.read(run.last)
    optional = TIMES | {"ema_std_ratio", "ema_nearest_ratio", "overfitting", "held_out_gap"}
    log = [{key: value for key, value in row.items() if key not in optional} for row in run.stats()]
    return {"weights": opened.weights, "Adam": opened.optimizers, "images": opened.images, "log": log}


def equal(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def report(name: str, same: bool) -> None:
    """Print a result."""
    print(f"{name}: {'the same bits' if same else 'DIFFERENT'}", flush=True)


def is_training(outdir: Path) -> bool:
    """Whether a first checkpoint is there."""
    return any(outdir.glob("*/last.pt"))


def images_of(outdir: Path) -> int:
    """Images of the last checkpoint."""
    return checkpoint.read(run_in(outdir).last).images


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


@contextmanager
def two_machines() -> Iterator[tuple[str, str]]:
    """Two network namespaces, joined by a pair of virtual interfaces, that know one another by name."""
    names = ("gancli-a", "gancli-b")
    hosts = "".join(f"{address} {name}\n" for address, name in zip(ADDRESSES, names, strict=True))
    for name in names:
        shell(f"ip netns add {name}")
        files = Path("/etc/netns", name)  # `ip netns exec` shows them in /etc
        files.mkdir(parents=True, exist_ok=True)
        (files / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    try:
        shell("ip link add gancli0 type veth peer name gancli1")
        for number, name in enumerate(names):
            shell(f"ip link set gancli{number} netns {name} name gancli")
            shell(f"ip netns exec {name} ip addr add {ADDRESSES[number]}/24 dev gancli")
            shell(f"ip netns exec {name} ip link set gancli up")
            shell(f"ip netns exec {name} ip link set lo up")
        yield names
    finally:
        for name in names:
            shell(f"ip netns del {name}")
            shutil.rmtree(Path("/etc/netns", name))


def submitted(names: Sequence[str], preset: Path, outdir: Path) -> subprocess.Popen[str]:
    """The job file of docs/slurm, with commands in place of SLURM's that run it on the two machines."""
    programs = outdir.parent / f"slurm-{outdir.name}"
    programs.mkdir()
    on_one = 'ip netns exec {0} unshare --uts bash -c \'hostname {0}; exec "$@"\' -- "$@"'
    on_all = " ".join(f'({on_one.format(name)}; echo "after $SECONDS s: {name}" >&2) &' for name in names)
    for name, text in (("srun", f"{on_all} wait\n"), ("scontrol", f"echo {names[0]}\n")):
        (programs / name).write_text("#!/bin/bash\n" + text)
        (programs / name).chmod(0o755)
    own = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "1",
        "SLURM_JOB_NODELIST": ",".join(names), "SLURM_JOB_NUM_NODES": "2", "PROCESSES": "1", "PRESET": str(preset),
        "OUTDIR": str(outdir), "GANCLI_DEVICE": "cpu",
    }  # fmt: skip
    command = ["bash", str(JOB), "builtin:shapes"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environment(1), **own}
    )


def shell(command: str) -> None:
    """Run a command of the system."""
    subprocess.run(command.split(), check=True)


if __name__ == "__main__":
    main()
