import math
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
import pytest
import torch
from conftest import tiny_config

from gancli import latents, seeds
from gancli.latents import Prior


def test_the_latent_of_seed_42_never_changes():
    """Golden values: a change here changes the image of every seed."""
    np.testing.assert_array_equal(
        latents.from_seed(42, Prior(4)),
        np.array([0.49671414494514465, -0.13826429843902588, 0.6476885676383972, 1.5230298042297363], np.float32),
    )


def test_a_longer_latent_begins_with_the_shorter_one():
    """The first numbers do not depend on the length."""
    np.testing.assert_array_equal(latents.from_seed(7, Prior(512))[:3], latents.from_seed(7, Prior(3)))


def test_a_prior_takes_size_kind_and_scale_from_its_config():
    """Each from its own key: network.z_dim, network.z_distribution, network.z_scale."""
    uniform = tiny_config(network__z_distribution="uniform", network__z_scale=0.5)

    assert Prior.of(tiny_config().network) == Prior(8, uniform=False, scale=1.0)
    assert Prior.of(uniform.network) == Prior(8, uniform=True, scale=0.5)


def test_normal_latents_for_training_are_normal():
    """Mean 0, standard deviation `scale`, and erf(1 / sqrt(2)) of the values within one standard deviation."""
    z = Prior(100, scale=3).draw(500, torch.Generator().manual_seed(0))

    assert z.shape == (500, 100)
    assert z.mean().item() == pytest.approx(0, abs=0.05)
    assert z.std().item() == pytest.approx(3, rel=0.01)
    assert (z.abs() < 3).float().mean().item() == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.01)


@pytest.mark.parametrize("uniform", [False, True])
def test_latents_for_training_come_from_the_generator_given(uniform):
    """A resumed run samples the same latents as an uninterrupted one, independent of the global generator."""
    prior = Prior(5, uniform)

    first, again, other = (prior.draw(4, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_from_seeds_stacks_the_latents_of_its_seeds_in_order():
    """Row i is the latent of the i-th seed."""
    z = latents.from_seeds([9, 3, 9], Prior(6))

    for row, seed in zip(z, (9, 3, 9), strict=True):
        np.testing.assert_array_equal(row.numpy(), latents.from_seed(seed, Prior(6)))


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 1.0])
def test_slerp_turns_evenly_while_the_length_changes_linearly(t):
    """From length 2 to length 5 over an angle of 1 radian: at share t the angle is t and the length 2 + 3 t."""
    a = np.array([2, 0, 0], np.float32)
    b = np.array([5 * math.cos(1), 0, 5 * math.sin(1)], np.float32)

    point = latents.slerp(a, b, t)

    np.testing.assert_allclose(point, (2 + 3 * t) * np.array([math.cos(t), 0, math.sin(t)]), atol=1e-5)
    assert point.dtype == np.float32


def test_slerp_between_a_latent_and_itself_stays_there():
    """The cosine of two equal latents is 1 but for rounding, to either side; that of opposite ones -1."""
    for z in np.random.RandomState(0).normal(size=(200, 16)).astype(np.float32):
        np.testing.assert_allclose(latents.slerp(z, z, 0.3), z, atol=1e-5)
        assert np.isfinite(latents.slerp(z, -z, 0.3)).all()


def test_lerp_is_the_weighted_mean():
    """(1 - t) a + t b, in float32 as all latents are."""
    a, b = np.array([1, -2], np.float32), np.array([5, 2], np.float32)

    point = latents.lerp(a, b, 0.25)

    np.testing.assert_allclose(point, [2, -1])
    assert point.dtype == np.float32


def test_slerp_stays_on_the_sphere_and_turns_evenly():
    """Between unit vectors: length one, and equal angles for equal steps."""
    a, b = np.array([1, 0], np.float32), np.array([0, 1], np.float32)

    points = [latents.slerp(a, b, t) for t in (0.25, 0.5, 0.75)]

    for point, degrees in zip(points, (22.5, 45, 67.5), strict=True):
        np.testing.assert_allclose(point, [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], atol=1e-6)


@pytest.mark.parametrize("b", [[1, 0], [2, 0], [-1, 0]])
def test_slerp_between_parallel_latents_is_finite(b):
    """The arc is not unique: linear interpolation is used."""
    point = latents.slerp(np.array([1, 0], np.float32), np.array(b, np.float32), 0.3)

    assert np.isfinite(point).all()


