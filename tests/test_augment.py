"""Augmentation: what each operation does, how often, and that it is drawn by position."""

import math

import numpy as np
import pytest
import torch
from conftest import tensors_of, write_preset
from torch import nn

import gancli
from gancli.augment import Augment, steer, strength
from gancli.config.schema import AugmentConfig, LossConfig
from gancli.critic_view import CriticView
from gancli.data import cache
from gancli.growth import Phase
from gancli.penalties import squared_gradients
from gancli.runs import Run
from gancli.training.state import TrainState
from gancli.training.step import critic_loss

EVERY = {"color": 1, "translation": 1, "scale": 1, "rotation": 1, "flip": 1, "cutout": 1, "noise": 1}


def augment(p=1.0, seed=0, **probabilities):
    return Augment(AugmentConfig(**probabilities), p, torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    """Colors in [-1, 1], different at every pixel."""
    return torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture
def waves():
    return torch.randn(64, 2, 32, generator=torch.Generator().manual_seed(4))


class TestImages:
    """Each operation alone, on images."""

    def test_translation_repeats_the_edges(self, images):
        """Each image is moved by whole pixels, at most an eighth of the side, in both directions."""
        moved, seen = augment(translation=1)(images), set()
        padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
        for before, after in zip(padded, moved.numpy(), strict=True):
            fits = [
                (down, across)
                for down in range(5)
                for across in range(5)
                if np.allclose(before[:, down : down + 16, across : across + 16], after, atol=1e-4)
            ]
            assert len(fits) == 1
            seen.update(fits)
        assert {row for row, _ in seen} == {column for _, column in seen} == set(range(5))

    def test_flip_mirrors_half(self, images):
        """Left and right are exchanged in every other image, on average."""
        flipped = augment(flip=1)(images)
        mirrored = [torch.allclose(y, x.flip(2), atol=1e-4) for x, y in zip(images, flipped, strict=True)]
        kept = [torch.allclose(y, x, atol=1e-4) for x, y in zip(images, flipped, strict=True)]
        assert sum(mirrored) + sum(kept) == 64
        assert 20 < sum(mirrored) < 44

    def test_rotation_keeps_the_center(self):
        """A disc stays what it is; a bar points in all directions, at its own length, in wide images too."""
        across, down = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(32) - 15.5, indexing="xy")
        disc = (across.square() + down.square() < 100).float().expand(64, 1, 32, 48)
        assert (augment(rotation=1)(disc) - disc).abs().mean() < 0.02
        bar = ((across.abs() < 12) & (down.abs() < 2)).float().expand(64, 1, 32, 48)
        turned = augment(rotation=1)(bar)[:, 0]
        directions = []
        for picture in turned:
            weight = picture / picture.sum()
            spread = torch.stack([weight * a * b for a in (across, down) for b in (across, down)]).sum((1, 2))
            spread = spread.view(2, 2)
            assert torch.linalg.eigvalsh(spread)[1] == pytest.approx(24**2 / 12, rel=0.1)
            directions.append(0.5 * math.atan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1]))
        assert np.histogram(directions, bins=4, range=(-math.pi / 2, math.pi / 2))[0].min() > 5

    def test_scale_changes_the_size(self):
        """The logarithm of the area has a deviation of twice the exponent's, 0.4 powers of 2, and mean 0."""
        square = torch.zeros(400, 1, 32, 32)
        square[:, :, 10:22, 10:22] = 1
        area = augment(scale=1)(square).sum((1, 2, 3))
        powers = (area / 144).log2()
        assert powers.mean() == pytest.approx(0, abs=0.08)
        assert powers.std() == pytest.approx(0.4, rel=0.15)

    def test_color_is_linear_in_each_image(self, images):
        """y = M x + b at every pixel, found by least squares; M stretches gray by c, and colors by c s; b is gray."""
        changed = augment(color=1)(images)
        contrasts, saturations, offsets = [], [], []
        for x, y in zip(images, changed, strict=True):
            pixels = torch.cat([x.flatten(1), torch.ones(1, 256)]).T.double()
            solution = torch.linalg.lstsq(pixels, y.flatten(1).T.double()).solution
            np.testing.assert_allclose(pixels @ solution, y.flatten(1).T, atol=1e-4)
            matrix, offset = solution[:3], solution[3]
            gray, red = torch.ones(3).double() @ matrix, torch.tensor([1.0, -1, 0]).double() @ matrix
            contrasts.append(float(gray[0]))
            np.testing.assert_allclose(gray, gray[0].expand(3), atol=1e-4)
            saturations.append(float(red[0] / gray[0]))
            np.testing.assert_allclose(red, red[0] * torch.tensor([1, -1, 0]), atol=1e-4)
            np.testing.assert_allclose(offset, offset[0].expand(3), atol=1e-4)
            offsets.append(float(offset[0]))
        assert abs(np.corrcoef(np.log2(contrasts), np.log2(saturations))[0, 1]) < 0.5
        assert np.log2(contrasts).std() == pytest.approx(0.5, rel=0.3)
        assert np.log2(saturations).std() == pytest.approx(1.0, rel=0.3)
        assert np.std(offsets) == pytest.approx(0.2, rel=0.3)

    @pytest.mark.parametrize("channels", [1, 4])
    def test_color_of_gray_and_of_alpha(self, images, channels):
        """Gray has brightness and contrast; alpha is not a color."""
        x = images[:, :1].repeat(1, channels, 1, 1)
        y = augment(color=1)(x)
        assert not torch.allclose(y[:, 0], x[:, 0])
        assert torch.equal(y[:, 3:], x[:, 3:])

    def test_cutout_sets_a_box_to_gray(self, images):
        """One box, at most half as high and wide as the image, and often cut off by an edge."""
        y = augment(cutout=1)(images)
        areas = []
        for before, after in zip(images, y, strict=True):
            rows, columns = np.nonzero((after == 0).all(0).numpy())
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert height <= 8
            assert width <= 8
            assert len(rows) == height * width
            assert int((before != after).all(0).sum()) == len(rows)
            areas.append(len(rows))
        assert max(areas) == 64
        assert min(areas) < 40

    def test_noise(self, images):
        """Of deviation 0.05."""
        difference = augment(noise=1)(images) - images
        assert float(difference.std()) == pytest.approx(0.05, rel=0.02)


