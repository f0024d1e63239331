"""Labeled sample sets: what each word of the verdict means, made on purpose. For verdicts.py.

The labels were fixed before anything was measured. Left of the modes, or of the distinct samples that an honest set
would have: at most 10 % collapsed, at most 60 % low diversity, 80 % and more healthy, between them not scored.
Values pulled together by three tenths or more: washed out. Blur, noise, checkerboard, a color cast, another class:
artifacts. Memorization of training samples, half of the set or all of it: memorizing. Noise alone, or a set that is not
finite or black and white throughout: diverged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from gancli.data import Shape, open_dataset, to_unit
from gancli.stats import clusters, random_features


@dataclass(frozen=True)
class Source:
    """Real samples in three parts, none in two of them."""

    name: str
    kind: str
    train: Tensor  # (N, C, *S) in [-1, 1]
    held_out: Tensor
    pool: Tensor  # what honest and spoiled sets are made of: samples that nobody trained on
    modes: Tensor  # of the pool: its class, or its part by k-means


@dataclass(frozen=True)
class Case:
    """One sample set and the word it should get; no word: not scored."""

    source: str
    name: str
    word: str | None
    fakes: Tensor
    train: Tensor
    held_out: Tensor
    kind: str
    strength: float = 0.0


def load(name: str, folder: Path, seed: int, size: int | None = None, channels: int | None = None) -> Source:
    """One of the five sources, split by a seed; at another size or with other channels, if wanted."""
    file, own_size, own_channels, most = FILES[name]
    shape = Shape(size or own_size, size or own_size, channels or own_channels, "crop")
    dataset = open_dataset(str(folder / file), shape, held_out=0.0)
    rows = np.random.RandomState(seed).permutation(len(dataset.values))[:most]
    values = np.asarray(dataset.values[rows])
    kept = distinct(values)
    rows, values = rows[kept], values[kept]
    if dataset.kind == "image":
        x = to_unit(values)
    else:
        low, high = float(dataset.values.min()), float(dataset.values.max())
        x = torch.from_numpy(values).sub((low + high) / 2).div((high - low) / 2)
    train, held = round(0.62 * len(x)), round(0.7 * len(x))
    labels = labels_of(name, folder)
    pool = x[held:]
    modes = torch.from_numpy(labels[rows][held:].astype(np.int64)) if labels is not None else parts(pool, dataset.kind)
    return Source(name, dataset.kind, x[:train], x[train:held], pool, modes)


FILES: dict[str, tuple[str, int, int | None, int]] = {  # file, px, channels, samples at most
    "frogs": ("cifar-frogs-32.zip", 32, None, 5_000),
    "fashion": ("fashion-train-images-idx3-ubyte.gz", 28, None, 6_000),
    "clothes": ("clothing-128.zip", 64, None, 3_068),
    "emoji": ("emoji-72.zip", 64, 3, 1_688),
    "signals": ("magic-wand-2x128.npy", 128, None, 1_000),
}
COUNTS = {"frogs": (1_000, 500), "fashion": (1_000, 500), "clothes": (700,), "emoji": (500,), "signals": (300,)}
OTHERS = {
    "frogs": ("clothes", 32, 3),
    "fashion": ("frogs", 28, 1),
    "clothes": ("emoji", 64, 3),
    "emoji": ("frogs", 64, 3),
}


def distinct(values: np.ndarray) -> np.ndarray:
    """Row numbers without later copies of an earlier sample."""
    hashes = np.array([hash(value.tobytes()) for value in values])
    return np.sort(np.unique(hashes, return_index=True)[1])


def labels_of(name: str, folder: Path) -> np.ndarray | None:
    """Classes, where the source has them."""
    if name == "signals":
        return np.load(folder / "magic-wand-labels.npy")
    if name == "fashion":
        import gzip

        return np.frombuffer(
            gzip.decompress((folder / "fashion-train-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
        )
    return None


def parts(x: Tensor, kind: str) -> Tensor:
    """Ten parts by k-means on fixed random features, where there are no classes."""
    rows = random_features.of_samples(x, kind)
    rows = random_features.standardized(rows, rows)
    return torch.cdist(rows, clusters.centers(rows, 10)).argmin(1)


def cases(source: Source, count: int, seed: int, others: Source | None) -> Iterator[Case]:
    """All the sets of one source at one size. `others`: a source of pictures of something else."""
    draw = np.random.RandomState(seed)
    pool, train = source.pool, source.train

    def case(name: str, word: str | None, fakes: Tensor, strength: float = 0.0) -> Case:
        return Case(source.name, name, word, fakes, train, source.held_out, source.kind, strength)

    def honest() -> Tensor:
        return pool[torch.from_numpy(draw.choice(len(pool), count, replace=len(pool) < count))]

    for number in range(HONEST):
        yield case(f"honest {number}", "healthy", honest())
    for k in ks(count, draw):
        once = repeated(pool, k, count, draw)
        yield case(f"{k} repeated", left(k / count), once, k / count)
        yield case(f"{k} repeated, varied", left(k / count), varied(once, draw), k / count)
    yield from dropped(source, count, draw, case)
    for name, spoil, strengths, word in SPOILED:
        for strength in strengths if source.kind == "image" or name in ANY_KIND else ():
            by = strength * float(np.exp(draw.uniform(-0.12, 0.12))) if name != "blocks" else strength
            yield case(f"{name} {by:.3g}", word, spoil(honest(), by, draw), by)
    for share in (1.0, 0.5):
        rows = torch.from_numpy(draw.choice(len(train), count, replace=False))
        for way, change in COPIED.items() if source.kind == "image" else list(COPIED.items())[:1]:
            kept = round(share * count)
            made = torch.cat([change(train[rows], draw)[:kept], honest()[kept:]])
            yield case(f"copies {share:g}{way}", "memorizing", made, share)
    if others is not None:
        rows = draw.choice(len(others.pool), count, replace=len(others.pool) < count)
        yield case(f"another class: {others.name}", "artifacts", others.pool[torch.from_numpy(rows)])
    shape = pool[:1].shape[1:]
    white = torch.from_numpy(draw.randn(count, *shape)).float()
    yield case("noise alone", "diverged", white.clamp(-1, 1))
    yield case("black and white", "diverged", white.sign())


def dropped(source: Source, count: int, draw: np.random.RandomState, case: Callable[..., Case]) -> Iterator[Case]:
    """Only some of the modes."""
    modes = source.modes.unique().tolist()
    for wanted in KEPT:
        chosen = draw.permutation(modes)[: max(1, round(wanted * len(modes)))]
        inside = torch.isin(source.modes, torch.from_numpy(chosen)).nonzero()[:, 0].numpy()
        share = len(chosen) / len(modes)
        rows = draw.choice(inside, count, replace=len(inside) < count)
        if len(np.unique(rows)) >= 0.8 * count or share <= 0.6:  # repetition may not be what tells
            yield case(f"{len(chosen)} of {len(modes)} modes", left(share), source.pool[torch.from_numpy(rows)], share)


HONEST = 3
KEPT = (0.1, 0.3, 0.5, 0.6, 0.7, 0.9)
ANY_KIND = ("pulled to the mean", "contrast", "noise")


def ks(count: int, draw: np.random.RandomState) -> list[int]:
    """How many samples are repeated: from one again and again to each twice."""
    shares = np.array([1 / 40, 1 / 12, 1 / 6, 1 / 3]) * np.exp(draw.uniform(-0.1, 0.1, 4))
    return [1, 3, *(round(count * share) for share in shares), count // 2]


def left(share: float) -> str | None:
    """The word for the share that is left of the modes, or of the distinct samples; see DECISIONS in the docs."""
    if share <= 0.1:
        return "collapsed"
    if share <= 0.6:
        return "low-diversity"
    return "healthy" if share >= 0.8 else None


def repeated(pool: Tensor, k: int, count: int, draw: np.random.RandomState) -> Tensor:
    """k samples of the pool, each as often as the others."""
    rows = draw.choice(len(pool), k, replace=False)
    return pool[torch.from_numpy(rows[np.arange(count) % k])]


def scale_of(x: Tensor) -> float:
    """Strengths are those for pictures, whose values deviate by about a half; others are spoiled in proportion."""
    return 1.0 if x.ndim == 4 else float(x.std()) / 0.5


def varied(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """As a generator repeats itself: a little noise and a little brightness, never twice the same."""
    shape = (len(x), *([1] * (x.ndim - 1)))
    bright = torch.from_numpy(draw.normal(0, 0.02, shape)).float()
    change = bright + torch.from_numpy(draw.normal(0, 0.01, x.shape)).float()
    return (x + scale_of(x) * change).clamp(-1, 1)


def jittered(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """Half of the pictures mirrored, all moved by up to a pixel, a little brighter or darker."""
    flip = torch.from_numpy(draw.rand(len(x)) < 0.5).view(-1, 1, 1, 1)
    x = torch.where(flip, x.flip(3), x)
    padded = pad(x, (1, 1, 1, 1), mode="replicate")
    h, w = x.shape[2:]
    moved = [p[:, a : a + h, b : b + w] for p, (a, b) in zip(padded, draw.randint(0, 3, (len(x), 2)), strict=True)]
    bright = torch.from_numpy(draw.normal(0, 0.02, (len(x), 1, 1, 1))).float()
    return (torch.stack(moved) + bright).clamp(-1, 1)


def to_mean(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Toward the mean sample."""
    return x.mean(0) + strength * (x - x.mean(0))


