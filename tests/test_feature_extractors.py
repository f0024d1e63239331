import math
import pathlib

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, interpolate, max_pool2d, relu

from gancli.errors import CheckpointError, InputMissing
from gancli.networks import feature_extractors, inception, vgg
from gancli.networks.feature_extractors import open_feature_extractor
from gancli.stats.frechet import frechet_distance


def save(values, path):
    torch.save(values, path)  # noqa: TID251  (somebody else's file)
    return path


def halved(weights):
    """As bfloat16, for smaller files."""
    return {name: tensor.bfloat16() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def weights():
    """Random Inception-v3 tensors that keep the scale of activations, with nontrivial batch norms."""
    draw, made = torch.Generator().manual_seed(0), {}
    for name, shape in inception.shapes().items():
        if name.endswith("conv.weight"):
            made[name] = torch.randn(shape, generator=draw) * (2 / math.prod(shape[1:])) ** 0.5
        else:
            around = 0.0 if name.endswith(("bias", "mean")) else 1.0
            made[name] = around + torch.rand(shape, generator=draw).sub(0.5)
    return {name: tensor.bfloat16().float() for name, tensor in made.items()}


@pytest.fixture(scope="module")
def files(weights, tmp_path_factory):
    """State dicts of the three networks, with additional tensors."""
    folder = tmp_path_factory.mktemp("judges")
    more = {"AuxLogits.fc.bias": torch.ones(3), "Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(7)}
    paths = {
        rows: save({**halved(weights), **more, "fc.weight": torch.zeros(rows, 4)}, folder / f"{rows}.pth")
        for rows in (1008, 1000)
    }
    yield paths | {"vgg16": save(halved(vgg.random_weights()), folder / "vgg.pth")}
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture(scope="module")
def vgg16(files):
    return open_feature_extractor(files["vgg16"])


def pictures(n, channels, height, width, seed=0):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class PlainInception:
    """An independent Inception-v3, block by block, with batch norms of torch."""

    def __init__(self, weights, ported):
        self.w, self.ported = weights, ported

    def conv(self, h, key, stride=1, padding=0):
        h = conv2d(h, self.w[f"{key}.conv.weight"], stride=stride, padding=padding)
        mean, var, g, b = (self.w[f"{key}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return relu(batch_norm(h, mean, var, g, b, eps=1e-3))

    def average(self, h):
        return avg_pool2d(h, 3, 1, 1, count_include_pad=not self.ported)

    def chain(self, h, key, *paddings, last_stride=1):
        for i, padding in enumerate(paddings, start=1):
            h = self.conv(h, f"{key}_{i}", last_stride if i == len(paddings) else 1, padding)
        return h

    def fork(self, h, key):
        return [self.conv(h, f"{key}a", padding=(0, 1)), self.conv(h, f"{key}b", padding=(1, 0))]

    def block_a(self, h, b):
        chains = [self.chain(h, f"{b}.branch5x5", 0, 2), self.chain(h, f"{b}.branch3x3dbl", 0, 1, 1)]
        return self.joined(h, b, chains, self.average(h))

    def block_c(self, h, b):
        seven, double = ((0, (0, 3), (3, 0)), (0, (3, 0), (0, 3), (3, 0), (0, 3)))
        chains = [self.chain(h, f"{b}.branch7x7", *seven), self.chain(h, f"{b}.branch7x7dbl", *double)]
        return self.joined(h, b, chains, self.average(h))

    def block_e(self, h, b, pooled):
        three = self.fork(self.conv(h, f"{b}.branch3x3_1"), f"{b}.branch3x3_2")
        double = self.fork(self.chain(h, f"{b}.branch3x3dbl", 0, 1), f"{b}.branch3x3dbl_3")
        return self.joined(h, b, three + double, pooled)

    def joined(self, h, b, chains, pooled):
        return torch.cat([self.conv(h, f"{b}.branch1x1"), *chains, self.conv(pooled, f"{b}.branch_pool")], 1)

    def stem(self, x):
        h = self.conv(interpolate(x, (299, 299), mode="bilinear"), "Conv2d_1a_3x3", 2)
        h = self.conv(self.conv(h, "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
        return max_pool2d(self.conv(self.conv(max_pool2d(h, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)

    def __call__(self, x):
        h = self.stem(x)
        for letter in "bcd":
            h = self.block_a(h, f"Mixed_5{letter}")
        double = self.chain(h, "Mixed_6a.branch3x3dbl", 0, 1, 0, last_stride=2)
        h = torch.cat([self.conv(h, "Mixed_6a.branch3x3", 2), double, max_pool2d(h, 3, 2)], 1)
        for letter in "bcde":
            h = self.block_c(h, f"Mixed_6{letter}")
        three = self.chain(h, "Mixed_7a.branch3x3", 0, 0, last_stride=2)
        seven = self.chain(h, "Mixed_7a.branch7x7x3", 0, (0, 3), (3, 0), 0, last_stride=2)
        h = torch.cat([three, seven, max_pool2d(h, 3, 2)], 1)
        h = self.block_e(h, "Mixed_7b", self.average(h))
        return self.block_e(h, "Mixed_7c", max_pool2d(h, 3, 1, 1) if self.ported else self.average(h)).mean((2, 3))


class TestInception:
    def test_has_the_known_number_of_parameters(self):
        """21,785,568 in the convolutions and norms: the published network without its classifiers."""
        learned = [shape for name, shape in inception.shapes().items() if "running" not in name]
        assert sum(math.prod(shape) for shape in learned) == 21_785_568

    @pytest.mark.parametrize(("rows", "name"), [(1008, "inception-v3"), (1000, "inception-v3 (torchvision)")])
    def test_is_the_network_written_out(self, rows, name, files, weights):
        """All blocks, with the weights of both kinds of files."""
        x = pictures(2, 3, 40, 64)

        extractor = open_feature_extractor(files[rows])
        found = extractor(x)

        assert (extractor.name, found.shape, found.dtype) == (name, (2, 2048), torch.float64)
        expected = PlainInception(weights, ported=rows == 1008)(x).double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))

    def test_the_two_kinds_differ_at_borders_and_in_the_last_pool(self):
        """The port leaves the border's padding out of means, and its last pool takes the maximum."""
        h = pictures(1, 2, 5, 5) + 3
        port, other = (inception._pool("average", h, ported) for ported in (True, False))
        torch.testing.assert_close(port[..., 1:-1, 1:-1], other[..., 1:-1, 1:-1])
        torch.testing.assert_close(port[..., 0, 0], other[..., 0, 0] * 9 / 4)
        assert torch.equal(inception._pool("last", h, True), max_pool2d(h, 3, 1, 1))
        assert torch.equal(inception._pool("last", h, False), other)


class TestJudge:
    def test_vgg16_gives_the_mean_of_its_last_convolution(self, vgg16):
        """relu5_3 over all positions, with the file's weights."""
        x = pictures(2, 3, 40, 33)
        maps = vgg.FeatureNetwork({"conv5_3": 1.0}, halved(vgg.random_weights()))(x)["conv5_3"]
        assert vgg16.name == "vgg16"
        assert maps.shape == (2, 512, 2, 2)
        torch.testing.assert_close(vgg16(x), maps.mean((2, 3)).double())

    def test_neither_chunks_nor_order_matter(self, vgg16, monkeypatch):
        """The features of an image do not depend on other images."""
        x = pictures(5, 3, 32, 32)
        whole = vgg16(x)
        monkeypatch.setattr(feature_extractors, "CHUNK", 2)
        torch.testing.assert_close(vgg16(x.flip(0)), whole.flip(0), rtol=1e-4, atol=1e-6)

    def test_gray_and_alpha_are_taken(self, vgg16):
        """Gray is repeated to three channels; alpha is ignored."""
        gray, color = pictures(2, 1, 32, 32), pictures(2, 3, 32, 32)
        torch.testing.assert_close(vgg16(gray), vgg16(gray.repeat(1, 3, 1, 1)))
        torch.testing.assert_close(vgg16(torch.cat([color, gray], 1)), vgg16(color))

    def test_small_pictures_are_enlarged(self, vgg16):
        """Each side to the smallest size that VGG-16 supports."""
        x = pictures(2, 3, 8, 40)
        larger = interpolate(x, size=(32, 40), mode="bilinear")
        torch.testing.assert_close(vgg16(x), vgg16(larger))

    def test_nothing_is_learned(self, vgg16):
        """No autograd graph is built."""
        assert not vgg16(pictures(1, 3, 32, 32).requires_grad_()).requires_grad

    def test_another_file_has_another_digest(self, files):
        """The digest identifies the weights."""
        port, other = open_feature_extractor(files[1008]), open_feature_extractor(files[1000])
        assert port.digest != other.digest
        assert port.digest == open_feature_extractor(str(files[1008])).digest


class TestRefusals:
    def refused(self, path, what, hint):
        with pytest.raises(CheckpointError) as caught:
            open_feature_extractor(path)
        assert caught.value.exit_code == 65
        assert what in caught.value.what
        assert hint in caught.value.hint

    def test_of_another_network(self, tmp_path):
        """The error names the missing tensors and the supported networks."""
        self.refused(save({"conv1.weight": torch.ones(2)}, tmp_path / "a"), "neither", "inception-v3")
        self.refused(save([torch.ones(2)], tmp_path / "b"), "neither", "vgg16")

    def test_of_a_part_of_a_network(self, tmp_path):
        """The first tensor that is missing, misshapen or not finite."""
        weights = vgg.random_weights(vgg.LAYERS[:1])
        self.refused(save(weights, tmp_path / "a"), "features.2.weight", "vgg16")
        self.refused(save({"features.0.weight": torch.ones(())}, tmp_path / "b"), "features.0.weight", "vgg16")
        self.refused(
            save(weights | {"features.0.bias": torch.full((64,), math.nan)}, tmp_path / "c"), "finite", "vgg16"
        )
        first = {"Conv2d_1a_3x3.conv.weight": torch.ones(32, 3, 3, 3)}
        self.refused(save(first, tmp_path / "d"), "fc.weight", "FID")
        self.refused(save(first | {"fc.weight": torch.ones(7, 2)}, tmp_path / "e"), "1008", "FID")
        self.refused(save(first | {"fc.weight": torch.ones(1000)}, tmp_path / "f"), "Conv2d_1a_3x3.bn", "inception-v3")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_of_torchscript(self, tmp_path, monkeypatch):
        """It contains code: rejected before unpickling, with a hint."""
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
        monkeypatch.setattr("gancli.checkpoint.torch.load", lambda *_, **__: pytest.fail("unpickled"))
        self.refused(tmp_path / "a.pt", "TorchScript", "model.state_dict()")

    def test_of_a_file_cut_short(self, files, tmp_path):
        """It is rejected."""
        data = files[1008].read_bytes()
        (tmp_path / "a.pth").write_bytes(data[: len(data) // 2])
        self.refused(tmp_path / "a.pth", "truncated", "state dict")

    def test_of_no_file(self, tmp_path):
        """Nothing is downloaded."""
        with pytest.raises(InputMissing):
            open_feature_extractor(tmp_path / "nope.pth")

    def test_of_weights_that_overflow(self, tmp_path):
        """Finite weights can still give features that are not finite, which is an error."""
        huge = {name: torch.full_like(tensor, 1e38) for name, tensor in halved(vgg.random_weights()).items()}
        extractor = open_feature_extractor(save(huge, tmp_path / "huge.pth"))
        with pytest.raises(CheckpointError, match="not finite"):
            extractor(pictures(1, 3, 32, 32))

    def test_the_advice_for_an_older_file_works(self, tmp_path):
        """Parameters and the format before torch 1.6 are rejected; the suggested command converts them."""
        weights = {name: torch.nn.Parameter(tensor) for name, tensor in vgg.random_weights().items()}
        old = tmp_path / "old.pth"
        torch.save(weights, old, _use_new_zipfile_serialization=False)  # noqa: TID251  (somebody else's file)
        self.refused(old, "1.6", "torch.load(OLD, weights_only=True)")
        loaded = torch.load(old, weights_only=True)  # noqa: TID251  (the user's command)
        assert (
            open_feature_extractor(save({k: v.detach() for k, v in loaded.items()}, tmp_path / "new.pth")).name
            == "vgg16"
        )


def normal(n, f, seed):
    """Correlated features, (n, f)."""
    draw = torch.Generator().manual_seed(seed)
    mix = torch.randn(f, f, generator=draw, dtype=torch.float64) / f**0.5
    return torch.randn(n, f, generator=draw, dtype=torch.float64) @ mix + seed


class TestFrechetDistance:
    @pytest.mark.parametrize(("n", "f"), [(200, 8), (10, 40)])
    def test_is_zero_to_itself_and_the_square_of_a_shift(self, n, f):
        """Also where the covariance has less than full rank."""
        x, d = normal(n, f, 1), torch.linspace(0, 1, f, dtype=torch.float64)
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
        assert frechet_distance(x, x + d) == pytest.approx(float(d.square().sum()), rel=1e-9)

    def test_of_diagonal_covariances_is_the_closed_form(self):
        """|mu_a - mu_b|^2 + sum (sigma_a - sigma_b)^2, where no two features are correlated."""
        scale_a, scale_b, shift = (torch.tensor(v).double() for v in ([1.0, 2, 0], [3.0, 0.5, 1], [1.0, 0, 2]))
        corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3) * (7 / 8) ** 0.5
        expected = shift.square().sum() + (scale_a - scale_b).square().sum()
        assert frechet_distance(corners * scale_a, corners * scale_b + shift) == pytest.approx(float(expected))

    def test_is_the_formula(self):
        """tr (C_a C_b)^(1/2) from the eigenvalues of the product, by numpy, for sets of unequal size."""
        a, b = normal(60, 7, 1), normal(90, 7, 2)
        c_a, c_b = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
        root = np.sqrt(np.linalg.eigvals(c_a @ c_b).astype(complex)).real.sum()
        shift = (a.mean(0) - b.mean(0)).square().sum()
        expected = float(shift) + np.trace(c_a) + np.trace(c_b) - 2 * root
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
        assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)

    def test_is_finite_for_features_that_never_vary(self):
        """The distance of collapsed samples is large, not NaN."""
        a, b = normal(20, 5, 1), torch.ones(20, 5)
        expected = float((a.mean(0) - 1).square().sum() + a.var(0).sum())
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_features_leave_the_device_before_they_become_float64():
    """Apple's MPS has no float64."""
    calls = []

    class Found:
        def cpu(self):
            calls.append("cpu")
            return self

        def double(self):
            calls.append("double")
            return self

    feature_extractors.FeatureExtractor("stub", "", pathlib.Path("stub"), lambda x: Found()).of_chunk(
        torch.zeros(1, 3, 4, 4)
    )

    assert calls == ["cpu", "double"]