class TestSignals:
    """Each operation alone, on signals."""

    def test_translation_repeats_the_ends(self, waves):
        """By whole steps, at most an eighth of the length."""
        padded = np.pad(waves.numpy(), ((0, 0), (0, 0), (4, 4)), mode="edge")
        shifts = [
            next(s for s in range(9) if np.allclose(before[:, s : s + 32], after, atol=1e-4))
            for before, after in zip(padded, augment(translation=1)(waves).numpy(), strict=True)
        ]
        assert set(shifts) == set(range(9))

    def test_scale_multiplies(self, waves):
        """Each signal by one power of 2, of deviation 0.2."""
        ratio = (augment(scale=1)(waves) / waves).flatten(1)
        np.testing.assert_allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)
        assert float(ratio[:, 0].log2().std()) == pytest.approx(0.2, rel=0.3)

    def test_warp_keeps_order_and_ends(self):
        """Of a ramp, time itself: it runs forward, moves by at most a sixteenth, and not at the ends."""
        ramp = torch.arange(128.0).expand(64, 1, 128)
        warped = augment(warp=1)(ramp)[:, 0]
        assert (warped.diff(dim=1) > 0).all()
        assert 6 < float((warped - ramp[:, 0]).abs().max()) <= 8.001
        np.testing.assert_allclose(warped[:, [0, -1]], ramp[:, 0][:, [0, -1]], atol=0.25)


class TestProbabilities:
    """How often samples are changed."""

    @pytest.mark.parametrize("name", [*EVERY, "warp"])
    @pytest.mark.parametrize(("probability", "p"), [(0.5, 1.0), (1.0, 0.5), (0.6, 0.0)])
    def test_share_of_the_samples(self, images, waves, name, probability, p):
        """The probability of the operation times p; each operation leaves the others out."""
        x = waves if name == "warp" else images
        x = x.repeat(8, *(1 for _ in x.shape[1:]))
        y = augment(p, **{name: probability})(x)
        changed = float(((y - x).abs().flatten(1).amax(1) > 1e-3).float().mean())
        seldom = {"flip": 0.5, "translation": 24 / 25}.get(name, 1)
        assert changed == pytest.approx(probability * p * seldom, abs=0.07)

    def test_nothing_is_changed_at_0(self, images):
        """Bit for bit."""
        assert torch.equal(augment(0.0, **EVERY)(images), images)

    def test_each_call_draws_anew(self, images):
        """Reals and fakes are changed independently."""
        both = augment(**EVERY)
        assert not torch.allclose(both(images), both(images))

    def test_the_ramp_is_linear(self):
        """From 0 to p over `ramp` images."""
        config = AugmentConfig(p=0.8, ramp=1000)
        assert [strength(config, images) for images in (0, 250, 1000, 5000)] == pytest.approx([0, 0.2, 0.8, 0.8])

    def test_steering(self):
        """Toward the target, by images / steer_images, between 0 and 1; p is the maximum. Unknown: no change."""
        config = AugmentConfig(p=0.6, target=0.4, steer_images=1000)
        assert steer(config, 0.5, 0.9, 100) == pytest.approx(0.6)
        assert steer(config, 0.5, 0.1, 100) == pytest.approx(0.4)
        assert steer(config, 0.95, 0.9, 100) == 1
        assert steer(config, 0.05, -3.0, 100) == 0
        assert steer(config, 0.5, math.nan, 100) == 0.5
        assert strength(config, 0, steered=0.5) == pytest.approx(0.3)
        assert strength(AugmentConfig(p=0.6), 0, steered=0.5) == pytest.approx(0.6)


