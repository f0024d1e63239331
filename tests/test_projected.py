"""Projected networks: a critic on fixed features, scores of several heads, and a gated generator."""

import signal

import numpy as np
import pytest
import torch
from conftest import make_pictures, resolved_config, tensors_of, write_preset
from torch.nn import functional as F  # noqa: N812

import gancli
from gancli import config, signals
from gancli.critic_view import CriticView
from gancli.errors import ConfigError, Interrupted
from gancli.growth import Schedule
from gancli.networks import build, efficientnet, feature_extractors, on_meta
from gancli.networks.projected import LEVELS, Excitation, Features, Up, gated
from gancli.training.callbacks import Silent

CHANGES = {
    "network": {"family": "projected", "resolution": 32, "z_dim": 8, "channels": [16, 16, 8, 8], "critic_width": 8},
    "loss": {"adversarial": "hinge"},
    "augment": {"color": 0.5, "translation": 0.5},
    "growth": {},
    "train.batch_size": 4,
    "train.duration": 24,
    "train.tick_every": 8,
}


@pytest.fixture(scope="module")
def resolved():
    return resolved_config({}, {**config.overrides.apply({"data": {}, "train": {"lr": 0.001}}, CHANGES)})


@pytest.fixture(scope="module")
def pair(resolved):
    return build(resolved)


@pytest.fixture
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def phase(resolved):
    return Schedule.of(resolved).phases[-1]


class TestCritic:
    """Five scores per sample, from features that are not trained."""

    def test_scores(self, pair, images):
        """Of one sample one after the other: a sample alone has the same five."""
        pair.D.eval()
        scores = pair.D(images)
        assert scores.shape == (20,)
        np.testing.assert_allclose(scores[5:10].detach(), pair.D(images[1:2]).detach(), atol=1e-4)

    def test_reals_and_fakes_in_one_pass(self, pair, images, phase):
        """As in two."""
        pair.D.eval()
        x, y = images[:2], images[2:]
        d_x, d_y = CriticView(pair.D, phase).both(x, y)
        np.testing.assert_allclose(d_x.detach(), pair.D(x).detach(), atol=1e-4)
        np.testing.assert_allclose(d_y.detach(), pair.D(y).detach(), atol=1e-4)

    def test_the_features_are_fixed_and_not_saved(self, pair):
        """They have no parameters, and checkpoints hold the heads alone."""
        assert not list(pair.D.trained.parameters())
        assert all(name.startswith(("heads.", "scorers.")) for name in pair.D.state_dict())

    def test_the_largest_features_see_all_sizes(self, images):
        """A change of one pixel far away reaches them only through the smaller ones."""
        features = Features(128, 8)
        other = images.clone()
        other[:, :, :2, :2] = 0
        with torch.no_grad():
            first, second = features(images), features(other)
        assert [h.shape[2] for h in first] == [32, 16, 8, 4]
        far = [(a - b)[:, :, -2:, -2:].abs().max() for a, b in zip(first, second, strict=True)]
        assert all(change > 1e-4 for change in far)

    def test_large_images_lose_no_pixel(self):
        """128 px for features of 32: every pixel moves them."""
        features, x = Features(32, 8), torch.zeros(1, 3, 128, 128, requires_grad=True)
        sum(h.square().sum() for h in features(x)).backward()
        assert float((x.grad.abs().sum(1) > 0).float().mean()) > 0.9

    def test_mixed_features_against_sums_by_hand(self, images):
        """The smallest: 1x1 sums over EfficientNet's channels; the others add the smaller ones and convolve."""
        features = Features(128, 8)
        kept = dict(features.named_buffers())
        large = F.interpolate(images, size=(128, 128), mode="bilinear", align_corners=False)
        with torch.no_grad():
            maps = list(efficientnet.maps(large, feature_extractors.pretrained_weights()))
            found = features(images)
        lower = None
        for level, h in zip(reversed(LEVELS), reversed(found), strict=True):
            mixed = torch.einsum("oc,nchw->nohw", kept[f"mixing {level}"][:, :, 0, 0], maps[level])
            if lower is not None:
                if lower.shape[2] < mixed.shape[2]:
                    lower = lower.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                mixed = F.unfold(mixed + lower, 3, padding=1).transpose(1, 2) @ kept[f"fusing {level}"].flatten(1).T
                mixed = mixed.transpose(1, 2).view(h.shape)
            np.testing.assert_allclose(h, mixed, atol=1e-3)
            lower = mixed

    def test_features_have_about_unit_deviation(self):
        """Each level on photographs-like samples; only then does the same learning rate fit all heads."""
        draw = torch.Generator().manual_seed(0)
        coarse = torch.rand(32, 3, 8, 8, generator=draw) * 2 - 1
        x = F.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(-1, 1)
        with torch.no_grad():
            spread = [float((h - h.mean((0, 2, 3), keepdim=True)).std()) for h in Features(128, 64)(x)]
        assert all(0.4 < deviation < 1.5 for deviation in spread)

    def test_sees_colors(self, pair):
        """Two plain colors have different scores at the head that looks at the image itself."""
        pair.D.eval()
        red, blue = (
            torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 32, 32) for c in ((0.5, -0.5, -0.5), (-0.5, -0.5, 0.5))
        )
        assert float((pair.D(red)[4] - pair.D(blue)[4]).detach().abs()) > 1e-3

    def test_spectral_norm_of_the_heads(self, pair, images):
        """The largest singular value of each kernel, as a matrix, is about 1."""
        pair.D.train()
        for _ in range(30):
            pair.D(images)
        for layer in [*(layer for head in pair.D.heads for layer in head.layers), *pair.D.scorers]:
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.02)

    def test_gray_is_seen_as_color(self):
        """One channel is repeated to three."""
        x = torch.rand(2, 1, 16, 16)
        features = Features(128, 8)
        for a, b in zip(features(x), features(x.expand(-1, 3, -1, -1)), strict=True):
            assert torch.equal(a, b)


