"""The serial console as a TCP socket, and what is typed on it."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

_CTRL_C = b"\x03"
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n")


class Keyboard:
    """What people and tools type, on its way to the chip.

    Ctrl-C interrupts the running program (`interrupt`), everything else is input (`write`). What is
    typed after Ctrl-C waits until the program has heard it, or for `HOLD_S` if it goes on
    regardless: MicroPython's unix port ends at a second Ctrl-C that comes before it took the first.
    """

    HOLD_S = 2.0

    def __init__(self, write: Callable[[bytes], None], interrupt: Callable[[], None]) -> None:
        self._write = write
        self._interrupt = interrupt
        self._typed = b""
        self._ready = False
        self.held_until: float | None = None

    def reset(self) -> None:
        """The chip starts: it takes nothing yet."""
        self._ready = False
        self.held_until = None

    def ready(self) -> None:
        """The chip's program starts, or it has heard Ctrl-C."""
        self._ready = True
        self.held_until = None
        self._pass_on()

    def type(self, data: bytes) -> None:
        """Take what is typed."""
        self._typed += data
        self._pass_on()

    def tick(self) -> None:
        """Go on where a hold is over."""
        if self.held_until is not None and time.monotonic() >= self.held_until:
            self.held_until = None
            self._pass_on()

    def _pass_on(self) -> None:
        while self._typed and self._ready and self.held_until is None:
            before, ctrl_c, self._typed = self._typed.partition(_CTRL_C)
            if before:
                self._write(before)
            if ctrl_c:
                self.held_until = time.monotonic() + self.HOLD_S
                self._interrupt()


class Console:
    """The socket and the log. `port`: 0 for a free one; input goes to `typed`.

    Clients get line ends as a terminal wants them (CR LF); the log gets plain ones.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        log: Path,
        port: int,
        typed: Callable[[bytes], None],
    ) -> None:
        self._selector = selector
        self._typed = typed
        self._log = log.open("ab", buffering=0)
        self._clients: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", port))
        self._server.setblocking(False)
        self.address: tuple[str, int] = self._server.getsockname()[:2]
        selector.register(self._server, selectors.EVENT_READ, self._accept)

    def show(self, data: bytes) -> None:
        """Copy the chip's output to the log and to every client."""
        self._log.write(data.replace(b"\r\n", b"\n"))
        for client in list(self._clients):
            try:
                client.sendall(_BARE_NEWLINE.sub(b"\r\n", data))
            except OSError:  # gone, or it does not read what it gets
                self._drop(client)

    def close(self) -> None:
        """Give the port back."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._server)
        self._server.close()
        self._log.close()

    def _accept(self) -> None:
        client, _ = self._server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(1)
        self._clients.append(client)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        if client not in self._clients:  # dropped while this event was under way
            return
        try:
            data = client.recv(4096)
        except OSError:
            data = b""
        if data:
            self._typed(data)
        else:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._clients.remove(client)
        self._selector.unregister(client)
        client.close()
