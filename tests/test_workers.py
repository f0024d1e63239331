"""Several workers that train one run."""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from conftest import make_pictures, write_preset
from torch import nn
from torch.distributed import HashStore, TCPStore

import gancli as package
from gancli import checkpoint, devices, heartbeat, launch, process, rendezvous, signals
from gancli import workers as workers_module
from gancli.cli import workers as cli_workers
from gancli.config.schema import LossConfig
from gancli.critic_view import CriticView
from gancli.errors import ConfigError, DataError, Interrupted, UsageError, WorkerLost, WorkersDisagree
from gancli.growth import Phase
from gancli.heartbeat import Sign
from gancli.losses import ADVERSARIAL
from gancli.runs import Run
from gancli.training import shards, verbs
from gancli.training.shards import Shard
from gancli.training.step import critic_loss, generator_loss
from gancli.workers import ALONE, Workers

JOBS = Path(__file__).parents[1] / "docs" / "slurm"
PROGRAM = Path(__file__).with_name("worker.py")
SHARDED = {"train.shards": 4, "network.minibatch_std": {"group_size": 2}}
KINDS = {  # changes of the tiny preset; a batch of 8 is 4 shards of 2
    "progressive": SHARDED,
    "batch norm": {
        "network": {
            "family": "conv",
            "resolution": 16,
            "z_dim": 8,
            "output": "bn-tanh",
            "generator": {"norm": "batch", "dense": 8, "layers": [{"channels": 8, "kernel": 3, "resample": "up"}]},
            "critic": {"layers": [{"channels": 8, "kernel": 3, "stride": 2}]},
        },
        "growth": {},
        "train.shared_fakes": False,
        "train.shards": 4,
    },
    "dense": {
        "data": {"source": "builtin:ring8", "held_out": 0.0},
        "network": {"family": "mlp", "z_dim": 2, "generator": {"hidden": [8]}, "critic": {"hidden": [8]}},
        "growth": {},
        "train.shards": 4,
    },
    "wasserstein": {
        **SHARDED,
        "loss": {"adversarial": "wasserstein", "gradient_penalty": 10.0, "drift": 0.001},
        "data.held_out": 0.25,
        "augment": {"translation": 1.0, "color": 1.0, "target": 0.0001, "steer_images": 40},
        "train.critic_steps": {"base": 2},
    },
}
EVERY_FIGURE = ("overfitting",)  # it makes each tick compute all figures, else those that there is time for
TIMES = {"seconds", "images_per_s", "memory_mib"}


def preset_of(kind, folder):
    """A preset file."""
    return write_preset(folder / f"{kind.replace(' ', '-')}.yaml", KINDS[kind])


def free_port(count):
    """The first of `count` ports in a row that are free now."""
    while True:
        with ExitStack() as stack, suppress(OSError, OverflowError):
            port = 0
            for _ in range(count):
                taken = stack.enter_context(socket.socket())
                taken.bind(("localhost", port))
                port = taken.getsockname()[1] + 1
            return port - count


def started(count, plan, folder):
    """The processes of the workers."""
    path = folder / f"plan{time.monotonic_ns()}.json"
    path.write_text(json.dumps(plan))
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port(len(plan)))}
    return [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(path)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes):
    """(exit code, standard error) of each."""
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def wait_until(happened):
    """True once it has; False after a minute."""
    for _ in range(600):
        if happened():
            return True
        time.sleep(0.1)
    return False


def wait_for_a_tick(outdir):
    """Until the workers train."""
    assert wait_until(lambda: list(outdir.glob("*/stats.jsonl")))


def run_of(outdir):
    (folder,) = [path for path in outdir.iterdir() if path.is_dir()]
    return Run(folder)


def content(run):
    """Everything that a checkpoint and the log hold, apart from times."""
    opened = checkpoint.read(run.last)
    log = [{key: value for key, value in row.items() if key not in TIMES} for row in run.stats()]
    return {"weights": opened.weights, "Adam": opened.optimizers, "extra": opened.extra, "log": log}


