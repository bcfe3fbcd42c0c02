"""A terminal on a board: keyboard and screen of this machine, the board's console behind a port."""

import codecs
import os
import select
from typing import Any

from serial.tools.miniterm import Console, Miniterm

LISTEN_S = 0.2
"""Seconds for which the terminal's reader keeps it from ending."""
_LEAVE = b"\x1d"  # Ctrl-]; the end of the keyboard stands for it


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


class Terminal(Miniterm):  # type: ignore[misc]
    """A terminal that ends when the port is lost. `lost`: the error, then."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, eol="cr", filters=["direct"])
        self.console = _Console()
        self.lost: OSError | None = None
        self.raw = True
        self.set_rx_encoding("utf-8")
        self.set_tx_encoding("utf-8")

    def reader(self) -> None:
        """Show what the board prints, until the port is lost."""
        try:
            super().reader()
        except OSError as error:
            self._lose(error)

    def writer(self) -> None:
        """Send what is typed, until the port is lost."""
        try:
            super().writer()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        self.alive = False
        self.console.cancel()
