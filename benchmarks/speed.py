"""gancli's speed against the plain formulation, and a peer, interleaved A B A B in one process.

    python benchmarks/speed.py W1 W2 --precision bf16         # a training step at 64 px, 512 and 128 channels, batch 16
    python benchmarks/speed.py W1 --unfused                   # the network without fused downscaling
    python benchmarks/speed.py W3                             # a step of dense networks, batch 100
    python benchmarks/speed.py W4 --precision bf16            # samples of the generators of W1 and W2
    python benchmarks/speed.py W5                             # `gancli --help`, completion, one sample, all cold
    python benchmarks/speed.py presets                        # a step of every preset that fits a laptop
    python benchmarks/speed.py feed                           # batches from the cache, and the first scan
    python benchmarks/speed.py W2 --peer adapter.py           # `contenders.py` says what an adapter is

One step of each is done first and thrown away. A round times all of them in turn; the figure is the median of the
ratios of the rounds. The roof is a matrix product in the same rounds; operations are those of convolutions and
products.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from gancli import process

process.wait_politely()

import contenders  # noqa: E402  (after wait_politely, as the command line has it)
import startup  # noqa: E402
import torch  # noqa: E402
from contenders import WORKLOADS, Operations, Step, plainly  # noqa: E402

LEAST = 0.3  # seconds that a contender runs for in a round
SIDE = 2048  # of the matrices whose product is the roof
PRESETS = (
    "quickstart",
    "progan-64-lite",
    "iwgan-32-lite",
    "bn-mlp-28",
    "moments-1",
    "moments-conv",
    "signal-1d",
    "ring8",
    "superres-4x",
)
DENSE = {"network.generator": {"hidden": [128, 384]}, "network.critic": {"hidden": [128]}}  # of W3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Contender(NamedTuple):
    """What is timed, and the context that it runs in."""

    run: Step
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


def seconds(contender: Contender, times: int) -> float:
    """Of one run, as the mean of `times` runs."""
    with contender.within():
        started = time.perf_counter()
        for _ in range(times):
            contender.run()
        return (time.perf_counter() - started) / times


def compare(parts: dict[str, Contender], rounds: int) -> list[dict[str, float]]:
    """Seconds of every contender in every round."""
    for part in parts.values():
        seconds(part, 1)  # the first run is slower
    times = {name: max(1, math.ceil(LEAST / seconds(part, 1))) for name, part in parts.items()}
    return [{name: seconds(part, times[name]) for name, part in parts.items()} for _ in range(rounds)]


def roof(precision: str) -> Contender:
    """A matrix product in the precision of the step."""
    a, b = (torch.randn(SIDE, SIDE).to(DTYPES[precision]) for _ in range(2))
    return Contender(lambda: a @ b)


def row(what: str, images: int, parts: dict[str, Contender], options: argparse.Namespace) -> dict[str, Any]:
    """A comparison as a JSON object. gancli is one of the parts."""
    with Operations() as operations:
        parts["gancli"].run()
    found = compare({**parts, "roof": roof(options.precision)}, options.rounds)
    median = {name: statistics.median(times[name] for times in found) for name in found[0]}
    floor = [2 * SIDE**3 / times["roof"] for times in found]
    reached = [operations.total / times["gancli"] / top for times, top in zip(found, floor, strict=True)]
    ratios = {name: [times[name] / times["gancli"] for times in found] for name in parts if name != "gancli"}
    return {
        "what": what,
        "precision": options.precision,
        "images_per_s": {name: images / median[name] for name in parts},
        "speedup": {name: [statistics.median(r), min(r), max(r)] for name, r in ratios.items()},
        "gflop_per_image": operations.total / images / 1e9,
        "roof_gflop_per_s": statistics.median(floor) / 1e9,
        "share_of_roof": statistics.median(reached),
        "rounds": found,
    }


def of_workload(name: str, options: argparse.Namespace, *, samples: bool = False) -> dict[str, Any]:
    """W1, W2 and W4: gancli's own step or samples, those of `plain.py`, and those of a peer."""
    workload = WORKLOADS[name]
    task = contenders.task_of_workload(workload, options.precision, fused_down=not options.unfused)
    ours = contenders.sampler_of if samples else contenders.step_of
    plain = contenders.plain_sampler_of if samples else contenders.plain_step_of
    parts = {"gancli": Contender(ours(task)), "plain": Contender(plain(workload))}
    if options.peer:
        peer = contenders.peer_of(options.peer)
        parts[options.peer.stem] = Contender((peer.sampler_of if samples else peer.step_of)(workload))
    label = f"{name}{', samples' if samples else ''}{', unfused' if options.unfused else ''}"
    return row(label, workload["batch"], parts, options)


def of_preset(
    preset: str, options: argparse.Namespace, height: int = 0, changes: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The step of a preset, by gancli and by the plain formulas."""
    task = contenders.task_of(preset, {**changes, "train.precision": options.precision}, height)
    with plainly():
        plain_task = contenders.task_of(preset, {**changes, **contenders.plain_changes(preset)}, height)
        plain = contenders.step_of(plain_task)
    parts = {"gancli": Contender(contenders.step_of(task)), "plain": Contender(plain, plainly)}
    return row(f"{preset}, {task.phase.height} px", task.phase.batch_size, parts, options)


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that was asked for, one comparison at a time."""
    for what in options.what:
        if what in WORKLOADS:
            yield of_workload(what, options)
        elif what == "W3":
            yield of_preset("moments-1", options, changes=DENSE)
        elif what == "W4":
            yield from (of_workload(name, options, samples=True) for name in ("W1", "W2"))
        elif what == "W5":
            yield from startup.rows(options.rounds)
        elif what == "feed":
            yield from startup.feed_rows(options.rounds)
        elif what == "presets":
            yield from (of_preset(preset, options) for preset in PRESETS)
        else:
            preset, _, height = what.partition(":")
            yield of_preset(preset, options, int(height or 0))


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    speed = ", ".join(f"{name} {value:,.4g}" for name, value in found["images_per_s"].items())
    ratio = "; ".join(f"{r[0]:.2f}x {name} ({r[1]:.2f} to {r[2]:.2f})" for name, r in found["speedup"].items())
    return f"| {found['what']} | {found['precision']} | {speed} | {ratio} | {found['share_of_roof']:.0%} |"


def main() -> None:
    """Measure, print a table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="W1 to W5, presets, feed, or a preset, such as quickstart:16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="fp32", choices=DTYPES)
    parser.add_argument("--unfused", action="store_true", help="without fused downscaling")
    parser.add_argument("--threads", type=int, default=process.cores())
    parser.add_argument("--peer", type=Path, help="an adapter file")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args()
    process.keep_memory()
    torch.set_num_threads(options.threads)
    machine = f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    print(f"{machine}\n\n| what | precision | images/s | gancli is | of the roof |\n|---|---|---|---|---|")
    found = []
    for result in rows(options):
        print(line(result) if "share_of_roof" in result else startup.line(result), flush=True)
        found.append(result)
        if options.out:
            options.out.write_text(json.dumps({"machine": machine, "command": sys.argv[1:], "rows": found}, indent=1))


if __name__ == "__main__":
    main()