def same(a, b):
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return str(make_pictures(tmp_path_factory.mktemp("workers") / "pictures", 24))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pictures):
    """By kind: the folder of a run that one worker has trained, and that of one that two have begun."""
    folder = tmp_path_factory.mktemp("runs")
    many = str(folder / "many.npy")  # smaller sets have no held-out samples, by which augmentation is steered
    np.save(many, np.random.RandomState(0).randint(0, 256, (520, 16, 16, 3)).astype(np.uint8))
    plan = [
        {
            "preset": preset_of(kind, folder),
            "data": {"dense": None, "wasserstein": many}.get(kind, pictures),
            "outdir": str(folder / f"{kind} shared"),
        }
        for kind in KINDS
    ]

    def alone(task, duration, outdir):
        changes = {"train.duration": duration}
        package.train(task["preset"], task["data"], changes=changes, outdir=outdir, threads=1, stop_on=EVERY_FIGURE)

    found = ended(started(2, [{**task, "duration": 80} for task in plan], folder))
    assert [code for code, _ in found] == [0, 0], found
    for kind, task in zip(KINDS, plan, strict=True):
        alone(task, 120, task["outdir"])
        alone(task, 120, folder / f"{kind} alone")
    return folder


@pytest.mark.distributed
class TestTogether:
    @pytest.mark.parametrize("kind", KINDS)
    def test_any_number_of_workers_gives_the_same_bits(self, trained, kind):
        """Weights, average, Adam's state and log, through fades, lazy penalties, a save, and a resume by one worker.

        The workers also watched what they opened: only the first one wrote to the run folder.
        """
        assert same(content(run_of(trained / f"{kind} shared")), content(run_of(trained / f"{kind} alone")))

    def test_a_signal_to_one_of_them_stops_all_at_the_same_step(self, tmp_path, pictures):
        """With a checkpoint, from which the run goes on as if nothing had happened."""
        preset = preset_of("progressive", tmp_path)
        task = {"preset": preset, "data": pictures, "outdir": str(tmp_path / "shared"), "duration": 4_000}
        workers = started(2, [task], tmp_path)
        log = tmp_path / "shared"
        wait_for_a_tick(log)
        workers[1].send_signal(signal.SIGTERM)
        codes = [code for code, _ in ended(workers)]
        stopped = checkpoint.read(run_of(log).last).images

        assert codes == [1, 1]  # the exception Interrupted, which the command line turns into the signal
        assert 0 < stopped < 4_000
        for outdir in (log, tmp_path / "alone"):
            package.train(preset, pictures, changes={"train.duration": stopped + 80}, outdir=outdir, threads=1)
        assert same(content(run_of(log))["weights"], content(run_of(tmp_path / "alone"))["weights"])


class Pretended(Workers):
    """Two workers of which one is pretended: it has the rows that are given."""

    theirs = torch.zeros(1)

    def rows(self, mine):
        """The others' rows come second."""
        return torch.cat([mine, self.theirs])

    def total(self, mine):
        """The sum with theirs."""
        return mine + self.theirs[0]


def pretended(theirs, *, exact=True):
    workers = Pretended(0, 2, exact)
    object.__setattr__(workers, "theirs", theirs)
    return workers


class TestErrors:
    """Of functions that every worker calls. The other worker is pretended."""

    @staticmethod
    def failing():
        raise DataError("mine", where="here", hint="do")

    def test_all_raise_the_error_of_one(self, monkeypatch):
        """It is printed once."""
        theirs = DataError("theirs", where="there", hint="do")
        workers = pretended(torch.tensor([[True]]))
        monkeypatch.setattr(Workers, "share", lambda self, value, source: theirs if source == 1 else value)
        with pytest.raises(DataError, match="theirs") as found:
            workers.on_each(lambda: 1)
        assert found.value.elsewhere

    def test_the_first_error_counts(self, monkeypatch):
        """If several fail."""
        monkeypatch.setattr(Workers, "share", lambda self, value, source: value if source == 0 else None)
        with pytest.raises(DataError, match="mine"):
            pretended(torch.tensor([[True]])).on_each(self.failing)

    def test_without_an_error_each_has_its_own_result(self):
        """And a single process needs nobody."""
        assert pretended(torch.tensor([[False]])).on_each(lambda: 5) == 5
        assert ALONE.on_each(lambda: 5) == 5


