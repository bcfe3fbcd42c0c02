"""A static web server for tests: it counts requests, and breaks, refuses or redirects on demand."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WHOLE, CHUNKS, UNTIL_CLOSED = "by its length", "in chunks", "until it is closed"
"""How an answer says where its body ends (RFC 9112, 6.3)."""

_CHUNK = 3000  # bytes


class Server(http.server.ThreadingHTTPServer):
    """A static web server. requests: (path, Range header) of each; knobs below.

    tls: the context in which it talks, None for plain HTTP.
    """

    daemon_threads = True

    def __init__(self, data: bytes, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket.setblocking(False)  # a connection may be gone when it is accepted (select(2))
        self.data = data
        self.scheme = "http"
        if tls:
            self.scheme = "https"
            # Without the handshake, which is the thread's of each connection.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.breaks_at: list[int] = []  # bytes of the body after which the connection breaks
        self.status = 200
        self.location = ""
        self.expired: set[str] = set()  # paths with their query that are answered by 403
        self.most: int | None = None  # bytes of one answer to a Range
        self.hangs_up = False  # after every answer
        self.connections = 0
        self.heads: list[dict[str, str]] = []  # fields of the next answers, over the right ones
        self.answers: list[bytes] = []  # the next answers, whole
        self.interim = b""  # goes before each answer
        self.ends_at: int | None = None  # byte of the file at which every connection breaks
        self.length = WHOLE

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/x.ota"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up, or trusts somebody else, is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        self.wfile.write(self.server.interim)
        if self.server.answers:
            self.wfile.write(self.server.answers.pop(0))
            self.close_connection = True
            return
        if self.path in self.server.expired:
            self.send_error(403, "Request has expired")
            return
        if self.path == "/moved.ota":
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"away")
            return
        data, start = self.server.data, 0
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            body = data[start:][: self.server.most]
            self.send_response(206)
            fields = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(data)}"}
        else:
            body, fields = data, {}
            self.send_response(self.server.status)
        if self.server.length == WHOLE:
            fields["Content-Length"] = str(len(body))
        elif self.server.length == CHUNKS:
            fields["Transfer-Encoding"] = "chunked"
        if self.server.heads:
            fields |= self.server.heads.pop(0)
        for name, value in fields.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.server.ends_at is not None:
            body = body[: max(0, self.server.ends_at - start)]
            self.close_connection = True
        if self.server.breaks_at:
            body = body[: self.server.breaks_at.pop(0)]
            self.close_connection = True
        if self.server.length == CHUNKS:
            body = _in_chunks(body, whole=not self.close_connection)
        self.wfile.write(body)
        self.close_connection |= self.server.hangs_up or self.server.length == UNTIL_CLOSED

    def log_message(self, *_: Any) -> None:
        pass


def _in_chunks(body: bytes, *, whole: bool) -> bytes:
    """Return a body as chunks (RFC 9112, 7.1), of which the last one says that it is whole."""
    coded = bytearray()
    for start in range(0, len(body), _CHUNK):
        piece = body[start : start + _CHUNK]
        coded += b"%X;of=twinslot\r\n%s\r\n" % (len(piece), piece)
    return bytes(coded + b"0\r\n\r\n" if whole else coded)


@contextmanager
def serving(data: bytes = b"", tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server until the end of the block."""
    with Server(data, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
