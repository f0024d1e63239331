"""Archives and arrays that claim what is not so: an error in good time, without the memory that they ask for."""

import gc
import gzip
import io
import json
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from conftest import make_pictures
from PIL import Image

from gancli.cli import piped
from gancli.data import Shape, archives, arrays, budget, open_dataset, sources
from gancli.errors import DataError, InputMissing, StorageError

SHAPE = Shape(8, 8, None, "crop")


def png(color=0):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def tar_header(name, size, kind, size_field=None):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size_field is not None:
        block[124:136] = size_field
        block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def tar_file(name, data):
    return tar_header(name, len(data), b"0") + data.ljust(-(-len(data) // 512) * 512, b"\0")


END = bytes(1024)
LONG = b"././@LongLink"


class TestTar:
    @pytest.mark.parametrize(
        "data",
        [
            tar_header("x", 3 << 30, b"x"),
            tar_header("x", 3 << 30, b"x") + bytes(1 << 21),
            tar_header("x", 3 << 30, b"L") + bytes(1 << 21),
            tar_header("a.png", 0, b"0") + tar_header("b.png", 0, b"0", size_field=b"\xff" * 10 + b"\xfe\x00") + END,
            tar_file("a.png", png()) + b"damaged".ljust(512, b"x") + tar_file("b.png", png()) + END,
            tar_file("a.png", png()) + tar_file("b.png", png())[:300],
            tar_file("a.png", png()) + tar_header("b.png", 1 << 40, b"0") + END,
        ],
        ids=["no pax data", "pax", "name", "back", "damaged header", "cut header", "cut"],
    )
    def test_a_header_that_cannot_be_true_is_an_error(self, tmp_path, data, monkeypatch):
        """Huge headers, chains of them, sizes that point back, and damage in the middle, which tarfile skips."""
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(DataError, match="not a complete tar"):
            open_dataset(str(tmp_path / "a.tar"), SHAPE)

    def test_long_names_are_read(self, tmp_path):
        """In GNU and pax headers; the limits are those of one member."""
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
                for i in range(archives.MAX_HEADER_READS):
                    info = tarfile.TarInfo("ä" * 300 + f"/{i:03d}.png")
                    info.size = len(png(i))
                    archive.addfile(info, io.BytesIO(png(i)))
            values = open_dataset(str(tmp_path / "a.tar"), SHAPE).values[:, 0, 0, 0]
            assert values.tolist() == list(range(archives.MAX_HEADER_READS))

    def test_global_headers_are_not_copied_into_each_member(self, tmp_path):
        """They would take memory times the number of members."""
        with tarfile.open(tmp_path / "a.tar", "w", pax_headers={"comment": "x" * 100}) as archive:
            info = tarfile.TarInfo("a.png")
            info.size = len(png())
            archive.addfile(info, io.BytesIO(png()))
        (info,) = archives._tar_infos(tmp_path / "a.tar")
        assert info.pax_headers == {}

    @pytest.mark.parametrize("link", [tar_header("x", 1, b"L") + b"a".ljust(512, b"\0"), tar_header("x", 0, b"K")])
    def test_a_chain_of_headers_ends(self, tmp_path, link):
        """Tarfile calls itself for each; that is not left to the limit of Python's stack."""
        (tmp_path / "a.tar").write_bytes(link * 5000 + tar_file("a.png", png()) + END)
        with pytest.raises(DataError, match="too long"):
            open_dataset(str(tmp_path / "a.tar"), SHAPE)

    def test_headers_of_more_than_a_megabyte_are_refused(self, tmp_path):
        """Before they are read, even if all of it is there."""
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"comment": "x" * (1 << 21)}
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + END)
        with pytest.raises(DataError, match="too long"):
            open_dataset(str(tmp_path / "a.tar"), SHAPE)

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    def test_too_many_members(self, tmp_path, monkeypatch, kind):
        """Five million at most."""
        monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
        path = tmp_path / "a"
        if kind == "tar":
            path.write_bytes(b"".join(tar_file(f"{i}.png", png()) for i in range(3)) + END)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for i in range(3):
                    archive.writestr(f"{i}.png", png())
        with pytest.raises(DataError, match="more than 2 files"):
            open_dataset(str(path), SHAPE)

    @pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
    def test_a_compressed_tar_is_not_expanded(self, tmp_path, mode, monkeypatch):
        """Its first block is enough to say what to do."""
        with tarfile.open(tmp_path / "a.tar.x", mode) as archive:
            info = tarfile.TarInfo("a.png")
            info.size = 1 << 22
            archive.addfile(info, io.BytesIO(bytes(1 << 22)))
        monkeypatch.setattr(tarfile, "open", lambda *a, **k: pytest.fail("it was opened"))
        with pytest.raises(DataError) as error:
            open_dataset(str(tmp_path / "a.tar.x"), SHAPE)
        assert "unpack it first" in error.value.hint


