"""A signal at any moment of a step: training stops soon, and the resumed run equals an undisturbed one."""

import os
import signal

import pytest
import torch
from conftest import log_of, make_pictures, tensors_of, write_preset

import gancli as package
from gancli import checkpoint, files, signals
from gancli.errors import Interrupted
from gancli.networks.progressive import Generator
from gancli.runs import Run, all_runs
from gancli.training import log, loop, step, verbs  # noqa: F401  (all is imported before a part is replaced)

LOG = {"train.tick_every": 16, "train.sample_every": 32, "growth": {"fade": 16, "stable": 16}}
PRESETS = {
    "progressive": {},
    "batch norm": {"network.output": "bn-tanh"},
    "several critic steps": {
        "train.critic_steps": {"base": 3, "boost": 4, "first": 1, "every": 3},
        "loss": {"adversarial": "wasserstein", "gradient_penalty": 10, "drift": 0.001},
    },
    "fresh fakes": {"train.shared_fakes": False},
}
MOMENTS = {
    "critic step": (step, "critic_step"),
    "generator step": (loop, "train_generator"),
    "average": (loop, "average"),
    "tick": (log, "measure"),
    "pictures": (loop, "draw_fakes"),
    "checkpoint": (checkpoint, "write"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("stops") / "pictures", 24)


def trained(preset, pictures, outdir):
    return Run(package.train(preset, str(pictures), outdir=outdir, threads=1).run)


@pytest.fixture
def stop_in(monkeypatch):
    """stop_in(place, name): a function gets a SIGTERM at its first call, and whenever training has moved on since."""

    def install(place, name):
        function, sessions = getattr(place, name), []

        def stopping(*arguments, **options):
            images = next(argument.images for argument in arguments if hasattr(argument, "images"))
            if not signals.stop_requested() and signals._active and images not in sessions:
                sessions.append(images)
                os.kill(os.getpid(), signal.SIGTERM)
            return function(*arguments, **options)

        monkeypatch.setattr(place, name, stopping)
        return sessions

    return install


def content(run):
    """Weights, Adam state, other tensors, and what does not depend on the clock of the log; names of the pictures."""
    pictures = {path.name: path.read_bytes() for path in (run.path / "samples").iterdir()}
    return tensors_of(run.last), log_of(run), pictures


def assert_equal(run, straight):
    """Tensors, log and pictures, bit for bit."""
    (tensors, rows, pictures), (wanted, wanted_rows, wanted_pictures) = content(run), content(straight)
    assert tensors.keys() == wanted.keys()
    assert not [name for name in wanted if not torch.equal(tensors[name], wanted[name])]
    assert rows == wanted_rows
    assert pictures == wanted_pictures


def resumed_until_it_ends(preset, pictures, outdir):
    for _ in range(200):
        try:
            return trained(preset, pictures, outdir)
        except Interrupted:
            continue
    raise AssertionError("the run does not move on")


CASES = [
    *(("progressive", moment) for moment in MOMENTS),
    ("batch norm", "critic step"), ("batch norm", "average"), ("several critic steps", "critic step"),
    ("fresh fakes", "critic step"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "moment"), CASES)
def test_a_run_that_is_stopped_in_every_step_equals_an_undisturbed_one(name, moment, pictures, tmp_path, stop_in):
    """Weights, Adam state, log and pictures, bit for bit, whatever moment of the step the signal meets."""
    preset = write_preset(tmp_path / "p.yaml", LOG | PRESETS[name])
    straight = trained(preset, pictures, tmp_path / "straight")
    sessions = stop_in(*MOMENTS[moment])

    run = resumed_until_it_ends(preset, pictures, tmp_path / "stopped")

    assert len(sessions) >= 2
    assert_equal(run, straight)
    assert 0 not in [row["images_per_s"] for row in run.stats()]  # null if no image was trained since the last tick


def test_no_forward_pass_begins_after_a_signal_in_a_critic_step(pictures, tmp_path, stop_in, monkeypatch):
    """The generator step is left for the next session: at 512 channels it takes seconds."""
    preset = write_preset(tmp_path / "p.yaml", LOG)
    stop_in(step, "_lr")
    late, forward = [], Generator.forward

    def counted(self, *arguments, **options):
        late.append(signals.stop_requested())
        return forward(self, *arguments, **options)

    monkeypatch.setattr(Generator, "forward", counted)
    with pytest.raises(Interrupted):
        trained(preset, pictures, tmp_path / "runs")
    assert late
    assert not any(late)


def test_a_tick_is_left_at_the_next_batch(pictures, tmp_path, monkeypatch):
    """Its 64 samples are evaluated in batches, and no batch begins after a signal."""
    preset = write_preset(tmp_path / "p.yaml", LOG | {"train.tick_every": 8})
    forward, late = Generator.forward, []

    def counted(self, *arguments, **options):
        if not torch.is_grad_enabled():
            late.append(signals.stop_requested())
            os.kill(os.getpid(), signal.SIGTERM) if not signals.stop_requested() else None
        return forward(self, *arguments, **options)

    monkeypatch.setattr(Generator, "forward", counted)
    with pytest.raises(Interrupted):
        trained(preset, pictures, tmp_path / "runs")
    assert late == [False]


def test_a_tick_that_is_due_is_left_for_the_next_session(pictures, tmp_path, stop_in, monkeypatch):
    """It evaluates 64 samples, which takes seconds at 512 channels."""
    preset = write_preset(tmp_path / "p.yaml", LOG | {"train.tick_every": 8})
    stop_in(loop, "average")
    monkeypatch.setattr(log, "measure", lambda *a, **k: pytest.fail("it was measured"))
    with pytest.raises(Interrupted):
        trained(preset, pictures, tmp_path / "runs")


@pytest.mark.parametrize(("place", "name", "images", "steps"), [(loop, "average", 24, 0), (step, "critic_step", 16, 1)])
def test_a_tick_that_was_left_and_taken_is_taken_again_after_a_kill(
    place, name, images, steps, pictures, tmp_path, stop_in, monkeypatch
):
    """The log has it, but the checkpoint is from before it: the next tick compares its fakes with those of this one."""
    preset = write_preset(tmp_path / "p.yaml", LOG | {"train.tick_every": 24, "train.checkpoint_every": 0})
    straight = trained(preset, pictures, tmp_path / "straight")
    stop_in(place, name).extend(at for at in range(0, 1_000, 8) if at != images)
    with pytest.raises(Interrupted):
        trained(preset, pictures, tmp_path / "killed")
    (run,) = all_runs(tmp_path / "killed")
    assert log_of(run) == []

    done, one_step = [], loop.one_step_in_memory

    def killed_after_steps(*arguments):
        if len(done) == steps:
            raise Killed
        done.append(arguments)
        return one_step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "one_step_in_memory", killed_after_steps)
        with pytest.raises(Killed):
            trained(preset, pictures, tmp_path / "killed")
    assert [row["images"] for row in run.stats()] == [24]
    assert checkpoint.read(run.last).images == 24

    assert_equal(trained(preset, pictures, tmp_path / "killed"), straight)


