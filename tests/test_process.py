import os
import subprocess
import sys
import time

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


def test_a_process_ends_with_its_parent(tmp_path):
    """A killed ablation leaves no training run behind: it gets a SIGTERM, on which it saves a checkpoint."""
    code = "import os, sys, time; from gancli import process; process.end_with_parent()"
    child = [sys.executable, "-c", f"{code}; open('ready', 'w').write(str(os.getpid())); time.sleep(60)"]
    start = f"import os, subprocess; subprocess.run({child!r}, env={{**os.environ, 'GANCLI_PARENT': str(os.getpid())}})"
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path)
    wait_for((tmp_path / "ready").exists)
    number = int((tmp_path / "ready").read_text() or 0)

    parent.kill()
    parent.wait()

    wait_for(lambda: not is_running(number))


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(number):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in ("", "Z")
