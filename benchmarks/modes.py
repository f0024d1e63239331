"""How many modes does a GAN cover? Mixtures of Gaussians, and 1,000 triples of digits, beside published figures.

    python benchmarks/modes.py data MNIST STACKED.npy
    python benchmarks/modes.py digits MNIST STACKED.npy --cures relativistic packing --out digits.jsonl
    python benchmarks/modes.py points ring8 grid25 --seeds 0 1 2 --out points.jsonl
    python benchmarks/modes.py table digits.jsonl points.jsonl

MNIST is a folder with train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz. All cures have the same networks and
number of images. A line is appended for every training; what is there is not repeated. With --runs, a training that was
stopped goes on.

Digits: 26,000 samples; each of the three digits is named by a classifier that is trained here. A mode counts if one
sample has it, as in PacGAN, and if three samples have it of which every digit is sure (0.9 and more). KL is that of the
samples' modes to the uniform distribution, in nats; of a perfect sampler it is 0.024.

Points: 2,500 samples, PacGAN's protocol: a sample is of high quality within three standard deviations of its mode, and
a mode counts if one such sample has it.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gancli
from gancli.data import arrays

Row = dict[str, Any]
TRIPLES = 60_000
SURE, HITS = 0.9, 3
PENALIZED = {"loss.adversarial": "non-saturating"}  # with the R1 and R2 of the preset
PLAIN = {**PENALIZED, "loss.r1": 0.0, "loss.r2": 0.0}
CURES: dict[str, dict[str, Any]] = {
    "none": PLAIN,
    "minibatch std": {**PLAIN, "network.minibatch_std": {"group_size": 4}},
    "packing": {**PLAIN, "network.pack": 2},
    "penalties": PENALIZED,
    "penalties and minibatch std": {**PENALIZED, "network.minibatch_std": {"group_size": 4}},
    "penalties and packing": {**PENALIZED, "network.pack": 2},
    "relativistic": {},
    "relativistic and packing": {"network.pack": 2},
}
PUBLISHED = {
    "digits": (
        ("DCGAN (PacGAN's run)", "78.9 ± 6.5", "", "4.50"),
        ("PacDCGAN2", "1000.0 ± 0.0", "", "0.06"),
        ("GAN, R1 and R2 (R3GAN's)", "693", "", "0.927"),
        ("RpGAN, R1 and R2 (R3GAN's)", "1000", "", "0.078"),
    ),
    "ring8": (("GAN (PacGAN's)", "6.3 ± 0.5", "98.2 ± 0.2", "0.45"), ("PacGAN2", "7.9 ± 0.1", "95.6 ± 2.0", "0.07")),
    "grid25": (("GAN (PacGAN's)", "17.3 ± 0.8", "94.8 ± 0.7", "0.70"), ("PacGAN2", "23.8 ± 0.7", "91.3", "0.13")),
}
MODES = {"ring8": 8, "grid25": 25}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("data")
    counting = commands.add_parser("digits")
    for command in (making, counting):
        command.add_argument("mnist", type=Path)
        command.add_argument("stacked", type=Path)
    making.add_argument("--count", type=int, default=TRIPLES)
    making.set_defaults(run=lambda given: np.save(given.stacked, stacked(given.mnist, given.count)[0]))
    mixing = commands.add_parser("points")
    mixing.add_argument("presets", nargs="+", choices=list(MODES))
    for command, work in ((counting, digits), (mixing, points)):
        command.add_argument("--cures", nargs="+", default=["relativistic"], choices=list(CURES))
        command.add_argument("--seeds", type=int, nargs="+", default=[0])
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="more")
        command.add_argument("--samples", type=int, default=26_000 if work is digits else 2_500)
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--runs", type=Path, help="keep the runs, so that a training that was stopped goes on")
        command.set_defaults(run=work)
    showing = commands.add_parser("table")
    showing.add_argument("files", type=Path, nargs="+")
    showing.set_defaults(run=lambda given: print(table([row for file in given.files for row in read(file)])))
    given = parser.parse_args()
    given.run(given)


def stacked(folder: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Triples of random digits as RGB, (N, 28, 28, 3), and their modes, 0 to 999, (N,)."""
    images, labels = mnist(folder)
    rows = np.random.RandomState(0).randint(0, len(images), (count, 3))
    return np.stack([images[rows[:, i]] for i in range(3)], axis=3), labels[rows] @ np.array([100, 10, 1])