class TestWalk:
    @pytest.mark.parametrize("path", ["slerp", "lerp"])
    def test_passes_through_its_seeds_exactly(self, path):
        """A seed gives the same image in a sample and in a walk."""
        way = latents.walk([3, 5, 9], Prior(16), 12, loop=True, path=path)

        for frame, seed in ((0, 3), (4, 5), (8, 9)):
            assert torch.equal(way[frame], torch.from_numpy(latents.from_seed(seed, Prior(16))))

    def test_a_loop_stops_one_step_before_its_start(self):
        """It repeats without showing a frame twice."""
        way = latents.walk([1, 2], Prior(8), 10, loop=True)

        assert not torch.equal(way[0], way[-1])
        torch.testing.assert_close(way[1], way[-1])  # one step to either side of the start, on one arc

    def test_follows_arcs_and_loops_by_default(self):
        """Halfway between two seeds: the middle of the arc; as straight lines: the mean."""
        a, b = (latents.from_seed(seed, Prior(8)).astype(np.float64) for seed in (1, 2))
        middle = a / np.linalg.norm(a) + b / np.linalg.norm(b)  # its direction
        middle *= (np.linalg.norm(a) + np.linalg.norm(b)) / 2 / np.linalg.norm(middle)

        arcs, lines = latents.walk([1, 2], Prior(8), 4), latents.walk([1, 2], Prior(8), 4, path="lerp")

        for frame in (1, 3):
            np.testing.assert_allclose(arcs[frame], middle, atol=1e-5)
            np.testing.assert_allclose(lines[frame], (a + b) / 2, atol=1e-5)

    @pytest.mark.parametrize(("frames", "seeds"), [(1, [5]), (2, [5, 7]), (3, [5, 6, 7])])
    def test_the_shortest_open_paths_start_and_end_at_their_seeds(self, frames, seeds):
        """One frame is the first seed; two frames are the first and the last."""
        way = latents.walk([5, 6, 7], Prior(8), frames, loop=False)

        assert torch.equal(way[[0, -1]], latents.from_seeds([seeds[0], seeds[-1]], Prior(8)))

    def test_an_open_path_ends_at_its_last_seed(self):
        """Without a loop the last frame is the last keyframe."""
        way = latents.walk([1, 2, 3], Prior(8), 9, loop=False)

        assert torch.equal(way[-1], torch.from_numpy(latents.from_seed(3, Prior(8))))


class TestTruncate:
    def test_1_changes_nothing(self):
        """The output is identical to the input."""
        z = torch.randn(10)
        assert latents.truncate(z, 1.0, Prior(10)) is z

    def test_keeps_the_central_share(self):
        """The central 0.5 of a normal is within 0.6745 standard deviations; order and sign are unchanged."""
        z = torch.linspace(-6, 6, 101)

        squeezed = latents.truncate(z, 0.5, Prior(101))

        assert squeezed.abs().max() <= 0.6745
        assert (squeezed.diff() >= 0).all()
        assert torch.equal(squeezed.sign(), z.sign())

    @pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
    def test_is_its_formula(self, scale):
        """Phi^-1(1/2 + share (Phi(z) - 1/2)) in units of the scale, with the standard library's normal distribution."""
        z, normal = torch.linspace(-3, 3, 13) * scale, NormalDist(sigma=scale)

        squeezed = latents.truncate(z, 0.7, Prior(13, scale=scale))

        expected = [normal.inv_cdf(0.5 + 0.7 * (normal.cdf(value) - 0.5)) for value in z.tolist()]
        torch.testing.assert_close(squeezed, torch.tensor(expected), atol=1e-5 * scale, rtol=1e-5)


class TestUniform:
    PRIOR = Prior(1000, uniform=True, scale=0.5)

    def test_is_within_its_cube(self):
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
        """Linear interpolation: an arc between two corners would leave it."""
        assert latents.walk([1, 2, 3], self.PRIOR, 30, path="slerp").abs().max() <= 0.5


def test_scaled_normals_are_truncated_in_their_own_units():
    """N(0, 0.2): the central half is within 0.2 * 0.6745."""
    prior = Prior(5000, scale=0.2)
    z = latents.from_seeds([0], prior)

    assert z.std() == pytest.approx(0.2, rel=0.05)
    assert latents.truncate(z, 0.5, prior).abs().max() <= 0.2 * 0.6745


class TestStream:
    def test_depends_on_seed_name_and_position_only(self):
        """A resumed run uses the same random numbers as an uninterrupted one."""
        draws = [torch.rand(3, generator=seeds.stream(*key)) for key in ((0, "a", 5), (0, "a", 5))]
        others = [torch.rand(3, generator=seeds.stream(*key)) for key in ((1, "a", 5), (0, "b", 5), (0, "a", 6))]

        assert torch.equal(*draws)
        assert not any(torch.equal(draws[0], other) for other in others)

    def test_is_seeded_by_the_hash_of_its_key(self):
        """The first 63 bits of blake2b: the same on every machine and in every release."""
        digest = blake2b(b"7/noise/1234", digest_size=8).hexdigest()

        assert seeds.stream(7, "noise", 1234).initial_seed() == int(digest, 16) // 2

    def test_the_order_of_an_epoch_is_a_stream_of_that_name(self):
        """With another name a resumed run would have another order."""
        order = seeds.permutation(3, 2, 50)

        assert torch.equal(order, torch.randperm(50, generator=seeds.stream(3, "order", 2)))
        assert not torch.equal(order, seeds.permutation(4, 2, 50))

    def test_an_epoch_shows_every_sample_once(self):
        """permutation(seed, epoch) is a permutation that differs between epochs."""
        first, second = (seeds.permutation(0, epoch, 100) for epoch in (0, 1))

        assert first.sort().values.tolist() == list(range(100))
        assert not torch.equal(first, second)
