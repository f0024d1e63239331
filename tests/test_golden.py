"""Files of earlier versions: what a version has written is opened by every later one."""

import shutil
from pathlib import Path

import pytest
from conftest import write_preset

import gancli as package
from gancli import checkpoint, runs
from gancli.data import images, open_dataset
from gancli.data.images import Shape
from gancli.runs import Run

VERSIONS = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.is_dir())


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def golden(request, tmp_path, monkeypatch):
    """A copy of the files of a version, with its cache in use."""
    place = shutil.copytree(request.param, tmp_path / "golden")
    config = place / "run" / "config.yaml"
    config.write_text(config.read_text().replace("PLACE", str(place)))
    monkeypatch.setenv("GANCLI_CACHE_DIR", str(place / "cache"))
    return place


def test_there_are_files_of_the_first_version():
    """The tests below have something to open."""
    assert "0.1.0" in [path.name for path in VERSIONS]


def test_a_cache_is_used(golden, monkeypatch):
    """Without decoding a picture again; the samples are those of the pictures."""
    monkeypatch.setattr(images, "decoded", lambda *a, **k: pytest.fail("it was decoded again"))
    dataset = open_dataset(str(golden / "pictures"), Shape(16, 16, None, "crop"), held_out=0.0)
    monkeypatch.undo()

    first = images.as_it_is((golden / "pictures" / "000.png").read_bytes(), 3)
    assert (dataset.values[0] == first).all()
    assert len(dataset.values) == 24


def test_a_run_is_listed_sampled_and_resumed(golden):
    """Its log stays as it was, and goes on."""
    run = Run(golden / "run")
    before = run.stats()
    (summary,) = [runs.summary(found) for found in runs.all_runs(golden)]
    assert (summary.name, summary.kimg, summary.state) == ("run", 0.08, "finished")
    assert package.load(run.path).sample([0, 1]).shape == (2, 3, 8, 8)  # the size it had reached

    report = package.resume(run.path, duration=160, threads=1)

    assert report.images == 160
    assert run.stats()[: len(before)] == before
    assert checkpoint.read(run.last).images == 160


def test_the_command_that_made_a_run_finds_it(golden, tmp_path):
    """The same preset and data, with more images."""
    preset = write_preset(tmp_path / "golden.yaml", {"train.duration": 160, "network.output": "bn-tanh"})
    report = package.train(preset, str(golden / "pictures"), outdir=golden, threads=1)
    assert (report.run, report.images) == (golden / "run", 160)