class TestAgreement:
    def test_workers_with_different_weights_stop(self):
        """They say which one differs."""
        ALONE.check_equal([torch.ones(3)])
        with pytest.raises(WorkersDisagree, match="the weights of worker 1 are not those of worker 0"):
            pretended(torch.tensor([[1]])).check_equal([torch.ones(3)])

    def test_the_digest_sees_one_bit(self):
        """And nothing else."""
        seen = []

        class Recorded(Pretended):
            def rows(self, mine):
                seen.append(mine.item())
                return mine.repeat(2, 1)

        x = torch.ones(3)
        for value in (x, x.clone(), torch.tensor([1.0, 1.0, torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))])):
            Recorded(0, 2).check_equal([value])
        assert seen[0] == seen[1] != seen[2]

    @pytest.mark.parametrize("exact", [True, False])
    def test_the_average_is_over_the_shards_of_all(self, exact):
        """Whether rows are gathered or summed."""
        mine = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        flags = torch.zeros(2, 4)
        theirs = torch.cat([torch.tensor([[5.0, 6.0], [7.0, 8.0]]), flags], dim=1)
        workers = pretended(theirs if exact else theirs.sum(0, keepdim=True), exact=exact)

        assert shards.averaged(mine, 4, workers).tolist() == [4.0, 5.0]

    @pytest.mark.parametrize("exact", [True, False])
    def test_a_signal_that_any_worker_has_heard_counts(self, exact):
        """Before that, one that only this worker has heard does not."""
        theirs = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0]])  # SIGTERM, and a request for a checkpoint
        with signals.handled(), signals.agreeing():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.stop_requested()
            shards.averaged(torch.zeros(1, 1), 2, pretended(theirs, exact=exact))
            assert signals.stop_requested()
            assert signals.save_requested()


