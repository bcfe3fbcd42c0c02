"""The command deploy."""

from pathlib import Path

import click

from twinslot.board import deploy as deploying
from twinslot.board.cable import Cable
from twinslot.cli.parts import FOLDER, agent_extensions


@click.command()
@click.argument("port")
@click.option("--settings", type=FOLDER, help="The board's settings folder, for its /etc.")
@click.option("--app", type=FOLDER, help="Folder of your application, instead of the demo's.")
@agent_extensions
@click.option("--no-start", is_flag=True, help="Leave main.py stopped when something changed.")
def deploy(
    port: str,
    settings: Path | None,
    app: Path | None,
    chosen: tuple[str, ...] | None,
    no_start: bool,
) -> None:
    """Bring what changed onto the running board at PORT.

    That is boot.py, the application, the agent and settings. Only what differs is sent; after a
    change the board restarts by machine.reset(). Refused while a new image is under test, and on a
    board that cannot be updated over the air.
    """
    found = deploying.wanted(settings, app, chosen)
    with Cable(port) as cable:
        changes = deploying.deploy(cable, found, click.echo, application=app is not None)
        written = sum(map(len, changes.write.values()))
        click.echo(
            f"{len(changes.write)} files written ({written} bytes), {changes.same} unchanged, "
            f"{len(changes.remove)} removed; checked by SHA-256 on the board."
        )
        if not changes:
            click.echo("Nothing to do. What ran there runs again; the chip was not reset.")
        elif no_start:
            click.echo(
                "main.py is stopped: `fleet board reset` starts it, or Ctrl-D in `fleet board "
                "repl`."
            )
        else:
            cable.reset()
            click.echo("The board restarts.")
