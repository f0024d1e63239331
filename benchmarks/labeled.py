"""Labeled sample sets: what each verdict means, made on purpose from real data. For verdicts.py.

The labels were fixed before anything was measured. Left of the modes, or of the distinct samples that an independent
draw of the data would have: at most 10% collapsed, at most 60% low-diversity, 80% and more healthy, in between not
scored. Values pulled together by three tenths or more: washed-out. Blur, noise, a grid, a color cast, compression,
coarse pixels, another data set: artifacts. Copies of training samples, half of the set or all of it: memorizing.
Noise alone, or black and white throughout: diverged.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, avg_pool2d, conv1d, conv2d, interpolate, pad

from gancli.data import Shape, open_dataset, to_unit
from gancli.data.labels import labels_of
from gancli.networks.feature_extractors import pretrained
from gancli.stats import clusters, fixed_features
from gancli.stats.modes import classify

TRAIN, HELD_OUT = 0.5, 0.06  # shares of a source; the rest is the pool that sample sets are made of


@dataclass(frozen=True)
class SourceSpec:
    """Where a source comes from, and how it is used."""

    file: str
    size: int  # px; length of signals
    counts: tuple[int, ...]  # samples per side
    others: tuple[str, ...] = ()  # sources that stand for another data set
    labels: str | None = None  # file of labels; None: the folders, or else parts by k-means
    channels: int | None = None
    most: int = 5_000  # samples


SOURCES = {
    "frogs": SourceSpec("cifar-frogs-32.zip", 32, (1_000, 250), ("cifar6", "textures")),
    "fashion": SourceSpec(
        "fashion-train-images-idx3-ubyte.gz", 28, (2_000, 500), ("omniglot", "shapes"),
        "fashion-train-labels-idx1-ubyte.gz", most=8_000,
    ),
    "clothes": SourceSpec("clothing-128.zip", 64, (500, 250), ("textures", "emoji")),
    "emoji": SourceSpec("emoji-72.zip", 64, (400, 250), ("textures", "clothes"), channels=3),
    "strokes": SourceSpec("magic-wand-2x128.npy", 128, (250,), ("ecg",), "magic-wand-labels.npy"),
    "cifar6": SourceSpec("cifar6-32.zip", 32, (500, 250), ("frogs", "clothes")),
    "fruits": SourceSpec("fruits-64.zip", 64, (450, 250), ("emoji", "clothes")),
    "omniglot": SourceSpec("omniglot-64.zip", 64, (500, 250), ("fashion", "shapes")),
    "textures": SourceSpec("textures-64.zip", 64, (300, 250), ("clothes", "cifar6")),
    "digits": SourceSpec("spoken-digits-1x2048.npy", 2_048, (350, 250), ("ecg",), "spoken-digits-labels.npy"),
    "ecg": SourceSpec("ecg-beats-2x256.npy", 256, (500, 250), ("strokes",), "ecg-beats-labels.npy"),
    "shapes": SourceSpec("builtin:shapes", 32, (500, 250), ("frogs", "textures"), most=4_000),
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Real samples in three parts without common samples."""

    name: str
    kind: str
    train: Tensor  # (N, C, *S) in [-1, 1]
    held_out: Tensor
    pool: Tensor  # what sample sets are made of
    modes: Tensor  # (len(pool),) class of each sample of the pool, or its part by k-means


@dataclass(frozen=True)
class Case:
    """One sample set and the verdict it should get."""

    name: str
    word: str | None  # None: not scored
    fakes: Tensor
    strength: float = 0.0  # share that is left, or strength of the damage