def mnist(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 28, 28) and labels (N,)."""
    images = arrays.read_plain(folder / "train-images-idx3-ubyte.gz")
    labels = arrays.read_plain(folder / "train-labels-idx1-ubyte.gz")
    return images, labels.astype(np.int64)


def digits(given: argparse.Namespace) -> None:
    """Train stacked-mnist-1000 with every cure, and count the modes of its samples."""
    classifier = trained_classifier(*mnist(given.mnist))

    def count(x: Tensor) -> Row:
        return modes_of_digits(np.concatenate([classifier(part) for part in x.split(500)]))

    each(given, "stacked-mnist-1000", str(given.stacked), count)


def points(given: argparse.Namespace) -> None:
    """Train the mixtures with every cure."""
    for preset in given.presets:
        centers, deviation = mixture(preset)

        def count(x: Tensor, centers: NDArray[Any] = centers, deviation: float = deviation) -> Row:
            return modes_of_points(x.double().numpy(), centers, deviation)

        each(given, preset, None, count)


def each(given: argparse.Namespace, preset: str, data: str | None, count: Callable[[Tensor], Row]) -> None:
    """One training per cure and seed that is not in the file."""
    there = {(row["preset"], row["cure"], row["seed"], tuple(row["set"])) for row in read(given.out)}
    more = gancli.config.overrides.parse(given.more)
    for seed in given.seeds:
        for cure in given.cures:
            if (preset, cure, seed, tuple(given.more)) in there:
                continue
            changes = {**CURES[cure], "train.seed": seed, **more}
            with tempfile.TemporaryDirectory() as folder:
                found = gancli.train(preset, data, changes=changes, outdir=given.runs or folder, threads=given.threads)
                x = torch.as_tensor(gancli.load(found.run).sample(range(given.samples)))
            row = {
                "preset": preset,
                "cure": cure,
                "seed": seed,
                "set": given.more,
                "kimg": found.duration / 1000,
                "seconds": round(found.seconds),
            }
            with given.out.open("a") as file:
                file.write(json.dumps(row | count(x)) + "\n")


def trained_classifier(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Callable[[Tensor], NDArray[Any]]:
    """Probabilities of the ten digits for each channel: (N, 3, 28, 28) in [-1, 1] -> (N, 3, 10).

    A small convolutional network, three epochs; its accuracy on the last 5,000 images is printed.
    """
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = torch.from_numpy(images)[:, None].float() / 127.5 - 1, torch.from_numpy(labels)
    kept, optimizer = max(len(x) - 5_000, len(x) // 2), torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(3):
        for rows in torch.randperm(kept).split(100):
            optimizer.zero_grad()
            cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    network.eval().requires_grad_(False)
    right = (network(x[kept:]).argmax(1) == y[kept:]).double().mean()
    print(f"the classifier names {right:.2%} of {len(x) - kept:,} unseen digits correctly", flush=True)
    return lambda z: network(z.float().reshape(-1, 1, 28, 28)).softmax(1).view(-1, 3, 10).numpy()


def modes_of_digits(chances: NDArray[Any]) -> Row:
    """Modes with a sample, modes with three sure samples, and the KL to the uniform distribution."""
    modes, sure = chances.argmax(2) @ np.array([100, 10, 1]), (chances.max(2) > SURE).all(1)
    counts, certain = (np.bincount(some, minlength=1_000) for some in (modes, modes[sure]))
    return {"modes": int((counts > 0).sum()), "sure": int((certain >= HITS).sum()), "kl": kl_to_uniform(counts)}


def mixture(preset: str) -> tuple[NDArray[Any], float]:
    """Centers, (K, 2), and deviation of the Gaussians, in the units of the data."""
    if preset == "ring8":
        angles = np.arange(8) * np.pi / 4
        return np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01
    places = np.arange(-4, 5, 2)
    return np.array([(a, b) for a in places for b in places], dtype=float), 0.05


def modes_of_points(x: NDArray[Any], centers: NDArray[Any], deviation: float) -> Row:
    """Modes with a sample of high quality, share of such samples, KL, and the spread inside a mode over that of it."""
    apart = x[:, None] - centers[None]
    distance = np.linalg.norm(apart, axis=2)
    nearest, good = distance.argmin(1), distance.min(1) < 3 * deviation
    counts = np.bincount(nearest[good], minlength=len(centers))
    inside = apart[np.arange(len(x)), nearest][good]
    spread = float(np.sqrt((inside**2).mean()) / deviation) if good.any() else 0.0
    return {
        "modes": int((counts > 0).sum()),
        "quality": float(good.mean()),
        "kl": kl_to_uniform(counts),
        "spread": spread,
    }


def kl_to_uniform(counts: NDArray[Any]) -> float:
    """KL divergence of a histogram to the uniform distribution, in nats."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float((share * np.log(share * len(counts))).sum())


def read(path: Path) -> list[Row]:
    """The lines of a file, if it is there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: Sequence[Row]) -> str:
    """Markdown: a table per preset, published figures last."""
    lines = []
    for preset in dict.fromkeys(row["preset"] for row in rows):
        own = [row for row in rows if row["preset"] == preset]
        second = "sure modes" if "sure" in own[0] else "high quality, %"
        lines += [f"### {preset}", "", f"| | seeds | kimg | modes | {second} | KL |", "|---|---:|---:|---:|---:|---:|"]
        for group in dict.fromkeys((row["cure"], row["kimg"]) for row in own):
            lines.append(line(group[0], [row for row in own if (row["cure"], row["kimg"]) == group]))
        name = "digits" if "sure" in own[0] else preset
        lines += [f"| {who} | | | {modes} | {more} | {kl} |" for who, modes, more, kl in PUBLISHED[name]]
        lines.append("")
    return "\n".join(lines)


def line(cure: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean and deviation over the seeds."""

    def cell(key: str, scale: float = 1.0, digits: int = 1) -> str:
        values = np.array([row[key] for row in rows]) * scale
        return f"{values.mean():.{digits}f}" + (f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else "")

    second = cell("sure") if "sure" in rows[0] else cell("quality", 100)
    cells = (cure, str(len(rows)), f"{rows[0]['kimg']:g}", cell("modes"), second, cell("kl", digits=3))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
