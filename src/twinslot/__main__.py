"""`python -m twinslot`: the `fleet` command."""

from twinslot.cli.main import main

if __name__ == "__main__":
    main(prog_name="fleet")
