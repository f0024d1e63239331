import pytest
from conftest import resolved_config, tiny_config

from gancli.config import combinations
from gancli.errors import ConfigError

MLP = {
    "network": {
        "family": "mlp", "generator": {"hidden": [8]}, "critic": {"hidden": [8]},
    },
    "loss": {"adversarial": "non-saturating"}, "train": {"batch_size": 16, "duration": 100},
}  # fmt: skip


def mlp(shape=(3, 8, 8), **sections):
    values = {**MLP, **{name: {**MLP.get(name, {}), **values} for name, values in sections.items()}}
    return resolved_config({}, values, shape)


def projected(shape, loss=None, anneal=None, **more):
    network = {"family": "projected", "resolution": 16, "channels": [8, 8, 8], **more}
    values = {"network": network, "train": {"batch_size": 4, "duration": 100}}
    given = {"loss": loss, "anneal": anneal}
    return resolved_config({}, values | {key: value for key, value in given.items() if value is not None}, shape)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (mlp(network={"output": "bn-tanh"}, train={"batch_size": 1}), "batch norm needs a batch size of at least 2"),
        (mlp(network={"critic": {"hidden": [8], "norm": "batch"}}, train={"batch_size": 1}), "batch norm"),
        (mlp(loss={"moments": {}}, train={"batch_size": 1}), "the variance of one sample is 0"),
        (mlp((2, 60), data={"mirror": True}), "only images can be mirrored"),
        (mlp(loss={"perceptual": {}}), "perceptual loss needs a super-resolution network"),
        (mlp(loss={"adversarial": "none"}), "no loss is set"),
        (projected((4, 16, 16)), "no alpha channel"),
        (projected((3, 16, 16), pack=2), "take single samples"),
        (projected((3, 16, 16), minibatch_std={"group_size": 4}), "no minibatch std"),
        (projected((3, 16, 16), loss={"top_k": 0.5}), "several scores"),
        (projected((3, 16, 16), anneal={"top_k": {"end": 0.5}}), "several scores"),
        (mlp(network={"pack": 2, "critic": {"hidden": [8], "norm": "batch"}}, train={"batch_size": 2}), "2 packs in a"),
        (mlp(network={"pack": 3}, train={"batch_size": 16}), "a batch is not divisible into packs of 3"),
        (tiny_config(network__pack=4, growth__at={8: {"batch_size": 6}}), "not divisible into packs of 4"),
        (mlp(loss={"consistency": 10}), "there is no augmentation"),
        (mlp((2,), augment={"noise": 0.5}), "points cannot be augmented"),
        (mlp((2, 60), augment={"color": 0.5}), "signals have no such augmentation"),
        (mlp(augment={"warp": 0.5}), "images have no such augmentation"),
        (mlp(augment={"target": 0.5}, data={"held_out": 0.0}), "steering needs held-out samples"),
    ],
)
def test_conflicts_are_errors(config, reason):
    """Before training."""
    with pytest.raises(ConfigError, match=reason):
        combinations.refuse(config)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (mlp(network={"critic": {"hidden": [8], "norm": "batch"}}, loss={"r1": 1}), "depends on its whole batch"),
        (mlp(network={"output": "bn-clip"}, train={"critic_fakes": "eval"}), "lag behind"),
        (mlp(loss={"adversarial": "wasserstein"}), "unbounded"),
        (mlp(loss={"moments": {}}, train={"batch_size": 8}), "mostly noise"),
        (mlp(network={"freeze_output": True}), "freeze_output has no effect"),
        (mlp(train={"critic_fakes": "eval"}), "no effect without batch norm"),
        (projected((3, 16, 16), equalized_lr=True), "no effect in projected networks"),
        (mlp(anneal={"augment": {"end": 1}}), "no effect without the section augment"),
        (mlp(anneal={"penalty": {"end": 1}}), "no effect without loss.r1"),
    ],
)
def test_problematic_settings_are_warnings(config, reason):
    """Training works, with a warning."""
    combinations.refuse(config)
    assert any(reason in warning for warning in combinations.warnings(config))


@pytest.mark.parametrize(
    "config",
    [
        mlp(),
        mlp(network={"output": "bn-clip"}, train={"critic_fakes": "eval", "lr": 1e-5}),
        mlp(network={"critic": {"hidden": [8], "norm": "layer"}}, loss={"r1": 1}),
        mlp(loss={"moments": {"over": "channel"}}, train={"batch_size": 16}),
        tiny_config(),
    ],
)
def test_valid_settings_have_no_warnings(config):
    """No false warnings."""
    combinations.refuse(config)
    assert combinations.warnings(config) == []
