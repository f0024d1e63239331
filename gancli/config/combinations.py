"""Switches that do not go together: refused where nothing could come of them, else said aloud. Pure functions."""

from gancli.config.schema import ResolvedConfig
from gancli.errors import ConfigError

FAST = 5e-5  # a generator's learning rate at which weights outrun batch norm's moving statistics


def refuse(config: ResolvedConfig) -> None:
    """Raise ConfigError, with the reason, where the switches of a resolved config cannot work together."""
    for what, where, hint in _impossible(config):
        raise ConfigError(what, where=where, hint=hint)


def _impossible(config: ResolvedConfig) -> list[tuple[str, str, str]]:
    """(what, where, hint) of everything that cannot work."""
    loss, smallest, found = config.loss, _smallest_batch(config), []
    of_G, of_D = config.network.uses_batch_norm
    more = "--batch 16 or more"
    if smallest < 2 and (of_G or of_D):
        found.append(("batch norm needs a batch of 2 or more: one sample has no variance", "train.batch_size", more))
    if smallest < 2 and loss.moments is not None and loss.moments.over != "channel":
        found.append(("the variance of a batch of 1 is 0: moments need 2 or more", "train.batch_size", more))
    if config.data.mirror and config.samples.kind != "image":
        found.append((f"only pictures can be mirrored, not {config.samples.kind} data", "data.mirror", "leave it out"))
    if loss.perceptual is not None and (not config.network.enlarges or config.samples.shape[0] == 4):
        hint = "leave it out, or take superres-4x with pictures of 1 or 3 channels"
        found.append(("a perceptual loss compares a picture with the one it should be", "loss.perceptual", hint))
    if loss.adversarial == "none" and loss.perceptual is None:
        hint = "wasserstein, non-saturating, hinge, least-squares or relativistic"
        found.append(("without a critic nothing tells latents what to become", "loss.adversarial", hint))
    return found


def warnings(config: ResolvedConfig) -> list[str]:
    """What a person should know of the switches of a resolved config before the training starts."""
    loss, train, found = config.loss, config.train, []
    of_G, of_D = config.network.uses_batch_norm
    if of_D and (loss.gradient_penalty or loss.r1 or loss.r2):
        found.append(
            "batch norm in the critic under a gradient penalty: a sample's gradient then depends on its batch-mates, "
            "so the penalty holds nothing; take norm: layer, or none"
        )
    rate = config.train.lr * config.optimizer.generator_lr_factor
    if of_G and train.critic_fakes == "eval" and rate > FAST:
        found.append(
            f"critic_fakes: eval with a generator rate of {rate:g}: the weights outrun batch norm's moving statistics; "
            f"take {FAST:g} or less, or critic_fakes: train"
        )
    if loss.adversarial == "wasserstein" and not loss.gradient_penalty:
        found.append("the Wasserstein loss without a gradient penalty is unbounded: set loss.gradient_penalty to 10")
    if loss.moments is not None and _smallest_batch(config) < 16:
        found.append("moments of a batch under 16 are mostly noise: a larger --batch, or loss.moments.over=channel")
    if loss.perceptual is not None and loss.perceptual.features is None:
        found.append(
            "the perceptual loss uses fixed random weights, which have seen no picture; "
            "VGG-16's own: --features FILE, a state dict"
        )
    network = config.network
    if getattr(network, "init_std", None) is not None and network.equalized_lr:
        found.append("network.init_std does nothing with equalized_lr, which draws at N(0, 1)")
    if network.freeze_output and not network.output.startswith("bn-"):
        found.append(f"network.freeze_output does nothing with output: {network.output}")
    if train.critic_fakes == "eval" and not of_G:
        found.append("train.critic_fakes: eval does nothing without batch norm, and draws the generator's fakes anew")
    return found


def _smallest_batch(config: ResolvedConfig) -> int:
    own = [stage.batch_size for stage in config.growth.at.values() if stage.batch_size is not None]
    return min([config.train.batch_size, *own])
