import os
import subprocess
import sys

import pytest

from gancli import process


def environment_after(code, **extra):
    """GOMP_SPINCOUNT as a fresh interpreter has it after some code."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code += "; import os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=clean | extra, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_wait_politely_before_torch_is_there():
    """The first use of a verb sets it; `import gancli` alone changes nothing."""
    assert environment_after("import gancli") == "None"
    assert environment_after("import gancli; gancli.sample") == process.SPINS


@pytest.mark.parametrize("extra", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_user_s_own_setting_wins(extra):
    """Whoever has tuned the machine is left alone."""
    assert environment_after("import gancli; gancli.sample", **extra) == extra.get("GOMP_SPINCOUNT", "None")
