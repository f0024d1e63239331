import numpy as np
import pytest
import torch
from conftest import tiny_config

from gancli.data import Feed, Shape, fade, open_dataset, to_unit
from gancli.growth import Schedule


@pytest.fixture
def feed(pictures):
    return Feed(open_dataset(str(pictures), Shape(16, 16, 3, "crop")), tiny_config())


def test_every_sample_is_shown_once_before_any_is_shown_again(feed):
    """Batches cross the end of an epoch without losing or repeating a sample."""
    shown = torch.cat([feed.rows_at(images, 10) for images in range(0, 48 * 5, 10)])

    for epoch in shown.split(24):
        assert sorted(epoch.tolist()) == list(range(24))


def test_a_batch_depends_on_its_position_only(feed):
    """There is no state between batches."""
    phase = Schedule.of(tiny_config()).phase_at(40)
    again = feed.batch_at(40, phase)
    feed.batch_at(8, phase)

    assert torch.equal(feed.batch_at(40, phase), again)


def test_lower_resolutions_are_two_by_two_means(feed):
    """From the full size, in [-1, 1]."""
    phase = Schedule.of(tiny_config()).phase_at(0)

    x = feed.batch_at(0, phase)

    full = np.asarray(feed.values[feed.rows_at(0, 8).numpy()], np.float64)
    means = full.reshape(8, 4, 4, 4, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(x.numpy(), means, atol=1e-5)


def test_black_and_white_are_the_ends_of_the_range():
    """0 is -1 and 255 is 1."""
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    assert to_unit(pixels).flatten().tolist() == [-1, 1]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_reals_are_faded_like_fakes(alpha):
    """x = alpha x + (1 - alpha) upscale(downscale(x)): no finer detail than the old stage at alpha 0."""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    coarse = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).repeat_interleave(2, 0).repeat_interleave(2, 1)

    torch.testing.assert_close(fade(x, alpha)[0, 0], alpha * x[0, 0] + (1 - alpha) * coarse)


def test_mirroring_flips_about_half_of_the_pictures(pictures):
    """Each is unchanged or flipped, by position."""
    dataset = open_dataset(str(pictures), Shape(16, 16, 3, "crop"))
    plain, mirrored = (Feed(dataset, tiny_config(data__mirror=flag)) for flag in (False, True))
    phase = Schedule.of(tiny_config()).phases[-1]
    flips = 0

    for images in range(0, 160, 8):
        for a, b in zip(plain.batch_at(images, phase), mirrored.batch_at(images, phase), strict=True):
            assert torch.equal(a, b) or torch.equal(a.flip(2), b)
            flips += torch.equal(a.flip(2), b) and not torch.equal(a, b)

    assert 50 < flips < 110


def test_held_out_samples_are_never_fed(tmp_path):
    """Neither in batches nor in ticks."""
    np.save(tmp_path / "a.npy", np.random.RandomState(0).randint(0, 256, (600, 4, 4, 1)).astype(np.uint8))
    dataset = open_dataset(str(tmp_path / "a.npy"), Shape(4, 4, 1, "crop"), held_out=0.1)
    feed = Feed(dataset, tiny_config())

    fed = set(feed.rows_at(0, 540).tolist())

    assert dataset.held_out.sum() == 60
    assert fed == set(np.flatnonzero(~dataset.held_out))
