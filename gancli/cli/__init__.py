"""The command line, with one file per command. Loading it imports neither torch nor the commands.

The signature of a command function is its list of options, so these functions are longer than others.
"""

import os
import sys
import traceback
from typing import Annotated, Any

import typer

from gancli import process, signals
from gancli.cli import show, workers
from gancli.cli.commands import Commands
from gancli.cli.workers import WrongUsage
from gancli.errors import (
    Finding,
    GancliError,
    Interrupted,
    OutOfMemory,
    PipeClosed,
    StorageError,
    UsageError,
    is_out_of_memory,
)
from gancli.version import __version__

app = typer.Typer(
    name="gancli",
    help="Train GANs, sample them, and diagnose mode collapse.\n\nExample: gancli train",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=Commands,
)


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
    """Run a command and handle its errors. The exit codes are listed in gancli/errors.py."""
    json_wanted = "--json" in sys.argv
    process.wait_politely()
    process.end_with_parent()
    process.leave_note(process.FIRST_WORKER, str(os.getpid()))
    if process.rank():  # the first worker speaks for all of them
        show.be_silent()
    try:
        with signals.handled():
            code = app(standalone_mode=False)
    except WrongUsage as error:
        if workers.speaks(error):
            _usage_error(error, json_wanted=json_wanted)
        raise SystemExit(UsageError.exit_code) from None
    except GancliError as error:
        if workers.speaks(error):
            show.error(error, json_wanted=json_wanted)
            _traceback_if_asked()
        workers.wait_for_others(error)
        raise SystemExit(error.exit_code) from None
    except Finding as finding:
        show.say(f"found: {finding}")
        raise SystemExit(Finding.exit_code) from None
    except Interrupted as stop:
        if stop.report is not None and not process.rank():
            from gancli.cli.live import announce_end

            announce_end(stop.report)
            show.result(stop.report, json_wanted=json_wanted)
        signals.die_by(stop.signum)
    except PipeClosed:
        show.silence(sys.stdout)
        raise SystemExit(141) from None
    except OSError as error:
        where = str(error.filename or "while reading or writing")
        problem = StorageError(error.strerror or str(error), where=where, hint="check disk space and permissions")
        show.error(problem, json_wanted=json_wanted)
        _traceback_if_asked()
        raise SystemExit(problem.exit_code) from None
    except Exception as error:
        unexpected = _unexpected(error)
        show.error(unexpected, json_wanted=json_wanted)
        _traceback_if_asked()
        raise SystemExit(unexpected.exit_code) from None
    raise SystemExit(code or 0)


def _unexpected(error: Exception) -> GancliError:
    """The error for an exception that is not about the user's input."""
    if is_out_of_memory(error):
        hint = "use fewer samples or a lower resolution, or close other programs"
        return OutOfMemory(
            "not enough memory", where=str(error).splitlines()[0][:200] if str(error) else "CPU", hint=hint
        )
    return GancliError(
        f"a bug in gancli: {type(error).__name__}: {error}",
        where="run with -vv to see the traceback",
        hint="please report it, with the command",
    )


def _usage_error(error: Any, *, json_wanted: bool) -> None:
    """Show typer's errors about arguments in the same form as all other errors."""
    message, ctx = error.format_message(), error.ctx
    if not message:  # without arguments, typer shows the help
        error.show()
        return
    command = ctx.command_path if ctx is not None else "gancli"
    show.error(UsageError(message, where=command, hint=f"see {command} --help"), json_wanted=json_wanted)


def _traceback_if_asked() -> None:
    if show.voice.verbosity >= 2:
        for text in traceback.format_exc().splitlines():
            show.line(text)
