"""The commands about one board on a cable: fleet board status, logs, repl, reset, erase, csr."""

import sys
from pathlib import Path

import click

from twinslot import disk
from twinslot.board import look, own_key, terminal, writer
from twinslot.board.cable import Cable
from twinslot.board.look import LookError
from twinslot.board.port import PortError, resolve
from twinslot.cli.say import say, say_all
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
    """Print `ota.status()` of the board at PORT.

    MicroPython answers only while no program runs. So the command stops main.py by Ctrl-C, and
    starts it again by a soft reset, without a reset of the chip. A board at its prompt stays there.
    """
    with Cable(port) as cable:
        said, again = look.status(cable)
    say_all(said)
    if again:
        say(_AGAIN)


@board.command()
@click.argument("port")
@click.option(
    "--seconds",
    type=float,
    metavar="SECONDS",
    help="Time after which to end.  [default: at Ctrl-C]",
)
def logs(port: str, seconds: float | None) -> None:
    """Show the output of the board at PORT.

    The command types nothing, and so disturbs nothing. A chip whose console is its own USB takes
    the port away at each reset; the command waits for it.
    """
    try:
        look.listen(
            port,
            seconds,
            say_all,
            lambda line: say(line, err=True),
        )
    except KeyboardInterrupt:
        say()


@board.command()
@click.argument("port")
def repl(port: str) -> None:
    """Open a terminal on the board at PORT.

    Ctrl-C stops main.py, Ctrl-D starts it, Ctrl-] leaves. Unlike `mpremote resume repl`, the
    command opens the port without a reset of the board, and takes socket:// and rfc2217:// too. It
    also ends with the connection.
    """
    if not sys.stdin.isatty():
        raise LookError("`repl` needs a terminal; scripts use `mpremote connect PORT resume exec`")
    with Cable(port) as cable:
        cable.stream.timeout = terminal.LISTEN_S
        shown = terminal.Terminal(cable.stream)
        shown.start()  # from here on Ctrl-C is a key for the board
        say("Ctrl-C stops main.py, Ctrl-D starts it again, Ctrl-] leaves.")
        try:
            shown.join()
        finally:
            shown.console.cleanup()
    say()
    if shown.lost:
        raise PortError(f"{port}: connection lost: {shown.lost}")


@board.command()
@click.argument("port")
@click.option("--yes", is_flag=True, help="Restart also during a test, and so end it.")
def reset(port: str, yes: bool) -> None:
    """Restart the board at PORT.

    The command calls machine.reset(), so boot.py and main.py run. It refuses while a new image is
    under test, because the reset would end the test.
    """
    with Cable(port) as cable:
        if not yes:
            look.refuse_if_pending(cable)
        cable.reset()
    say("The board restarts.")


@board.command()
@click.argument("port")
@click.option("--yes", is_flag=True, help="Erase without asking.")
def erase(port: str, yes: bool) -> None:
    """Erase the whole flash of the board at PORT, with esptool.

    Run `fleet flash` afterwards.
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
@click.argument("thing", metavar="BOARD")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write.  [default: BOARD.csr]",
)
def csr(port: str, thing: str, out: Path | None) -> None:
    """Let the board at PORT make its private key.

    It also makes a certificate request for the name BOARD, for `fleet provision --csr`. The key
    stays on the board, in /etc/client.key; the board uses one that is there already. The command
    stops main.py for this, and starts it again.
    """
    certificates.check_thing(thing)
    path = out or Path(f"{thing}.csr")
    with Cable(port) as cable:
        pem, made = own_key.request(cable, thing)
    disk.replace(path, pem)
    say(
        f"The board made its key, which stays there, in {own_key.KEY}."
        if made
        else f"The key that is on the board, in {own_key.KEY}, stays."
    )
    say(f"Wrote {path}. Then, in the folder of fleet.toml:")
    say(f"  fleet provision {thing} --csr {path}")
    say("and `fleet deploy` with --settings, the folder that it writes.")