def command(*words, outdir):
    """`gancli` with these words."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANCLI_OUTDIR": str(outdir)}
    return subprocess.run(
        [sys.executable, "-m", "gancli", *words], capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.mark.distributed
def test_the_command_line_starts_workers(tmp_path, pictures):
    """One of them prints, and `--processes` does not change the result."""
    preset = preset_of("progressive", tmp_path)
    words = ("train", "--preset", preset, pictures, "--kimg", "0.08", "--device", "cpu", "--stop-on", *EVERY_FIGURE)
    found = command(*words, "--processes", "2", outdir=tmp_path / "two")
    package.train(
        preset, pictures, changes={"train.duration": 80}, outdir=tmp_path / "one", threads=1, stop_on=EVERY_FIGURE
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.count("last.pt") == 1
    assert found.stderr.count("finished at") == 1
    assert same(content(run_of(tmp_path / "two")), content(run_of(tmp_path / "one")))


@pytest.mark.slow
@pytest.mark.distributed
def test_an_error_is_printed_once(tmp_path, pictures):
    """With its own exit code."""
    preset = preset_of("progressive", tmp_path)
    found = command("train", "--preset", preset, pictures, "--processes", "2", "--batch", "6", outdir=tmp_path / "runs")

    assert found.returncode == ConfigError.exit_code
    assert found.stderr.count("error:") == 1
    assert "a batch of 6 cannot be divided into 4 shards" in found.stderr
    assert "1, 2, 3 or 6" in found.stderr


@pytest.mark.slow
@pytest.mark.distributed
def test_the_launcher_passes_on_a_request_for_a_checkpoint_and_restarts_killed_workers(tmp_path, pictures):
    """SIGUSR1 saves; after `kill -9` of a worker all are started again, and the result is that of one worker."""
    preset = preset_of("progressive", tmp_path)
    words = ["train", "--preset", preset, pictures, "--device", "cpu", "--kimg", "0.8"]
    long = [*words, "--set", "train.tick_every=40", "--processes", "2", "--max-restarts", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANCLI_OUTDIR": str(tmp_path / "two")}
    launcher = subprocess.Popen(
        [sys.executable, "-m", "gancli", *long], stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for_a_tick(tmp_path / "two")
    last = run_of(tmp_path / "two").last
    before = last.stat().st_mtime_ns if last.exists() else 0
    launcher.send_signal(signal.SIGUSR1)
    saved = wait_until(lambda: last.exists() and last.stat().st_mtime_ns > before)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    (code, said), *_ = ended([launcher])
    package.train(
        preset, pictures, changes={"train.duration": 800, "train.tick_every": 40}, outdir=tmp_path / "one", threads=1
    )

    assert saved
    assert code == 0, said
    assert "restarting all workers from the last checkpoint (1 of 1)" in said
    assert same(content(run_of(tmp_path / "two"))["weights"], content(run_of(tmp_path / "one"))["weights"])


@pytest.mark.parametrize(
    ("error", "speakers"),
    [
        (UsageError("all find it", where="", hint=""), [0, 2]),
        (WorkerLost("another one is gone", where="", hint=""), [0, 2]),
        (DataError("one finds it", where="", hint=""), [0, 1, 2, 3]),
        (RuntimeError("a bug"), [0, 1, 2, 3]),
    ],
)
def test_an_error_that_all_find_is_printed_once_on_each_machine(error, speakers, monkeypatch):
    """Here two machines with two workers each. One that a single worker finds is printed by it."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    found = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank % 2))
        found += [rank] if cli_workers.speaks(error) else []

    assert found == speakers
    error.elsewhere = True  # another worker has told it to all
    assert not cli_workers.speaks(error)


class TestRestarts:
    """Of `--processes`, by a launcher that is pretended."""

    @pytest.fixture
    def outcomes(self, monkeypatch):
        """What the next starts return or raise; it is empty at the end if all were used."""
        found = []

        def run(count, words, folder):
            outcome = found.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(launch, "run", run)
        return found

    @pytest.mark.parametrize("code", [0, 4, 70, 75, 78])
    def test_workers_that_end_by_themselves_are_not_restarted(self, outcomes, code):
        """Finished, found something, diverged, the run is busy, or a wrong setting: it would happen again."""
        outcomes.append(code)
        with pytest.raises(typer.Exit) as ended:
            cli_workers.share("2", 3)
        assert ended.value.exit_code == code

    def test_lost_workers_are_restarted_a_number_of_times(self, outcomes):
        """Killed, or left alone; then the error is raised."""
        lost = WorkerLost("worker 1 was ended by signal 9", where="here", hint="do")
        outcomes += [lost, WorkerLost.exit_code, 0]
        with pytest.raises(typer.Exit) as ended:
            cli_workers.share("2", 2)
        assert ended.value.exit_code == 0

        outcomes += [lost, lost]
        with pytest.raises(WorkerLost):
            cli_workers.share("2", 1)
        assert not outcomes

    def test_restarted_workers_go_on_with_their_run(self, tiny, pictures, tmp_path, monkeypatch):
        """Though `--new` was given, and never with an older run."""

        def train():
            changes = {"train.duration": 40}
            return package.train(tiny, pictures, changes=changes, outdir=tmp_path / "runs", new=True, threads=1).run

        older = train()
        monkeypatch.setenv(process.NOTES, str(tmp_path))
        monkeypatch.setattr(process, "world_size", lambda: 2)
        monkeypatch.setattr(workers_module.process, "rank", lambda: 0)
        monkeypatch.setattr(verbs, "joined", lambda device, reduce: nullcontext(ALONE))
        begun = train()

        assert begun != older
        assert process.note(process.RUN) == str(begun)
        assert train() == begun


