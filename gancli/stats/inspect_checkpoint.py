"""Evaluate a checkpoint against real data."""

from dataclasses import replace

from gancli.checkpoint import Opened
from gancli.config import ResolvedConfig
from gancli.config.family import USUAL_SIZE
from gancli.config.networks import ProgressiveConfig
from gancli.data import Dataset, Shape, open_dataset
from gancli.data.labels import labels_of
from gancli.errors import DataError, InputMissing
from gancli.growth import Schedule
from gancli.health import Health
from gancli.networks.feature_extractors import SHA256, FeatureExtractor
from gancli.results import Progress
from gancli.sampling import Generator
from gancli.stats import figures, sample_sets
from gancli.stats.comparison import Comparison
from gancli.stats.evaluate import evaluate
from gancli.stats.inspection import How, too_few, undecided
from gancli.stats.known_modes import mode_counter
from gancli.stats.sample_sets import FIRST_SEED
from gancli.stats.verdict import MIN_SAMPLES

EARLY = 0.1  # share of the schedule below which nothing is decided
EVEN_SMALL = ("collapsed", "low-diversity", "memorizing")  # verdicts that hold before full size, too


def of_checkpoint(opened: Opened, dataset: Dataset, how: How, *, raw: bool) -> Health:
    """Evaluate the EMA and, unless quick, the raw weights of a checkpoint. The verdict is of the EMA unless `raw`."""
    config, source = opened.config, dataset.report.source
    count, names = min(how.samples, len(dataset.values) // 2), ("raw", "ema") if raw else ("ema", "raw")
    base = undecided(count, names[0], str(opened.path), source, dataset.kind, how)
    if count < MIN_SAMPLES:
        return too_few(base)
    first = how.generator(opened, raw=raw)
    trained = dataset.fingerprint == config.samples.fingerprint and not first.network.enlarges
    labels, extractor = labels_of(source, dataset, how.labels), how.extractor(dataset.kind)
    if extractor is not None and extractor.digest == trained_against(config):
        why = f"content compared by fixed features, because the generator was trained against {extractor.name}"
        extractor, base = None, replace(base, compared_by=why)
    reals = sample_sets.of_generator(first, dataset, trained=trained, labels=labels, extractor=extractor)
    reference, rows = reals.reference(count, quick=how.quick, progress=how.progress)
    count_modes = mode_counter(
        source if config.data.source == source else "", config.samples.center, config.samples.scale
    )

    used, critic = _used(config), sample_sets.critic_features(first)

    def evaluated(generator: Generator, network: FeatureExtractor | None, *, quick: bool) -> Health:
        fakes = sample_sets.generated(generator, reference.others, how.progress)
        c = Comparison(fakes, reference, critic, network, count_modes)
        seeds = range(FIRST_SEED, FIRST_SEED + count)
        health = evaluate(base, c, seeds, reals=reals.both(count), rows=rows, quick=quick, progress=how.progress)
        return _early(replace(health, panel=figures.advised(health.panel, used)), generator)

    health = evaluated(first, how.network, quick=not how.slow)
    if how.network is not None and how.network.digest == trained_against(config):
        too_low = "the generator was trained against the network of --features: its FID and KID are too low"
        health = replace(health, evidence=(*health.evidence, too_low))
    if how.quick or not {"G", "ema"} <= opened.weights.keys():
        return health
    other = evaluated(how.generator(opened, raw=not raw), None, quick=True)
    evidence = health.evidence
    if other.verdict != health.verdict:
        evidence += (f"the verdict on the {names[1]} weights differs: {other.verdict}",)
    return replace(health, evidence=evidence, raw_verdict=health.verdict if raw else other.verdict)


def _early(health: Health, generator: Generator) -> Health:
    """Replace the verdict by `undecided` in the first tenth of the schedule, and before full size for most verdicts."""
    phase, opened = generator.phase, generator.checkpoint
    share, last = trained_share(opened), opened.config.full_height
    if share < EARLY:
        why = f"only {share:.1%} of the schedule is trained; a verdict needs {EARLY:.0%}"
    elif (phase.height < last or phase.alpha < 1) and health.verdict not in EVEN_SMALL:
        why = f"the network is still growing: {phase.height} of {last} px, alpha {phase.alpha:.2f}"
    else:
        return health
    found = f"ignoring this, the verdict would be {health.verdict}"
    evidence = (why, *health.evidence, *([found] if health.verdict != "undecided" else []))
    return replace(health, verdict="undecided", confidence="low", right=None, evidence=evidence)


def trained_share(opened: Opened) -> float:
    """Trained share of the schedule, or of a longer duration; 1 if the run started from trained weights."""
    config = opened.config
    planned = max(config.train.duration, Schedule.of(config).total)
    return 1.0 if config.origin else min(1.0, opened.images / planned)


def reals_of(opened: Opened, data: str | None, progress: Progress) -> Dataset:
    """The training data of the checkpoint, or the given data. Raises InputMissing if the training data has changed."""
    config = opened.config
    source = data or config.data.source
    if source is None:
        raise InputMissing(
            "the checkpoint does not name its training data", where="DATA", hint="give DATA after the checkpoint"
        )
    dataset = _opened(opened, source, config.data.channels, progress)
    shape = dataset.sample_shape
    both_pictures = len(shape) == len(config.samples.shape) == 3
    if both_pictures and shape[0] != config.samples.shape[0]:  # gray data, color generator
        dataset = _opened(opened, source, config.samples.shape[0], progress)
        shape = dataset.sample_shape
    if shape != config.samples.shape:
        what = f"the generator makes samples of shape {config.samples.shape}, the data has {shape}"
        raise DataError(what, where=source, hint="give data with the shape of the training data")
    if data is None and dataset.fingerprint != config.samples.fingerprint:
        raise InputMissing(
            "the data has changed since training", where=source, hint="give DATA explicitly to compare with it anyway"
        )
    return dataset


def _opened(opened: Opened, source: str, channels: int | None, progress: Progress) -> Dataset:
    config = opened.config
    height, width = config.network.picture_size or USUAL_SIZE
    shape = Shape(height, width, channels, config.data.fit)
    return open_dataset(source, shape, held_out=config.data.held_out, progress=progress)


def trained_against(config: ResolvedConfig) -> str | None:
    """Digest of the weights of the feature network that the generator was trained against; None: without one."""
    if config.network.uses_pretrained:
        return SHA256
    return None if config.loss.perceptual is None else config.loss.perceptual.digest


def _used(config: ResolvedConfig) -> set[str]:
    """Advice that does not apply: techniques that the config already uses or cannot use."""
    network = config.network
    rough = isinstance(network, ProgressiveConfig) and not (network.upsampling == "bilinear" and network.noise)
    used = {
        figures.SMOOTHER: not rough,
        figures.MINIBATCH_STD: network.minibatch_std is not None or network.uses_pretrained,
        figures.TRUNCATED: True,
        figures.MIRROR: config.data.mirror or config.samples.kind != "image",
        figures.BN_CLIP: network.output == "bn-clip",
        figures.LESS_AUGMENTATION: config.augment is None,
    }
    return {name for name, on in used.items() if on}
