import io
import os
import pickle  # noqa: TID251  (to build the attacks)
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import make_pictures, tiny_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gancli
from gancli import checkpoint, files
from gancli.errors import CheckpointError, ConfigError, InputMissing, StorageError
from gancli.networks import build_generator
from gancli.training.state import TrainState

GOLDEN = Path(__file__).parent / "golden"


def written(path):
    state = TrainState.fresh(tiny_config(), torch.device("cpu"))
    state.images = 80
    checkpoint.write(path, state.as_checkpoint(tiny_config()))
    return path


@pytest.fixture
def whole(tmp_path):
    return written(tmp_path / "whole.pt")


def test_what_is_written_is_read_back(whole):
    """Config, counters and every tensor."""
    read = checkpoint.read(whole)

    assert read.config == tiny_config()
    assert (read.images, read.generator_steps) == (80, 0)
    expected = TrainState.fresh(tiny_config(), torch.device("cpu")).G.state_dict()
    assert all(torch.equal(read.weights["G"][name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("name", ["format-1.pt", "format-2.pt", "format-3.pt"])
def test_a_checkpoint_of_every_format_loads(name):
    """The repository has a file of every earlier format."""
    opened = checkpoint.read(GOLDEN / name)
    generator = build_generator(opened.config)

    checkpoint.fill(generator, opened.generator_weights(raw=False), opened.path)

    assert opened.config.preset == "tiny"
    assert (opened.config.samples.kind, opened.config.samples.shape) == ("image", (3, 16, 16))
    assert opened.config.train.precision == "fp32"
    assert (opened.config.train.batch_size, opened.config.train.lr, opened.config.network.z_dim) == (8, 0.002, 8)
    assert opened.can_train


def test_the_present_layout_has_a_golden_file():
    """Raising FORMAT requires a new golden file and a migration from the old layout."""
    assert (GOLDEN / f"format-{checkpoint.FORMAT}.pt").exists()
    assert sorted(checkpoint.MIGRATIONS) == list(range(1, checkpoint.FORMAT))


class TestAGeneratorAlone:
    @pytest.fixture
    def alone(self, tmp_path):
        """A checkpoint with EMA weights only: no critic, no optimizer state."""
        G = build_generator(tiny_config())
        values = {"config": tiny_config(), "images": 160, "weights": {"ema": G.state_dict()}}
        checkpoint.write(tmp_path / "alone.pt", checkpoint.Checkpoint(**values))
        return tmp_path / "alone.pt"

    def test_draws(self, alone):
        """It gives the same samples as the network."""
        generator = gancli.load(alone)
        assert generator.sample([0, 1]).shape == (2, 3, 16, 16)
        assert not generator.checkpoint.can_train

    def test_has_no_raw_weights(self, alone):
        """The error names the missing weights."""
        with pytest.raises(CheckpointError, match="no raw weights"):
            gancli.load(alone, raw=True)

    def test_is_inspected(self, alone, pictures):
        """Figures that need the critic or the raw weights are left out."""
        many = make_pictures(pictures / "more", 150, seed=3)
        health = gancli.inspect_stats(alone, str(many))
        assert health.raw_verdict is None
        assert "coverage" in {figure.key for figure in health.panel}
        assert "critic_feature_std_ratio" not in {figure.key for figure in health.panel}

    def test_cannot_be_trained_on(self, alone, pictures, tmp_path):
        """The critic is missing."""
        data, outdir = str(pictures), tmp_path / "runs"
        with pytest.raises(ConfigError, match="only a generator"):
            gancli.grow(alone, data, outdir=outdir)
        with pytest.raises(ConfigError, match="only a generator"):
            gancli.train(data=data, start_from=alone, outdir=outdir)
        assert not (tmp_path / "runs").exists()


def repacked(path, change):
    """Rewrite a zip file; change maps (name, data) to a new entry, or to None to drop it."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            if (entry := change(info.filename, old.read(info))) is not None:
                new.writestr(*entry)
    path.write_bytes(out.getvalue())
    return path


def plain_zip(data):
    """The same entries, as Python's zipfile writes them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return out.getvalue()


def two_archives(for_torch, for_zipfile):
    """One file: the end record states the offset of the first directory, but the second one is right before it."""

    def parts(data):
        end = data.rfind(b"PK\5\6")
        count, size, offset = struct.unpack("<HII", data[end + 10 : end + 20])
        return data[:offset], data[offset : offset + size], count

    (entries, directory, count), (more, last, _) = parts(for_torch), parts(for_zipfile)
    base, offset, moved, at = len(entries) + len(directory), len(entries), bytearray(), 0
    concat = base + len(more) - offset  # what zipfile adds to every offset
    while at < len(last):
        name, extra, comment = struct.unpack("<HHH", last[at + 28 : at + 34])
        start = struct.unpack("<I", last[at + 42 : at + 46])[0] + base - concat
        stop = at + 46 + name + extra + comment
        moved += last[at : at + 42] + struct.pack("<i", start) + last[at + 46 : stop]
        at = stop
    end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, count, count, len(last), offset, 0)
    return entries + directory + more + bytes(moved) + end


class Attack:
    """An object that runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": Attack(os.system, "touch PWNED"),
    "eval": Attack(eval, "open('PWNED', 'w')"),
    "getattr": Attack(getattr, "x", "upper"),
    "open": Attack(open, "PWNED", "w"),
    "import": Attack(__import__, "antigravity"),
}


class TestOpeningNeverRunsCode:
    @pytest.mark.parametrize("name", sorted(ATTACKS))
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_inside_a_checkpoint(self, whole, name, protocol, tmp_path, monkeypatch):
        """A data.pkl that names anything but tensors is refused before it is unpickled."""
        monkeypatch.chdir(tmp_path)
        payload = pickle.dumps({"format": 1, "x": ATTACKS[name]}, protocol)
        repacked(whole, lambda n, data: (n, payload if n.endswith("data.pkl") else data))

        with pytest.raises(CheckpointError):
            checkpoint.read(whole)
        assert not (tmp_path / "PWNED").exists()

    @pytest.mark.parametrize("name", sorted(ATTACKS))
    def test_as_a_bare_pickle(self, tmp_path, name, monkeypatch):
        """torch's old format and other pickles renamed to .pt are refused."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.pt").write_bytes(pickle.dumps(ATTACKS[name]))

        with pytest.raises(CheckpointError):
            checkpoint.read(tmp_path / "a.pt")
        assert not (tmp_path / "PWNED").exists()

    def test_a_whole_module_is_refused(self, tmp_path):
        """torch.save(network) pickles classes, which are refused."""
        torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")  # noqa: TID251
        with pytest.raises(CheckpointError, match="references"):
            checkpoint.read(tmp_path / "a.pt")

    def test_torchscript_is_refused(self, tmp_path):
        """TorchScript files contain code."""
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("a/data.pkl", pickle.dumps({}))
            archive.writestr("a/constants.pkl", pickle.dumps({}))
        with pytest.raises(CheckpointError):
            checkpoint.read(tmp_path / "a.pt")


def adam(**changes):
    """The Adam state of a bias of 128 values."""
    return {"step": torch.tensor(1.0), "exp_avg": torch.zeros(128), "exp_avg_sq": torch.zeros(128), **changes}


class TestDamage:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(at=st.floats(0, 1), bit=st.integers(0, 7))
    def test_a_flipped_bit_never_loads_with_other_weights(self, whole, at, bit):
        """The file is refused, unless the bit was in padding and nothing changed."""
        data = bytearray(whole.read_bytes())
        data[min(len(data) - 1, int(at * len(data)))] ^= 1 << bit
        damaged = whole.with_name("damaged.pt")
        damaged.write_bytes(data)

        try:
            read = checkpoint.read(damaged)
        except CheckpointError:
            return
        for name, tensor in checkpoint.read(whole).weights["G"].items():
            assert torch.equal(read.weights["G"][name], tensor)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
    def test_a_file_cut_short_is_refused(self, whole, share):
        """The hint is to use another checkpoint of the run."""
        data = whole.read_bytes()
        whole.write_bytes(data[: int(len(data) * share)])

        with pytest.raises(CheckpointError) as error:
            checkpoint.read(whole)
        assert "checkpoints/" in error.value.hint

    def test_compressed_entries_are_refused(self, whole):
        """They could be a zip bomb."""
        out = io.BytesIO()
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                new.writestr(info.filename, old.read(info))
        whole.write_bytes(out.getvalue())

        with pytest.raises(CheckpointError, match="compressed"):
            checkpoint.read(whole)

    def test_two_archives_in_one_file_are_refused(self, whole):
        """zipfile would read the second one, and torch the first, whose weights nobody has checked."""
        checked = whole.read_bytes()
        other = repacked(whole, lambda n, d: (n, bytes(len(d)) if n.endswith("/data/3") else d)).read_bytes()
        whole.write_bytes(two_archives(plain_zip(other), plain_zip(checked)))

        with pytest.raises(CheckpointError, match=r"bytes (between|before)"):
            checkpoint.read(whole)

    @pytest.mark.parametrize("place", ["front", "directory", "end"])
    def test_bytes_that_belong_to_no_entry_are_refused(self, whole, place):
        """Before the first entry, before the directory, and after the end record."""
        data = whole.read_bytes()
        at = {"front": 0, "directory": zipfile.ZipFile(whole).start_dir, "end": len(data)}[place]
        whole.write_bytes(data[:at] + bytes(64) + data[at:])

        with pytest.raises(CheckpointError):
            checkpoint.read(whole)

    def test_an_entry_under_another_name_in_its_own_header_is_refused(self, whole):
        """Readers that go through the local headers would see other entries than those of the directory."""
        data = whole.read_bytes()
        whole.write_bytes(data.replace(b"/data/1", b"/data/7", 1))

        with pytest.raises(CheckpointError, match="two headers"):
            checkpoint.read(whole)

    def test_torch_sees_only_what_was_checked(self, whole, monkeypatch):
        """It gets a copy in memory, so that a file that changes meanwhile, or is read differently, has no effect."""
        given = []
        load = torch.load  # noqa: TID251
        monkeypatch.setattr(torch, "load", lambda file, **options: given.append(file) or load(file, **options))

        checkpoint.read(whole)

        assert [type(file) for file in given] == [io.BytesIO]

    @pytest.mark.parametrize("count", [10**6, 6 * 10**9, 10**12])
    def test_a_tensor_that_repeats_one_value_is_refused(self, tmp_path, count):
        """With stride 0, a file of 1 KB would ask for gigabytes."""
        torch.save({"x": torch.zeros(1).expand(count)}, tmp_path / "a.pt")  # noqa: TID251

        with pytest.raises(CheckpointError, match="does not fit into its storage"):
            checkpoint.read(tmp_path / "a.pt")

    def test_tensors_that_share_a_storage_are_refused(self, tmp_path):
        """A thousand tensors over one storage would be a thousand times as large as the file."""
        x = torch.zeros(1000)
        torch.save({str(i): x.view(10, 100) for i in range(3)}, tmp_path / "a.pt")  # noqa: TID251

        with pytest.raises(CheckpointError, match="larger than the file"):
            checkpoint.read(tmp_path / "a.pt")

    @pytest.mark.parametrize("size", [0, 3, 4095, 4097, 8192])
    def test_a_storage_of_another_size_than_its_entry_is_refused(self, whole, size):
        """torch would read beyond the end of the entry."""
        repacked(whole, lambda n, d: (n, d[:size] + bytes(max(0, size - len(d))) if n.endswith("/data/0") else d))

        with pytest.raises(CheckpointError, match="size of its zip entry"):
            checkpoint.read(whole)

    def test_a_list_of_lists_of_lists_is_refused(self, tmp_path):
        """20 lists, each of which contains the one before ten times, have 10^20 values."""
        laughs = ["x"]
        for _ in range(20):
            laughs = [laughs] * 10
        torch.save({"config": laughs}, tmp_path / "a.pt")  # noqa: TID251

        with pytest.raises(CheckpointError, match="values"):
            checkpoint.read(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        "payload",
        [
            b"\x80\x02}r\xff\xff\xff\x7f.",  # memo number 2^31: unpickling would allocate 34 GB
            b"\x80\x02\x8b\xff\xff\xff\x7f.",  # an integer of 2 GB
            b"\x80\x02]q\x00h\x00a.",  # a list that contains itself
            b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00ak",
            b"",
        ],
    )
    def test_a_damaged_pickle_is_refused(self, whole, payload):
        """Within a second and without memory, whatever it says."""
        repacked(whole, lambda n, d: (n, payload if n.endswith("data.pkl") else d))

        with pytest.raises(CheckpointError):
            checkpoint.read(whole)

    def test_a_pipe_is_refused(self, tmp_path):
        """Opening it would wait for a writer for ever."""
        os.mkfifo(tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match="regular file"):
            checkpoint.read(tmp_path / "a.pt")

    def test_a_loader_without_memory_is_a_refusal(self, whole, monkeypatch):
        """MemoryError and the RuntimeError of torch's allocator are not bugs."""
        monkeypatch.setattr(torch, "load", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(CheckpointError, match="memory"):
            checkpoint.read(whole)

    def test_text_is_refused(self, tmp_path):
        """The content is checked, not the suffix."""
        (tmp_path / "a.pt").write_text("hello")
        with pytest.raises(CheckpointError):
            checkpoint.read(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("config", {**tiny_config().model_dump(mode="json"), "train": {"duration": None}}),
            ("config", {**tiny_config().model_dump(mode="json"), "samples": None}),
            ("config", tiny_config(network__z_dim=9).model_dump(mode="json")),
            ("config", tiny_config(network__minibatch_std={"feature_groups": 3}).model_dump(mode="json")),
            ("seconds", 10**400),
            ("optimizers", {"G": {"dense.bias": adam(exp_avg=torch.full((128,), float("nan")))}, "D": {}}),
            ("optimizers", {"G": {"dense.bias": adam(exp_avg=torch.zeros(3))}, "D": {}}),
            ("format", "x"),
            ("optimizers", {"G": {"dense.bias": adam(step=torch.zeros(3))}, "D": {}}),
            ("optimizers", {"G": {"dense.bias": adam(step=torch.tensor(-1.0))}, "D": {}}),
            ("optimizers", {"G": {"dense.bias": adam(exp_avg_sq=torch.full((128,), -1.0))}, "D": {}}),
            ("optimizers", {"G": {"dense.bias": adam(more=torch.zeros(1))}, "D": {}}),
            ("optimizers", {"G": {"dense.bias": {"exp_avg": torch.zeros(128)}}, "D": {}}),
            ("optimizers", {"G": {"no.such": adam()}, "D": {}}),
            ("images", -1),
            ("images", 10**400),
            ("images", 1 << 60),
            ("images", True),
            ("seconds", float("nan")),
            ("seconds", -1.0),
            ("seconds", "1"),
            ("format", True),
            ("format", -1),
            ("images", "many"),
            ("config", {"network": {"resolution": 10**9}}),
            ("weights", {}),
            ("weights", {"D": {}}),
            ("extra", {"p": torch.tensor(float("nan"))}),
            ("extra", {"p": "a word"}),
        ],
    )
    def test_a_wrong_part_is_refused(self, tmp_path, key, value):
        """Every part of the header is validated."""
        state = TrainState.fresh(tiny_config(), torch.device("cpu")).as_checkpoint(tiny_config())
        good = {
            "format": checkpoint.FORMAT, "gancli": "0", "config": tiny_config().model_dump(mode="json"), "images": 0,
            "generator_steps": 0, "seconds": 0.0, "weights": state.weights, "optimizers": {"G": {}, "D": {}},
            "extra": {},
        }  # fmt: skip
        values = good | {key: value}
        torch.save(values, tmp_path / "a.pt")  # noqa: TID251

        with pytest.raises(CheckpointError):
            checkpoint.read(tmp_path / "a.pt")
        torch.save(values | {key: good[key]}, tmp_path / "a.pt")  # noqa: TID251
        assert checkpoint.read(tmp_path / "a.pt").images == 0  # it was this part alone

    def test_a_newer_format_says_so(self, tmp_path):
        """The hint is to upgrade."""
        torch.save({"format": 99, "gancli": "9.0"}, tmp_path / "a.pt")  # noqa: TID251
        with pytest.raises(CheckpointError, match=r"newer gancli \(9.0\)"):
            checkpoint.read(tmp_path / "a.pt")

    def test_a_missing_file_is_missing(self, tmp_path):
        """Exit 66."""
        with pytest.raises(InputMissing):
            checkpoint.read(tmp_path / "none.pt")


class TestFill:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda w: w.pop("dense.bias"),
            lambda w: w.update(extra=torch.zeros(1)),
            lambda w: w.update({"dense.bias": torch.zeros(3)}),
            lambda w: w.update({"dense.bias": w["dense.bias"].double()}),
            lambda w: w["dense.bias"].fill_(float("nan")),
        ],
    )
    def test_weights_of_another_network_are_refused(self, whole, damage):
        """Weights that are missing, unknown, of another shape or type, or not finite."""
        weights = dict(checkpoint.read(whole).weights["G"])
        damage(weights)

        with pytest.raises(CheckpointError):
            checkpoint.fill(build_generator(tiny_config()), weights, whole)


