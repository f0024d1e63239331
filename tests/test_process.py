import os
import subprocess
import sys

import pytest

from gancli import process

COMMAND = """
import contextlib, sys
from gancli import cli
sys.argv = ["gancli", "--version"]
with contextlib.suppress(SystemExit):
    cli.main()
"""


def environment_after(code, **extra):
    """GOMP_SPINCOUNT in a new interpreter after running some code."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code += "\nimport os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=clean | extra, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_threads_wait_politely_before_torch_is_there():
    """The command line sets it; `import gancli` does not change the process."""
    assert environment_after("import gancli; gancli.sample") == "None"
    assert environment_after(COMMAND) == process.SPINS


@pytest.mark.parametrize("extra", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_user_s_own_setting_wins(extra):
    """Settings of the user take precedence."""
    assert environment_after(COMMAND, **extra) == extra.get("GOMP_SPINCOUNT", "None")
