"""Values that are not finite: found within a step, never saved, and undone by going back to the last checkpoint."""

import math

import pytest
import torch
from conftest import log_of, make_pictures, tensors_of, write_preset
from torch.utils.benchmark import Timer

import gancli as package
from gancli import checkpoint
from gancli.data.feed import Feed
from gancli.errors import TrainingDiverged
from gancli.runs import Run
from gancli.training import loop, sentinel, step, verbs  # noqa: F401  (all is imported before a part is replaced)

EVERY = 24  # images between two checkpoints


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("rollback")


@pytest.fixture(scope="module")
def preset(place):
    """160 images at 4 to 16 px, a checkpoint after every third step, and batch norm at the output."""
    changes = {"train.checkpoint_every": EVERY, "network.output": "bn-tanh"}
    return write_preset(place / "p.yaml", changes)


@pytest.fixture(scope="module")
def pictures(place):
    return make_pictures(place / "pictures", 24)


@pytest.fixture(scope="module")
def straight(preset, pictures, place):
    """The undisturbed run."""
    return trained(preset, pictures, place / "straight")


def trained(preset, pictures, outdir, **options):
    return Run(package.train(preset, str(pictures), outdir=outdir, threads=1, **options).run)


def equal(run, straight):
    """Whether weights, Adam state, other tensors and the log are the same, bit for bit."""
    a, b = tensors_of(run.last), tensors_of(straight.last)
    same = a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    return same and log_of(run, "warnings") == log_of(straight, "warnings")


def poisoned(where, value):
    """A function of the state that puts a value into one place."""

    def poison(state):
        places = {
            "G": lambda: state.G.dense.weight.data,
            "D": lambda: state.D.score.weight.data,
            "ema": lambda: state.ema.dense.weight.data,
            "buffer": lambda: next(b for name, b in state.G.named_buffers() if "running_mean" in name),
            "ema buffer": lambda: next(b for name, b in state.ema.named_buffers() if "running_var" in name),
            "exp_avg": lambda: state.opt_G.state[state.G.dense.weight]["exp_avg"],
            "exp_avg_sq": lambda: state.opt_D.state[state.D.score.weight]["exp_avg_sq"],
        }
        places[where]().view(-1)[0] = value

    return poison


@pytest.fixture
def inject(monkeypatch):
    """inject(poison, images, times): call poison(state) after the step that ends at `images`, that many times."""

    def install(poison, images, times=1):
        average, left = loop.average, [times]

        def poisoning(state, config, shown):
            average(state, config, shown)
            if state.images == images and left[0] > 0:
                left[0] -= 1
                poison(state)

        monkeypatch.setattr(loop, "average", poisoning)

    return install


PLACES = ["G", "D", "ema", "buffer", "ema buffer", "exp_avg", "exp_avg_sq"]


class TestOnce:
    @pytest.mark.parametrize("where", PLACES)
    def test_the_run_ends_like_an_undisturbed_one(self, where, preset, pictures, tmp_path, straight, inject):
        """A NaN in any tensor: weights, average, Adam state and log of the end are equal, bit for bit."""
        inject(poisoned(where, math.nan), 88)

        run = trained(preset, pictures, tmp_path / "runs")

        assert equal(run, straight)

    @pytest.mark.parametrize("value", [math.inf, -math.inf, 1e30])
    def test_so_does_infinity_and_a_value_whose_square_is(self, value, preset, pictures, tmp_path, straight, inject):
        """1e30 is finite, but not its square."""
        inject(poisoned("G", value), 88)
        assert equal(trained(preset, pictures, tmp_path / "runs"), straight)

    def test_a_batch(self, preset, pictures, tmp_path, straight, monkeypatch):
        """A NaN in the reals of one step."""
        batch_at, left = Feed.batch_at, [1]

        def damaged(self, images, *more):
            x = batch_at(self, images, *more)
            if images == 88 and left.pop():
                left.append(0)
                return x.clone().index_fill_(0, torch.tensor(0), math.nan)
            left[:] = left or [0]
            return x

        monkeypatch.setattr(Feed, "batch_at", damaged)
        assert equal(trained(preset, pictures, tmp_path / "runs"), straight)

    def test_a_gradient(self, preset, pictures, tmp_path, straight, monkeypatch):
        """A gradient that overflows in one step: the loss itself is finite."""
        before, steps = step._step, [0]

        def overflowing(optimizer, *rest):
            steps[0] += 1
            if steps[0] == 23:
                parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
                parameters[0].grad.fill_(math.inf)
            before(optimizer, *rest)

        monkeypatch.setattr(step, "_step", overflowing)
        assert equal(trained(preset, pictures, tmp_path / "runs"), straight)

    def test_it_is_said_and_logged(self, preset, pictures, tmp_path, inject, capsys):
        """With the place, and the checkpoint that training went back to, which is kept."""
        inject(poisoned("G", math.nan), 88)

        run = trained(preset, pictures, tmp_path / "runs", callback=package.PrintProgress())

        (warning,) = [warning for row in run.stats() for warning in row["warnings"]]
        assert warning["name"] == "rolled-back"
        assert warning["text"].startswith("a loss is not finite after 96 images; training has gone back to 0.072 kimg")
        assert (warning["since"], warning["checkpoint"]) == (96, "000000072.pt")
        assert warning["text"] in capsys.readouterr().out
        assert (run.path / "checkpoints" / "000000072.pt").exists()

    def test_it_is_found_within_a_step(self, preset, pictures, tmp_path, inject, monkeypatch):
        """A bad weight makes the losses of the next step bad."""
        found = []
        check = sentinel.Sentinel.check

        def checked(self, losses, images):
            try:
                check(self, losses, images)
            except TrainingDiverged:
                found.append(images)
                raise

        monkeypatch.setattr(sentinel.Sentinel, "check", checked)
        inject(poisoned("D", math.nan), 88)
        trained(preset, pictures, tmp_path / "runs")
        assert found == [96]