def load(name: str, folder: Path, seed: int, like: Source | None = None) -> Source:
    """A source, split by a seed. like: at the size, and with the channels, of another source."""
    spec = SOURCES[name]
    channels, size = (spec.channels, spec.size) if like is None or like.kind != "image" else like.train.shape[1:3]
    data = spec.file if spec.file.startswith("builtin:") else str(folder / spec.file)
    dataset = open_dataset(data, Shape(size, size, channels, "crop"), held_out=0.0)
    rows = np.random.RandomState(seed).permutation(len(dataset.values))[: spec.most]
    values = np.asarray(dataset.values[rows])
    kept = distinct(values)
    rows, values = rows[kept], values[kept]
    if dataset.kind == "image":
        x = to_unit(values)
    else:
        low, high = float(dataset.values.min()), float(dataset.values.max())
        x = torch.from_numpy(values).sub((low + high) / 2).div((high - low) / 2)
    train, held = round(TRAIN * len(x)), round((TRAIN + HELD_OUT) * len(x))
    if like is not None:
        modes = torch.zeros(len(x) - held)  # never asked for
    elif name == "shapes":
        modes = torch.from_numpy(classify(values[held:]))
    elif (labels := labels_of(data, dataset, spec.labels and folder / spec.labels)) is not None:
        modes = torch.from_numpy(labels.rows[rows][held:])
    else:
        modes = parts(x[held:], dataset.kind)
    return Source(name, dataset.kind, x[:train], x[train:held], x[held:], modes)


def distinct(values: np.ndarray) -> np.ndarray:
    """Row numbers without later copies of an earlier sample."""
    hashes = np.array([hash(value.tobytes()) for value in values])
    return np.sort(np.unique(hashes, return_index=True)[1])


def parts(x: Tensor, kind: str) -> Tensor:
    """Ten parts by k-means, where there are no classes: on both kinds of features, so that neither is favored."""
    extractor = pretrained() if kind == "image" else None
    each = [fixed_features.of_samples(x, kind), *([] if extractor is None else [extractor(x)])]
    rows = torch.cat([fixed_features.standardized(r, r) / r.shape[1] ** 0.5 for r in each], dim=1)
    return torch.cdist(rows, clusters.centers(rows, 10)).argmin(1)


