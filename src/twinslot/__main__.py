"""`python -m twinslot`: the `fleet` command."""

from twinslot.cli.start import run

if __name__ == "__main__":
    run()