class TestWriter:
    def test_a_write_that_fails_leaves_the_old_file(self, whole, monkeypatch):
        """If anything fails before the final rename, the old checkpoint is unchanged."""
        before = whole.read_bytes()
        monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))

        with pytest.raises(StorageError, match="No space left") as error:
            written(whole)

        assert error.value.exit_code == 74
        assert whole.read_bytes() == before
        assert not list(whole.parent.glob(".*tmp*"))

    def test_a_log_that_does_not_reach_the_disk_is_named(self, whole, monkeypatch):
        """The system does not say which file it was."""
        monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageError, match="No space left") as error:
            files.sync(whole)
        assert error.value.where == str(whole)

    def test_a_full_disk_is_said_before_writing(self, whole, monkeypatch):
        """The error names the path and the required bytes."""
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
        with pytest.raises(StorageError, match="the disk is full") as error:
            written(whole)
        assert "whole.pt" in error.value.where

    def test_a_link_is_replaced_at_once(self, whole, tmp_path):
        """last.pt is always a complete file."""
        (tmp_path / "last.pt").write_text("old")

        files.link(whole, tmp_path / "last.pt")

        assert (tmp_path / "last.pt").read_bytes() == whole.read_bytes()


def test_a_weight_of_another_type_is_named_with_both(whole):
    """The error names both types, not the shape, which is correct."""
    G = build_generator(tiny_config())
    tensors = {name: tensor.double() for name, tensor in G.state_dict().items()}
    assert checkpoint.first_misfit(G, tensors) == "blocks.0.0.bias has type torch.float64, not torch.float32"
