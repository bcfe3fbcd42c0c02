"""Looking after a running board: what it says, and a restart."""

import codecs
import io
import math
import time
from collections.abc import Callable

from twinslot.board import running
from twinslot.board.cable import Cable, Raised
from twinslot.board.port import PortError
from twinslot.errors import FleetError

_STATUS = "import ota\nota.status()"
_LISTEN_S = 0.2
_REOPEN_S = 15


class LookError(FleetError):
    """The board has nothing to show, or the command cannot run here."""


def status(cable: Cable) -> tuple[str, bool]:
    """Return what `ota.status()` prints on a board, and whether its program was started again.

    MicroPython can only be asked while no program runs. Raises LookError on a board without the
    agent, CableError.
    """
    with cable.paused() as pause:
        try:
            said = cable.execute(_STATUS)
        except Raised as error:
            if "no module named 'ota'" in str(error):
                raise LookError(
                    "there is no agent on this board; `fleet deploy` brings it"
                ) from error
            raise
    return said, pause.starts_again


def listen(
    port: str, seconds: float | None, say: Callable[[str], None], note: Callable[[str], None]
) -> None:
    """Hear what the board at a port prints, for so many seconds or for ever. Types nothing.

    say: gets what the board prints; note: lines about the connection. A chip whose console is its
    own USB takes the port away at each reset: it is awaited. Raises PortError when it stays away.
    """
    ends = math.inf if seconds is None else time.monotonic() + seconds
    text = codecs.getincrementaldecoder("utf-8")("replace")
    decoder = io.IncrementalNewlineDecoder(text, translate=True)
    cable = Cable(port)
    note(f"Listening to {port}; Ctrl-C ends it.")
    try:
        while time.monotonic() < ends:
            try:
                said = decoder.decode(cable.read(_LISTEN_S))
            except PortError as error:
                note(f"{error}; waiting for it.")
                cable.close()
                cable = _reopened(port)
                note(f"Listening to {port} again.")
                continue
            say(said)
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


def refuse_if_pending(cable: Cable) -> None:
    """Raise PendingError while an image is under test, which goes on."""
    with cable.paused() as pause:
        board = running.look(cable)
        pause.starts_again &= board.pending
    if board.pending:
        raise running.PendingError(
            f"{board.test}: a reset would roll it back. `--yes` (make: YES=1) resets in any case"
        )