class TestRendezvous:
    def test_workers_meet_in_a_store_with_values_from_an_earlier_start(self, monkeypatch):
        """Each start has a name of its own, and all its workers know it."""
        store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("MASTER_PORT", str(store.port))
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
        names = []
        for _ in range(3):
            with ThreadPoolExecutor(3) as threads:
                found = {meeting.name for meeting, _ in threads.map(rendezvous.meet, range(3), [3] * 3)}
            names.append(found)

        assert [len(found) for found in names] == [1, 1, 1]
        assert len(set.union(*names)) == 3

    def test_a_worker_that_does_not_come_is_named(self, monkeypatch):
        """After two minutes."""
        monkeypatch.setattr(rendezvous, "JOINING", timedelta(seconds=0.2))
        store = HashStore()
        store.set("gancli/asks/1", "left over")
        with pytest.raises(RuntimeError, match="worker 1, worker 2 did not start within"):
            rendezvous._answer(store, "name", 3)


class TestDevices:
    def test_more_workers_than_gpus(self, monkeypatch):
        """Two workers would share one, which NCCL does not allow."""
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(process, "local_world_size", lambda: 4)
        with pytest.raises(UsageError, match="4 workers, but 2 GPUs"):
            workers_module._refuse(torch.device("cuda"))

    def test_a_gpu_that_all_would_share(self, monkeypatch):
        """Each worker has its own."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(devices.process, "world_size", lambda: 2)
        with pytest.raises(UsageError, match="a GPU of its own"):
            devices.choose("cuda:1")

    def test_different_devices(self):
        """One machine has lost its driver: its worker would wait for the others in another transport."""
        workers_module._check_devices(pretended(torch.tensor([[0]])), torch.device("cpu"))
        with pytest.raises(UsageError, match="cpu and cuda"):
            workers_module._check_devices(pretended(torch.tensor([[1]])), torch.device("cpu"))

    def test_a_device_without_a_transport(self):
        """Apple's GPU."""
        with pytest.raises(UsageError, match="cannot use the device mps"):
            workers_module._refuse(torch.device("mps"))


class Plain:
    """A critic around a network from samples to one score each."""

    pack = 1

    def __init__(self, network):
        self.network = network

    def group_of(self, batch):
        """Samples do not couple."""
        return 1

    def features(self, x, stage, alpha):
        """The samples."""
        return x

    def scores(self, features):
        """(N, C, H, W) -> (N,)."""
        return self.network(features)[:, 0]


