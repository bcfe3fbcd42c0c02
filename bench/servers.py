"""The plain servers that the agent is compared with: the same bytes from a socket and by HTTP."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    data = b""


class _Raw(socketserver.BaseRequestHandler):
    """Sends everything to whoever connects."""

    server: _Server

    def handle(self) -> None:
        self.request.sendall(self.server.data)


class _Http(http.server.BaseHTTPRequestHandler):
    """Answers every GET with everything."""

    server: _Server

    def do_GET(self) -> None:
        """Send the file."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.data)))
        self.end_headers()
        self.wfile.write(self.server.data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep the report free of it."""


@contextmanager
def raw(data: bytes) -> Iterator[int]:
    """Serve `data` on a bare socket; yields the port."""
    with _serving(_Raw, data) as port:
        yield port


@contextmanager
def http_get(data: bytes) -> Iterator[int]:
    """Serve `data` by HTTP; yields the port."""
    with _serving(_Http, data) as port:
        yield port


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler], data: bytes) -> Iterator[int]:
    with _Server(("127.0.0.1", 0), handler) as server:
        server.data = data
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()
