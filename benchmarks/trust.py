"""Break gancli on purpose, and count how often a promise is not kept.

    python benchmarks/trust.py NAME... | all [--quick | --count N] [--minutes M] [--seed S] [--json FILE] [--work DIR]

Runs fault and fuzz campaigns (one module each in benchmarks/campaigns/) and prints a table. Exit code 1 if a promise
was broken. Without --quick, the counts are the full ones: minutes to an hour for each campaign. The input of a failed
case stays in the work folder and is named in the notes.
"""

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclasses.dataclass(frozen=True)
class Campaign:
    """A module of campaigns/, and how many cases it tries; 0: all there are."""

    promise: str
    full: float
    quick: float


CAMPAIGNS = {
    "kills": Campaign("No run is lost to a crash, and logs match weights", 200, 3),
    "faults": Campaign("No run is lost to a failed write", 0, 5),
    "stops": Campaign("Resume is bit-exact", 0, 4),
    "nonfinite": Campaign("A non-finite number never reaches a checkpoint", 30, 6),
    "damage": Campaign("Damaged input gives one clear error", 16_000, 240),
    "payloads": Campaign("Opening a file never runs code", 0, 16),
    "signals": Campaign("A signal ends a command within 10 s, with a checkpoint", 50, 5),
    "disks": Campaign("On a full disk the last good checkpoint stays, and the message says what is needed", 40, 2),
    "pictures": Campaign("One bad image never stops a run", 5, 1),
    "bombs": Campaign("Memory is bounded on hostile files", 0, 10),
    "formats": Campaign("Old checkpoints load", 0, 0),
    "races": Campaign("No run is overwritten", 10, 1),
    "offline": Campaign("Works offline, phones nobody", 0, 0),
    "seeds": Campaign("The same seed gives the same picture", 30, 2),
    "soak": Campaign("Two hours of kills and signals end as if undisturbed", 120, 0.2),
}


def main() -> int:
    """Run the campaigns, print the table."""
    given = arguments()
    names = list(CAMPAIGNS) if "all" in given.names else given.names
    for name in [key for key in os.environ if key.startswith("GANCLI_")]:
        del os.environ[name]
    work = Path(given.work or tempfile.mkdtemp(prefix="gancli-trust-")).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if "faults" in names:
        from campaigns import shim

        shim.start_again_with_it(work)
    from campaigns import harness

    harness.warm(work)
    rows = [run(name, given, work) for name in names]
    for line in table(rows):
        print(line)
    if given.json:
        Path(given.json).write_text(json.dumps(report(rows, given.seed), indent=1) + "\n")
    kept = all(row.kept for row in rows)
    if kept and not given.work:
        shutil.rmtree(work)
    return 0 if kept else 1


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*CAMPAIGNS, "all"], metavar="NAME")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="the full counts (the default)")
    size.add_argument("--quick", action="store_true", help="the small counts of the tests")
    size.add_argument("--count", type=int, help="this many cases")
    parser.add_argument("--minutes", type=float, help="length of soak (default: 120)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--work", metavar="DIR", help="folder for the runs (default: a temporary one)")
    return parser.parse_args()


def run(name: str, given: argparse.Namespace, work: Path) -> Any:
    """One campaign, with its counter on standard error. Returns its Row."""
    campaign, began = CAMPAIGNS[name], time.monotonic()
    count = given.count or (campaign.quick if given.quick else campaign.full)
    if name == "soak":
        count = given.minutes or count
    from campaigns import harness

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{name}: {done} of {count or 'all'} ")
            sys.stderr.flush()

    module = importlib.import_module(f"campaigns.{name}")
    try:
        row = module.campaign(harness.new_folder(work / name), count, given.seed, progress)
    except Exception:  # such as a command that is not under test and fails all the same
        row = harness.Row("?", name, failed=1, notes=[f"the campaign broke: {traceback.format_exc()[-2000:]}"])
    row.seconds = round(time.monotonic() - began, 1)
    start = "\r" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{start}{name}: {row.skipped or f'{row.tried} tried, {row.failed} failed'}, {row.seconds:g} s\n")
    for note in row.notes:
        sys.stderr.write(f"  {note}\n")
    if row.kept:
        shutil.rmtree(work / name, ignore_errors=True)
    return row


def table(rows: list[Any]) -> list[str]:
    """A line per campaign, as Markdown."""
    lines = ["| promise | campaign | tried | failed | worst | seconds |", "|---|---|---:|---:|---|---:|"]
    for row in rows:
        said = f"skipped: {row.skipped}" if row.skipped else row.worst
        promise = f"{row.promise}. {CAMPAIGNS[row.campaign].promise}"
        lines.append(f"| {promise} | {row.campaign} | {row.tried:,} | {row.failed} | {said} | {row.seconds:g} |")
    return lines


def report(rows: list[Any], seed: int) -> dict[str, Any]:
    """Everything that was found, for --json."""
    import PIL
    import torch

    import gancli

    return {
        "versions": {
            "gancli": gancli.__version__,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "python": platform.python_version(),
        },
        "date": datetime.date.today().isoformat(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seed": seed,
        "campaigns": [{**dataclasses.asdict(row), "kept": row.kept} for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