class Sums(nn.Module):
    """A critic: the weighted sum of the squares of all values."""

    pack = 1

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def features(self, x, stage, alpha):
        return x.square() * self.weight

    def scores(self, h):
        return h.flatten(1).sum(1)

    def group_of(self, n):
        return None


def test_penalties_reach_the_samples_before_augmentation():
    """|grad_x D(T(x))|^2 against finite differences in float64, with T drawn again from the same seed."""
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    phase = Phase(0, 6, 6, 1.0, 1, 0.1, 0, False)
    critic = Sums(torch.rand(1, 6, 6, dtype=torch.float64))

    def score(x):
        made = augment(translation=1, scale=1, rotation=1, color=1, cutout=1)
        return CriticView(critic, phase, made).scores(x).sum()

    (found,) = squared_gradients(score(x), x)

    steps = torch.eye(36, dtype=torch.float64).view(36, 1, 1, 6, 6) * 1e-5
    slopes = [(score(x.detach() + step) - score(x.detach() - step)) / 2e-5 for step in steps]
    assert found.item() == pytest.approx(sum(slope.item() ** 2 for slope in slopes), rel=1e-4)


def test_consistency_is_the_squared_difference_of_the_scores_of_two_draws():
    """Of reals and of fakes, weighted, and nothing without a second augmentation; by hand from the same seed."""
    x, y = torch.rand(2, 5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    phase, critic = Phase(0, 6, 6, 1.0, 1, 0.1, 0, False), Sums(torch.rand(1, 6, 6))

    def losses(made, weight):
        loss = LossConfig(adversarial="wasserstein", consistency=weight)
        return critic_loss(CriticView(critic, phase, made), x, y, torch.rand(5), loss, penalize=False)

    draws = augment(color=1)
    (a, b), (again_a, again_b) = (
        [(draws(side).square() * critic.weight).sum((1, 2, 3)) for side in (x, y)] for _ in range(2)
    )
    expected = ((a - again_a) ** 2).mean() + ((b - again_b) ** 2).mean()

    found, without = losses(augment(color=1), 3.0), losses(augment(color=1), 0.0)
    torch.testing.assert_close(found["consistency"], 3 * expected)
    torch.testing.assert_close(found["critic_loss"], without["critic_loss"] + 3 * expected)
    assert "consistency" not in without
    assert losses(None, 3.0)["consistency"] == 0


class TestTraining:
    """Runs of a preset with augmentation."""

    def run(self, folder, pictures, augment, **more):
        changes = {"data.held_out": 0.2, **({"augment": augment} if augment else {}), **more}
        preset = write_preset(folder.with_suffix(".yaml"), changes)
        return gancli.train(preset, str(pictures), outdir=folder, threads=1, device="cpu")

    def test_p_0_is_no_augmentation(self, pictures, tmp_path):
        """Bit for bit: augmentation uses no random numbers of anything else."""
        without = self.run(tmp_path / "without", pictures, None)
        idle = self.run(tmp_path / "idle", pictures, {**EVERY, "p": 0.0})
        weights = [tensors_of(report.checkpoint) for report in (without, idle)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    @pytest.mark.parametrize("skipped", ["critic augmentation", "generator augmentation"])
    def test_both_players_are_augmented(self, pictures, tmp_path, monkeypatch, skipped):
        """Without either of them, the weights are others."""
        whole = self.run(tmp_path / "whole", pictures, {"color": 0.5})
        augment = TrainState.augment
        monkeypatch.setattr(
            TrainState,
            "augment",
            lambda self, config, name, offset=0: None if name == skipped else augment(self, config, name, offset),
        )
        half = self.run(tmp_path / "half", pictures, {"color": 0.5})
        assert not torch.equal(*(tensors_of(r.checkpoint)["G/dense.weight"] for r in (whole, half)))

    def test_the_log_has_p(self, pictures, tmp_path, monkeypatch):
        """Steered from 0 by the overfitting of the tick before; null without augmentation."""
        monkeypatch.setattr(cache, "HELD_OUT_FROM", 10)
        steered = self.run(tmp_path / "steered", pictures, {"color": 0.5, "target": 0.5, "steer_images": 400})
        ticks, p, measured = Run(steered.run).stats(), 0.0, 0
        for tick in ticks:
            assert tick["augment_p"] == pytest.approx(p)
            if tick["overfitting"] is not None:
                measured += 1
                p = min(1, max(0, p + (0.1 if tick["overfitting"] > 0.5 else -0.1)))
        assert len(ticks) == 4
        assert measured
        without = self.run(tmp_path / "without", pictures, None)
        assert [tick["augment_p"] for tick in Run(without.run).stats()] == [None] * 4
