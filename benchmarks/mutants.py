"""How much of the code do the tests guard? Break it on purpose, one change at a time, and count what they notice.

    python benchmarks/mutants.py [--keep]

Runs mutmut as pyproject.toml's [tool.mutmut] says (which modules, which tests), one process and one thread, and prints
a table and every survivor as Markdown, as it stands in tests/mutants.md. Exit code 1 where less than 95 % are noticed.
Results are kept in mutants/: --keep goes on with them after a run that was stopped. A full run begins anew, since what
once survived is not tried on new tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

NEEDED = 0.95
NOTICED = ("killed", "timeout", "segfault")  # a test failed, ran forever, or ended with the process


def main() -> int:
    """Run, print, judge."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--keep", action="store_true", help="go on with the results in mutants/")
    if not words.parse_args().keep:
        shutil.rmtree("mutants", ignore_errors=True)
    Path("mutants/mutmut-stats.json").unlink(missing_ok=True)  # which tests reach which function: asked anew
    mutmut("run", "--max-children", "1", capture=False)
    verdicts = read(mutmut("results", "--all", "true"))
    for line in (*table(verdicts), "", *survivors(verdicts)):
        print(line)
    return 0 if share(Counter(verdicts.values())) >= NEEDED else 1


def mutmut(*words: str, capture: bool = True) -> str:
    """A command of mutmut, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


def read(results: str) -> dict[str, str]:
    """Lines "gancli.ema.x_decay__mutmut_1: killed" -> verdicts by name."""
    return dict(line.strip().split(": ") for line in results.splitlines() if ": " in line)


def share(counts: Counter[str]) -> float:
    """Of all mutants, those noticed."""
    return sum(counts[word] for word in NOTICED) / max(1, counts.total())


def table(verdicts: dict[str, str]) -> list[str]:
    """A row a module, and one for all."""
    modules: dict[str, Counter[str]] = defaultdict(Counter)
    for name, verdict in verdicts.items():
        module = name.rpartition(".")[0].replace(".", "/") + ".py"
        modules[module][verdict] += 1
        modules["all"][verdict] += 1
    rows = [
        f"| {module} | {counts.total()} | {sum(counts[word] for word in NOTICED)} | {100 * share(counts):.1f} % |"
        for module, counts in sorted(modules.items(), key=lambda item: (item[0] == "all", item[0]))
    ]
    return ["| module | mutants | killed | share |", "|---|---:|---:|---:|", *rows]


def survivors(verdicts: dict[str, str]) -> list[str]:
    """Name and changed lines of every mutant that no test noticed."""
    lines = []
    for name, verdict in verdicts.items():
        if verdict not in NOTICED:
            changed = [line for line in mutmut("show", name).splitlines() if line.startswith(("+ ", "- "))]
            lines += [f"{name}: {verdict}", *changed, ""]
    return lines


if __name__ == "__main__":
    sys.exit(main())