class TestAgainAndAgain:
    @pytest.mark.parametrize("where", [place for place in PLACES if place != "ema buffer"])  # copied at every step
    def test_no_checkpoint_ever_has_it(self, where, preset, pictures, tmp_path, inject):
        """Exit 70, and every file that is left is finite."""
        inject(poisoned(where, math.nan), 88, times=99)

        with pytest.raises(TrainingDiverged) as error:
            trained(preset, pictures, tmp_path / "runs")

        assert error.value.exit_code == 70
        assert error.value.what.endswith(", also after a rollback")
        (folder,) = (tmp_path / "runs").iterdir()
        files = [*Run(folder).checkpoints(), Run(folder).last]
        assert len(files) > 1
        for file in files:
            assert all(tensor.isfinite().all() for tensor in tensors_of(file).values())

    def test_the_same_image_is_tried_twice(self, preset, pictures, tmp_path, inject):
        """Training is deterministic, so a third attempt would end in the same way."""
        attempts = []
        inject(lambda state: (attempts.append(1), poisoned("G", math.nan)(state)), 88, times=99)
        with pytest.raises(TrainingDiverged):
            trained(preset, pictures, tmp_path / "runs")
        assert len(attempts) == 2

    def test_at_most_three_times(self, preset, pictures, tmp_path, monkeypatch):
        """At different images, as on a device whose results vary."""
        average, goes = loop.average, []

        def poisoning(state, config, shown):
            average(state, config, shown)
            if state.images == 80 + 24 * len(goes):
                goes.append(state.images)
                state.G.dense.weight.data[0] = math.nan

        monkeypatch.setattr(loop, "average", poisoning)
        with pytest.raises(TrainingDiverged):
            trained(preset, pictures, tmp_path / "runs")
        assert goes == [80, 104, 128, 152]

    def test_without_a_checkpoint_it_ends_at_once(self, preset, pictures, tmp_path, inject):
        """There is nothing to go back to."""
        inject(poisoned("G", math.nan), 8, times=99)
        with pytest.raises(TrainingDiverged):
            trained(preset, pictures, tmp_path / "runs")

    def test_the_reason_is_the_last_line_of_the_log(self, preset, pictures, tmp_path, inject):
        """It is there for `gancli runs` and the report, until the run is resumed from the checkpoint before."""
        inject(poisoned("ema", math.nan), 88, times=2)
        with pytest.raises(TrainingDiverged):
            trained(preset, pictures, tmp_path / "runs")
        (folder,) = (tmp_path / "runs").iterdir()

        warnings = [(row["images"], warning["name"]) for row in Run(folder).stats() for warning in row["warnings"]]
        assert warnings == [(80, "rolled-back"), (96, "diverged")]
        assert trained(preset, pictures, tmp_path / "runs").stats()[-1]["images"] == 160

    def test_stop_on_diverged_stops_at_once(self, preset, pictures, tmp_path, inject):
        """As a finding, with the checkpoint before it."""
        inject(poisoned("G", math.nan), 88)

        report = package.train(preset, str(pictures), outdir=tmp_path / "runs", stop_on=("diverged",))

        assert report.finding == "diverged: a loss is not finite after 96 images"
        assert checkpoint.read(report.checkpoint).images == 72


def test_a_check_costs_less_than_a_hundredth_of_a_step():
    """Measured against a step of quickstart, which takes more than 10 ms on any CPU."""
    losses = {name: torch.rand(()) for name in ("critic_loss", "d_real", "d_fake", "score_gap", "generator_loss")}
    watch = sentinel.Sentinel(torch.device("cpu"))
    watch.check(losses, 0)
    timer = Timer("watch.check(losses, 0)", globals={"watch": watch, "losses": losses})
    assert timer.timeit(500).mean < 1e-4


def test_a_run_goes_on_with_the_losses_of_the_last_step(preset, pictures, tmp_path, straight):
    """A lazy penalty is logged by the first tick after a resume as it would have been without the interruption."""
    for images in range(24, 168, 8):
        trained(preset, pictures, tmp_path / "runs", changes={"train.duration": images})
    (folder,) = (tmp_path / "runs").iterdir()
    penalties = {row["images"]: row["penalty"] for row in Run(folder).stats()}
    wanted = {row["images"]: row["penalty"] for row in straight.stats()}
    assert {images: penalties[images] for images in wanted} == wanted


@pytest.mark.gpu
def test_on_a_gpu_a_bad_loss_is_found_in_the_next_step():
    """The check does not wait for the step that is being computed."""
    watch, device = sentinel.Sentinel(torch.device("cuda")), torch.device("cuda")
    watch.check({"critic_loss": torch.tensor(math.nan, device=device)}, 8)
    with pytest.raises(TrainingDiverged):
        watch.check({"critic_loss": torch.tensor(1.0, device=device)}, 16)
    watch.check({"critic_loss": torch.tensor(1.0, device=device)}, 24)
