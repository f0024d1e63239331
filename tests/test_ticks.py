"""The reader of stats.jsonl: a damaged line is skipped and named, and the lines after it are read."""

import json

import pytest
from conftest import make_pictures, tick_row, tiny_config, write_preset
from hypothesis import given
from hypothesis import strategies as st

import gancli as package
from gancli import runs, ticks
from gancli.cli.watching import tick_of
from gancli.results import warnings_of

GOOD = [json.dumps(tick_row(images=n)).encode() for n in (8, 16, 24)]
WARNING = {"name": "dead", "text": "x", "since": 8, "checkpoint": None}


def with_middle(line):
    return b"\n".join([GOOD[0], line, GOOD[2]]) + b"\n"


def changed(**changes):
    return json.dumps(tick_row(images=16, **changes)).encode()


DAMAGED = {
    "a byte that is not UTF-8": GOOD[1].replace(b"critic", b"cr\xfftic", 1),
    "an empty object": b"{}",
    "a number": b"5",
    "a list": b"[]",
    "null": b"null",
    "a lost quote": GOOD[1].replace(b'"', b"", 1),
    "cut": GOOD[1][:40],
    "NUL bytes": bytes(100),
    "no warnings": json.dumps({k: v for k, v in tick_row(images=16).items() if k != "warnings"}).encode(),
    "warnings: null": changed(warnings=None),
    "warnings: text": changed(warnings="x"),
    "a warning without a name": changed(warnings=[{"text": "x"}]),
    "a warning with a number as text": changed(warnings=[WARNING | {"text": 5}]),
    "since: true": changed(warnings=[WARNING | {"since": True}]),
    "images: null": changed().replace(b'"images": 16', b'"images": null'),
    "images: text": changed().replace(b'"images": 16', b'"images": "16"'),
    "images: true": changed().replace(b'"images": 16', b'"images": true'),
    "images: huge": changed().replace(b'"images": 16', b'"images": 1' + b"0" * 400),
    "images: fraction": changed().replace(b'"images": 16', b'"images": 16.5'),
    "images: negative": changed().replace(b'"images": 16', b'"images": -16'),
    "images: those of a line before": GOOD[0],
    "alpha: null": changed(alpha=None),
    "alpha: NaN": changed(alpha=float("nan")),
    "std_ratio: text": changed(std_ratio="x"),
    "std_ratio: a list": changed(std_ratio=[1]),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_line_is_skipped_and_counted(name):
    """The line after it is read."""
    rows, damaged = ticks.parse(with_middle(DAMAGED[name]))
    assert [row["images"] for row in rows] == [8, 24]
    assert damaged == [2]


def test_what_is_read_can_be_shown():
    """NaN and infinity are null; a field that an older log lacks is null, too; unknown fields stay."""
    row = tick_row(std_ratio=float("inf"), penalty=None, warnings=[WARNING], color_distance=float("nan"), other="x")
    del row["d_real"]

    ((read,), damaged) = ticks.parse(json.dumps(row).encode())

    assert damaged == []
    assert (read["std_ratio"], read["penalty"], read["d_real"], read["color_distance"]) == (None, None, None, None)
    assert read["other"] == "x"
    assert tick_of(read).images == 8
    assert warnings_of(read) == ["dead: x; since 0.008 kimg; the last checkpoint before it: none"]


@given(st.binary(max_size=300), st.integers(0, 600))
def test_no_bytes_stop_it(noise, at):
    """Random bytes in the middle of the log."""
    whole = b"\n".join(GOOD)
    rows, _ = ticks.parse(whole[:at] + noise + whole[at:])
    for row in rows:
        tick_of(row)
        warnings_of(row)


class TestCommands:
    @pytest.fixture
    def run(self, tmp_path):
        """A run of 80 images with a tick every 8, whose log has a damaged third line."""
        preset = write_preset(tmp_path / "p.yaml", {"train.tick_every": 8, "train.duration": 80})
        data = str(make_pictures(tmp_path / "pictures", 24))
        run = runs.Run(package.train(preset, data, outdir=tmp_path / "runs", threads=1).run)
        lines = run.stats_file.read_bytes().split(b"\n")
        lines[2] = b'{"images": 24'
        run.stats_file.write_bytes(b"\n".join(lines))
        return run

    @pytest.mark.parametrize(
        "command", [("runs", "--outdir"), ("inspect-stats", "--watch"), ("resume", "--kimg", "0.096")]
    )
    def test_it_is_said(self, command, run, gancli):
        """With the number of the line; the command works."""
        target = run.path.parent if command[0] == "runs" else run.path
        code, _, err = gancli(*command, target)
        assert code == 0, err
        assert "line 3 damaged and ignored" in " ".join(err.split())

    def test_the_log_of_a_resumed_run_is_whole(self, run):
        """The damaged line is removed, and the others are kept."""
        package.resume(run.path, duration=96, threads=1)
        assert [row["images"] for row in run.stats()] == [8, 16, *range(32, 104, 8)]
        assert run.damage() is None


def test_a_verdict_of_the_wrong_types_is_no_verdict(tmp_path):
    """verdict.json may have been edited."""
    run = runs.create(tmp_path, "photos", tiny_config())
    for text in (
        '{"verdict": 5, "confidence": "low", "images": 8}',
        '{"verdict": "x", "confidence": "low", "images": "8"}',
        '{"verdict": "x", "confidence": "low", "images": 1e400}',
        "[]",
        "{}",
        "\xff",
        "[" * 100_000,
    ):
        run.verdict_file.write_text(text)
        assert runs.StoredVerdict.read(run) is None
    runs.StoredVerdict("healthy", "high", 8).write(run)
    assert runs.StoredVerdict.read(run).verdict == "healthy"


def test_a_verdict_that_cannot_be_stored_is_no_error(tmp_path):
    """As in a run folder of somebody else; here a folder is in its place."""
    run = runs.create(tmp_path, "photos", tiny_config())
    run.verdict_file.mkdir()
    runs.StoredVerdict("healthy", "high", 8).write(run)
    assert runs.StoredVerdict.read(run) is None
