"""Several processes that generate samples and compute features."""

import copy
import os
import signal

import pytest
import torch
from conftest import make_pictures

import gancli as package
from gancli.errors import CheckpointError, ChildFailed, WorkerLost
from gancli.pool import Packed, Pool


def doubled(number, device):
    """A maker, for the processes of a pool."""
    return lambda x: number * x


def fatal(device):
    """Makes a function that ends its process."""
    return lambda x: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("dims", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_a_tensor_arrives_with_its_memory_format(dims):
    """The order in which a sum adds values depends on it."""
    x = torch.arange(120.0).view(2, 3, 4, 5).permute(dims)
    found = Packed.of(x).tensor()

    assert torch.equal(found, x)
    assert found.stride() == x.stride()


@pytest.mark.distributed
def test_results_keep_their_order_and_a_killed_process_is_noticed():
    """More parts than processes may hold at once; then the pool is of no more use."""
    parts = [torch.full((2, 3), float(i)) for i in range(20)]
    with Pool.opened(2, "cpu") as pool:
        assert [part.sum().item() for part in pool.map(parts, doubled, 2)] == [12.0 * i for i in range(20)]
        with pytest.raises(WorkerLost):
            list(pool.map(parts, fatal))


@pytest.mark.parametrize(
    "error", [CheckpointError("what", where="here", hint="do"), ChildFailed("what", 70, where="here", hint="do")]
)
def test_an_error_keeps_its_parts_in_another_process(error):
    """Its text and its exit code, when it is pickled."""
    found = copy.copy(error)  # by what pickles it, too
    assert type(found) is type(error)
    assert (str(found), found.hint, found.exit_code) == (str(error), error.hint, error.exit_code)


def test_one_process_needs_no_pool():
    """It costs nothing."""
    with Pool.opened(1, "cpu") as pool:
        assert pool is None


@pytest.mark.slow
def test_processes_do_not_need_the_file(tiny, tmp_path):
    """Training may replace it while samples are generated."""
    run = package.train(tiny, str(make_pictures(tmp_path / "pictures", 24)), outdir=tmp_path / "runs", threads=1)
    generator = package.load(run.checkpoint)
    run.checkpoint.unlink()
    with generator.shared(2) as several:
        found = several.sample(range(5))

    assert torch.equal(found, generator.sample(range(5)))


@pytest.mark.slow
def test_files_and_figures_do_not_depend_on_the_number_of_processes(tiny, tmp_path):
    """Samples, frames and the panel of inspect-stats, bit for bit."""
    pictures = str(make_pictures(tmp_path / "pictures", 60))
    run = package.train(tiny, pictures, outdir=tmp_path / "runs", threads=1).run
    written = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        package.sample(run, range(40), folder / "samples", processes=count, threads=1)
        package.interpolate(run, folder / "frames.gif", frames=20, processes=count, threads=1)
        health = package.inspect_stats(run, samples=30, processes=count, threads=1)
        pngs = {path.name: path.read_bytes() for path in sorted((folder / "samples").iterdir())}
        written.append((pngs, (folder / "frames.gif").read_bytes(), repr(health.panel)))

    assert len(written[0][0]) == 40
    assert written[0] == written[1]