class TestShards:
    @pytest.mark.parametrize(("workers", "count"), [(1, 4), (2, 4), (3, 4), (4, 4), (5, 16)])
    def test_every_shard_has_one_worker(self, workers, count):
        """Consecutive ones, and their numbers differ by at most one."""
        spans = [shards.bounds(rank, workers, count) for rank in range(workers)]

        assert [i for begin, end in spans for i in range(begin, end)] == list(range(count))
        assert max(e - b for b, e in spans) - min(e - b for b, e in spans) <= 1

    def test_the_parts_of_a_batch_are_the_batch(self):
        """In its order."""
        whole = torch.arange(24).view(12, 2)
        assert torch.equal(torch.cat([Shard(i, 3).of(whole) for i in range(3)]), whole)
        assert [Shard(i, 3).begin(12) for i in range(3)] == [0, 4, 8]

    def test_gradients_of_shards_are_those_of_the_batch(self):
        """Their average, in float64, where samples do not couple: a mean over the batch, differentiated by hand."""
        torch.manual_seed(0)
        x, network = torch.randn(12, 3, dtype=torch.float64), nn.Linear(3, 1, dtype=torch.float64)
        optimizer = torch.optim.Adam(network.parameters())

        def losses_of(shard):
            return {"loss": network(shard.of(x)).square().mean()}

        mine = [Shard(i, 4) for i in range(4)]
        found = shards.backward(mine, losses_of, "loss", optimizer, (network,), ALONE)
        y = x @ network.weight.detach().T + network.bias.detach()  # d/dw mean((x w + b)^2) = 2 mean(y x)
        torch.testing.assert_close(network.weight.grad, 2 * (y * x).mean(0, keepdim=True), rtol=1e-12, atol=0)
        torch.testing.assert_close(network.bias.grad, 2 * y.mean(0), rtol=1e-12, atol=0)
        torch.testing.assert_close(found["loss"], y.square().mean(), rtol=1e-12, atol=0)

    @pytest.mark.parametrize("penalty", ["gradient penalty", "r1 and r2"])
    @pytest.mark.parametrize("adversarial", ADVERSARIAL)
    def test_losses_in_shards_have_the_gradients_of_the_whole_batch(self, adversarial, penalty):
        """Critic and generator, in float64 to 1e-12, with a double backward; the samples do not couple."""
        torch.manual_seed(0)
        weights = {"gradient_penalty": 10.0} if penalty == "gradient penalty" else {"r1": 2.0, "r2": 3.0}
        loss = LossConfig(adversarial=adversarial, drift=0.001, **weights)
        critic, draw = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 1)).double(), torch.randn
        generator = nn.Linear(5, 12).double()
        view = CriticView(Plain(critic), Phase(0, 2, 2, 1.0, 12, 0.001, 0, False))
        x, z, u = draw(12, 3, 2, 2).double(), draw(12, 5).double(), torch.rand(12).double()

        def critic_of(shard):
            y = generator(shard.of(z)).view(-1, 3, 2, 2)
            return critic_loss(view, shard.of(x), y, shard.of(u), loss, penalize=True)

        def generator_of(shard):
            return generator_loss(view, shard.of(x), generator(shard.of(z)).view(-1, 3, 2, 2), loss)

        for network, losses_of, total in (
            (critic, critic_of, "critic_loss"),
            (generator, generator_of, "generator_loss"),
        ):
            whole = torch.autograd.grad(losses_of(shards.WHOLE)[total], [*network.parameters()])
            mine = [Shard(i, 4) for i in range(4)]
            shards.backward(mine, losses_of, total, torch.optim.Adam(network.parameters()), (network,), ALONE)
            for parameter, gradient in zip(network.parameters(), whole, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-14)

    def test_moving_statistics_are_averages_over_shards(self):
        """One update per step from all shards: .9 of the old value and .1 of the mean of the shards' statistics."""
        x = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        network = nn.BatchNorm1d(3, dtype=torch.float64)
        optimizer = torch.optim.Adam(network.parameters())
        mine = [Shard(i, 3) for i in range(3)]
        shards.backward(mine, lambda shard: {"loss": network(shard.of(x)).sum()}, "loss", optimizer, (network,), ALONE)
        torch.testing.assert_close(network.running_mean, 0.1 * x.mean(0), rtol=1e-12, atol=1e-15)
        unbiased = torch.stack([part.var(0) for part in x.split(4)]).mean(0)
        torch.testing.assert_close(network.running_var, 0.9 + 0.1 * unbiased, rtol=1e-12, atol=0)

    def test_other_buffers_change_as_in_one_forward_pass(self):
        """Such as the vectors of spectral norm, which every forward pass moves: not once per shard."""
        x = torch.ones(12, 3)
        network = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
        once = copy.deepcopy(network)
        once(x)
        mine = [Shard(i, 4) for i in range(4)]
        optimizer = torch.optim.Adam(network.parameters())
        shards.backward(mine, lambda shard: {"loss": network(shard.of(x)).sum()}, "loss", optimizer, (network,), ALONE)

        assert all(torch.equal(*pair) for pair in zip(network.buffers(), once.buffers(), strict=True))

    def test_rows_are_added_from_the_first_to_the_last(self):
        """In float32, another order has another result."""
        rows = torch.tensor([[1e8], [1.0], [-1e8], [1.0]])
        assert shards.in_order(rows).item() == 1.0
        assert shards.in_order(rows[[0, 2, 1, 3]]).item() == 2.0


