"""`python -m gancli`: the same as `gancli`."""

from gancli.cli import main

if __name__ == "__main__":
    main()
