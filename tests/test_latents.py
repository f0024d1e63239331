import numpy as np
import pytest
import torch

from gancli import latents, seeds
from gancli.latents import Prior


def test_seed_42_has_one_latent_for_ever():
    """Golden values: a change here changes every picture that anybody has noted down by its seed."""
    np.testing.assert_array_equal(
        latents.from_seed(42, Prior(4)),
        np.array([0.49671414494514465, -0.13826429843902588, 0.6476885676383972, 1.5230298042297363], np.float32),
    )


def test_a_longer_latent_begins_with_the_shorter_one():
    """The first numbers do not depend on how many are drawn."""
    np.testing.assert_array_equal(latents.from_seed(7, Prior(512))[:3], latents.from_seed(7, Prior(3)))


def test_slerp_stays_on_the_sphere_and_turns_evenly():
    """Between unit vectors: length one, and equal angles for equal steps."""
    a, b = np.array([1, 0], np.float32), np.array([0, 1], np.float32)

    points = [latents.slerp(a, b, t) for t in (0.25, 0.5, 0.75)]

    for point, degrees in zip(points, (22.5, 45, 67.5), strict=True):
        np.testing.assert_allclose(point, [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], atol=1e-6)


@pytest.mark.parametrize("b", [[1, 0], [2, 0], [-1, 0]])
def test_slerp_between_parallel_latents_is_finite(b):
    """No arc is shorter than another: the straight line is taken."""
    point = latents.slerp(np.array([1, 0], np.float32), np.array(b, np.float32), 0.3)

    assert np.isfinite(point).all()


class TestWalk:
    @pytest.mark.parametrize("path", ["slerp", "lerp"])
    def test_passes_through_its_seeds_exactly(self, path):
        """The same seed gives the same picture in a still and in a walk."""
        way = latents.walk([3, 5, 9], Prior(16), 12, loop=True, path=path)

        for frame, seed in ((0, 3), (4, 5), (8, 9)):
            assert torch.equal(way[frame], torch.from_numpy(latents.from_seed(seed, Prior(16))))

    def test_a_loop_stops_one_step_before_its_start(self):
        """It repeats without showing a frame twice."""
        way = latents.walk([1, 2], Prior(8), 10, loop=True)

        assert not torch.equal(way[0], way[-1])
        torch.testing.assert_close(way[1], way[-1])  # one step to either side of the start, on one arc

    def test_an_open_way_ends_on_its_last_seed(self):
        """Without a loop the last frame is the last keyframe."""
        way = latents.walk([1, 2, 3], Prior(8), 9, loop=False)

        assert torch.equal(way[-1], torch.from_numpy(latents.from_seed(3, Prior(8))))


class TestTruncate:
    def test_1_changes_nothing(self):
        """Off means off, bit for bit."""
        z = torch.randn(10)
        assert latents.truncate(z, 1.0, Prior(10)) is z

    def test_keeps_the_central_share(self):
        """share 0.5 of a normal lies within 0.6745 deviations; order and sign stay."""
        z = torch.linspace(-6, 6, 101)

        squeezed = latents.truncate(z, 0.5, Prior(101))

        assert squeezed.abs().max() <= 0.6745
        assert (squeezed.diff() >= 0).all()
        assert torch.equal(squeezed.sign(), z.sign())


class TestUniform:
    PRIOR = Prior(1000, uniform=True, scale=0.5)

    def test_lies_in_its_cube(self):
        """Uniform over (-1, 1), times the scale, for training and for seeds."""
        trained = self.PRIOR.draw(50, torch.Generator().manual_seed(0))
        for z in (trained, latents.from_seeds(range(50), self.PRIOR)):
            assert z.abs().max() <= 0.5
            assert z.std() == pytest.approx(0.5 / 3**0.5, rel=0.02)

    def test_truncation_shrinks_the_cube(self):
        """The central share of a uniform distribution."""
        z = latents.from_seeds([1], self.PRIOR)
        torch.testing.assert_close(latents.truncate(z, 0.4, self.PRIOR), z * 0.4)

    def test_a_walk_stays_in_the_cube(self):
        """Straight lines: an arc between two corners would leave it."""
        assert latents.walk([1, 2, 3], self.PRIOR, 30, path="slerp").abs().max() <= 0.5


def test_scaled_normals_are_truncated_in_their_own_units():
    """N(0, 0.2): the central half lies within 0.2 * 0.6745."""
    prior = Prior(5000, scale=0.2)
    z = latents.from_seeds([0], prior)

    assert z.std() == pytest.approx(0.2, rel=0.05)
    assert latents.truncate(z, 0.5, prior).abs().max() <= 0.2 * 0.6745


class TestStream:
    def test_depends_on_seed_name_and_position_only(self):
        """A resumed run draws what an unbroken one would have drawn."""
        draws = [torch.rand(3, generator=seeds.stream(*key)) for key in ((0, "a", 5), (0, "a", 5))]
        others = [torch.rand(3, generator=seeds.stream(*key)) for key in ((1, "a", 5), (0, "b", 5), (0, "a", 6))]

        assert torch.equal(*draws)
        assert not any(torch.equal(draws[0], other) for other in others)

    def test_an_epoch_shows_every_sample_once(self):
        """permutation(seed, epoch) is one, and differs from epoch to epoch."""
        first, second = (seeds.permutation(0, epoch, 100) for epoch in (0, 1))

        assert first.sort().values.tolist() == list(range(100))
        assert not torch.equal(first, second)
