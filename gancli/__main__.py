"""Where the process begins: `gancli`, and `python -m gancli`."""

import signal


def main() -> None:
    """Run the command line. Until its own handler stands, Ctrl-C ends the process at once, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gancli import cli

    cli.main()


if __name__ == "__main__":
    main()