def refused(changes, tmp_path, pictures):
    preset = write_preset(tmp_path / "p.yaml", changes)
    with pytest.raises(ConfigError) as found:
        package.plan(preset, pictures)
    return str(found.value)


class TestRefused:
    def test_groups_that_do_not_fit_into_a_shard(self, tmp_path, pictures):
        """They would be smaller groups, which are another statistic."""
        changes = {"network.minibatch_std": {"group_size": 4}, "train.shards": 4}
        assert "minibatch-std groups of 4" in refused(changes, tmp_path, pictures)

    def test_minibatch_std_over_the_whole_batch(self, tmp_path, pictures):
        """It cannot be divided."""
        changes = {"network.minibatch_std": {"group_size": "all"}, "train.shards": 2}
        assert "group_size: all" in refused(changes, tmp_path, pictures)

    def test_batch_norm_of_single_samples(self, tmp_path, pictures):
        """Its output would be 0."""
        assert "batch norm" in refused({"network.output": "bn-tanh", "train.shards": 8}, tmp_path, pictures)

    def test_batch_norm_of_single_packs(self, tmp_path, pictures):
        """Packs of 2 in shards of 2: the critic would see one."""
        critic = {"family": "mlp", "generator": {"hidden": [8]}, "critic": {"hidden": [8], "norm": "batch"}, "pack": 2}
        changes = {"network": critic, "growth": {}, "train.shards": 4, "train.duration": 64}
        assert "2 packs in a shard" in refused(changes, tmp_path, pictures)

    def test_packs_that_are_cut(self, tmp_path, pictures):
        """A pack stays in one shard."""
        assert "packs of 4" in refused({"network.pack": 4, "train.shards": 4}, tmp_path, pictures)

    def test_fewer_shards_than_workers(self, tiny, pictures):
        """Some workers would have nothing to do."""
        with pytest.raises(ConfigError, match="4 workers cannot share 2 shards"):
            package.plan(tiny, pictures, changes={"train.shards": 2}, workers=4)

    def test_another_number_of_shards_than_the_run_has(self, tiny, pictures, tmp_path):
        """It would be another run."""

        def train(shards):
            changes = {**SHARDED, "train.shards": shards}
            package.train(tiny, pictures, changes=changes, outdir=tmp_path, threads=1)

        train(2)
        with pytest.raises(ConfigError, match="2 shards, not 4"):
            train(4)


class TestLaunch:
    def test_numbers_of_processes(self, monkeypatch):
        """A number, or the number of GPUs."""
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
        assert [launch.number_of(text) for text in ("1", "4", "gpu")] == [1, 4, 3]
        for text in ("0", "-1", "two", "1.5", ""):
            with pytest.raises(UsageError):
                launch.number_of(text)

    def test_without_a_gpu_there_are_no_workers_for_them(self, monkeypatch):
        """And the user learns why."""
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(UsageError, match="there is no GPU"):
            launch.number_of("gpu")

    def test_the_exit_code_is_that_of_the_first_worker(self):
        """Others have failed because of it; or that of the one that failed first."""

        def failure(code, at):
            return SimpleNamespace(exitcode=code, timestamp=at, pid=1)

        assert launch.exit_code({1: failure(76, 1), 0: failure(78, 2)}) == 78
        assert launch.exit_code({2: failure(71, 5), 1: failure(76, 6)}) == 71
        assert launch.exit_code({0: failure(78, 1), 1: failure(-signal.SIGTERM, 2)}) == 78  # stopped by the launcher
        with pytest.raises(Interrupted):
            launch.exit_code({0: failure(-signal.SIGTERM, 1), 1: failure(-signal.SIGTERM, 2)})
        with pytest.raises(WorkerLost, match="worker 1 was ended by signal 9"):
            launch.exit_code({0: failure(76, 1), 1: failure(-signal.SIGKILL, 2)})


