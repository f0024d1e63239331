"""`gancli data`: the report of the scan, and the sheet of samples."""

import json

import numpy as np
import pytest
from conftest import make_pictures, write_preset
from PIL import Image

import gancli as gancli_package
from gancli import overview
from gancli.errors import ConfigError, UsageError


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures of 40 px, one of them twice, one damaged, and a text."""
    folder = make_pictures(tmp_path / "photos", 12, size=40)
    (folder / "twice.png").write_bytes((folder / "000.png").read_bytes())
    (folder / "broken.png").write_bytes((folder / "001.png").read_bytes()[:60])
    (folder / "read me.txt").write_text("text")
    return folder


def tiles(sheet, side):
    """The samples of a sheet in rows of eight, as a set of bytes."""
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    cut = sheet[: rows * side, : columns * side].reshape(rows, side, columns, side, -1).transpose(0, 2, 1, 3, 4)
    return {tile.tobytes() for tile in cut.reshape(-1, side, side, sheet.shape[2])}


def test_the_report(photos):
    """Without a preset, at the most common size."""
    report = gancli_package.scan(photos)
    assert (report.count, report.shape, report.duplicates, report.ignored) == (13, (40, 40, 3), 1, 1)
    assert [item.name for item in report.rejected] == ["broken.png"]


def test_the_sheet_has_every_sample(photos, tmp_path):
    """As in the files: nothing is resized without a preset."""
    gancli_package.scan(photos, sheet=tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (80, 320, 3)
    for file in sorted(photos.glob("0*.png")):
        assert np.asarray(Image.open(file)).tobytes() in tiles(sheet, 40)


def test_augmented_samples_are_beside_the_plain_ones(photos, tmp_path):
    """At the size of the preset; with a probability of 0, both sides are equal."""
    sides = []
    for p in (0.0, 1.0):
        preset = write_preset(tmp_path / "p.yaml", {"augment": {"color": 1, "p": p}})
        gancli_package.scan(photos, preset, sheet=tmp_path / "sheet.png")
        sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
        assert sheet.shape == (32, 2 * 8 * 16 + 16, 3)
        sides.append((sheet[:, :128], sheet[:, 144:]))
    (plain, same), (again, changed) = sides
    assert np.array_equal(plain, same)
    assert np.array_equal(plain, again)
    assert len(tiles(changed, 16) & tiles(plain, 16)) <= 1  # an empty cell


@pytest.mark.parametrize(("name", "shape"), [("signals", (8 * 96, 8 * 128, 3)), ("ring8", (512, 512, 3))])
def test_signals_and_points_are_drawn(tmp_path, name, shape):
    """As the sheets of training runs."""
    report = gancli_package.scan(f"builtin:{name}", sheet=tmp_path / "sheet.png")
    assert report.rejected == ()
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape == shape


def test_what_does_not_fit_is_an_error(tmp_path):
    """Networks for other data; changes of no preset."""
    with pytest.raises(ConfigError, match="has points data"):
        gancli_package.scan("builtin:ring8", "quickstart")
    with pytest.raises(UsageError, match="there is no preset"):
        gancli_package.scan("builtin:ring8", changes={"train.lr": 0.1})


def test_the_command(gancli, photos, tmp_path):
    """A table, or JSON; rejected files with their reason."""
    code, out, _ = gancli("data", photos, "--sheet", tmp_path / "sheets" / "sheet.png")
    assert code == 0
    assert "13, 0 of them held out" in out
    assert "broken.png: " in out
    assert (tmp_path / "sheets" / "sheet.png").is_file()
    body = json.loads(gancli("data", photos, "--json")[1])
    assert (body["count"], body["duplicates"], len(body["rejected"])) == (13, 1, 1)
    assert gancli("data")[0] == 2


def test_the_data_of_the_preset_is_the_default(gancli):
    """As the help says."""
    code, out, _ = gancli("data", "--preset", "quickstart", "--json")
    assert (code, json.loads(out)["source"]) == (0, "builtin:shapes")


def test_size_channels_and_fit_need_no_preset(gancli, photos, monkeypatch):
    """On the command line or in the environment. The option without an effect is named."""
    monkeypatch.setenv("GANCLI_FIT", "pad")
    code, out, _ = gancli("data", photos, "--resolution", "16", "--channels", "1", "--json")
    assert (code, json.loads(out)["shape"]) == (0, [16, 16, 1])
    assert [gancli("data", photos, *words)[0] for words in (("--channels", "7"), ("--fit", "no"))] == [78, 78]
    code, _, err = gancli("data", photos, "--set", "train.lr=1")
    assert (code, "train.lr" in err) == (2, True)


def test_large_photos_are_scanned_at_256_px(tmp_path):
    """A cache of the photos as they are would be far larger than they."""
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(3):
        noise = np.random.RandomState(number).randint(0, 255, (300, 600, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    assert gancli_package.scan(folder).shape == (128, 256, 3)


def test_the_sheet_of_signals_has_the_units_of_training(tmp_path, monkeypatch):
    """Center and scale are those of all training samples, not of the samples that are shown."""
    rows = np.random.RandomState(0).uniform(-1, 1, (200, 1, 16)).astype(np.float32)
    shown = np.random.RandomState(0).permutation(200)[: overview.SHOWN]
    rows[np.setdiff1d(np.arange(200), shown)[0]] = 50
    np.save(tmp_path / "s.npy", rows)
    seen = []
    monkeypatch.setattr(overview.plots, "sheet", lambda x, *_: seen.append(x) or np.zeros((4, 4, 3), np.uint8))
    gancli_package.scan(tmp_path / "s.npy", sheet=tmp_path / "sheet.png")
    assert float(seen[0].max() - seen[0].min()) < 0.1  # 2 of 51
