import hashlib
import io
import sys
import weakref
import zipfile

import numpy as np
import pytest
import torch
from conftest import write_preset
from PIL import Image

import gancli
from gancli import media, sampling
from gancli.errors import CannotCreate, ExtraMissing, StorageError, UsageError
from gancli.sampling import Generator


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny trained generator, stopped in the middle of its last fade."""
    from conftest import make_pictures

    folder = tmp_path_factory.mktemp("sampling")
    pictures = make_pictures(folder / "pictures", 24)
    preset = write_preset(folder / "tiny.yaml", {"train.duration": 112})
    return gancli.train(preset, str(pictures), outdir=folder / "runs", threads=1, device="cpu").checkpoint


def size_of(path):
    with Image.open(path) as image:
        return image.size


class TestSeeds:
    @pytest.mark.parametrize("seeds", [[42], [0, 42, 7, 9], list(range(27, 43)), list(range(20, 60))])
    def test_seed_42_is_one_picture_whatever_else_is_drawn(self, checkpoint, seeds):
        """Bit for bit: alone, with other seeds, and in a later chunk."""
        generator = Generator.load(checkpoint)
        alone = generator.sample([42])[0]

        assert torch.equal(generator.sample(seeds)[seeds.index(42)], alone)

    def test_in_a_still_and_in_a_walk(self, checkpoint, tmp_path):
        """A keyframe of interpolate is equal to the image of sample."""
        stills = sampling.sample(checkpoint, [3, 4], tmp_path / "stills")
        walk = sampling.interpolate(checkpoint, tmp_path / "walk", frames=6, seeds=[3, 4])

        for still, frame in zip(stills.files, (walk.files[0], walk.files[3]), strict=True):
            assert still.read_bytes() == frame.read_bytes()

    def test_different_seeds_differ(self, checkpoint):
        """All values are in [-1, 1]."""
        x = Generator.load(checkpoint).sample(range(4))

        assert x.std(dim=0).mean() > 0
        assert x.abs().max() <= 1


class TestWhatIsDrawn:
    def test_a_checkpoint_in_a_fade_is_drawn_at_its_own_alpha(self, checkpoint):
        """Not at alpha 1."""
        generator = Generator.load(checkpoint)

        assert (generator.phase.height, generator.phase.alpha) == (16, 0.5)
        z = torch.zeros(1, 8)
        (x,) = generator.draw(z)
        with torch.no_grad():
            torch.testing.assert_close(x, generator.network(z, 2, 0.5).clamp(-1, 1), atol=1e-4, rtol=1e-4)

    def test_raw_weights_are_others(self, checkpoint):
        """--raw uses the raw weights instead of the EMA weights."""
        assert not torch.equal(*(Generator.load(checkpoint, raw=raw).sample([0]) for raw in (False, True)))

    def test_truncation_draws_closer_to_the_middle(self, checkpoint):
        """1 turns truncation off; other values change the images."""
        generator = Generator.load(checkpoint)
        assert torch.equal(generator.sample([1], trunc=1.0), generator.sample([1]))
        assert not torch.equal(generator.sample([1], trunc=0.3), generator.sample([1]))


class TestFiles:
    def test_a_folder_gets_one_picture_a_seed(self, checkpoint, tmp_path):
        """File names have the form seed0042.png."""
        report = sampling.sample(checkpoint, [7, 42], tmp_path / "out")

        assert [file.name for file in report.files] == ["seed0007.png", "seed0042.png"]
        assert size_of(report.files[0]) == (16, 16)

    def test_without_a_place_the_folder_is_named_for_run_and_kimg(self, checkpoint, tmp_path, monkeypatch):
        """The run folder is not changed."""
        monkeypatch.chdir(tmp_path)
        assert str(sampling.sample(checkpoint, [1]).path) == "00000-pictures-tiny-000000-samples"

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--format", "npy"), "--format"), (("-o", "-", "--processes", "2"), "--processes"),
            (("--input", "a.png", "--trunc", "0.5"), "--trunc"), (("--input", "a.png", "--seeds", "1"), "--seeds"),
        ],
    )  # fmt: skip
    def test_options_without_an_effect_are_refused(self, gancli, checkpoint, words, named):
        """Instead of ignored."""
        code, _, err = gancli("sample", checkpoint, *words)
        assert (code, f"{named} has no effect" in err) == (2, True)

    def test_a_png_of_several_seeds_is_a_grid(self, checkpoint, tmp_path):
        """With --cols columns, enlarged by an integer factor."""
        sampling.sample(checkpoint, range(6), tmp_path / "grid.png", columns=3, size=40)
        assert size_of(tmp_path / "grid.png") == (3 * 32, 2 * 32)

    @pytest.mark.parametrize("form", ["npy", "zip"])
    def test_files_are_written_while_samples_are_generated(self, checkpoint, tmp_path, monkeypatch, form):
        """Ten thousand samples take no more memory than a hundred: at no time are more than three pictures kept."""
        kept, most, enlarged = set(), [], media.enlarged

        def watched(picture, size):
            found = enlarged(picture, size).copy()
            kept.add(id(found))
            weakref.finalize(found, kept.discard, id(found))
            most.append(len(kept))
            return found

        monkeypatch.setattr(media, "enlarged", watched)
        sampling.sample(checkpoint, range(40), tmp_path / f"a.{form}")
        assert max(most) <= 3
        assert len(most) == 40

    def test_zip_and_npy_hold_the_same_pictures(self, checkpoint, tmp_path):
        """As uint8 (N, H, W, C)."""
        sampling.sample(checkpoint, [5, 6], tmp_path / "a.npy")
        sampling.sample(checkpoint, [5, 6], tmp_path / "a.zip")

        values = np.load(tmp_path / "a.npy")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert archive.namelist() == ["seed0005.png", "seed0006.png"]
            second = np.asarray(Image.open(io.BytesIO(archive.read("seed0006.png"))))
        np.testing.assert_array_equal(values[1], second)

    def test_the_same_command_writes_the_same_zip(self, checkpoint, tmp_path, monkeypatch):
        """Its entries do not carry the clock."""
        written = []
        for year in (2001, 2002):
            monkeypatch.setattr("time.time", lambda year=year: (year - 1970) * 31_556_952)
            sampling.sample(checkpoint, [0, 1], tmp_path / "x.zip")
            written.append((tmp_path / "x.zip").read_bytes())
        assert written[0] == written[1]

    def test_what_a_killed_command_left_is_removed(self, checkpoint, tmp_path):
        """A temporary file of a process that has ended."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".seed0000.png.gancli.tmp-999999999").touch()
        sampling.sample(checkpoint, [0], tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["seed0000.png"]

    def test_a_dot_in_a_folder_s_name_is_no_format(self, checkpoint, tmp_path, monkeypatch):
        """my.model.pt has a default folder, and an existing out.v2 is a folder."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my.model.pt").write_bytes(checkpoint.read_bytes())
        (tmp_path / "out.v2").mkdir()

        assert sampling.sample("my.model.pt", [1]).path.is_dir()
        assert sampling.sample("my.model.pt", [1], "out.v2").files[0].name == "seed0001.png"

    def test_a_full_disk_is_a_storage_error(self, checkpoint, tmp_path, monkeypatch):
        """Exit 74 with the required bytes; no partial file remains."""
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
        with pytest.raises(StorageError, match="the disk is full"):
            sampling.sample(checkpoint, [1], tmp_path / "a.png")
        assert not list(tmp_path.iterdir())

    def test_a_missing_folder_is_said(self, checkpoint, tmp_path):
        """Exit 73."""
        with pytest.raises(CannotCreate, match="no folder"):
            sampling.sample(checkpoint, [1], tmp_path / "none" / "a.png")

    def test_an_unknown_suffix_is_said(self, checkpoint, tmp_path):
        """Exit 2 with the supported formats."""
        with pytest.raises(UsageError, match="'jpg'"):
            sampling.sample(checkpoint, [1], tmp_path / "a.jpg")


class TestInterpolate:
    @pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ".png"])
    def test_animations_have_their_frames_and_repeat(self, checkpoint, tmp_path, suffix):
        """At the requested speed, repeating infinitely."""
        sampling.interpolate(checkpoint, tmp_path / f"a{suffix}", frames=5, fps=10)

        with Image.open(tmp_path / f"a{suffix}") as image:
            assert image.n_frames == 5
            image.seek(1)
            image.load()
            assert image.info["duration"] == 100
            assert image.info.get("loop", 0) == 0

    def test_a_gif_is_no_faster_than_its_players(self, checkpoint, tmp_path):
        """60 frames per second become 50: players show shorter delays than 2/100 s as 10/100 s."""
        sampling.interpolate(checkpoint, tmp_path / "a.gif", frames=3, fps=60)
        with Image.open(tmp_path / "a.gif") as image:
            image.seek(1)
            assert image.info["duration"] == 20

    def test_the_last_seed_has_a_next_one(self, checkpoint, tmp_path):
        """The seeds of further interpolations wrap around to 0."""
        sampling.interpolate(checkpoint, tmp_path / "a.gif", frames=2, seeds=[2**32 - 2, 2**32 - 1], columns=2)

    def test_mp4_with_the_extra(self, checkpoint, tmp_path):
        """Odd sizes are cropped to even ones, as the codec requires."""
        pytest.importorskip("imageio_ffmpeg")
        sampling.interpolate(checkpoint, tmp_path / "a.mp4", frames=4, size=64)
        assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"

    def test_mp4_without_the_extra_says_what_to_install(self, checkpoint, tmp_path, monkeypatch):
        """Exit 69."""
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
        with pytest.raises(ExtraMissing, match=r"gancli\[video\]"):
            sampling.interpolate(checkpoint, tmp_path / "a.mp4", frames=4)

    def test_a_grid_of_walks(self, checkpoint, tmp_path):
        """Each interpolation uses the next seeds."""
        report = sampling.interpolate(checkpoint, tmp_path / "frames", frames=3, seeds=[0, 1], columns=2, rows=2)

        first = np.asarray(Image.open(report.files[0]))
        second_walk = media.to_bytes(Generator.load(checkpoint).sample([2]))[0]
        assert first.shape == (32, 32, 3)
        np.testing.assert_array_equal(first[:16, 16:], second_walk)

    @pytest.mark.parametrize("out", ["a.avi", "a.txt"])
    def test_an_unknown_suffix_is_said(self, checkpoint, tmp_path, out):
        """The error lists the supported formats."""
        with pytest.raises(UsageError, match=r"unknown format '(avi|txt)'"):
            sampling.interpolate(checkpoint, tmp_path / out, frames=2)


class TestMedia:
    def test_a_grid_is_read_row_by_row_and_padded_white(self):
        """Five tiles in two columns: three rows, the last half empty."""
        tiles = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, 3)

        grid = media.grid(tiles, 2)

        assert grid[..., 0].tolist() == [[0, 1], [2, 3], [4, 255]]

    def test_to_bytes_rounds_and_clips(self):
        """-1 becomes 0, 1 becomes 255, and other values are clipped."""
        x = torch.tensor([-2.0, -1, 0, 1, 2]).view(5, 1, 1, 1)
        assert media.to_bytes(x).flatten().tolist() == [0, 0, 128, 255, 255]

    def test_the_same_pixels_make_the_same_file(self):
        """PNGs contain no time and no file name."""
        pixels = np.zeros((4, 4, 3), np.uint8)
        assert len({hashlib.sha256(media.png(pixels)).hexdigest() for _ in range(2)}) == 1