class TestGenerator:
    """4 px, doubled, gated."""

    def test_shape(self, pair):
        """(N, z_dim) -> (N, C, H, W) in [-1, 1]."""
        y = pair.G(torch.randn(5, 8))
        assert y.shape == (5, 3, 32, 32)
        assert y.abs().max() <= 1

    def test_gate(self):
        """values * sigmoid(gates), in the memory format of its input."""
        x = torch.randn(2, 6, 4, 4).contiguous(memory_format=torch.channels_last)
        y = gated(x)
        np.testing.assert_allclose(y, x[:, :3].numpy() / (1 + np.exp(-x[:, 3:].numpy())), rtol=1e-5)
        assert y.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(y, F.glu(x, dim=1), rtol=1e-5)

    def test_up_doubles(self):
        """And normalizes before the gate, so that the scale of its weights does not matter."""
        up, x = Up(4, 3, 0.9), torch.randn(8, 4, 5, 5)
        before = up(x)
        with torch.no_grad():
            up.convolution.weight.mul_(7)
        np.testing.assert_allclose(up(x).detach(), before.detach(), atol=1e-3)
        assert before.shape == (8, 3, 10, 10)

    def test_excitation_is_one_weight_per_channel(self):
        """Between 0 and 1, from the 4 x 4 means of what it looks at."""
        gate, x = Excitation(4, 6), torch.randn(2, 4, 8, 8)
        means = x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
        weights = gate(x)
        assert weights.shape == (2, 6, 1, 1)
        weights = weights.detach()
        assert 0 < float(weights.min()) < float(weights.max()) < 1
        np.testing.assert_allclose(gate(means).detach(), weights, atol=1e-6)


class TestRuns:
    """Training, resume, evaluation."""

    def train(self, folder, pictures, **options):
        preset = write_preset(folder.with_suffix(".yaml"), CHANGES)
        return gancli.train(preset, str(pictures), outdir=folder, threads=1, device="cpu", **options)

    @pytest.mark.slow  # tests/test_methods.py stops projected-64, too
    def test_a_resumed_run_equals_an_unbroken_one(self, pictures, tmp_path):
        """Power iterations and augmentation included."""
        whole = tensors_of(self.train(tmp_path / "whole", pictures).checkpoint)

        class Stop(Silent):
            def step(self, images):
                if images >= 12:
                    signals._stop = signal.SIGTERM

        with pytest.raises(Interrupted):
            self.train(tmp_path / "broken", pictures, callback=Stop())
        signals._stop = None
        broken = tensors_of(self.train(tmp_path / "broken", pictures).checkpoint)

        assert whole.keys() == broken.keys()
        assert not [name for name in whole if not torch.equal(whole[name], broken[name])]

    def test_is_judged_by_other_features(self, tmp_path):
        """A model is never judged by the network that it was trained with; the panel says so."""
        data = make_pictures(tmp_path / "many", 140)
        report = self.train(tmp_path / "runs", data)
        health = gancli.inspect_stats(report.run, quick=True)
        assert "trained against efficientnet-lite0" in health.compared_by

    def test_without_the_extra(self, pictures, tmp_path, monkeypatch):
        """Training is refused before a run is created. Samples need no features."""
        report = self.train(tmp_path / "runs", pictures)
        monkeypatch.setattr(feature_extractors, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match="pretrained"):
            self.train(tmp_path / "other", pictures)
        assert not (tmp_path / "other").exists()
        assert gancli.load(report.checkpoint).samples([0]).shape == (1, 3, 32, 32)

    def test_needs_no_weights_on_the_meta_device(self, resolved, monkeypatch):
        """Checkpoints are checked, and parameters counted, without the extra."""
        monkeypatch.setattr(feature_extractors, "find_spec", lambda name: None)
        assert next(on_meta(resolved).D.trained.buffers()).is_meta