class TestZip:
    def lying(self, path, method, claimed):
        """A zip with a PNG suffix whose directory claims another size than its 4 MB."""
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("good.png", png())
            archive.writestr("lie.png", png().ljust(1 << 22, b"\0"))
        data = path.read_bytes()
        size = struct.pack("<I", 1 << 22)
        assert size in data
        path.write_bytes(data.replace(size, struct.pack("<I", claimed)))

    @pytest.mark.parametrize("claimed", [10, 5 << 20])
    def test_a_member_is_expanded_up_to_its_claimed_size(self, tmp_path, monkeypatch, claimed):
        """A member that has more or less is rejected; ZipFile.read expands all of it."""
        self.lying(tmp_path / "a.zip", zipfile.ZIP_DEFLATED, claimed)
        monkeypatch.setattr(zipfile.ZipFile, "read", lambda *a: pytest.fail("read without a limit"))
        most = []
        real = zipfile.ZipExtFile.read
        monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: most.append(n) or real(self, n))

        report = open_dataset(str(tmp_path / "a.zip"), SHAPE).report

        assert (report.count, [r.name for r in report.rejected]) == (1, ["lie.png"])
        assert max(most) == max(claimed, len(png())) + 1
        assert min(most) > 0

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_methods_that_cannot_be_limited_are_refused(self, tmp_path, method):
        """Four kilobytes of them can expand to gigabytes."""
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("good.png", png())
            archive.writestr("x.png", png(), method)
        report = open_dataset(str(tmp_path / "a.zip"), SHAPE).report
        assert [r.reason for r in report.rejected] == ["compressed by a method other than deflate"]

    def test_a_member_without_a_name_is_ignored(self, tmp_path):
        """Found by mutating zips: zipfile fails for it with an IndexError."""
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("good.png", png())
            archive.writestr("Q", b"x")
        data = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(data.replace(b"Q", b"\0"))  # a name ends at its first zero byte
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert archive.namelist() == ["good.png", ""]
        assert open_dataset(str(tmp_path / "a.zip"), SHAPE).report.count == 1


