"""EfficientNet-Lite0, compared with the implementation that its weights were made for."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from gancli import safe_load
from gancli.errors import CheckpointError
from gancli.networks import efficientnet, feature_extractors
from gancli.networks.feature_extractors import SHA256, open_feature_extractor, pretrained


@pytest.fixture(scope="module")
def extractor():
    found = pretrained()
    assert found is not None, "the extra `test` brings the weights"
    return found


@pytest.mark.parametrize("size", [96, 101])
def test_every_stage_is_that_of_the_reference(extractor, size):
    """An odd size, too: TensorFlow pads by the input size."""
    weights = safe_load.read_pinned(extractor.path, SHA256)
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    reference.load_state_dict(weights)
    outputs = []
    for number in (0, 2, 4, 7, 10, 14, 15):  # the last block of each stage
        reference._blocks[number].register_forward_hook(lambda module, given, found: outputs.append(found))
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1

    with torch.no_grad():
        outputs.append(reference.extract_features((x * 127.5 + 127.5 - 127) / 128))
        found = list(efficientnet.maps(x, efficientnet.fold(weights)))

    assert len(found) == len(outputs) == 8
    for ours, theirs in zip(found, outputs, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_features_are_means_and_deviations_of_two_stages(extractor):
    """At 96 px, whatever the size of the images."""
    x = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weights = efficientnet.fold(safe_load.read_pinned(extractor.path, SHA256))
    with torch.no_grad():
        stages = list(efficientnet.maps(x, weights))
    wanted = [part for h in (stages[4], stages[5]) for part in (h.mean((2, 3)), h.std((2, 3), correction=0))]
    torch.testing.assert_close(extractor(x).float(), torch.cat(wanted, dim=1), atol=1e-4, rtol=1e-4)
    assert extractor(torch.zeros(2, 1, 20, 31)).shape == (2, 608)


def test_another_file_is_refused(extractor, tmp_path, monkeypatch):
    """One byte of the weights has changed."""
    package = tmp_path / feature_extractors.PACKAGE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('no code of the package runs')")
    content = bytearray(extractor.path.read_bytes())
    content[-1] ^= 1
    (package / feature_extractors.WEIGHTS).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="SHA-256"):
        pretrained()


def test_the_extra_may_be_missing(monkeypatch):
    """Then there are no trained features."""
    monkeypatch.setattr(feature_extractors, "PACKAGE", "no_such_package")
    assert pretrained() is None


def test_it_is_not_a_file_for_features(extractor):
    """`--features` takes files of the user: zip files, which are checked as they are read."""
    with pytest.raises(CheckpointError):
        open_feature_extractor(extractor.path)
