"""Settings that conflict: an error if training cannot work, otherwise a warning. Pure functions."""

from collections.abc import Iterator

from gancli.config.family import largest_divisor
from gancli.config.schema import Config, ResolvedConfig
from gancli.errors import ConfigError

FAST = 5e-5  # generator learning rate above which the running statistics of batch norm lag behind the weights


def refuse(config: ResolvedConfig) -> None:
    """Raise ConfigError if settings of a resolved config cannot work together."""
    for what, where, hint in _impossible(config):
        raise ConfigError(what, where=where, hint=hint)


def smallest_batch(config: Config) -> int:
    """The smallest batch size that the settings take; its multiples are taken, too."""
    (of_G, of_D), moments, pack = config.network.uses_batch_norm, config.loss.moments, config.network.pack
    several = of_G or (moments is not None and moments.over != "channel")  # whose variance is not 0
    return 2 * pack if of_D or (several and pack == 1) else pack


def _impossible(config: ResolvedConfig) -> list[tuple[str, str, str]]:
    """(what, where, hint) of each conflict."""
    loss, smallest, found = config.loss, min(_batches(config)), []
    of_G, of_D = config.network.uses_batch_norm
    more = "use --batch 2 or more, better 16"
    if smallest < 2 and (of_G or of_D):
        found.append(("batch norm needs a batch size of at least 2", "train.batch_size", more))
    if smallest < 2 and loss.moments is not None and loss.moments.over != "channel":
        found.append(
            ("moments need a batch size of at least 2: the variance of one sample is 0", "train.batch_size", more)
        )
    if config.data.mirror and config.samples.kind != "image":
        found.append((f"only images can be mirrored, not {config.samples.kind} data", "data.mirror", "set it to false"))
    found += _impossible_augment(config)
    found += _impossible_packs(config)
    found += _impossible_shards(config)
    if config.network.uses_pretrained and config.samples.shape[0] == 4:
        found.append(("the trained features have no alpha channel", "data.channels", "use --channels 3"))
    if loss.perceptual is not None and (not config.network.enlarges or config.samples.shape[0] == 4):
        hint = "remove it, or use superres-4x with images of 1 or 3 channels"
        found.append(
            (
                "a perceptual loss needs a super-resolution network and images of 1 or 3 channels",
                "loss.perceptual",
                hint,
            )
        )
    if loss.adversarial == "none" and loss.perceptual is None:
        hint = "use wasserstein, non-saturating, hinge, least-squares or relativistic"
        found.append(("no loss is set: adversarial is none and perceptual is missing", "loss.adversarial", hint))
    return found


def _impossible_packs(config: ResolvedConfig) -> Iterator[tuple[str, str, str]]:
    """Packs that do not fit; what the critic of trained features does not take; consistency without augmentation."""
    pack, trained = config.network.pack, config.network.uses_pretrained
    if any(batch % pack for batch in _batches(config)):
        yield f"a batch is not divisible into packs of {pack}", "network.pack", f"use a batch size divisible by {pack}"
    if config.network.uses_batch_norm[1] and min(_batches(config)) // pack < 2:
        yield "batch norm in the critic needs at least 2 packs in a batch", "network.pack", "use a larger --batch"
    if trained and pack > 1:
        yield "the trained features take single samples", "network.pack", "set it to 1"
    if trained and config.network.minibatch_std is not None:
        yield "the critic of trained features has no minibatch std", "network.minibatch_std", "set it to null"
    for where, top_k in (("loss.top_k", config.loss.top_k < 1), ("anneal.top_k", config.anneal.top_k is not None)):
        if trained and top_k:
            yield "the critic of trained features gives several scores a sample, not one", where, "remove it"
    if config.loss.consistency and config.augment is None:
        what = "consistency compares two augmentations of a sample, and there is no augmentation"
        yield what, "loss.consistency", "add the section augment, such as augment.translation=1"