class Maker:
    """Makes all sample sets of one source at one size. Each set has random numbers of its own, by its name."""

    def __init__(self, source: Source, count: int, seed: int, others: list[Source]) -> None:
        self.source, self.count, self.seed, self.others = source, count, seed, others
        self.image = source.kind == "image"

    def cases(self) -> Iterator[Case]:
        """All sets."""
        for number in range(HEALTHY if self.count < LARGE else HEALTHY_LARGE):
            yield Case(f"healthy {number}", "healthy", self.healthy(f"healthy {number}"))
        yield from self.repeated()
        yield from self.faded()
        yield from self.dropped()
        yield from self.spoiled()
        yield from self.copied()
        yield from self.foreign()
        yield from self.noise()

    def draw(self, name: str) -> np.random.RandomState:
        """The random numbers of a set."""
        words = [self.seed, self.count, *f"{self.source.name} {name}".encode()]
        return np.random.RandomState(np.random.SeedSequence(words).generate_state(1)[0])

    def rows(self, among: np.ndarray, draw: np.random.RandomState) -> Tensor:
        """Samples of the pool; with repetition only if there are too few."""
        return self.source.pool[torch.from_numpy(draw.choice(among, self.count, replace=len(among) < self.count))]

    def healthy(self, name: str) -> Tensor:
        """An independent draw."""
        return self.rows(np.arange(len(self.source.pool)), self.draw(name))

    def repeated(self) -> Iterator[Case]:
        """k samples, each as often as the others, exactly or varied; and half a set of few samples."""
        ways: dict[str, Change] = {"": unchanged, ", varied": varied} | ({", moved": moved} if self.image else {})
        for share in (0.0, 1 / 40, 1 / 12, 1 / 6, 1 / 3, 1 / 2):
            for way, change in ways.items():
                draw = self.draw(f"repeated {share:.3f}{way}")
                k = max(1, round(self.count * share * np.exp(draw.uniform(-0.1, 0.1))))
                once = self.rows(draw.choice(len(self.source.pool), k, replace=False), draw)
                yield Case(f"{k} repeated{way}", left(k / self.count), change(once, draw), k / self.count)
        for k in (1, 5):
            draw, half = self.draw(f"half of {k}"), self.count // 2
            few = self.rows(draw.choice(len(self.source.pool), k, replace=False), draw)[:half]
            made = torch.cat([varied(few, draw), self.healthy(f"half of {k}")[half:]])
            yield Case(f"half of {k} repeated, varied", "low-diversity", made, 0.5)

    def faded(self) -> Iterator[Case]:
        """Few samples that are pale, too: the more severe verdict counts. And nothing but gray."""
        draw, k = self.draw("faded"), max(1, round(self.count / 40))
        few = self.rows(draw.choice(len(self.source.pool), k, replace=False), draw)
        yield Case(f"{k} repeated, varied, paler", "collapsed", 0.4 * varied(few, draw), k / self.count)
        gray = torch.full_like(few, float(self.source.train.mean()))
        yield Case("gray throughout", "collapsed", gray, 1 / self.count)

    def dropped(self) -> Iterator[Case]:
        """Only some of the modes."""
        modes = [mode for mode in self.source.modes.unique().tolist() if mode >= 0]  # -1: not recognized
        for number, wanted in enumerate(KEPT):
            draw = self.draw(f"modes {number}")
            chosen = draw.permutation(modes)[: max(1, round(wanted * len(modes) - 1e-9))]
            inside = torch.isin(self.source.modes, torch.from_numpy(chosen)).nonzero()[:, 0].numpy()
            share = len(chosen) / len(modes)
            if share <= 0.6 or len(inside) >= self.count:  # else repetition would be what is seen
                name = f"{len(chosen)} of {len(modes)} modes, draw {number}"
                yield Case(name, left(share), self.rows(inside, draw), share)

    def spoiled(self) -> Iterator[Case]:
        """Damaged samples."""
        for damage in DAMAGES:
            for strength in damage.strengths if self.source.kind in damage.kinds else ():
                draw = self.draw(f"{damage.name} {strength:g}")
                by = strength if damage.whole else strength * float(np.exp(draw.uniform(-0.12, 0.12)))
                x = self.healthy(f"{damage.name} {strength:g}")
                word = None if self.source.name in damage.unseen else damage.word
                yield Case(f"{damage.name} {by:.3g}", word, damage.spoil(x, by, draw), by)

    def copied(self) -> Iterator[Case]:
        """Copies of the training set, all or half of the samples."""
        ways: dict[str, Change] = {"": unchanged, ", mirrored and moved": jittered}
        for share in (1.0, 0.5):
            for way, change in ways.items() if self.image else [("", unchanged), (", varied", varied)]:
                draw, kept = self.draw(f"copies {share}{way}"), round(share * self.count)
                rows = torch.from_numpy(draw.choice(len(self.source.train), kept, replace=False))
                copies = change(self.source.train[rows], draw)
                made = torch.cat([copies, self.healthy(f"copies {share}{way}")[kept:]])
                yield Case(f"copies {share:g}{way}", "memorizing", made, share)

    def foreign(self) -> Iterator[Case]:
        """Samples of another data set: all, or half of them."""
        for other in self.others:
            draw = self.draw(f"other {other.name}")
            pool = fitted(torch.cat([other.train, other.pool]), self.source.train)
            x = pool[torch.from_numpy(draw.choice(len(pool), self.count, replace=len(pool) < self.count))]
            yield Case(f"another data set: {other.name}", "artifacts", x)
            made = torch.cat([x[: self.count // 2], self.healthy(f"half {other.name}")[self.count // 2 :]])
            yield Case(f"half another data set: {other.name}", "artifacts", made)

    def noise(self) -> Iterator[Case]:
        """Nothing but noise, of several distributions."""
        shape, std = (self.count, *self.source.pool.shape[1:]), float(self.source.train.std())
        mean = float(self.source.train.mean())
        white = torch.from_numpy(self.draw("noise").standard_normal(shape)).float()
        yield Case("noise", "diverged", white.clamp(-1, 1))
        yield Case("noise of the data's contrast", "diverged", (mean + std * white).clamp(-1, 1))
        flat = torch.from_numpy(self.draw("uniform noise").uniform(-1, 1, shape)).float()
        yield Case("uniform noise", "diverged", flat)
        for ratio in (1.06, 1.2):
            yield Case(
                f"uniform noise, {ratio} times the spread", "diverged", (flat * 3**0.5 * std * ratio).clamp(-1, 1)
            )
        yield Case("black and white", "diverged", white.sign())


Change = Callable[[Tensor, np.random.RandomState], Tensor]
HEALTHY, HEALTHY_LARGE = 4, 30  # independent draws; of large sets enough to find one accusation in two hundred
LARGE = 500  # samples
KEPT = (0.1, 0.1, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.7, 0.9)


def left(share: float) -> str | None:
    """The verdict for the share that is left of the modes, or of the distinct samples."""
    if share <= 0.1:
        return "collapsed"
    if share <= 0.6:
        return "low-diversity"
    return "healthy" if share >= 0.8 else None


def scale_of(x: Tensor) -> float:
    """Strengths are those for images, whose values deviate by about a half; others are spoiled in proportion."""
    return 1.0 if x.ndim == 4 else float(x.std()) / 0.5


def unchanged(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """As they are."""
    return x


def varied(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """As a generator repeats itself: a little noise and a little brightness, never twice the same."""
    shape = (len(x), *([1] * (x.ndim - 1)))
    bright = torch.from_numpy(draw.normal(0, 0.02, shape)).float()
    change = bright + torch.from_numpy(draw.normal(0, 0.01, x.shape)).float()
    return (x + scale_of(x) * change).clamp(-1, 1)


def moved(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """Each image by up to a pixel, a little brighter or darker."""
    padded = pad(x, (1, 1, 1, 1), mode="replicate")
    h, w = x.shape[2:]
    parts = [p[:, a : a + h, b : b + w] for p, (a, b) in zip(padded, draw.randint(0, 3, (len(x), 2)), strict=True)]
    bright = torch.from_numpy(draw.normal(0, 0.02, (len(x), 1, 1, 1))).float()
    return (torch.stack(parts) + bright).clamp(-1, 1)


def jittered(x: Tensor, draw: np.random.RandomState) -> Tensor:
    """Half of the images mirrored, all moved by up to a pixel, a little brighter or darker."""
    flip = torch.from_numpy(draw.rand(len(x)) < 0.5).view(-1, 1, 1, 1)
    return moved(torch.where(flip, x.flip(3), x), draw)


def fitted(x: Tensor, like: Tensor) -> Tensor:
    """Signals of another source at the length, and with the channels and the spread, of this one."""
    if x.ndim != 3:
        return x
    x = interpolate(x, size=like.shape[2], mode="linear") if x.shape[2] != like.shape[2] else x
    x = x[:, torch.arange(like.shape[1]) % x.shape[1]]
    return ((x - x.mean()) / x.std() * like.std() + like.mean()).clamp(-1, 1)


def to_mean(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Toward the mean sample."""
    return x.mean(0) + strength * (x - x.mean(0))


def contrast(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """All values toward 0."""
    return x * strength


def blur(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A Gaussian of so many pixels at 32 px, more on larger images."""
    sigma = strength * x.shape[3] / 32
    kernel, reach = gaussian(sigma)
    kernel = kernel.view(1, 1, 1, -1).expand(x.shape[1], -1, -1, -1)
    x = conv2d(pad(x, (reach, reach, 0, 0), mode="reflect"), kernel, groups=x.shape[1])
    return conv2d(pad(x, (0, 0, reach, reach), mode="reflect"), kernel.transpose(2, 3), groups=x.shape[1])


def smooth(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A Gaussian of so many values."""
    kernel, reach = gaussian(strength)
    kernel = kernel.view(1, 1, -1).expand(x.shape[1], -1, -1)
    return conv1d(pad(x, (reach, reach), mode="reflect"), kernel, groups=x.shape[1])


def gaussian(sigma: float) -> tuple[Tensor, int]:
    """A kernel that sums to 1, and how far it reaches."""
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    return kernel / kernel.sum(), reach


def hum(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A sine of 40 periods with a random phase, of so many standard deviations."""
    phase = torch.from_numpy(draw.uniform(0, 2 * np.pi, (len(x), 1, 1))).float()
    wave = torch.sin(torch.arange(x.shape[2]) * 2 * np.pi * 40 / x.shape[2] + phase)
    return (x + strength * x.std() * wave).clamp(-1, 1)


def steps(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Signals held for so many values."""
    factor = int(strength)
    return adaptive_avg_pool1d(x, x.shape[2] // factor).repeat_interleave(factor, 2)


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
    """Images of a coarser size, enlarged again."""
    factor = int(strength)
    return avg_pool2d(x, factor).repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def jpeg(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """Compressed at this quality."""
    pixels = x.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    found = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "JPEG", quality=int(strength))
        found.append(np.asarray(Image.open(file)).reshape(image.shape))
    return to_unit(np.stack(found))


def shifted(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A share of the images moved by up to an eighth; the edge is repeated. As augmentation that leaks."""
    return _slid(x, strength, draw, "replicate")


def framed(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """The same, with gray where nothing is known."""
    return _slid(x, strength, draw, "constant")


def _slid(x: Tensor, share: float, draw: np.random.RandomState, mode: str) -> Tensor:
    x, (h, w) = x.clone(), x.shape[2:]
    most = h // 8
    for i in np.flatnonzero(draw.rand(len(x)) < share):
        down, across = draw.randint(0, 2 * most + 1, 2)
        x[i] = pad(x[i : i + 1], (most, most, most, most), mode=mode)[0, :, down : down + h, across : across + w]
    return x


def boxed(x: Tensor, strength: float, draw: np.random.RandomState) -> Tensor:
    """A share of the images with a gray box of half the side, anywhere, which may reach over the edge."""
    x, (h, w) = x.clone(), x.shape[2:]
    for i in np.flatnonzero(draw.rand(len(x)) < strength):
        top, left = draw.randint(-h // 4, h - h // 4), draw.randint(-w // 4, w - w // 4)
        x[i, :, max(top, 0) : top + h // 2, max(left, 0) : left + w // 2] = 0
    return x


Spoil = Callable[[Tensor, float, np.random.RandomState], Tensor]
EVERY, IMAGES, SIGNALS = ("image", "signal"), ("image",), ("signal",)


@dataclass(frozen=True)
class Damage:
    """A way to spoil samples."""

    name: str
    spoil: Spoil
    strengths: tuple[float, ...]
    word: str = "artifacts"
    kinds: tuple[str, ...] = field(default=IMAGES)
    whole: bool = False  # whether strengths are used as they are, instead of varied by a tenth
    unseen: tuple[str, ...] = ()  # sources in which it cannot be seen; the sets are not scored


DAMAGES = (
    Damage("pulled to the mean", to_mean, (0.62, 0.5, 0.3), "washed-out", EVERY),
    Damage("contrast", contrast, (0.62, 0.5, 0.3), "washed-out", EVERY),
    Damage("noise", noise, (12.0, 25.0, 50.0), kinds=EVERY),
    Damage("blur", blur, (1.0, 1.5, 2.0)),
    Damage("checkerboard", checkerboard, (6.0, 12.0, 25.0)),
    Damage("color cast", cast, (25.0, 40.0, 60.0)),
    Damage("blocks", blocks, (2.0, 4.0), whole=True),
    Damage("JPEG", jpeg, (8.0, 3.0), whole=True),
    Damage("smooth", smooth, (2.0, 4.0), kinds=SIGNALS),
    Damage("hum", hum, (0.3, 0.6), kinds=SIGNALS),
    Damage("steps", steps, (4.0, 8.0), kinds=SIGNALS, whole=True),
    Damage("shifted", shifted, (0.2, 0.4, 0.8), unseen=("emoji", "omniglot", "fashion", "shapes")),
    Damage("framed", framed, (0.2, 0.4, 0.8)),
    Damage("gray boxes", boxed, (0.2, 0.4, 0.8)),
)
