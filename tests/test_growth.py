import pytest
from conftest import tiny_config

from gancli import annealing, growth
from gancli.growth import Schedule, Segment


def at(images, **changes):
    return Schedule.of(tiny_config(**changes)).phase_at(images)


class TestPhase:
    @pytest.mark.parametrize(
        ("images", "stage", "alpha"),
        [
            (0, 0, 1),
            (31, 0, 1),
            (32, 1, 0),
            (48, 1, 0.5),
            (64, 1, 1),
            (95, 1, 1),
            (96, 2, 0),
            (128, 2, 1),
            (10**9, 2, 1),
        ],
    )
    def test_fades_and_stable_times_follow_one_another(self, images, stage, alpha):
        """4 px stable, 8 px fade, stable, 16 px fade, stable without end; alpha is linear in images."""
        phase = at(images)

        assert (phase.stage, phase.alpha) == (stage, alpha)
        assert (phase.height, phase.width) == (4 << stage, 4 << stage)

    def test_the_first_resolution_has_no_fade(self):
        """There is nothing to fade from."""
        assert not at(0).fading
        assert Schedule.of(tiny_config()).total == 5 * 32

    def test_the_segments_follow_one_another_and_are_numbered(self):
        """Stable, then a fade and a stable period at each later resolution; no empty segments."""
        schedule = Schedule.of(tiny_config())

        plan = [(0, False), (1, True), (1, False), (2, True), (2, False)]
        assert schedule.segments == tuple(Segment(32 * i, 32, *what) for i, what in enumerate(plan))
        assert [phase.segment for phase in schedule.phases] == [0, 1, 2, 3, 4]

    def test_a_segment_of_one_image_is_a_segment(self):
        """Fades and stable periods of one image each: each image is a segment."""
        changes = {"growth__fade": 1, "growth__stable": 1}

        phases = [at(images, **changes) for images in range(5)]

        assert [(p.stage, p.fading, p.alpha) for p in phases] == [
            (0, False, 1), (1, True, 0), (1, False, 1), (2, True, 0), (2, False, 1)
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("changes", "start"),
        [({"growth__fade": 0, "growth__stable": 0}, 0), ({"growth__at": {16: {"fade": 0, "stable": 0}}}, 96)],
    )
    def test_a_last_resolution_without_images_has_no_end(self, changes, start):
        """A schedule of no images, or of none at full size, also ends stable at full size."""
        schedule = Schedule.of(tiny_config(**changes))

        assert schedule.segments[-1] == Segment(start, 0, 2, False)
        assert schedule.total == start
        assert (schedule.phase_at(10**6).stage, schedule.phase_at(10**6).alpha) == (2, 1)

    @pytest.mark.parametrize("last", [{"fade": 32, "stable": 0}, {"fade": 32, "stable": 48}])
    def test_full_size_is_reached_when_the_last_fade_ends(self, last):
        """Alpha is below 1 until then, also where no stable period follows."""
        schedule = Schedule.of(tiny_config(growth__at={"16": last}))
        before, after = (schedule.phase_at(schedule.full_size_at + step) for step in (-1, 0))
        assert (before.height, before.alpha) == (16, 31 / 32)
        assert (after.height, after.alpha) == (16, 1.0)

    def test_a_fade_at_the_very_end_stops_at_1(self):
        """Alpha does not exceed 1 past the end of the schedule."""
        alphas = [at(images, growth__at={16: {"stable": 0}}).alpha for images in (112, 128, 10**6)]

        assert alphas == [0.5, 1, 1]

    def test_a_resolution_may_have_its_own_times(self):
        """A stable period of 16 and a fade of 8 at 8 px: 32 + 8 + 16 images are before the fade to 16 px."""
        schedule = Schedule.of(tiny_config(growth__at={8: {"fade": 8, "stable": 16}}))

        assert [segment.start for segment in schedule.segments] == [0, 32, 40, 56, 88]

    def test_resolutions_are_named_by_their_height(self):
        """With a base of 4 x 6 pixels, 8 is the second resolution and 16 the third; 12 and 24 are widths."""
        base = {"network__base": [4, 6]}

        phase = at(32, growth__at={8: {"fade": 0, "batch_size": 2}}, **base)
        grown = at(0, growth__start_at=16, **base)

        assert (phase.fading, phase.batch_size, phase.height, phase.width) == (False, 2, 8, 12)
        assert (grown.stage, grown.height, grown.width) == (2, 16, 24)

    def test_a_resolution_may_have_its_own_batch_and_rate(self):
        """growth.at names exceptions; the others keep the common value."""
        at_8 = {"growth__at": {8: {"batch_size": 4, "lr": 0.5}}}

        assert (at(40, **at_8).batch_size, at(40, **at_8).lr) == (4, 0.5)
        assert (at(0, **at_8).batch_size, at(100, **at_8).lr) == (8, 0.002)

    def test_a_grown_run_begins_with_the_fade_of_its_first_stage(self):
        """start_at: the earlier stages are trained, so training starts at alpha 0."""
        phase = at(0, growth__start_at=16)

        assert (phase.stage, phase.alpha, phase.fading) == (2, 0.0, True)

    @pytest.mark.parametrize(("verb", "fades"), [("grow", True), ("transfer", False)])
    def test_a_trained_stage_is_not_faded_in_again(self, verb, fades):
        """All stages of a transferred run are trained; the first of a grown run is new. Later ones fade in both."""
        origin = {"verb": verb, "checkpoint": "other.pt", "digest": "0", "images": 1}

        segments = Schedule.of(tiny_config(growth__start_at=8, origin=origin)).segments

        later = [(1, False), (2, True), (2, False)]
        assert [(s.stage, s.fading) for s in segments] == [(1, True)] * fades + later

    def test_a_fade_of_no_images_is_skipped(self):
        """Training at full size from the start is possible."""
        phase = at(0, growth__start_at=16, growth__at={16: {"fade": 0}})

        assert (phase.stage, phase.alpha, phase.fading) == (2, 1.0, False)