class Killed(BaseException):
    """As a SIGKILL: nothing is saved on the way out."""


def test_a_tick_of_the_next_session_has_the_same_dropout(tmp_path, stop_in):
    """A signal in the generator step leaves the tick for later; the log is that of an undisturbed run."""
    changes = {"train.duration": 300, "train.tick_every": 100, "train.sample_every": 0}
    logs = []
    for name in ("a", "b"):
        try:
            package.train("moments-7", "builtin:shapes", changes=changes, outdir=tmp_path / name, threads=1)
        except Interrupted:
            package.train("moments-7", "builtin:shapes", changes=changes, outdir=tmp_path / name, threads=1)
        (folder,) = (tmp_path / name).iterdir()
        logs.append(log_of(Run(folder)))
        stop_in(loop, "train_generator").extend([200, 300])
    assert logs[0] == logs[1]


def test_networks_with_dropout_finish_their_step(tmp_path, stop_in):
    """Their random numbers go on from the critic step to the generator step; the result is that of one session."""
    preset = "moments-7"
    changes = {"train.duration": 640, "train.tick_every": 128, "train.sample_every": 0}
    straight = Run(package.train(preset, "builtin:shapes", changes=changes, outdir=tmp_path / "a", threads=1).run)
    sessions = stop_in(step, "critic_step")

    for _ in range(40):
        try:
            stopped = package.train(preset, "builtin:shapes", changes=changes, outdir=tmp_path / "b", threads=1)
            break
        except Interrupted:
            continue

    assert len(sessions) > 2
    assert torch.equal(
        *(
            checkpoint.read(run.last).weights["G"][name]
            for run in (straight, Run(stopped.run))
            for name in [next(iter(checkpoint.read(run.last).weights["G"]))]
        )
    )


def test_the_log_is_on_the_disk_before_the_checkpoint(pictures, tmp_path, monkeypatch):
    """After a power failure, the log must not end before the checkpoint."""
    preset, done = write_preset(tmp_path / "p.yaml", LOG), []
    sync, write = files.sync, checkpoint.write
    monkeypatch.setattr(files, "sync", lambda path: (done.append(path.name), sync(path)))
    monkeypatch.setattr(checkpoint, "write", lambda *words: (done.append("checkpoint"), write(*words)))
    trained(preset, pictures, tmp_path / "runs")
    saves = [place for place, name in enumerate(done) if name == "checkpoint"][1:]
    assert saves
    assert all(done[place - 1] == "stats.jsonl" for place in saves)
