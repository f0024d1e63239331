"""Residual networks: their size, their initialization, and where they compute in float32.

That they compute what their source says is in test_equations.
"""

import math
from itertools import pairwise

import pytest
import torch
from conftest import resolved_config

from gancli.config import presets
from gancli.errors import ConfigError
from gancli.networks import build, on_meta, set_precision

PUBLISHED = {  # Huang et al. 2024: channels from 4 px; two blocks per stage, latents of 64, groups of 16
    "CIFAR-10": [768, 768, 768, 768],
    "FFHQ-64": [768, 768, 768, 768, 384],
    "FFHQ-256": [768, 768, 768, 768, 384, 192, 96],
}
MILLIONS = {"CIFAR-10": 20.73, "FFHQ-64": 22.43, "FFHQ-256": 23.06}  # parameters of a generator


def resolved(channels, **network):
    """A run of residual networks with these channels."""
    side = 4 << (len(channels) - 1)
    network = {"family": "residual", "resolution": side, "channels": channels, **network}
    return resolved_config({}, {"network": network, "train": {"batch_size": 4, "lr": 0.001}})


def weights(network, end):
    """The weights whose names end so."""
    return [p for name, p in network.named_parameters() if name.endswith(end)]


class TestSize:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_is_that_of_the_published_networks(self, name):
        """Every layer counted by hand; millions as published."""
        channels = PUBLISHED[name]
        pair = on_meta(resolved(channels))

        blocks = sum(2 * (c * 2 * c + 2 * c + 2 * c * 16 * 9 + 2 * c + 2 * c * c) for c in channels)
        changes = sum(a * b for a, b in pairwise(channels) if a != b)
        ends = channels[0] * 16 + 64 * channels[0] + channels[-1] * 3, channels[-1] * 3 + channels[0] * 16 + channels[0]

        counted = [sum(p.numel() for p in network.parameters()) for network in (pair.G, pair.D)]
        assert counted == [blocks + changes + end for end in ends]
        assert round(counted[0] / 1e6, 2) == MILLIONS[name]

    def test_must_end_at_the_resolution(self):
        """One number per stage from 4 px."""
        with pytest.raises(ConfigError, match="3 channels are of 16 px"):
            presets.build({"network": {"family": "residual", "resolution": 32, "channels": [8, 8, 8]}}, "test")

    def test_groups_must_divide_the_channels(self):
        """Of the grouped convolution, which are twice those of the stage."""
        with pytest.raises(ConfigError, match="twice 12 channels are not divisible into groups of 16"):
            resolved([12, 8, 8])


class TestStart:
    def test_blocks_do_nothing_at_first(self):
        """Their last convolution is zero, so that other blocks give the same pictures."""
        z = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
        pair = build(resolved([16, 16, 8]))
        before = pair.G(z)
        with torch.no_grad():
            for weight in weights(pair.G, "grouped.weight"):
                weight.normal_()

        assert torch.equal(pair.G(z), before)
        assert before.std() > 0.1

    @pytest.mark.parametrize("blocks", [1, 4])
    def test_weights_are_smaller_the_deeper_the_network(self, blocks):
        """sqrt(2 / 1.04) L^(-1/4) / sqrt(fan in); the fan in of a grouped convolution is that of a group."""
        D = build(resolved([64, 64], blocks=blocks)).D
        gain = math.sqrt(2 / 1.04) * (2 * blocks) ** -0.25

        widen, grouped = (torch.cat([w.flatten() for w in weights(D, f"{n}.weight")]) for n in ("widen", "grouped"))
        assert widen.std().item() == pytest.approx(gain / 8, rel=0.03)
        assert grouped.std().item() == pytest.approx(gain / 12, rel=0.03)

    def test_scores_and_colors_have_unit_gain(self):
        """Layers outside the blocks: N(0, 1 / fan in); the basis N(0, 1)."""
        pair = build(resolved([512, 64]))
        assert pair.G.basis.weight.std().item() == pytest.approx(1, rel=0.05)
        assert pair.G.basis.linear.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
        assert pair.G.changes[0].weight.std().item() == pytest.approx(512**-0.5, rel=0.05)
        assert pair.D.pool.weight.std().item() == pytest.approx(1 / 4, rel=0.05)
        assert pair.D.score.weight.std().item() == pytest.approx(512**-0.5, rel=0.1)


def test_colors_are_computed_in_float32():
    """In bfloat16, whose steps near white are visible, only what is between RGB and RGB."""
    pair = build(resolved([8, 8]))
    set_precision(pair, "bf16")
    seen = []
    for layer in (pair.D.from_rgb, pair.G.to_rgb, pair.D.blocks[0], pair.G.blocks[0]):
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].dtype))

    pair.D(pair.G(torch.randn(2, 64)))

    assert seen == [torch.bfloat16, torch.float32, torch.float32, torch.bfloat16]
