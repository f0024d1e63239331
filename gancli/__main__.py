"""Entry point of `gancli` and `python -m gancli`."""

from gancli import signals


def main() -> None:
    """Run the command line. Until its signal handlers are set, Ctrl-C ends the process without a traceback."""
    signals.from_the_start()
    from gancli import cli

    cli.main()


if __name__ == "__main__":
    main()