class TestExpansion:
    """Arrays that expand: the claimed size is compared with the memory before it is read."""

    def idx(self, path, shape, nbytes):
        with gzip.open(path, "wb", 1) as file:
            file.write(struct.pack(f">HBB{len(shape)}i", 0, 8, len(shape), *shape))
            file.write(bytes(nbytes))
        return path

    def npz(self, path, values, method=zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        np.save(buffer, values)
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("images.npy", buffer.getvalue())
        return path

    def both(self, tmp_path):
        yield self.idx(tmp_path / "a.gz", (1000, 64, 64), 1000 * 64 * 64)
        yield self.npz(tmp_path / "a.npz", np.zeros((1000, 64, 64), np.uint8))

    def test_more_than_the_memory_is_refused(self, tmp_path, monkeypatch):
        """Of gzipped idx and npz."""
        monkeypatch.setattr(budget, "available", lambda: 1 << 20)
        for path in self.both(tmp_path):
            with pytest.raises(DataError, match="expands to 4,096"):
                open_dataset(str(path), SHAPE)

    def test_a_bomb_is_refused_by_its_ratio(self, tmp_path, monkeypatch):
        """Zeros compress a thousandfold, samples do not; small ones are let through."""
        for path in self.both(tmp_path):
            assert arrays.reader(path)(path).values.shape == (1000, 64, 64, 1)
            monkeypatch.setattr(arrays, "RATIO_FROM", 1 << 20)
            with pytest.raises(DataError, match="200-fold"):
                open_dataset(str(path), SHAPE)
            monkeypatch.undo()

    @pytest.mark.parametrize("has", [1000 * 64 * 64 - 1, 1000 * 64 * 64 + 1, 0])
    def test_an_idx_with_other_than_the_claimed_bytes(self, tmp_path, has):
        """Too few, or too many."""
        with pytest.raises(DataError, match="that many values"):
            open_dataset(str(self.idx(tmp_path / "a.gz", (1000, 64, 64), has)), SHAPE)

    def test_an_npz_by_another_method_is_refused(self, tmp_path):
        """As in zips."""
        with pytest.raises(DataError, match="other than deflate"):
            open_dataset(str(self.npz(tmp_path / "a.npz", np.zeros((5, 8, 8), np.uint8), zipfile.ZIP_LZMA)), SHAPE)

    def test_a_damaged_npz_is_closed(self, tmp_path):
        """Found by mutating: numpy left the file open, with a warning."""
        (tmp_path / "a.npz").write_bytes(b"PK\x03\x04" + bytes(100))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DataError):
                open_dataset(str(tmp_path / "a.npz"), SHAPE)
            gc.collect()

    def test_the_memory_is_known(self):
        """Between 16 MB and 1 PB, in bytes."""
        assert 1 << 24 < budget.available() < 1 << 50

    @pytest.mark.parametrize(("claimed", "reason"), [(0, "cannot read"), (1 << 31, "claims 2,147,483,648 bytes")])
    def test_an_npy_that_claims_more_than_it_has(self, tmp_path, claimed, reason):
        """Of values, or of header."""
        shape = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}\n"
        (tmp_path / "a.npy").write_bytes(
            b"\x93NUMPY\2\0" + struct.pack("<I", max(claimed, len(shape))) + shape + bytes(900)
        )
        with pytest.raises(DataError, match=reason):
            open_dataset(str(tmp_path / "a.npy"), SHAPE)


class TestNumbers:
    """Signals and points of any type: used, or refused; without a warning, and without infinite statistics."""

    def opened(self, tmp_path, values):
        np.save(tmp_path / "a.npy", values)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return open_dataset(str(tmp_path / "a.npy"), SHAPE)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [(1e300, "not finite"), (np.inf, "not finite"), (np.nan, "not finite"), (-3e38, "values beyond 1e+30")],
    )
    def test_rows_that_float32_cannot_compute_with_are_rejected(self, tmp_path, value, reason):
        """The difference of two of them would be infinite."""
        values = np.ones((5, 2))
        values[2, 1] = value
        report = self.opened(tmp_path, values).report
        assert [(r.name, r.reason) for r in report.rejected] == [("row 2", reason)]

    @pytest.mark.parametrize("value", [1e300, 3e38, np.nan])
    def test_none_that_can_be_used_is_an_error(self, tmp_path, value):
        """With the first reason."""
        with pytest.raises(DataError, match="no sample can be used; the first: row 0"):
            self.opened(tmp_path, np.full((5, 2), value))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_subnormal_values_are_refused(self, tmp_path, dtype):
        """Dividing by their range gives infinity, as processors may take them for zero."""
        with pytest.raises(DataError, match="too small"):
            self.opened(tmp_path, (np.arange(10).reshape(5, 2) * 1e-42).astype(dtype))

    @pytest.mark.parametrize("dtype", ["f2", "f8", "g", "i8", "u8", ">f4", ">i2"])
    def test_every_type_of_number_becomes_float32(self, tmp_path, dtype):
        """Half, double, extended, integers, and the other byte order."""
        values = np.arange(10).reshape(5, 2)
        found = self.opened(tmp_path, values.astype(dtype)).values
        assert (found.dtype, found.tolist()) == (np.float32, values.tolist())

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(5, [("a", "f4")]),
            np.array([["a"]]),
            np.zeros((5, 2), "V4"),
            np.zeros((5, 2), bool),
            np.zeros((5, 2), "c8"),
        ],
        ids=str,
    )
    def test_what_is_not_a_real_number_is_refused(self, tmp_path, values):
        """Records, text, raw bytes, truth values, complex numbers."""
        with pytest.raises(DataError):
            self.opened(tmp_path, values)

    def test_16_bit_images_of_either_byte_order(self, tmp_path):
        """Divided by 257."""
        for order in "<>":
            found = self.opened(tmp_path, np.full((5, 8, 8), 25700, f"{order}u2"))
            assert found.values.max() == 100

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("x"), OverflowError()])
    def test_any_error_while_loading_is_one_sentence(self, tmp_path, monkeypatch, error):
        """Also when the memory is not enough."""
        monkeypatch.setattr(arrays, "classify", lambda *a: (_ for _ in ()).throw(error))
        with pytest.raises(DataError, match="cannot read the array"):
            self.opened(tmp_path, np.zeros((5, 2)))