class TestRates:
    def test_the_rate_falls_linearly_over_the_last_part(self):
        """share 0.5, to 0.2: 1 until half the run, 0.6 at three quarters, 0.2 at the end and after."""
        config = tiny_config(optimizer={"decay": {"share": 0.5, "to": 0.2}})

        factors = [annealing.lr_factor(config, images, 1000) for images in (0, 500, 750, 1000, 2000)]

        assert factors == pytest.approx([1, 1, 0.6, 0.2, 0.2])

    def test_a_share_of_1_falls_over_the_whole_run(self):
        """With a share of 0 there is no decay."""
        whole, none = (tiny_config(optimizer={"decay": {"share": share, "to": 0.2}}) for share in (1, 0))

        assert [annealing.lr_factor(whole, images, 1000) for images in (0, 500, 1000)] == pytest.approx([1, 0.6, 0.2])
        assert [annealing.lr_factor(none, images, 1000) for images in (0, 500, 1000)] == [1, 1, 1]

    def test_without_decay_it_stays(self):
        """The learning rate is constant."""
        assert annealing.lr_factor(tiny_config(), 159, 160) == 1


@pytest.mark.parametrize(("reset", "where"), [("both", {32, 64, 96, 128}), ("start", {32, 96}), ("never", set())])
def test_adam_is_cleared_where_the_reference_clears_it(reset, where):
    """At the start and end of each fade; only at its start; or never."""
    config = tiny_config(optimizer__reset=reset)
    schedule = Schedule.of(config)
    steps = range(8, 168, 8)

    cleared = {i for i in steps if growth.resets_optimizer(config, schedule.phase_at(i - 8), schedule.phase_at(i))}

    assert cleared == where


def test_the_critic_schedule_boosts_first_and_every_so_often():
    """Source: 5 steps; 50 for the first 25 generator iterations and on every 500th."""
    config = tiny_config(train__critic_steps={"base": 5, "boost": 50, "first": 25, "every": 500})

    counts = [growth.critic_steps(config, g) for g in (0, 24, 25, 499, 500, 501)]

    assert counts == [50, 50, 5, 5, 50, 5]


@pytest.mark.parametrize(("every", "counts"), [(0, [50, 5, 5, 5]), (1, [50, 50, 50, 50]), (2, [50, 5, 50, 5])])
def test_the_boost_comes_back_on_every_nth_step_or_never(every, counts):
    """every 0: never; 1: on every step."""
    config = tiny_config(train__critic_steps={"base": 5, "boost": 50, "first": 1, "every": every})

    assert [growth.critic_steps(config, g) for g in range(4)] == counts


@pytest.mark.parametrize("first", [0, 1, 5, 8])
@pytest.mark.parametrize("every", [0, 1, 3, 4])
def test_critic_steps_are_counted_with_their_boosts(first, every):
    """The closed form is the sum over the generator steps."""
    config = tiny_config(train__critic_steps={"base": 2, "boost": 7, "first": first, "every": every})

    counts = [growth.critic_steps_before(config, g) for g in range(20)]

    assert counts == [sum(growth.critic_steps(config, step) for step in range(g)) for g in range(20)]


def test_generator_steps_are_counted_in_the_images_that_they_show():
    """3 batches of 8 before the first step, then 2 of 8; from 32 images on 2 of 4, the second resolution's batch."""
    steps = {"base": 2, "boost": 3, "first": 1}
    config = tiny_config(train__critic_steps=steps, growth__at={8: {"batch_size": 4}})

    counts = [growth.images_of(config, Schedule.of(config), generator_steps) for generator_steps in range(5)]

    assert counts == [0, 24, 40, 48, 56]
