"""kill -9 at random moments of a scan and of training; then the same command again, until it ends."""

import random
import signal
from pathlib import Path

from campaigns import harness
from campaigns.harness import Command, Ended, Progress, Row, Wanted

KILLED = 128 + signal.SIGKILL
PATIENCE = 60  # kills of one run, after which it is left to end
PICTURES = 300


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` kills. A case is a kill, or the end of a run."""
    row, draw = Row("1, 12", "kills"), random.Random(seed)
    preset = harness.write_preset(work / "tiny.yaml", harness.make_pictures(work / "data", PICTURES))
    straight = harness.must(harness.train(preset, work / "straight"), work / "o", env=cache(work / "cache-straight"))
    wanted = Wanted.of(work / "straight/x", straight.seconds)
    runs = 0
    while row.tallies.get("kills", 0) < count:
        if runs % 2 == 0:
            harness.new_folder(work / "cache")  # the scan is killed, too
        outdir, runs = work / f"killed-{runs}", runs + 1
        until_it_ends(row, preset, outdir, wanted, draw, count, progress)
        problems = [*wanted.differences(outdir / "x"), *leftovers(outdir)]
        row.case(f"the end of {outdir} (seed {seed})", problems)
        if not problems:
            harness.shutil.rmtree(outdir)
    row.tallies["runs"] = runs
    row.worst = f"{row.failed} broken"
    return row


def cache(folder: Path) -> dict[str, str]:
    """The variable of a data cache."""
    return {"GANCLI_CACHE_DIR": str(folder)}


def until_it_ends(
    row: Row, preset: Path, outdir: Path, wanted: Wanted, draw: random.Random, count: int, progress: Progress
) -> None:
    """Start, kill, look, again and again."""
    kills, had_last = 0, False
    while True:
        command = Command(harness.train(preset, outdir), outdir.parent / "o", env=cache(outdir.parent / "cache"))
        spared = kills >= PATIENCE or row.tallies.get("kills", 0) >= count
        ended = (
            command.wait()
            if spared
            else command.wait_or_kill(draw.uniform(0, draw.choice((0.3, 0.9)) * wanted.seconds))
        )
        if ended.code != KILLED:
            row.case(f"the last command in {outdir}", ended.problems(0))
            return
        kills += 1
        number = row.count("kills")
        row.case(f"kill {number} in {outdir}", after_a_kill(outdir / "x", ended, wanted, had_last))
        had_last |= (outdir / "x/last.pt").exists()
        progress(number)


def after_a_kill(run: Path, ended: Ended, wanted: Wanted, had_last: bool) -> list[str]:
    """What is wrong with the files of a run right after a kill."""
    problems = ended.problems(KILLED) + harness.files_problems(run)
    if had_last and not (run / "last.pt").exists():
        problems.append("last.pt is gone")
    try:
        return problems + harness.log_difference(wanted.log, harness.log_of(run), whole=False)
    except ValueError as error:
        return [*problems, f"the log is damaged: {error}"]


def leftovers(outdir: Path) -> list[str]:
    """Temporary files that a finished run has not swept."""
    left = harness.temporary_files(outdir)
    return [f"temporary files are left: {left}"] if left else []
