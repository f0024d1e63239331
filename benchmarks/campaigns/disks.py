"""Disks that are full, too small or not writable: exit 74 or 73 with path and bytes; with more space it goes on.

A limit of the file size always works; small disks are tmpfs mounts, which need root on Linux.
"""

import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from campaigns import harness
from campaigns.harness import Ended, Progress, Row, Wanted

SHORT = {"growth": {"fade": 40, "stable": 40}}
STORAGE, CANNOT_CREATE = 74, 73
LEAST_FILE, LEAST_DISK_KIB = 2_000, 8  # bytes; KiB


def campaign(work: Path, count: int, seed: int, progress: Progress) -> Row:
    """`count` limits of the file size, as many small disks, and folders that are not writable."""
    row, draw = Row("6", "disks"), random.Random(seed)
    preset = harness.write_preset(work / "p.yaml", harness.make_pictures(work / "data", 60), SHORT)
    env = {"GANCLI_CACHE_DIR": str(work / "cache")}
    harness.must(harness.train(preset, work / "straight"), work / "o", env=env)
    wanted, run = Wanted.of(work / "straight/x"), work / "straight/x"
    largest = (run / "last.pt").stat().st_size
    whole = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    can_mount = mounts(work / "disk")
    for number in range(count):
        limit = int(LEAST_FILE * (1.2 * largest / LEAST_FILE) ** draw.random())
        row.case(f"file size of at most {limit:,} bytes", limited(preset, work / f"limited-{number}", limit, wanted))
        if can_mount:
            kib = int(LEAST_DISK_KIB * (1.3 * whole / 1024 / LEAST_DISK_KIB) ** draw.random())
            row.case(f"a disk of {kib} KiB", small_disk(preset, work / "disk", kib, wanted))
        progress(number + 1)
    for name in ("outdir", "cache"):
        row.case(f"a {name} that is not writable", not_writable(preset, work, name, can_mount=can_mount))
    row.tallies["tmpfs"] = int(can_mount)
    row.worst = f"{row.failed} of {row.tried} wrong" + ("" if can_mount else "; no tmpfs here")
    return row


def limited(preset: Path, outdir: Path, limit: int, wanted: Wanted) -> list[str]:
    """No file may be larger."""

    def set_it() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return meet(preset, outdir, outdir.parent / "cache", set_it, lambda: None, wanted)


def small_disk(preset: Path, place: Path, kib: int, wanted: Wanted) -> list[str]:
    """Run folder and cache on a small disk, which then grows."""
    with mounted(place, f"size={kib}k"):

        def enlarge() -> None:
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)

        return meet(preset, place / "runs", place / "cache", lambda: None, enlarge, wanted)


def meet(
    preset: Path,
    outdir: Path,
    cache: Path,
    before: Callable[[], object],
    enlarge: Callable[[], object],
    wanted: Wanted,
) -> list[str]:
    """Train with too little space, then with enough. Returns the problems."""
    words, name, env = harness.train(preset, outdir), preset.parent / "o", {"GANCLI_CACHE_DIR": str(cache)}
    ended = harness.run(words, name, env=env, before=before)
    problems = [*ended.problems(0, STORAGE), *message_problems(ended, (outdir, cache))]
    problems += harness.files_problems(outdir / "x")
    problems += [f"temporary files are left: {left}" for left in [harness.temporary_files(outdir)] if left]
    enlarge()
    again = harness.run(words, name, env=env)
    return problems + (again.problems(0) or wanted.differences(outdir / "x"))


def message_problems(ended: Ended, places: tuple[Path, ...]) -> list[str]:
    """The message has the path, and how many bytes are needed."""
    if ended.code == 0:
        return []
    found = [] if any(str(place) in ended.err for place in places) else [f"no path: {ended.said()}"]
    return found if re.search(r"[\d,]+ bytes", ended.err) else [*found, f"no number of bytes: {ended.said()}"]


def not_writable(preset: Path, work: Path, name: str, *, can_mount: bool) -> list[str]:
    """Only the run folders, or only the cache, on a disk that is read-only."""
    place, other = work / "disk", work / f"other-{name}"
    outdir, cache = (place, other) if name == "outdir" else (other, place)
    with mounted(place, "ro") if can_mount else without_rights(place):
        env = {"GANCLI_CACHE_DIR": str(cache)}
        ended = harness.run(harness.train(preset, outdir), work / "o", env=env)
    if os.geteuid() == 0 and not can_mount:
        return []  # root writes everywhere
    return ended.problems(CANNOT_CREATE, STORAGE) + ([] if str(place) in ended.err else [f"no path: {ended.said()}"])


def mounts(place: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    try:
        with mounted(place, "size=1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A tmpfs at `place`."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def without_rights(place: Path) -> Iterator[None]:
    """A folder in which nobody but root may write."""
    place.mkdir(exist_ok=True)
    place.chmod(0o555)
    try:
        yield
    finally:
        place.chmod(0o755)
