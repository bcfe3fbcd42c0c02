"""The commands about one board on a cable: fleet board status, logs, repl, reset, erase, csr."""

import sys
from pathlib import Path

import click

from twinslot import disk
from twinslot.board import look, own_key, terminal, writer
from twinslot.board.cable import Cable
from twinslot.board.look import LookError
from twinslot.board.port import PortError, resolve
from twinslot.trust import certificates

_AGAIN = (
    "main.py was stopped for this and has been started again by a soft reset; "
    "a test that is under way goes on with the rest of its time."
)


@click.group()
def board() -> None:
    """Look after a board on a cable.

    PORT is a serial device, socket://HOST:PORT, rfc2217://HOST:PORT, or a short name of mpremote's.
    """


@board.command()
@click.argument("port")
def status(port: str) -> None:
    """Print what `ota.status()` says on the board at PORT.

    MicroPython can only be asked while no program runs: main.py is stopped by Ctrl-C, and started
    again by a soft reset, without a reset of the chip. What was at its prompt is left there.
    """
    with Cable(port) as cable:
        said, again = look.status(cable)
    click.echo(said, nl=False)
    if again:
        click.echo(_AGAIN)


@board.command()
@click.argument("port")
@click.option("--seconds", type=float, help="End after so long; else Ctrl-C ends it.")
def logs(port: str, seconds: float | None) -> None:
    """Show what the board at PORT prints. Types nothing, so that nothing is disturbed.

    A chip whose console is its own USB takes the port away at each reset: it is awaited.
    """
    try:
        look.listen(
            port,
            seconds,
            lambda text: click.echo(text, nl=False),
            lambda line: click.echo(line, err=True),
        )
    except KeyboardInterrupt:
        click.echo()


@board.command()
@click.argument("port")
def repl(port: str) -> None:
    """Be a terminal on the board at PORT.

    Ctrl-C stops main.py, Ctrl-D starts it, Ctrl-] leaves. As `mpremote resume repl`, but the port
    is opened without a reset of the board, and may be a socket:// or rfc2217:// one. Ends with the
    connection, too.
    """
    if not sys.stdin.isatty():
        raise LookError("`repl` needs a terminal; scripts use `mpremote connect PORT resume exec`")
    with Cable(port) as cable:
        cable.stream.timeout = terminal.LISTEN_S
        shown = terminal.Terminal(cable.stream)
        shown.start()  # from here on Ctrl-C is a key for the board
        click.echo("Ctrl-C stops main.py, Ctrl-D starts it again, Ctrl-] leaves.")
        try:
            shown.join()
        finally:
            shown.console.cleanup()
    click.echo()
    if shown.lost:
        raise PortError(f"{port}: connection lost: {shown.lost}")


@board.command()
@click.argument("port")
@click.option("--yes", is_flag=True, help="Do not look whether a test would be ended by it.")
def reset(port: str, yes: bool) -> None:
    """Restart the board at PORT.

    By machine.reset(): boot.py and main.py run. Refused while a new image is under test, which the
    reset would end.
    """
    with Cable(port) as cable:
        if not yes:
            look.refuse_if_pending(cable)
        cable.reset()
    click.echo("The board restarts.")


@board.command()
@click.argument("port")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(port: str, yes: bool) -> None:
    """Erase the whole flash of the board at PORT, with esptool.

    `fleet flash` makes it a board again.
    """
    port = resolve(port)
    if not yes:
        click.confirm(
            f"Erase everything on the board at {port}: MicroPython, files, settings, certificates, "
            "its private key, the agent's journal?",
            abort=True,
        )
    code = writer.esptool(["--port", port, "--baud", str(writer.BAUD), "erase-flash"])
    if code:
        raise LookError(f"`esptool erase-flash` ended with {code}; see above")


@board.command()
@click.argument("port")
@click.argument("thing")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of THING.csr.",
)
def csr(port: str, thing: str, out: Path | None) -> None:
    """Let the board at PORT make its private key.

    And ask for a certificate for THING. The key stays on the board, in /etc/client.key; one that is
    there already is used. The request goes to `fleet provision --csr`. main.py is stopped for this,
    and started again.
    """
    certificates.check_thing(thing)
    path = out or Path(f"{thing}.csr")
    with Cable(port) as cable:
        pem, made = own_key.request(cable, thing)
    disk.replace(path, pem)
    click.echo(
        f"The board made its key, which stays there, in {own_key.KEY}."
        if made
        else f"The key that is on the board, in {own_key.KEY}, stays."
    )
    click.echo(f"Wrote {path}. Then, in the folder of fleet.toml:")
    click.echo(f"  fleet provision {thing} --csr {path}")
    click.echo("and `fleet deploy` with --settings, the folder that it writes.")
