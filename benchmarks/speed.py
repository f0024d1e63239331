"""gancli's training step against the plain formulation, interleaved A B A B in one process.

    python benchmarks/speed.py W1 --rounds 5          # 64 px, 512 channels, batch 16
    python benchmarks/speed.py W2 --rounds 9          # 64 px, 128 channels, batch 16

One step of each is done first and thrown away. The figure is the median of the ratios of the rounds.
"""

import argparse
import json
import platform
import statistics
import time

import numpy as np

from gancli import process

process.wait_politely()

import torch  # noqa: E402  (after wait_politely, as the command line has it)
from plain import Trainer  # noqa: E402

from gancli import config as configs  # noqa: E402
from gancli import ema  # noqa: E402
from gancli.data import Dataset, Feed  # noqa: E402
from gancli.growth import Schedule  # noqa: E402
from gancli.results import DataReport  # noqa: E402
from gancli.training.resolve import resolve  # noqa: E402
from gancli.training.state import TrainState  # noqa: E402
from gancli.training.step import train_critic, train_generator  # noqa: E402

WIDTHS = {"W1": [512, 512, 512, 512, 256], "W2": [128, 128, 128, 64, 32], "toy": [4, 4, 4, 4, 4]}
LATENT = {"W1": 512, "W2": 128, "toy": 4}
BATCH = 16


def pictures() -> Dataset:
    """256 pictures of 64 px, of random pixels."""
    values = np.random.RandomState(0).randint(0, 256, (256, 64, 64, 3)).astype(np.uint8)
    report = DataReport("random pixels", "image", len(values), 0, values.shape[1:])
    return Dataset("image", values, np.zeros(len(values), dtype=bool), "random pixels", report)


def ours(workload: str, precision: str):
    """A function that does one step of gancli, feeding and averaging included."""
    changes = {
        "network.channels": WIDTHS[workload],
        "network.z_dim": LATENT[workload],
        "train.duration": 10**9,
        "train.precision": precision,
        "network.minibatch_std": {"group_size": 4},
    }
    dataset = pictures()
    config = resolve(configs.load("progan-64", changes), dataset, dataset.report.source)
    state, feed = TrainState.fresh(config, torch.device("cpu")), Feed(dataset, config)
    phase = Schedule.of(config).phases[-1]

    def step() -> None:
        _, shown = train_critic(state, config, feed, phase, state.images)
        train_generator(state, config, phase, shown)
        ema.update(state.ema, state.G, 0.999)

    return step


def plain(workload: str):
    """A function that does one step of the plain formulation."""
    trainer = Trainer(WIDTHS[workload], LATENT[workload], BATCH)
    x = torch.from_numpy(pictures().values[:BATCH]).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    return lambda: trainer.step(x)


def seconds(step) -> float:
    """Of one step."""
    started = time.monotonic()
    step()
    return time.monotonic() - started


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WIDTHS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options = parser.parse_args()
    process.keep_memory()
    torch.set_num_threads(process.cores())
    steps = {"plain": plain(options.workload), "gancli": ours(options.workload, options.precision)}
    for step in steps.values():
        step()
    rounds = [{name: seconds(step) for name, step in steps.items()} for _ in range(options.rounds)]
    ratios = [r["plain"] / r["gancli"] for r in rounds]
    result = {
        "workload": options.workload,
        "precision": options.precision,
        "machine": f"{platform.machine()}, {process.cores()} cores, torch {torch.__version__}",
        "images_per_s": {name: BATCH / statistics.median(r[name] for r in rounds) for name in steps},
        "speedup_median": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)],
        "rounds": rounds,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
