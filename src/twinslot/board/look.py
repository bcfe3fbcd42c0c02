"""`python -m board status|logs|repl|reset|erase`: looking after a board that is connected."""

import codecs
import io
import math
import os
import select
import sys
import time
from typing import Any

import click
from serial.tools.miniterm import Console, Miniterm

from twinslot.board import running, writer
from twinslot.board.cable import Cable, Raised
from twinslot.board.port import PortError, resolve
from twinslot.errors import FleetError

_STATUS = "import ota\nota.status()"
_LISTEN_S = 0.2
_REOPEN_S = 15
_LEAVE = b"\x1d"  # Ctrl-]; the end of the keyboard stands for it
_AGAIN = (
    "main.py was stopped for this and has been started again by a soft reset; "
    "a test that is under way goes on with the rest of its time."
)


class LookError(FleetError):
    """The board has nothing to show, or the command cannot run here."""


@click.command("status")
@click.argument("port")
def status(port: str) -> None:
    """Print what `ota.status()` says on the board at PORT.

    MicroPython can only be asked while no program runs: main.py is stopped by Ctrl-C, and started
    again by a soft reset, without a reset of the chip. What was at its prompt is left there.
    """
    with Cable(port) as cable:
        with cable.paused() as pause:
            try:
                click.echo(cable.execute(_STATUS), nl=False)
            except Raised as error:
                if "no module named 'ota'" in str(error):
                    raise LookError(
                        "there is no agent on this board; `make deploy` brings it"
                    ) from error
                raise
        if pause.starts_again:
            click.echo(_AGAIN)


@click.command("logs")
@click.argument("port")
@click.option("--seconds", type=float, help="End after so long; else Ctrl-C ends it.")
def logs(port: str, seconds: float | None) -> None:
    """Show what the board at PORT prints. Types nothing, so that nothing is disturbed.

    A chip whose console is its own USB takes the port away at each reset: it is awaited.
    """
    ends = math.inf if seconds is None else time.monotonic() + seconds
    text = codecs.getincrementaldecoder("utf-8")("replace")
    decoder = io.IncrementalNewlineDecoder(text, translate=True)
    cable = Cable(port)
    click.echo(f"Listening to {port}; Ctrl-C ends it.", err=True)
    try:
        while time.monotonic() < ends:
            try:
                said = decoder.decode(cable.read(_LISTEN_S))
            except PortError as error:
                click.echo(f"{error}; waiting for it.", err=True)
                cable.close()
                cable = _reopened(port)
                click.echo(f"Listening to {port} again.", err=True)
                continue
            click.echo(said, nl=False)
    except KeyboardInterrupt:
        click.echo()
    finally:
        cable.close()


def _reopened(port: str) -> Cable:
    """Open a port that comes back within some seconds. Raises PortError."""
    ends = time.monotonic() + _REOPEN_S
    while True:
        try:
            return Cable(port)
        except PortError:
            if time.monotonic() >= ends:
                raise
            time.sleep(_LISTEN_S)


class _Console(Console):  # type: ignore[misc]
    """Keyboard and screen. `cancel` ends the wait for a key, also where Linux lets nobody type it.

    Miniterm's own needs TIOCSTI, which newer kernels refuse.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cancelled, self._cancel = os.pipe()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._typed = ""

    def getkey(self) -> str:
        while not self._typed:
            ready, _, _ = select.select([self.fd, self._cancelled], [], [])
            if self._cancelled in ready:
                return ""
            self._typed = self._decoder.decode(os.read(self.fd, 1024) or _LEAVE)
        key, self._typed = self._typed[0], self._typed[1:]
        return "\b" if key == "\x7f" else key

    def cancel(self) -> None:
        os.write(self._cancel, b"!")


class _Terminal(Miniterm):  # type: ignore[misc]
    """A terminal that ends when the port is lost. `lost`: the error, then."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, eol="cr", filters=["direct"])
        self.console = _Console()
        self.lost: OSError | None = None
        self.raw = True
        self.set_rx_encoding("utf-8")
        self.set_tx_encoding("utf-8")

    def reader(self) -> None:
        try:
            super().reader()
        except OSError as error:
            self._lose(error)

    def writer(self) -> None:
        try:
            super().writer()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        self.alive = False
        self.console.cancel()


@click.command("repl")
@click.argument("port")
def repl(port: str) -> None:
    """Be a terminal on the board at PORT: Ctrl-C stops main.py, Ctrl-D starts it, Ctrl-] leaves.

    As `mpremote resume repl`, but the port is opened without a reset of the board, and may be
    a socket:// or rfc2217:// one. Ends with the connection, too.
    """
    if not sys.stdin.isatty():
        raise LookError("`repl` needs a terminal; scripts use `mpremote connect PORT resume exec`")
    with Cable(port) as cable:
        cable.stream.timeout = _LISTEN_S  # how long the terminal's reader keeps it from ending
        terminal = _Terminal(cable.stream)
        terminal.start()  # from here on Ctrl-C is a key for the board
        click.echo("Ctrl-C stops main.py, Ctrl-D starts it again, Ctrl-] leaves.")
        try:
            terminal.join()
        finally:
            terminal.console.cleanup()
    click.echo()
    if terminal.lost:
        raise PortError(f"{port}: connection lost: {terminal.lost}")


@click.command("reset")
@click.argument("port")
@click.option("--yes", is_flag=True, help="Do not look whether a test would be ended by it.")
def reset(port: str, yes: bool) -> None:
    """Restart the board at PORT by machine.reset(): boot.py and main.py run.

    Refused while a new image is under test, which the reset would end.
    """
    with Cable(port) as cable:
        if not yes:
            _refuse_if_pending(cable)
        cable.reset()
    click.echo("The board restarts.")


def _refuse_if_pending(cable: Cable) -> None:
    """Raise PendingError while an image is under test, which goes on."""
    with cable.paused() as pause:
        board = running.look(cable)
        pause.starts_again &= board.pending
    if board.pending:
        raise running.PendingError(
            f"{board.test}: a reset would roll it back. `--yes` (make: YES=1) resets in any case"
        )


@click.command("erase")
@click.argument("port")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(port: str, yes: bool) -> None:
    """Erase the whole flash of the board at PORT, with esptool; `make flash` makes it one again."""
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