def contrast(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Toward each picture's own mean, and all toward gray."""
    return x * strength


def blur(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A Gaussian of so many pixels at 32 px, more on larger pictures."""
    sigma = strength * x.shape[3] / 32
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(x.shape[1], -1, -1, -1)
    x = conv2d(pad(x, (reach, reach, 0, 0), mode="reflect"), kernel, groups=x.shape[1])
    return conv2d(pad(x, (0, 0, reach, reach), mode="reflect"), kernel.transpose(2, 3), groups=x.shape[1])


def noise(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """White, in gray levels."""
    return (x + scale_of(x) * torch.from_numpy(draw.normal(0, strength / 127.5, x.shape)).float()).clamp(-1, 1)


def checkerboard(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Every second pixel brighter, the others darker, by so many gray levels."""
    h, w = x.shape[2:]
    board = (torch.arange(h)[:, None] + torch.arange(w)[None]) % 2 * 2 - 1
    return (x + board * strength / 127.5).clamp(-1, 1)


def cast(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """The first channel brighter by so many gray levels."""
    x = x.clone()
    x[:, 0] += strength / 127.5
    return x.clamp(-1, 1)


def blocks(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Pictures of a coarser size, enlarged again."""
    factor = int(strength)
    return avg_pool2d(x, factor).repeat_interleave(factor, 2).repeat_interleave(factor, 3)


COPIED: dict[str, Callable[[Tensor, np.random.RandomState], Tensor]] = {
    "": lambda x, draw: x,
    ", mirrored and jittered": jittered,
}
Spoil = Callable[[Tensor, float, np.random.RandomState], Tensor]
SPOILED: tuple[tuple[str, Spoil, tuple[float, ...], str], ...] = (
    ("pulled to the mean", to_mean, (0.7, 0.5, 0.3), "washed-out"),
    ("contrast", contrast, (0.7, 0.5, 0.3), "washed-out"),
    ("blur", blur, (1.0, 1.5, 2.0), "artifacts"),
    ("noise", noise, (12.0, 25.0, 50.0), "artifacts"),
    ("checkerboard", checkerboard, (6.0, 12.0, 25.0), "artifacts"),
    ("color cast", cast, (25.0, 40.0, 60.0), "artifacts"),
    ("blocks", blocks, (2.0, 4.0), "artifacts"),
)
