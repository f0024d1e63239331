import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import resolved_config

from gancli import config as configs
from gancli.config import presets
from gancli.critic_view import CriticView
from gancli.folders import preset_names
from gancli.growth import Schedule
from gancli.networks import build
from gancli.training.step import critic_loss

ROOT = Path(__file__).parents[1]
SHIPPED = [
    "bn-mlp-28",
    "grid25",
    "iwgan-32",
    "iwgan-32-lite",
    "minibatch-std-128",
    "moments-1",
    "moments-2",
    "moments-3",
    "moments-4",
    "moments-5",
    "moments-6",
    "moments-7",
    "moments-conv",
    "progan-1024",
    "progan-128",
    "progan-128-lite",
    "progan-256",
    "progan-64",
    "progan-64-lite",
    "projected-128",
    "projected-64",
    "quickstart",
    "quickstart-collapse",
    "r3gan-128",
    "r3gan-32-lite",
    "r3gan-64",
    "r3gan-64-lite",
    "r3gan-64-paper",
    "ring8",
    "signal-1d",
    "stacked-mnist-1000",
    "superres-4x",
]


def test_every_preset_is_listed():
    """All names are listed."""
    assert preset_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_preset_has_a_header_comment(name):
    """Description, command and source; no placeholders."""
    story = presets.story(name)

    assert story.startswith(f"{name}: ")
    assert f"--preset {name}" in story or name == "quickstart"
    assert "Source:" in story
    assert "COST" not in story
    assert "<measured>" not in story


def resolved(name):
    """A preset with fake data properties and few channels."""
    network = configs.load(name).network
    few = {
        "progressive": {"network.max_channels": 8},
        "conv": {"network.width": 0.05},
        "residual": {"network.blocks": 1},
    }.get(network.family, {})
    if network.family == "residual":
        few["network.channels"] = [16] * len(network.channels)
    size = network.picture_size
    shape = (3, *size) if size else (3, 60) if name == "signal-1d" else (2,)
    return resolved_config({**few, "train.duration": 8}, name, shape)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_preset_builds_and_its_critic_learns(name):
    """At its first stage, with few channels: all loss terms are finite and have gradients."""
    config = resolved(name)
    phase = Schedule.of(config).phase_at(0)
    pair = build(config)
    draw = torch.Generator().manual_seed(0)
    channels, *space = config.samples.shape
    x = torch.randn(4, channels, *(config.sizes[0] if len(space) == 2 else space), generator=draw)
    z = x[..., ::4, ::4] if config.network.enlarges else torch.randn(4, config.network.z_dim, generator=draw)
    y = pair.G(z, phase.stage, phase.alpha)
    if config.loss.adversarial == "none":
        config = presets.build_resolved(configs.overrides.apply(config.model_dump(), {"loss.adversarial": "hinge"}), "")

    losses = critic_loss(CriticView(pair.D, phase), x, y, torch.rand(4, generator=draw), config.loss, penalize=True)
    losses["critic_loss"].backward()

    assert all(value.isfinite() for value in losses.values())
    assert sum(p.grad.abs().sum() for p in pair.D.parameters() if p.grad is not None) > 0


def test_the_paper_s_schedule():
    """800 kimg of fade and 800 stable per resolution; batch 16, 14 at 256, 6 at 512, 3 at 1024 px; 19,000 kimg."""
    config = resolved_config({}, "progan-1024")

    phases = {phase.height: phase for phase in Schedule.of(config).phases}

    assert [phases[px].batch_size for px in (4, 128, 256, 512, 1024)] == [16, 16, 14, 6, 3]
    assert phases[1024].lr == 0.0015
    assert Schedule.of(config).total == 800_000 * 17
    assert config.train.duration == 19_000_000


def test_quickstart_collapse_differs_only_in_three_settings_and_length():
    """quickstart-collapse is quickstart without minibatch std, without penalty, with the non-saturating loss."""
    good, bad = (configs.load(name).model_dump() for name in ("quickstart", "quickstart-collapse"))

    different = {
        f"{section}.{key}"
        for section in ("data", "network", "loss", "optimizer")
        for key in good[section]
        if good[section][key] != bad[section][key]
    }

    expected = {"network.minibatch_std", "loss.adversarial", "loss.r1", "loss.r2", "loss.penalty_interval"}
    assert different == expected


def test_the_wheel_contains_the_presets(tmp_path):
    """An installed gancli finds its presets by name."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {f"gancli/config/shipped/{name}.yaml" for name in SHIPPED} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
