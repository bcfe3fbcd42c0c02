"""A serial port on another machine: an RFC 2217 server in front of a simulated board's console."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from serial.urlhandler import protocol_socket

Manager = Callable[[Any, Any], Any]


class _Wire(protocol_socket.Serial):  # type: ignore[misc]
    """The cable to the board. `lines`: what was done to DTR and RTS, as (line, on)."""

    lines: list[tuple[str, bool]]

    def _update_dtr_state(self) -> None:
        self.lines.append(("DTR", self._dtr_state))

    def _update_rts_state(self) -> None:
        self.lines.append(("RTS", self._rts_state))


class RemotePort:
    """A server for one client after the other, until `close`.

    console: address of the board's console; manager: makes what speaks RFC 2217, from the wire and
    the connection, as serial.rfc2217.PortManager. `port`: for PORT=; `lines`: what clients did to
    DTR and RTS.
    """

    def __init__(self, console: tuple[str, int], manager: Manager) -> None:
        self.lines: list[tuple[str, bool]] = []
        self._console = console
        self._manager = manager
        self._server = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self.port = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> RemotePort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and the connection of whoever is there."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.hang_up()
        self._thread.join()

    def hang_up(self) -> None:
        """End the connection of whoever is there."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                self._client, _ = self._server.accept()
                with self._client:
                    self._carry(self._client)

    def _carry(self, client: socket.socket) -> None:
        wire = _Wire(None, timeout=0)
        wire.lines = []
        wire.port = "socket://{}:{}".format(*self._console)
        wire.open()
        wire.lines = self.lines  # opening is not the client's doing
        manager = self._manager(wire, _Connection(client))
        with contextlib.suppress(OSError):  # one of the two hung up
            while True:
                ends: list[Any] = [client, wire]
                ready, _, _ = select.select(ends, [], [])
                if wire in ready:
                    client.sendall(b"".join(manager.escape(wire.read(4096))))
                if client in ready:
                    data = client.recv(4096)
                    if not data:
                        break
                    wire.write(b"".join(manager.filter(data)))
        wire.close()


class _Connection:
    """A socket as a PortManager wants it."""

    def __init__(self, client: socket.socket) -> None:
        self.write = client.sendall