class TestJobs:
    """The SLURM job files, with programs in place of SLURM's that write down how they were called."""

    @pytest.fixture
    def slurm(self, tmp_path, monkeypatch):
        """The folder of what they have written."""
        for name, text in {
            "srun": "echo $* > srun.txt; trap 'echo stopped > stopped.txt; exit' TERM; while :; do sleep 0.1; done",
            "scontrol": "[ $1 = show ] && printf 'first\\nsecond\\n' || echo $* > scontrol.txt",
        }.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        for key, value in {"JOB_ID": "7", "JOB_NODELIST": "n[1-2]", "JOB_NUM_NODES": "2", "ARRAY_JOB_ID": "8"}.items():
            monkeypatch.setenv(f"SLURM_{key}", value)
        return tmp_path

    @staticmethod
    def stopped(folder, *words, began):
        """The exit code of a job that gets SIGTERM once it has begun."""
        job = subprocess.Popen(["bash", *map(str, words)], cwd=folder)
        assert wait_until((folder / began).exists)
        job.send_signal(signal.SIGTERM)
        return job.wait(timeout=20)

    def test_a_training_that_is_stopped_goes_back_into_the_queue(self, slurm):
        """After its workers have saved; they meet at the first machine."""
        assert self.stopped(slurm, JOBS / "train.sbatch", "photos.zip", began="srun.txt") == 0

        called = (slurm / "srun.txt").read_text()
        assert "torchrun --nnodes 2 --nproc-per-node 4" in called
        assert "--rdzv-endpoint first:29400" in called
        assert "-m gancli train photos.zip --preset r3gan-64" in called
        assert (slurm / "stopped.txt").exists()
        assert (slurm / "scontrol.txt").read_text() == "requeue 7\n"

    def test_so_does_a_run_of_an_ablation(self, slurm, monkeypatch):
        """Each element of the array runs its line of the commands."""
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
        (slurm / "commands.txt").write_text("srun one\nsrun 'the second'\nsrun three\n")

        assert self.stopped(slurm, JOBS / "ablation.sbatch", "commands.txt", began="srun.txt") == 0
        assert (slurm / "srun.txt").read_text() == "the second\n"
        assert (slurm / "stopped.txt").exists()
        assert (slurm / "scontrol.txt").read_text() == "requeue 8_2\n"


class TestHeartbeat:
    def test_a_worker_is_silent_after_a_minute(self):
        """Not before."""
        signs = [Sign("9", 100.0), Sign("9", 40.0), Sign("9", 39.0)]
        assert heartbeat.silent_workers(signs, now=100.0) == "worker 2"
        assert heartbeat.silent_workers(signs[:2], now=100.0) == ""

    def test_a_sign_counts_if_it_is_new(self):
        """Or the last one of a worker that is done."""
        assert Sign("1", 5.0).after("2", 9.0).at == 9.0
        assert Sign("2", 5.0).after("2", 9.0).at == 5.0
        assert Sign(heartbeat.DONE, 5.0).after(heartbeat.DONE, 9.0).at == 9.0

    @pytest.mark.parametrize(
        ("lost", "told"),
        [
            ("store", "no answer from first:29400"),
            ("worker", "no sign of life from worker 1 for 60 s"),
            ("itself", "the connection to the others could not be closed"),
        ],
    )
    def test_a_process_ends_if_it_is_left_alone(self, lost, told, monkeypatch, capfd):
        """The store does not answer, another worker gives no sign, or the others wait after an error of this one."""
        ends = []

        def end(code):
            ends.append(code)
            raise SystemExit

        monkeypatch.setattr(heartbeat.os, "_exit", end)
        left = object.__new__(heartbeat.Heartbeat)
        now = time.monotonic()
        left.silent_since, left.rank, left.where = now - 61 if lost == "itself" else None, 0, "first:29400"
        left.stopped = SimpleNamespace(wait=lambda seconds: False)
        left.answered = now - 61 if lost == "store" else now
        left.seen = [Sign("1", now), Sign("1", now - 61 if lost == "worker" else now)]
        with pytest.raises(SystemExit):
            left._watch()

        assert ends == [WorkerLost.exit_code]
        assert told in capfd.readouterr().err
