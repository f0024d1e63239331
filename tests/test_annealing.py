"""Settings that follow half a cosine. That training uses them at every step is in test_equations."""

import math
from types import SimpleNamespace

import pytest
import torch
from conftest import tiny_config

import gancli
from gancli import annealing
from gancli.config.schema import Cosine, LossConfig
from gancli.errors import ConfigError
from gancli.runs import Run
from gancli.training.state import TrainState
from gancli.training.step import adversarial


@pytest.mark.parametrize(("images", "expected"), [(0, 2), (250, 1.5), (500, 1), (999, 1)])
def test_half_a_cosine(images, expected):
    """From start to end over a fraction of the training; the middle is halfway; constant afterwards."""
    assert annealing.value(Cosine(start=2, end=1, over=0.5), images, 1000) == pytest.approx(expected)


def test_a_third_of_the_way_is_a_quarter_of_the_change():
    """(1 - cos(pi / 3)) / 2 = 1/4: it starts and ends slowly."""
    assert annealing.value(Cosine(start=0, end=8), 100, 300) == pytest.approx(2)


def test_only_what_is_named_changes():
    """Without a curve: learning rate, betas and penalties as they are."""
    config = tiny_config()
    assert annealing.lr_factor(config, 80, 160) == 1
    assert annealing.betas_at(config, 80) == config.optimizer.betas
    assert annealing.loss_at(config, 80) is config.loss


def test_penalties_keep_their_proportions():
    """R1, R2 and the gradient penalty have the same factor; the drift penalty none."""
    loss = {"adversarial": "relativistic", "r1": 2, "r2": 4, "gradient_penalty": 10, "drift": 1}
    config = tiny_config(loss=loss, anneal={"penalty": {"end": 0.5}})
    found = annealing.loss_at(config, 160)
    assert (found.r1, found.r2, found.gradient_penalty, found.drift) == (1, 2, 5, 1)


def test_at_least_one_fake_is_kept():
    """top_k may end at 0, and 0.28 of 25 are 7."""
    x = torch.zeros(25, 1)
    view = SimpleNamespace(scores=lambda y: y[:, 0])
    for share, kept in ((1e-9, 1), (0.28, 7), (0.281, 8)):
        y = torch.arange(25.0)[:, None]
        loss = adversarial(view, x, y, LossConfig(adversarial="wasserstein", top_k=share))
        assert loss.item() == -torch.arange(25.0)[-kept:].mean().item()


def test_a_longer_run_stretches_the_curves():
    """Those that differ where the run stands; none if the duration is the same."""
    config = tiny_config(anneal={"penalty": {"end": 0.1}, "lr": {"end": 0.5, "over": 0.1}, "top_k": {"end": 1}})
    assert annealing.stretched(config, 100, (160, 320)) == ["penalty"]
    assert annealing.stretched(config, 20, (160, 320)) == ["lr", "penalty"]
    assert annealing.stretched(config, 100, (160, 160)) == []


def test_augmentation_can_start_at_zero():
    """As in R3GAN: p rises to its value over the run. Off: no number."""
    config = tiny_config(augment={"color": 1, "p": 0.3}, anneal={"augment": {"start": 0, "end": 1}})
    state = TrainState.fresh(config, torch.device("cpu"))
    found = []
    for state.images in (0, 80, 160):
        found.append(state.augment_p(config))
    assert found == pytest.approx([0, 0.15, 0.3])
    assert math.isnan(state.augment_p(tiny_config()))


@pytest.mark.parametrize(
    "wrong", [{"lr": {}}, {"lr": {"end": -1}}, {"lr": {"end": 1, "over": 0}}, {"beta2": {"end": 1}}]
)
def test_curves_that_cannot_be(wrong):
    """No end, a negative factor, no length, a beta of 1."""
    with pytest.raises(ConfigError, match="anneal"):
        tiny_config(anneal=wrong)


def test_a_transfer_keeps_the_average_that_it_starts_from(tmp_path, tiny, pictures):
    """The curve of the half-life starts at 0 and would replace it by the raw weights at the first step."""
    curve, brief = {"anneal.ema_half_life": {"start": 0, "end": 1}}, {"train.duration": 16}
    source = gancli.train(tiny, str(pictures), outdir=tmp_path / "a", changes=curve).run
    moved = gancli.train(data=str(pictures), start_from=source, outdir=tmp_path / "b", changes=brief).run
    assert Run(moved).config().anneal.ema_half_life is None