def _impossible_shards(config: ResolvedConfig) -> Iterator[tuple[str, str, str]]:
    """Shards that do not divide a batch, or in which what couples samples would be another computation."""
    shards, network, moments = config.shards, config.network, config.loss.moments
    if shards == 1:
        return
    where, spread = "train.shards", network.minibatch_std
    for batch in sorted(set(_batches(config))):
        if batch % shards:
            yield f"a batch of {batch} cannot be divided into {shards} shards", where, f"use {_divisors(batch)}"
            return
        part, pack = batch // shards, network.pack
        if part % pack:
            yield f"a shard of {part} samples is not divisible into packs of {pack}", where, "use fewer shards"
            return
        if part < 2 and (any(network.uses_batch_norm) or (moments is not None and moments.over != "channel")):
            yield "batch norm and moments need at least 2 samples in a shard", where, "use fewer shards"
        if part // pack < 2 and network.uses_batch_norm[1]:
            yield "batch norm in the critic needs at least 2 packs in a shard", where, "use fewer shards"
        if spread is not None and spread.group_size != "all":
            whole, own = (largest_divisor(n // pack, spread.group_size) for n in (batch, part))
            if whole != own:
                what = (
                    f"a shard of {part} samples cannot hold the minibatch-std groups of {whole} of a batch of {batch}"
                )
                yield what, where, "use fewer shards, or a smaller network.minibatch_std.group_size"
    if spread is not None and spread.group_size == "all":
        what = "minibatch std over the whole batch (group_size: all) cannot be divided into shards"
        yield what, where, "set network.minibatch_std.group_size to a number"


def _divisors(batch: int) -> str:
    """ "1, 2 or 4": the numbers of shards of a batch, up to 16."""
    *more, last = [str(n) for n in range(1, min(batch, 16) + 1) if batch % n == 0]
    return f"{', '.join(more)} or {last}" if more else last


IMAGES_ONLY, SIGNALS_ONLY = ("color", "rotation", "flip", "cutout"), ("warp",)


def _impossible_augment(config: ResolvedConfig) -> Iterator[tuple[str, str, str]]:
    """Operations that do not fit the kind of data, and steering without held-out samples."""
    kind, augment = config.samples.kind, config.augment
    if augment is None:
        return
    if kind == "points":
        yield "points cannot be augmented", "augment", "remove it"
        return
    for name in SIGNALS_ONLY if kind == "image" else IMAGES_ONLY:
        if getattr(augment, name):
            yield f"{kind}s have no such augmentation", f"augment.{name}", "set it to 0"
    if augment.target is not None and not config.data.held_out:
        what = "steering needs held-out samples, which show whether the critic overfits"
        yield what, "augment.target", "set data.held_out to 0.05, or use a fixed augment.p"


def warnings(config: ResolvedConfig) -> list[str]:
    """Warnings about the settings of a resolved config, shown before training starts."""
    loss, train, found = config.loss, config.train, []
    of_G, of_D = config.network.uses_batch_norm
    if of_D and (loss.gradient_penalty or loss.r1 or loss.r2):
        found.append(
            "batch norm in the critic with a gradient penalty: the gradient of a sample depends on its whole batch, "
            "so the penalty is not effective; use norm: layer or none"
        )
    rate = config.train.lr * config.optimizer.generator_lr_factor
    if of_G and train.critic_fakes == "eval" and rate > FAST:
        found.append(
            f"critic_fakes: eval with a generator learning rate of {rate:g}: the running statistics of batch norm "
            f"lag behind the weights; use {FAST:g} or less, or critic_fakes: train"
        )
    if loss.adversarial == "wasserstein" and not loss.gradient_penalty:
        found.append("the Wasserstein loss without a gradient penalty is unbounded: set loss.gradient_penalty to 10")
    anneal = config.anneal
    if anneal.augment is not None and config.augment is None:
        found.append("anneal.augment has no effect without the section augment")
    if anneal.penalty is not None and not (loss.r1 or loss.r2 or loss.gradient_penalty):
        found.append("anneal.penalty has no effect without loss.r1, loss.r2 or loss.gradient_penalty")
    if loss.moments is not None and min(_batches(config)) < 16:
        found.append(
            "moments of a batch smaller than 16 are mostly noise: use a larger --batch, or loss.moments.over=channel"
        )
    if loss.perceptual is not None and loss.perceptual.features is None:
        found.append(
            "the perceptual loss uses random VGG-16 weights; for trained ones use --features FILE (a state dict)"
        )
    network = config.network
    if getattr(network, "init_std", None) is not None and network.equalized_lr:
        found.append("network.init_std has no effect with equalized_lr, which initializes from N(0, 1)")
    if network.equalized_lr and network.family in ("residual", "projected"):
        found.append(f"network.equalized_lr has no effect in {network.family} networks")
    if network.freeze_output and not network.output.startswith("bn-"):
        found.append(f"network.freeze_output has no effect with output: {network.output}")
    if train.critic_fakes == "eval" and not of_G:
        found.append("train.critic_fakes: eval has no effect without batch norm, except that shared_fakes is not used")
    return found


def _batches(config: ResolvedConfig) -> list[int]:
    """The batch size, and those of single resolutions."""
    own = [stage.batch_size for stage in config.growth.at.values() if stage.batch_size is not None]
    return [config.train.batch_size, *own]
