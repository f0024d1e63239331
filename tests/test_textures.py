"""Sliced Wasserstein, MS-SSIM, spectrum and grain: against float64 in numpy, torchmetrics and analytic cases."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gancli.stats import ms_ssim, order, sliced_wasserstein, spectrum


def smooth(n, size=32, seed=0, scales=(1, 2, 4, 8)):
    """Images with structure at every scale, in [-1, 1], in whole gray levels."""
    draw = np.random.RandomState(seed)
    x = sum(draw.randn(n, 3, size // s, size // s).repeat(s, 2).repeat(s, 3) * s for s in scales)
    return torch.from_numpy(np.rint(np.clip(x / 12, -1, 1) * 127.5 + 127.5) / 127.5 - 1).float()


class TestSlicedWasserstein:
    def blurred(self, x, gain):
        """5 x 5 binomial with mirrored edges, in float64, by loops."""
        kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256 * gain
        padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
        h, w = x.shape[2:]
        return sum(kernel[i, j] * padded[:, :, i : i + h, j : j + w] for i in range(5) for j in range(5))

    def levels(self, x):
        levels = [x]
        while levels[-1].shape[2] > 16:
            smaller = self.blurred(levels[-1], 1)[:, :, ::2, ::2]
            spread = np.zeros_like(levels[-1])
            spread[:, :, ::2, ::2] = smaller
            levels[-1] = levels[-1] - self.blurred(spread, 4)
            levels.append(smaller)
        return levels

    def patches(self, level, seeds):
        found = []
        for picture, *places in zip(level, *sliced_wasserstein.places(seeds, *level.shape[2:]), strict=True):
            for i, j in zip(*places, strict=True):
                found.append(picture[:, i : i + 7, j : j + 7])
        stacked = np.stack(found)
        mean, std = (reduce(stacked, axis=(0, 2, 3), keepdims=True) for reduce in (np.mean, np.std))
        return ((stacked - mean) / std).reshape(len(stacked), -1)

    def reference(self, a, b):
        """The complete official definition in float64."""
        found = {}
        for left, right in zip(self.levels(a.double().numpy()), self.levels(b.double().numpy()), strict=True):
            left_patches, right_patches = self.patches(left, order.keys(a)), self.patches(right, order.keys(b))
            ways = np.random.RandomState(0).randn(left_patches.shape[1], 512)
            ways /= np.linalg.norm(ways, axis=0)
            apart = np.sort(left_patches @ ways, axis=0) - np.sort(right_patches @ ways, axis=0)
            found[left.shape[2]] = 1000 * np.abs(apart).mean()
        return found

    def test_agrees_with_float64_within_a_thousandth(self):
        """Every level of 64 px images."""
        a, b = smooth(12, 64), smooth(12, 64, 1).mul(0.8)

        (found,) = sliced_wasserstein.sliced_wasserstein([a], b)

        assert set(found) == {64, 32, 16}
        assert found == pytest.approx(self.reference(a, b), rel=1e-3)

    def test_patches_lie_anywhere(self):
        """Rows and columns are uniform and independent: by the chi-square test, 10 x 26 cells, 128,000 patches."""
        down, right = sliced_wasserstein.places(np.arange(1000, dtype=np.uint64), 16, 32)
        assert (down.min(), down.max(), right.min(), right.max()) == (0, 9, 0, 25)
        expected = down.size / 260
        chi2 = ((np.bincount((26 * down + right).ravel(), minlength=260) - expected) ** 2 / expected).sum()
        assert abs(chi2 - 259) < 4 * np.sqrt(2 * 259)
        assert len(np.unique(down, axis=0)) == 1000

    def test_a_value_far_away_does_not_blur_the_others(self):
        """The cells of the histograms become wider with it; the distance stays that of the sorted values."""
        draw = np.random.RandomState(0)
        a, b = draw.randn(2000, 6).astype(np.float32), 1.1 * draw.randn(2000, 6).astype(np.float32)
        b[0] = 300
        ways = np.random.RandomState(0).randn(6, 512)
        ways /= np.linalg.norm(ways, axis=0)
        sorted_apart = 1000 * np.abs(np.sort(a @ ways, axis=0) - np.sort(b @ ways, axis=0)).mean()
        assert sliced_wasserstein.distance([b], a) == pytest.approx([sorted_apart], rel=0.01)

    def test_of_values_that_are_not_finite_is_nan(self):
        """A generator that has diverged does not end the inspection."""
        a, b = (np.random.RandomState(0).randn(20, 6).astype(np.float32) for _ in range(2))
        b[3, 2] = np.nan
        assert np.isnan(sliced_wasserstein.distance([a, b], a)).all()

    def test_of_a_set_with_itself_is_zero_and_contrast_does_not_matter(self):
        """Each set is normalized by its own mean and standard deviation."""
        a = smooth(20)
        same, paler = sliced_wasserstein.sliced_wasserstein([a, a], a)[0], a * 0.5
        assert same == {32: 0, 16: 0}
        patches = [dict(sliced_wasserstein.patches_of(x))[16] for x in (a, a)]
        torch.testing.assert_close(*map(torch.from_numpy, patches))
        assert np.std(sliced_wasserstein.normalized(paler.flatten(1).numpy(), 3)) == pytest.approx(1, abs=1e-3)

    def test_sees_noise_on_the_fine_level_and_not_on_the_coarse(self):
        """Each level measures its own scale."""
        a, b = (smooth(60, seed=seed, scales=(4, 8)) for seed in (0, 1))
        noisy = a + 0.4 * torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
        clean, spoiled = sliced_wasserstein.sliced_wasserstein([a, noisy], b)
        assert spoiled[32] > 1.5 * clean[32]
        assert spoiled[16] < 1.2 * clean[16]

    def test_order_does_not_matter(self):
        """The positions of the patches depend on the content of the image."""
        a, b = smooth(16), smooth(16, seed=1)
        first, second = (sliced_wasserstein.sliced_wasserstein([x], b)[0] for x in (a, a.flip(0)))
        assert first == pytest.approx(second, rel=1e-5)


class TestMsSsim:
    def reference(self, a, b):
        """The definition by a loop over windows, in float64."""
        a, b, product = (a.double().numpy() + 1) * 127.5, (b.double().numpy() + 1) * 127.5, 1.0
        for level, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
            size = min(11, *a.shape[1:])
            at = np.arange(size) - (size - 1) / 2
            g = np.exp(-(at**2) / (2 * (1.5 * size / 11) ** 2))
            window = np.outer(g, g) / g.sum() ** 2
            full, contrast = [], []
            for c in range(len(a)):
                for i in range(a.shape[1] - size + 1):
                    for j in range(a.shape[2] - size + 1):
                        p, q = (x[c, i : i + size, j : j + size] for x in (a, b))
                        mp, mq = (window * p).sum(), (window * q).sum()
                        vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                        cov = (window * (p - mp) * (q - mq)).sum()
                        cs = (2 * cov + 58.5225) / (vp + vq + 58.5225)
                        contrast.append(cs)
                        full.append(cs * (2 * mp * mq + 6.5025) / (mp**2 + mq**2 + 6.5025))
            product *= max(0, np.mean(full if level == 4 else contrast)) ** weight
            a, b = (x.reshape(len(x), x.shape[1] // 2, 2, -1, 2).mean((2, 4)) for x in (a, b))
        return product

    def test_agrees_with_float64_within_a_thousandth(self):
        """At 32 px, where windows shrink."""
        a = smooth(3)
        b = (a + 0.3 * smooth(3, seed=1)).clamp(-1, 1)
        expected = [self.reference(x, y) for x, y in zip(a, b, strict=True)]
        assert ms_ssim.ms_ssim(a, b).tolist() == pytest.approx(expected, rel=1e-3)

    def test_contrast_agrees_with_torchmetrics(self):
        """The term of four of the five levels; in the fifth torchmetrics pads the borders, unlike the definition."""
        a = smooth(2, 64)
        b = (a + 0.3 * smooth(2, 64, 1)).clamp(-1, 1)
        a, b = ((x.double() + 1) * 127.5 for x in (a, b))
        _, theirs = structural_similarity_index_measure(
            a, b, data_range=255.0, reduction="none", return_contrast_sensitivity=True
        )
        torch.testing.assert_close(ms_ssim._ssim(a, b)[1], theirs, rtol=1e-9, atol=0)

    def test_of_copies_is_one(self):
        """The maximum."""
        a = smooth(4)
        torch.testing.assert_close(ms_ssim.ms_ssim(a, a), torch.ones(4, dtype=torch.float64))

    def test_pairs_follow_from_content(self):
        """The order of the images does not matter; repeated images score near 1."""
        a = smooth(21)
        assert ms_ssim.pair_similarity(a.flip(0)) == pytest.approx(ms_ssim.pair_similarity(a), rel=1e-9)
        assert ms_ssim.pair_similarity(a[:1].expand(8, -1, -1, -1)) == pytest.approx(1)


class TestSpectrum:
    def test_a_wave_has_its_power_at_its_frequency(self):
        """Four cycles over 32 pixels, of amplitude 1, are power 1/2, all in one bin."""
        across = torch.cos(2 * torch.pi * 4 * torch.arange(32) / 32)
        frequency, power = spectrum.power_spectrum(across.expand(1, 1, 32, 32))
        assert float(frequency[power.argmax()]) == pytest.approx(4 / 32, abs=0.01)
        assert float(power.max() / power.sum()) > 0.999

    def test_parseval(self):
        """The sum over bins, weighted by their number of frequencies, is the variance times the number of pixels."""
        x = smooth(5)
        radius = spectrum._radius(torch.Size([32, 32]))
        count = torch.bincount((radius * 32).round().long().flatten())[1:].double()
        _, power = spectrum.power_spectrum(x)
        variance = x.double().flatten(2).var(2, correction=0).mean()
        assert float((power * count).sum()) == pytest.approx(float(variance) * 1024, rel=1e-9)

    def test_a_checkerboard_lies_in_the_corner(self):
        """At sqrt(1/2), beyond 1/2."""
        board = (torch.arange(16)[:, None] + torch.arange(16)[None]) % 2 * 2.0 - 1
        frequency, power = spectrum.power_spectrum(board.expand(2, 3, 16, 16))
        assert float(frequency[power.argmax()]) == pytest.approx(0.5**0.5, abs=0.04)

    def test_its_shape_does_not_depend_on_contrast(self):
        """Half the contrast is a quarter of the power at all frequencies."""
        powers = [spectrum.power_spectrum(x)[1] for x in (smooth(5), smooth(5) * 0.5)]
        lines = [spectrum.log_power(power, like=power) for power in powers]
        torch.testing.assert_close(lines[0] - lines[1], torch.full_like(lines[0], np.log10(4)))
        torch.testing.assert_close(*map(spectrum.shape, lines))

    def test_signals_have_one_too(self):
        """Any rank."""
        wave = torch.sin(2 * torch.pi * 10 * torch.arange(100) / 100).expand(3, 2, 100)
        frequency, power = spectrum.power_spectrum(wave)
        assert float(frequency[power.argmax()]) == pytest.approx(0.1)


def test_grain_is_the_deviation_of_noise_on_anything_smooth():
    """Edges and slopes do not count."""
    slope = torch.linspace(-1, 1, 64).expand(8, 3, 64, 64)
    noisy = slope + 0.05 * torch.randn(slope.shape, generator=torch.Generator().manual_seed(0))
    assert spectrum.grain(slope) == pytest.approx(0, abs=1e-6)
    assert spectrum.grain(noisy) == pytest.approx(0.05, rel=0.03)


def test_keys_follow_content_and_count_repetitions():
    """Equal samples have different keys; the set of keys does not depend on the order."""
    x = torch.cat([smooth(4), smooth(4)])
    keys = order.keys(x)
    assert len(set(keys.tolist())) == 8
    assert sorted(keys.tolist()) == sorted(order.keys(x.flip(0)).tolist())
