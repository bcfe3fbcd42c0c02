"""A TCP relay with a narrow bandwidth: what a radio link far away lets through."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

_PIECE = 1024  # bytes: some 50 ms at 20 KB/s


class SlowPort:
    """Listens on `port` and passes `rate` bytes a second each way on to 127.0.0.1:`target`.

    `down` counts the bytes that went to those who connect here. Little lies in between: a
    connection that ends loses no more than sockets of 8 KB hold.
    """

    def __init__(self, target: int, rate: int) -> None:
        self._target = target
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.down = 0

    def __enter__(self) -> SlowPort:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                for source, sink, down in ((near, far, False), (far, near, True)):
                    arguments = (source, sink, down)
                    threading.Thread(target=self._pass, args=arguments, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, down: bool) -> None:
        free_at = time.monotonic()
        with contextlib.suppress(OSError):  # either end is gone
            while data := source.recv(_PIECE):
                free_at = max(free_at, time.monotonic()) + len(data) / self._rate
                time.sleep(max(0.0, free_at - time.monotonic()))
                sink.sendall(data)
                if down:
                    self.down += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
