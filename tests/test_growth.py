import pytest
from conftest import tiny_config

from gancli import growth
from gancli.growth import Schedule


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
        """4 px stable, 8 px fade, stable, 16 px fade, stable for ever; alpha is linear in images."""
        phase = at(images)

        assert (phase.stage, phase.alpha) == (stage, alpha)
        assert (phase.height, phase.width) == (4 << stage, 4 << stage)

    def test_the_first_resolution_has_no_fade(self):
        """There is nothing to fade from."""
        assert not at(0).fading
        assert Schedule.of(tiny_config()).total == 5 * 32

    def test_a_resolution_may_have_its_own_batch_and_rate(self):
        """growth.at names exceptions; the others keep the common value."""
        at_8 = {"growth__at": {8: {"batch_size": 4, "lr": 0.5}}}

        assert (at(40, **at_8).batch_size, at(40, **at_8).lr) == (4, 0.5)
        assert (at(0, **at_8).batch_size, at(100, **at_8).lr) == (8, 0.002)

    def test_a_grown_run_begins_with_the_fade_of_its_first_stage(self):
        """start_at: the stages before came trained, so the clock starts at alpha 0."""
        phase = at(0, growth__start_at=16)

        assert (phase.stage, phase.alpha, phase.fading) == (2, 0.0, True)

    def test_a_fade_of_no_images_is_skipped(self):
        """Training at full size from the start is a schedule too."""
        phase = at(0, growth__start_at=16, growth__at={16: {"fade": 0}})

        assert (phase.stage, phase.alpha, phase.fading) == (2, 1.0, False)


class TestRates:
    def test_the_rate_falls_linearly_over_the_last_part(self):
        """share 0.5, to 0.2: 1 until half the run, 0.6 at three quarters, 0.2 at the end and after."""
        config = tiny_config(optimizer={"decay": {"share": 0.5, "to": 0.2}})

        factors = [growth.lr_factor(config, images, 1000) for images in (0, 500, 750, 1000, 2000)]

        assert factors == pytest.approx([1, 1, 0.6, 0.2, 0.2])

    def test_without_decay_it_stays(self):
        """No decay asked for, none done."""
        assert growth.lr_factor(tiny_config(), 159, 160) == 1


@pytest.mark.parametrize(("reset", "where"), [("both", {32, 64, 96, 128}), ("start", {32, 96}), ("never", set())])
def test_adam_is_cleared_where_the_reference_clears_it(reset, where):
    """At the start and the end of every fade; at its start alone; or never."""
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
