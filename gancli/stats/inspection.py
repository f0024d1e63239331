"""Options of an inspection, and results before any figure is computed."""

from dataclasses import dataclass, replace
from pathlib import Path

from gancli import devices
from gancli.checkpoint import Opened
from gancli.health import Health
from gancli.networks.feature_extractors import FeatureExtractor, pretrained
from gancli.pool import Pool
from gancli.results import Progress
from gancli.sampling import Generator
from gancli.stats.verdict import decide


@dataclass(frozen=True)
class How:
    """Options of an inspection."""

    samples: int  # per side, at most
    quick: bool
    slow: bool  # also the figures that take longest
    network: FeatureExtractor | None  # of the user, for FID
    labels: str | Path | None  # file of labels
    device: str
    progress: Progress
    pool: Pool | None = None

    def extractor(self, kind: str) -> FeatureExtractor | None:
        """Trained features, if they are installed and the samples are images."""
        found = pretrained(str(devices.choose(self.device))) if kind == "image" else None
        return found and replace(found, pool=self.pool)

    def generator(self, opened: Opened, *, raw: bool) -> Generator:
        """The generator of a checkpoint."""
        return replace(Generator.of(opened, raw=raw, device=self.device), pool=self.pool)


def undecided(count: int, weights: str, source: str, reals: str, kind: str, how: How) -> Health:
    """A Health with the verdict `undecided`, before any figure is computed."""
    return Health(
        "undecided",
        "low",
        (),
        samples=count,
        weights=weights,
        source=source,
        reals=reals,
        kind=kind,
        quick=not how.slow,
    )


def too_few(health: Health) -> Health:
    """This Health, with the reason that there are too few samples."""
    few = decide((), health.samples, None)
    return replace(health, verdict=few.word, confidence=few.confidence, evidence=few.evidence)
