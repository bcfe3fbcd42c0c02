"""Real boards: `python -m board COMMAND`."""

import sys

import click

from twinslot.board import deploy, flash, look, own_key
from twinslot.errors import FleetError


class _Group(click.Group):
    """Shows a refusal as one sentence; a programming mistake keeps its traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FleetError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)


@click.group(cls=_Group)
def main() -> None:
    """Flash a board, and look after it. PORT: a serial device, socket:// or rfc2217://."""


for command in (
    flash.command,
    deploy.command,
    own_key.command,
    look.status,
    look.logs,
    look.repl,
    look.reset,
    look.erase,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m board")
