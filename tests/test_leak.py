"""Traces of augmentation in images, each on images in which it was put by hand."""

import pytest
import torch

from gancli.augment import Augment
from gancli.config.schema import AugmentConfig
from gancli.health import Figure
from gancli.stats import leak
from gancli.stats.verdict import decide

SIDE = 16


def noise(count, seed=0, side=SIDE):
    """Colors in [-1, 1], different at every pixel and seldom gray."""
    x = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x.sign() * x.abs().sqrt()


@pytest.mark.parametrize("turns", range(4))
def test_repeated_edges_are_counted_on_every_side(turns):
    """Five rows like the sixth, at any side; the longest of the four. Rows of one color are not a repeated edge."""
    x = noise(2)
    x[0, :, :5] = x[0, :, 5:6]
    x[1, :, :8] = 0.5
    found = leak.repeated_edges(x.rot90(turns, (2, 3)))
    assert found.flatten().tolist() == [5 / SIDE, 0]


def test_gray_boxes_are_gray_in_all_channels():
    """A quarter of the side, anywhere; borders of a sixteenth. White, one gray channel, and pale images are none."""
    x = noise(6)
    x[0, :, 3:7, 9:13] = 0
    x[1, :, :, -1] = 0
    x[2, :, 3:7, 9:13] = 1
    x[3, 0, 3:7, 9:13] = 0
    x[4] *= 0.2
    found = leak.gray_boxes(x).flatten()
    assert found[:2].tolist() == [1, 1]
    assert found[2:].max() < 0.5


def test_place_follows_the_content():
    """A spot that moves by four pixels down and one to the right."""
    x = torch.zeros(2, 3, SIDE, SIDE)
    x[0, :, 3:6, 3:6] = 1
    x[1, :, 7:10, 4:7] = 1
    before, after = leak.place(x)
    torch.testing.assert_close(after - before, torch.tensor([1 / SIDE, 4 / SIDE]).to(after), atol=1e-4, rtol=0)


def test_angle_is_that_of_the_edges():
    """Twice the angle: vertical edges have (1, 0), horizontal ones (-1, 0), diagonal ones (0, 1)."""
    ramp = torch.linspace(-1, 1, SIDE).expand(SIDE, SIDE)
    x = torch.stack([ramp, ramp.T, ramp + ramp.T])[:, None].expand(-1, 3, -1, -1)
    expected = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(leak.angle(x), expected, atol=2e-3, rtol=0)


class TestShares:
    @pytest.mark.parametrize(
        ("operation", "trace", "least"),
        [("cutout", "gray boxes", 0.3), ("translation", "repeated edges", 0.3), ("scale", "repeated edges", 0.1)],
    )
    def test_of_augmented_reals(self, operation, trace, least):
        """About as many as were augmented visibly; of plain ones, none."""
        reals, others = noise(400), noise(400, seed=1)
        made = Augment(AugmentConfig(**{operation: 0.5}), 1.0, torch.Generator().manual_seed(0))(others)
        assert least < leak.shares(made, reals)[trace] < 0.55
        assert leak.shares(others, reals)[trace] < 0.06

    def test_what_the_reals_have_is_no_trace(self):
        """Reals with such edges: the samples have no more of them."""
        augment = Augment(AugmentConfig(translation=0.5), 1.0, torch.Generator().manual_seed(0))
        assert leak.shares(augment(noise(400)), augment(noise(400, seed=1)))["repeated edges"] < 0.06

    def test_moved_content(self):
        """Spots in the middle, a third of them a quarter of the side lower."""
        spots = torch.zeros(300, 1, SIDE, SIDE)
        spots[:, :, 7:10, 7:10] = torch.rand(300, 1, 1, 1, generator=torch.Generator().manual_seed(0)) + 0.5
        spots += 0.05 * noise(300)[:, :1]
        moved = spots.clone()
        moved[:100] = moved[:100].roll(4, 2)
        assert leak.shares(moved, spots)["place"] == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(("trace", "word"), [("gray boxes", "artifacts"), ("place", "healthy")])
def test_boxes_and_edges_are_artifacts(trace, word):
    """With the evidence. Content in another place may also be a lack of some modes."""
    healthy = [Figure("batch_std_ratio", "", 1.0, 1.0), Figure("coverage", "", 0.95, 0.96)]
    verdict = decide([*healthy, Figure("leak", "", 0.4, 0.01, part=trace)], 1_000)
    assert verdict.word == word
    text = f"40% of the samples have {trace} that the data lacks: traces of augmentation"
    assert (text in verdict.evidence) == (word == "artifacts")


def test_the_grayest_box_is_that_of_a_plain_search():
    """Every box of a quarter of the sides, and every border of a sixteenth, averaged one by one in float64."""
    x = torch.rand(6, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 0.5 - 0.25
    x[0, :, 5:9, 10:18] = 0
    found = leak.gray_boxes(x)[:, 0]

    far = x.double().abs().amax(dim=1)
    boxes = [far[:, top : top + 4, left : left + 8] for top in range(13) for left in range(25)]
    borders = [far[:, :1], far[:, -1:], far[:, :, :2], far[:, :, -2:]]
    grayest = torch.stack([part.mean(dim=(1, 2)) for part in (*boxes, *borders)]).amin(dim=0)
    expected = torch.minimum(1 - grayest / (far.mean(dim=(1, 2)) + 0.02), 1 - grayest / 0.25).clamp(min=0)
    assert expected[0] == 1
    assert ((expected[1:] > 0) & (expected[1:] < 1)).all()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
