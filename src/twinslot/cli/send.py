"""The command send."""

from pathlib import Path

import click
from rich.progress import Progress

from twinslot.board.cable import Cable
from twinslot.board.send import send as sending
from twinslot.cli.parts import read_config
from twinslot.cli.say import say
from twinslot.client import publish as publishing
from twinslot.disk import read


@click.command()
@click.argument("port")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Send also a package that the board will refuse.")
def send(port: str, file: Path, force: bool) -> None:
    """Send the package FILE to the board at PORT by cable.

    The board needs no network. PORT is a serial device, socket://HOST:PORT or rfc2217://HOST:PORT.
    The command stops the program on the board. The board checks the package as any other, restarts
    and tests it.
    """
    data = read(file, "package")
    if not force:
        publishing.check(data, read_config())
    with Cable(port) as cable, Progress(transient=True) as bars:
        bar = bars.add_task("sending", total=len(data))
        version = sending(cable, data, lambda sent, _: bars.update(bar, completed=sent))
    say(f"verified: version {version}; the board restarts and tests it")
    say("Opening the port may reset a board, and so end the test: wait until it is over.")