class TestVanishing:
    """Sources that disappear or cannot be read."""

    def test_a_file_that_is_removed_while_scanning_is_rejected(self, pictures):
        """The others are used."""
        source = sources.find(str(pictures))
        (pictures / "003.png").unlink()
        with pytest.raises(FileNotFoundError):
            source.entries[3].read()
        (pictures / "003.png").symlink_to("nowhere")
        assert open_dataset(str(pictures), SHAPE).report.count == 23

    def test_a_file_that_grows_is_not_read_whole(self, pictures, monkeypatch):
        """At most as much as one image may have."""
        source = sources.find(str(pictures))
        monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10)
        with pytest.raises(ValueError, match="too many"):
            source.entries[0].read()

    def test_an_array_that_is_removed_is_an_error(self, tmp_path):
        """Not a traceback."""
        np.save(tmp_path / "a.npy", np.zeros((5, 2)))
        source = sources.find(str(tmp_path / "a.npy"))
        (tmp_path / "a.npy").unlink()
        for use in (lambda: source.digest(lambda *a: None), lambda: source.nbytes(SHAPE), lambda: source.load(8)):
            with pytest.raises(DataError):
                use()

    def test_a_name_that_is_too_long_is_an_error(self):
        """The system refuses it."""
        with pytest.raises((DataError, InputMissing)):
            open_dataset("a" * 5000, SHAPE)

    def test_so_are_data_and_a_checkpoint_for_a_command(self, gancli):
        """Exit 65 and 66, not a full disk."""
        assert gancli("train", "x" * 300)[0] == 65
        assert gancli("sample", "x" * 300)[0] == 66

    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path, monkeypatch):
        """os.walk passes over it in silence."""
        make_pictures(tmp_path / "set" / "a", 2)
        make_pictures(tmp_path / "set" / "b", 2)
        real = sources.os.scandir

        def scandir(path):
            if str(path).endswith("b"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(sources.os, "scandir", scandir)
        report = open_dataset(str(tmp_path / "set"), SHAPE).report
        assert (report.count, [(r.name, r.reason) for r in report.rejected]) == (2, [("b", "permission denied")])


class TestPiped:
    """Standard input is stored on the disk; some of the disk stays free."""

    def test_a_bomb_stops_before_the_disk_is_full(self, tmp_path, monkeypatch):
        """Exit 74, with the bytes so far."""
        path = tmp_path / "stdin"
        path.write_bytes(gzip.compress(bytes(1 << 23)))
        free = iter([piped.MARGIN + (4 - i) * piped.BLOCK for i in range(8)])
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": next(free)}))

        with pytest.raises(StorageError, match="4,194,304 bytes"):
            piped._unpacked(path)

    def test_a_full_disk_is_not_damaged_data(self, tmp_path, monkeypatch):
        """Exit 74, not 65."""
        path = tmp_path / "stdin"
        path.write_bytes(gzip.compress(bytes(1 << 21)))
        (tmp_path / "stdin.tar").symlink_to("/dev/full")
        with pytest.raises(StorageError, match="No space left"):
            piped._unpacked(path)


def test_rejected_names_survive_as_text(tmp_path):
    """A name of invalid bytes and control characters is stored escaped, and the cache is valid."""
    make_pictures(tmp_path / "set", 2)
    (tmp_path / "set" / "\udcff\x1b[2J.png").write_bytes(b"")
    first = open_dataset(str(tmp_path / "set"), SHAPE).report
    assert first == open_dataset(str(tmp_path / "set"), SHAPE).report
    assert json.dumps(first.rejected[0].name) == json.dumps("\\udcff\\x1b[2J.png")
