"""Every promise of the table in benchmarks/trust.py, at the small size of its campaign."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "trust.py"
SLOW = "races"  # starts some forty processes, three at a time
pytestmark = [
    pytest.mark.trust,
    pytest.mark.skipif(not SCRIPT.exists(), reason="an installed package has no benchmarks"),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of all campaigns but the slow one, by name, from one process."""
    return rows_of([name for name in campaigns() if name != SLOW], tmp_path_factory.mktemp("trust"))


def campaigns():
    """The names in the script's table."""
    table = SCRIPT.read_text().partition("CAMPAIGNS = {")[2].partition("\n}")[0]
    return [line.split('"')[1] for line in table.splitlines() if line.startswith('    "')]


def rows_of(names, folder):
    """The rows of these campaigns, by name."""
    report = folder / "report.json"
    command = [sys.executable, str(SCRIPT), *names, "--quick", "--json", str(report), "--work", str(folder / "work")]
    root = str(SCRIPT.parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr[-3000:]
    return {row["campaign"]: row for row in json.loads(report.read_text())["campaigns"]}


def keeps(rows, name):
    """The campaign tried something, and nothing broke its promise."""
    row = rows[name]
    if row["skipped"]:
        pytest.skip(row["skipped"])
    assert row["tried"] > 0
    assert not row["failed"], "\n".join(row["notes"])


def test_a_killed_run_goes_on(rows):
    """1, 12. Whatever instant the process is killed at, every checkpoint loads and the log matches the weights."""
    keeps(rows, "kills")


def test_a_failed_write_loses_nothing(rows):
    """1, 6. Whichever I/O call fails, the exit code is 0 or 74, and the same command then ends as if undisturbed."""
    keeps(rows, "faults")


def test_resume_is_bit_exact(rows):
    """2. Stopped by a signal at any step, a run ends with the same weights, Adam states and log."""
    keeps(rows, "stops")


def test_opening_a_file_runs_no_code(rows):
    """3. No payload runs, whichever command opens it; all are refused."""
    keeps(rows, "payloads")


def test_a_damaged_file_gives_an_error(rows):
    """4. Never a traceback, a hang, or a damaged checkpoint that opens with other weights."""
    keeps(rows, "damage")


def test_a_signal_ends_a_command(rows):
    """5. Every command ends by the signal within 10 s, and its work goes on afterwards."""
    keeps(rows, "signals")


def test_a_full_disk_is_an_error(rows):
    """6. Exit 74 with the path and the bytes; with more space the same command goes on."""
    keeps(rows, "disks")


def test_bad_pictures_are_left_out(rows):
    """7. A run trains to its end, and rejected.jsonl names exactly the bad ones."""
    keeps(rows, "pictures")


def test_numbers_that_are_not_finite_are_not_saved(rows):
    """8. The run goes back to a good checkpoint, or ends with exit 70; every checkpoint is finite."""
    keeps(rows, "nonfinite")


def test_a_bomb_is_refused(rows):
    """9. Within limits of memory and time."""
    keeps(rows, "bombs")


@pytest.mark.slow
def test_no_run_is_overwritten(tmp_path):
    """10. Several processes on one cache or one run: exit 0 or 75, and every run as if alone."""
    rows = rows_of([SLOW], tmp_path)
    keeps(rows, "races")


def test_old_checkpoints_load(rows):
    """11. The golden files give samples; a newer format is refused with the hint to upgrade."""
    keeps(rows, "formats")


def test_no_command_connects(rows):
    """13. No command, nor a process that it starts, opens a connection."""
    keeps(rows, "offline")


def test_a_seed_gives_one_picture(rows):
    """14. The same pixels, in whichever company it is drawn."""
    keeps(rows, "seeds")


def test_a_long_run_through_kills_and_signals_ends_as_if_undisturbed(rows):
    """15. Weights and log, of training and of growing."""
    keeps(rows, "soak")


def test_every_campaign_has_a_test():
    """A campaign without a test would break unnoticed."""
    assert campaigns()
    assert not [name for name in campaigns() if f'keeps(rows, "{name}")' not in Path(__file__).read_text()]
