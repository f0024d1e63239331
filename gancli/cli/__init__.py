"""The command line: one file a command, one renderer, one handler of errors. Nothing here imports torch when loaded.

A command's signature is its list of options, which is why these functions are longer than others.
"""

import sys
import traceback
from typing import Annotated

import typer

from gancli import process, signals
from gancli.cli import show
from gancli.cli.ablate import ablate
from gancli.cli.doctor import doctor
from gancli.cli.grow import grow
from gancli.cli.inspect_stats import inspect_stats
from gancli.cli.interpolate import interpolate
from gancli.cli.presets import app as presets
from gancli.cli.report import report
from gancli.cli.runs import runs
from gancli.cli.sample import sample
from gancli.cli.train import train
from gancli.errors import Finding, GancliError, Interrupted, PipeClosed, StorageError
from gancli.version import __version__

app = typer.Typer(
    name="gancli",
    help="Train a GAN, sample it, and know whether it has collapsed.\n\nExample: gancli train",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(grow)
app.command()(sample)
app.command()(interpolate)
app.command("inspect-stats")(inspect_stats)
app.command()(report)
app.command()(ablate)
app.command()(runs)
app.command()(doctor)
app.add_typer(presets, name="presets")


def _version(value: bool) -> None:
    if value:
        show.out(f"gancli {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; the only handler of errors. Exit codes: see gancli/errors.py."""
    json_wanted = "--json" in sys.argv
    process.wait_politely()
    try:
        with signals.handled():
            app()
    except GancliError as error:
        show.error(error, json_wanted=json_wanted)
        _traceback_if_asked()
        raise SystemExit(error.exit_code) from None
    except Finding as finding:
        show.say(f"found: {finding}")
        raise SystemExit(Finding.exit_code) from None
    except Interrupted as stop:
        signals.die_by(stop.signum)
    except PipeClosed:
        show.silence(sys.stdout)
        raise SystemExit(141) from None
    except OSError as error:
        where = str(error.filename or "while reading or writing")
        problem = StorageError(error.strerror or str(error), where=where, hint="check the disk and the permissions")
        show.error(problem, json_wanted=json_wanted)
        _traceback_if_asked()
        raise SystemExit(problem.exit_code) from None
    except Exception as error:
        bug = GancliError(
            f"a bug in gancli: {type(error).__name__}: {error}",
            where="see the traceback with -vv",
            hint="please report it with the command you gave",
        )
        show.error(bug, json_wanted=json_wanted)
        _traceback_if_asked()
        raise SystemExit(1) from None


def _traceback_if_asked() -> None:
    if show.voice.verbosity >= 2:
        traceback.print_exc()
