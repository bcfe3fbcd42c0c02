"""A broker on a real TCP port that can be told to misbehave. One client at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE = 0x10, 0x30, 0x40, 0x80, 0xA0
PINGREQ, DISCONNECT = 0xC0, 0xE0
_PATIENCE_S = 10.0


def length(size: int) -> bytes:
    """Return MQTT's remaining length."""
    coded = bytearray()
    while size > 0x7F:
        coded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*coded, size])


def publish(topic: bytes, payload: bytes, *, pid: int = 0) -> bytes:
    """Return a PUBLISH packet; with a packet id it is of QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic + (pid.to_bytes(2, "big") if pid else b"")
    return bytes([0x32 if pid else 0x30]) + length(len(body) + len(payload)) + body + payload


class FakeBroker:
    """Answers a client as a broker does, but for its knobs.

    connack: the answer to CONNECT, None for none; granted: the code in SUBACK; silent: packet
    types that are not answered; ahead: bytes that go ahead of every answer but CONNACK; reading:
    False to read nothing. received: (type, first byte's flags, body) of every packet.
    """

    def __init__(self) -> None:
        self.connack: bytes | None = b"\x20\x02\x00\x00"
        self.granted = 0
        self.silent: set[int] = set()
        self.ahead = b""
        self.reading = True
        self.received: list[tuple[int, int, bytes]] = []
        self._changed = threading.Condition()
        self._client: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> FakeBroker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reading = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with contextlib.suppress(OSError):  # the client may have gone by itself
            self.hang_up()
        self._thread.join(_PATIENCE_S)

    def send(self, data: bytes, pause_s: float = 0) -> None:
        """Send bytes to the client; with a pause, each by itself."""
        client = self._client
        assert client
        pieces = [data[i : i + 1] for i in range(len(data))] if pause_s else [data]
        for piece in pieces:
            client.sendall(piece)
            time.sleep(pause_s)

    def hang_up(self) -> None:
        """End the connection."""
        if self._client:
            self._client.shutdown(socket.SHUT_RDWR)

    def wait_for(self, kind: int, count: int = 1) -> bytes:
        """Wait for the `count`th packet of a type. Returns its body."""

        def arrived() -> bool:
            return len(self.bodies(kind)) >= count

        with self._changed:
            assert self._changed.wait_for(arrived, _PATIENCE_S), f"no packet 0x{kind:02x} came"
        return self.bodies(kind)[count - 1]

    def bodies(self, kind: int) -> list[bytes]:
        """Return the bodies of all packets of a type."""
        return [body for found, _, body in self.received if found == kind]

    def _run(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            with (
                self._client as client,
                client.makefile("rb") as file,
                contextlib.suppress(OSError),  # the client is gone
            ):
                while self._serve(client, file.read):
                    pass

    def _serve(self, client: socket.socket, read: Callable[[int], bytes]) -> bool:
        while not self.reading:
            time.sleep(0.01)
        first = read(1)
        if not first:
            return False
        size = shift = 0
        while True:
            byte = read(1)
            if not byte:
                return False
            size |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
        kind, flags = first[0] & 0xF0, first[0] & 0x0F
        body = read(size)
        answer = self._answer(kind, flags, body)
        with self._changed:
            self.received.append((kind, flags, body))
            self._changed.notify_all()
            # Under the lock: who has waited for the packet can say nothing before its answer.
            if answer and kind not in self.silent:
                client.sendall(answer if kind == CONNECT else self.ahead + answer)
        return True

    def _answer(self, kind: int, flags: int, body: bytes) -> bytes | None:
        if kind == CONNECT:
            return self.connack
        if kind == PUBLISH and flags & 6:
            at = 2 + int.from_bytes(body[:2], "big")
            return b"\x40\x02" + body[at : at + 2]
        if kind == SUBSCRIBE:
            return b"\x90\x03" + body[:2] + bytes([self.granted])
        if kind == UNSUBSCRIBE:
            return b"\xb0\x02" + body[:2]
        if kind == PINGREQ:
            return b"\xd0\x00"
        return None
