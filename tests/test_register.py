"""Custom losses and network families."""

from typing import Literal

import pytest
import torch
from conftest import make_pictures
from torch import nn

import gancli
from gancli.config import family, networks, schema
from gancli.config import load as load_preset
from gancli.errors import ConfigError
from gancli.losses import ADVERSARIAL
from gancli.networks import Critic, Generator
from gancli.networks.build import MAKERS


class TinyConfig(family.FixedFamily):
    """One hidden layer."""

    family: Literal["tiny-pair"]
    hidden: int = 4


class TinyGenerator(Generator):
    def __init__(self, config, shape, moments=None):
        super().__init__(config, shape, moments)
        self.shape = shape
        self.layers = nn.Sequential(
            nn.Linear(config.z_dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, torch.Size(shape).numel())
        )

    def body(self, z, stage=None, alpha=1.0):
        return self.layers(z).unflatten(1, self.shape)


class TinyCritic(Critic):
    def __init__(self, config, shape):
        super().__init__(config, config.hidden)
        self.layer, self.score = nn.Linear(torch.Size(shape).numel(), config.hidden), nn.Linear(config.hidden, 1)

    def features(self, x, stage=None, alpha=1.0):
        return torch.relu(self.layer(x.flatten(1)))

    def head(self, h):
        return self.score(h)


PRESET = """
network: {family: tiny-pair, hidden: 6, z_dim: 3, resolution: 8, output: tanh}
loss: {adversarial: steep-hinge}
train: {batch_size: 8, duration: 64}
"""


@pytest.fixture
def registered():
    """Register both names, and remove them afterwards."""
    gancli.register_family(TinyConfig, TinyGenerator, TinyCritic)
    gancli.register_loss("steep-hinge", lambda d_x, d_y: (2 - d_x + d_y).relu(), lambda d_x, d_y: -d_y)
    yield
    for table in (networks.FAMILIES, MAKERS):
        table.pop("tiny-pair", None)
    ADVERSARIAL.pop("steep-hinge", None)
    schema.LOSSES.discard("steep-hinge")


@pytest.mark.usefixtures("registered")
def test_custom_networks_and_a_custom_loss_train_resume_and_sample(tmp_path):
    """By name in a preset, like built-in ones; the same arguments give the same weights."""
    (tmp_path / "mine.yaml").write_text(PRESET)
    data = str(make_pictures(tmp_path / "pictures", 24))

    first, second = (
        gancli.train(str(tmp_path / "mine.yaml"), data, outdir=tmp_path / out, threads=1) for out in ("a", "b")
    )
    again = gancli.train(str(tmp_path / "mine.yaml"), data, outdir=tmp_path / "a", threads=1)

    pictures = [gancli.load(report.run).sample(range(4)) for report in (first, second)]
    assert pictures[0].shape == (4, 3, 8, 8)
    assert torch.equal(*pictures)
    assert again.state == "already finished"


@pytest.mark.usefixtures("registered")
def test_the_fields_of_a_custom_family_are_the_keys_of_a_preset(tmp_path):
    """An unknown key is an error with the closest name."""
    (tmp_path / "mine.yaml").write_text(PRESET.replace("hidden", "hiden"))
    with pytest.raises(ConfigError, match="unknown key 'hiden'") as error:
        load_preset(str(tmp_path / "mine.yaml"))
    assert "hidden" in error.value.hint


def test_what_is_not_registered_is_refused_by_name(tmp_path):
    """Also in a checkpoint."""
    (tmp_path / "mine.yaml").write_text(PRESET)
    with pytest.raises(ConfigError, match="unknown network family 'tiny-pair'"):
        load_preset(str(tmp_path / "mine.yaml"))


def test_built_in_names_cannot_be_registered():
    """Built-in names always mean the same."""
    with pytest.raises(ValueError, match="hinge"):
        gancli.register_loss("hinge", ADVERSARIAL["hinge"].critic, ADVERSARIAL["hinge"].generator)
    with pytest.raises(ValueError, match="conv"):
        gancli.register_family(networks.ConvConfig, TinyGenerator, TinyCritic)


def test_names_of_the_config_and_of_the_code_agree():
    """All names in configs are implemented."""
    assert set(ADVERSARIAL) | {"none"} == schema.LOSSES
    assert networks.FAMILIES.keys() == MAKERS.keys()
