"""A step that does not fit into memory: the message names what fits, and the checkpoint before is kept."""

import os
import signal

import pytest
import torch
from conftest import write_preset

import gancli as package
from gancli import checkpoint
from gancli.errors import Interrupted, OutOfMemory, is_out_of_memory
from gancli.runs import all_runs
from gancli.training import memory, step, verbs  # noqa: F401  (verbs: all of training is imported before a part is replaced)

TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.fixture
def memory_for(monkeypatch):
    """memory_for(count, height): steps of more samples fail at this size, as torch's allocator does on a CPU."""

    def install(count, height):
        before = step.critic_loss

        def limited(view, x, y, *arguments, **options):
            if len(x) > count and x.shape[2] == height:
                raise RuntimeError(TORCH_SAYS)
            return before(view, x, y, *arguments, **options)

        monkeypatch.setattr(step, "critic_loss", limited)

    return install


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_the_largest_batch_that_fits_is_named(count, tiny, pictures, tmp_path, memory_for):
    """With the size at which it happened."""
    memory_for(count, 8)
    with pytest.raises(OutOfMemory, match="a batch of 8 at 8 px") as error:
        package.train(tiny, str(pictures), outdir=tmp_path / "runs")
    assert error.value.exit_code == 71
    assert error.value.hint == f"a batch of {count} fits: train a new run with --batch {count}"


def test_the_message_says_where_training_was(tiny, pictures, tmp_path, memory_for):
    """At 4 px all 32 images fit: the batches of the trials that follow are not counted."""
    memory_for(5, 8)
    with pytest.raises(OutOfMemory) as error:
        package.train(tiny, str(pictures), outdir=tmp_path / "runs")
    assert "training at 0.032 kimg" in error.value.where


def test_the_largest_batch_is_made_of_packs(tiny, pictures, tmp_path, memory_for):
    """Another one would be refused."""
    memory_for(7, 8)
    with pytest.raises(OutOfMemory) as error:
        package.train(tiny, str(pictures), changes={"network.pack": 4}, outdir=tmp_path / "runs")
    assert "a batch of 4 fits" in error.value.hint


def test_batch_norm_in_the_critic_keeps_two_packs(pictures, tmp_path, memory_for):
    """A batch of one pack fits, but its variance would be 0."""
    network = {"family": "mlp", "generator": {"hidden": [8]}, "critic": {"hidden": [8], "norm": "batch"}}
    changes = {"network": {**network, "pack": 2, "resolution": 16}, "growth": {}, "train.duration": 64}
    preset = write_preset(tmp_path / "p.yaml", changes)
    memory_for(3, 16)
    with pytest.raises(OutOfMemory, match="at 16 px") as error:
        package.train(preset, str(pictures), outdir=tmp_path / "runs")
    assert "not even the smallest batch fits" in error.value.hint


def test_a_schedule_with_batches_of_its_own_gets_the_line_for_that_size(pictures, tmp_path, memory_for):
    """--batch would change the other sizes, too."""
    preset = write_preset(tmp_path / "p.yaml", {"growth.at": {16: {"batch_size": 6}}})
    memory_for(4, 16)
    with pytest.raises(OutOfMemory) as error:
        package.train(preset, str(pictures), outdir=tmp_path / "runs")
    assert error.value.hint.endswith("--set growth.at.16.batch_size=4")

    changes = {"growth.at.16.batch_size": 4}
    assert package.train(preset, str(pictures), changes=changes, outdir=tmp_path / "runs").state == "finished"


def test_nothing_may_fit(tiny, pictures, tmp_path, memory_for):
    """Then a smaller batch is no help."""
    memory_for(0, 4)
    with pytest.raises(OutOfMemory) as error:
        package.train(tiny, str(pictures), outdir=tmp_path / "runs")
    assert "--resolution" in error.value.hint


def test_the_checkpoint_before_is_kept(tiny, pictures, tmp_path, memory_for):
    """The trials with smaller batches change the weights, but these are not saved."""
    kept = package.train(tiny, str(pictures), changes={"train.duration": 32}, outdir=tmp_path / "runs", threads=1)
    before = checkpoint.read(kept.checkpoint)
    memory_for(4, 8)

    with pytest.raises(OutOfMemory) as error:
        package.train(tiny, str(pictures), outdir=tmp_path / "runs", threads=1)

    (run,) = all_runs(tmp_path / "runs")
    after = checkpoint.read(run.last)
    assert str(run.last) in error.value.where
    assert after.images == before.images == 32
    assert all(torch.equal(after.weights["G"][name], tensor) for name, tensor in before.weights["G"].items())


def test_nothing_before_the_new_size_is_lost(tiny, pictures, tmp_path, memory_for):
    """A checkpoint is saved before each new resolution."""
    memory_for(4, 8)
    with pytest.raises(OutOfMemory):
        package.train(tiny, str(pictures), outdir=tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    assert checkpoint.read(run.last).images == 32


def test_a_signal_ends_the_search(tiny, pictures, tmp_path, memory_for, monkeypatch):
    """A trial may take long: Ctrl-C is answered before the next one."""
    trials = []

    def interrupted(*arguments):
        trials.append(arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return False

    memory_for(1, 8)
    monkeypatch.setattr(memory, "fits", interrupted)
    with pytest.raises(Interrupted):
        package.train(tiny, str(pictures), outdir=tmp_path / "runs")
    assert len(trials) == 1


def test_what_cannot_be_allocated_is_recognized():
    """The real error of torch, for 8 exabytes."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_other_commands_say_it_too(gancli, monkeypatch):
    """Exit 71, not a bug."""
    monkeypatch.setattr(checkpoint, "locate", lambda path: torch.empty(1 << 60))
    code, _, err = gancli("sample", "x.pt", "--seeds", "0")
    assert code == 71
    assert "not enough memory" in err
