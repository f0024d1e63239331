"""One worker of the tests: `python worker.py PLAN.json`, in the environment that torchrun sets.

The plan is a list of trainings: {"preset", "data", "outdir", "duration"}. A worker that is not the first one exits with
3 if it writes to an outdir.
"""

import json
import os
import sys
from pathlib import Path

import gancli
from gancli import process
from gancli.errors import GancliError

written = []


def watch(outdirs):
    """Record files that are opened for writing in a run folder."""

    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.extend([arguments[0]] if any(arguments[0].startswith(folder) for folder in outdirs) else [])

    sys.addaudithook(hook)


def main():
    """Run the plan."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    port = int(os.environ["MASTER_PORT"])
    if process.rank():
        watch([task["outdir"] for task in plan])
    for number, task in enumerate(plan):
        os.environ["MASTER_PORT"] = str(port + number)
        gancli.train(
            task["preset"],
            task["data"],
            changes={"train.duration": task["duration"]},
            outdir=task["outdir"],
            threads=1,
            stop_on=("overfitting",),  # every figure at every tick
        )
    sys.exit(3 if written else 0)


if __name__ == "__main__":
    try:
        main()
    except GancliError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
