import pytest
import torch

from gancli.stats import feature_cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path))
    return tmp_path / "features"


class Network:
    """The mean of each channel; counts how many images it has seen."""

    seen = 0

    def __call__(self, x):
        self.seen += len(x)
        return x.mean((2, 3)).double()


@pytest.fixture
def network():
    return Network()


def samples(seed=0):
    return torch.rand(5, 3, 8, 8, generator=torch.manual_seed(seed)) * 2 - 1


def test_the_same_samples_are_computed_once(folder, network):
    """Also by another process, and in another tensor; the features are those of the network to the last bit."""
    first = feature_cache.features(samples(), network, "a")
    second = feature_cache.features(samples().clone(memory_format=torch.channels_last), network, "a")
    assert network.seen == 5
    assert torch.equal(first, Network()(samples()))
    assert torch.equal(first, second)
    assert first.dtype == second.dtype == torch.float64


def test_other_samples_or_another_network_are_computed(folder, network):
    """One value that differs is enough."""
    changed = samples()
    changed[4, 2, 7, 7] += 1 / 256
    feature_cache.features(samples(), network, "a")
    found = feature_cache.features(changed, network, "a")
    feature_cache.features(samples(), network, "b")
    assert network.seen == 15
    assert torch.equal(found, changed.mean((2, 3)).double())


@pytest.mark.parametrize("damage", [lambda d: d[:-4], lambda d: b"", lambda d: d[:-1] + bytes([d[-1] ^ 1])])
def test_a_damaged_file_is_computed_again(folder, network, damage):
    """And replaced."""
    first = feature_cache.features(samples(), network, "a")
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))

    assert torch.equal(feature_cache.features(samples(), network, "a"), first)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error(folder, network):
    """Features are computed each time."""
    folder.write_text("a file in its place")
    for _ in range(2):
        feature_cache.features(samples(), network, "a")
    assert network.seen == 10


def test_the_features_used_longest_ago_are_removed(folder, network, monkeypatch):
    """The cache stays below its limit, and the reals of every inspection stay in it."""
    monkeypatch.setattr(feature_cache, "MOST_BYTES", 4 * (16 + 5 * 3 * 4))
    for seed in range(1, 9):
        feature_cache.features(samples(0), network, "a")
        feature_cache.features(samples(seed), network, "a")
    assert network.seen == 5 * 9
    assert len(list(folder.iterdir())) == 4
