"""The command deploy."""

import functools
from pathlib import Path

import click

from twinslot.board import deploy as deploying
from twinslot.board.cable import Cable
from twinslot.cli.parts import FOLDER, by_cable, settings_extensions
from twinslot.cli.say import say


@click.command()
@click.argument("port")
@click.option(
    "--settings", type=FOLDER, metavar="DIR", help="Settings folder of the board, for its /etc."
)
@by_cable
@settings_extensions
@click.option("--no-start", is_flag=True, help="Leave main.py stopped after a change.")
def deploy(
    port: str,
    settings: Path | None,
    app: dict[str, bytes] | None,
    chosen: str | None,
    no_start: bool,
) -> None:
    """Bring changed files onto the running board at PORT.

    These are boot.py, the application, the agent and settings. The command sends only files that
    differ; after a change it restarts the board by machine.reset(). It refuses a board with a new
    image under test, and one that cannot be updated over the air.
    """

    found = functools.partial(deploying.wanted, settings, app, chosen)
    found()  # a fault of the folders is told before the port is opened
    with Cable(port) as cable:
        changes = deploying.deploy(cable, found, say, application=app is not None)
        written = sum(map(len, changes.write.values()))
        say(
            f"{len(changes.write)} files written ({written} bytes), {changes.same} unchanged, "
            f"{len(changes.remove)} removed; checked by SHA-256 on the board."
        )
        if not changes:
            say("Nothing to do. What ran there runs again; the chip was not reset.")
        elif no_start:
            say(
                "main.py is stopped: `fleet board reset` starts it, or Ctrl-D in `fleet board "
                "repl`."
            )
        else:
            cable.reset()
            say("The board restarts.")
