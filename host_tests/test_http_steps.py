"""No step waits for a server: it is played here, in the same thread, and goes on between steps.

A step that waited for it would never return. That nothing waits for a moment either is read from
the sockets: none is touched that may wait, and none is polled for longer than 0 ms.
"""

from __future__ import annotations

import contextlib
import importlib
import select
import socket
import ssl
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import Bench, packed
from chipboard import on_load
from local_ca import LocalCA

from sim.build import CHIP

if str(CHIP / "cpython") not in sys.path:
    sys.path.append(str(CHIP / "cpython"))

pytestmark = pytest.mark.timeout(60)
DATA = packed("1.1.0", 2)
STALL = 50  # steps


class Server:
    """A web server that does something only when told to. asked: the requests so far."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._tls = tls
        self._connection: Any = None
        self._heard = b""
        self.asked: list[str] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/x.ota"

    def close(self) -> None:
        self.hang_up()
        self._listener.close()

    def hang_up(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
        self._heard = b""

    def listen(self) -> bool:
        """Hear what has come; says whether a whole request has."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.setblocking(False)
                if self._tls:
                    self._connection = self._tls.wrap_socket(
                        self._connection, server_side=True, do_handshake_on_connect=False
                    )
            if self._tls:
                self._connection.do_handshake()
            self._heard += self._connection.recv(4096)
        if not self._heard.endswith(b"\r\n\r\n"):
            return False
        self.asked.append(self._heard.decode())
        self._heard = b""
        return True

    def send(self, data: bytes) -> None:
        self._connection.setblocking(True)
        self._connection.sendall(data)
        self._connection.setblocking(False)


def head(body: bytes, start: int = 0, **more: str) -> bytes:
    """The head of an answer that brings `body`, the file from `start` on."""
    lines = [f"Content-Length: {len(body)}", *(f"{key}: {value}" for key, value in more.items())]
    if start:
        size = start + len(body)
        lines.append(f"Content-Range: bytes {start}-{size - 1}/{size}")
    status = "206 Partial Content" if start else "200 OK"
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


class Watch:
    """Stands for `select` and `socket`; fails when anything might wait. used: what was called."""

    def __init__(self, real: types.ModuleType) -> None:
        self.used: set[str] = set()
        watch = self

        class Watched(real.socket):  # type: ignore[name-defined,misc]
            """A socket that must not wait."""

            def connect(self, address: Any) -> None:
                watch.saw("connect", self)
                self.real.connect(address)

            def readinto(self, *arguments: Any) -> Any:
                watch.saw("read", self)
                return super().readinto(*arguments)

            def write(self, *arguments: Any) -> Any:
                watch.saw("write", self)
                return super().write(*arguments)

        self.socket = types.SimpleNamespace(**{**vars(real), "socket": Watched})
        self.select = types.SimpleNamespace(poll=self._poll, POLLOUT=select.POLLOUT)
        self._watched = Watched

    def saw(self, what: str, sock: Any) -> None:
        assert sock.real.gettimeout() == 0, f"{what} may wait"
        self.used.add(what)

    def _poll(self) -> Any:
        real = select.poll()

        def poll(timeout: int) -> Any:
            assert timeout == 0
            self.used.add("poll")
            return real.poll(0)

        return types.SimpleNamespace(register=real.register, poll=poll)

    def tls(self, real: types.ModuleType) -> Any:
        """`tls`, whose streams are watched as well."""
        watched = self._watched

        class Context(real.SSLContext):  # type: ignore[name-defined,misc]
            def wrap_socket(self, *arguments: Any, **options: Any) -> Any:
                return watched(real=super().wrap_socket(*arguments, **options).real)

        return types.SimpleNamespace(**{**vars(real), "SSLContext": Context})


class Play:
    """A board, and a server that plays its part between its steps. late: ms, of timers' clock."""

    def __init__(self, bench: Bench, server: Server, watch: Watch) -> None:
        self.bench = bench
        self.server = server
        self.watch = watch
        self.steps = 0
        self.late = 0
        self.waits: list[int] = []

    def offer(self) -> None:
        """Make a job of the server's file, and start the board."""
        self.bench.service.add("job-1", DATA)
        self.bench.service.offer_http("job-1", self.server.url)
        self.boot()

    def boot(self) -> None:
        self.bench.boot(retry_max_ms=1000)
        sockets: Any = importlib.import_module("cpython_sockets")
        compat: Any = importlib.import_module("ota.compat")

        def watched(http: Any) -> None:
            http.socket, http.select = self.watch.socket, self.watch.select
            http.tls = self.watch.tls(sockets.tls)

        def later(channel: Any) -> None:
            channel.ticks_ms = lambda: compat.ticks_ms() + self.late

        on_load("http", watched)
        on_load("channel", later)

    def step(self, count: int = 1) -> None:
        """Let the board step; every step returns, while the server does nothing."""
        for _ in range(count):
            self.bench.client.deliver()
            ended = self.bench.board.run(lambda: self.waits.append(self.bench.agent.step()))
            self.steps += 1
            if ended is not None:
                self.boot()

    def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(20_000):
            if condition():
                return
            self.step()
        raise AssertionError("it never came to that")

    def request(self) -> str:
        """Step until the board has asked for something. Returns the request."""
        self.until(self.server.listen)
        return self.server.asked[-1]

    def ends(self) -> None:
        """Step until the update is accepted."""
        self.until(lambda: self.bench.service.status("job-1") not in ("QUEUED", "IN_PROGRESS"))
        assert self.bench.service.status("job-1") == "SUCCEEDED"
        assert self.bench.agent.running == ("1.1.0", 2)

    def send_all(self, data: bytes, piece: int = 1400) -> None:
        """Send in pieces, a step after each."""
        for at in range(0, len(data), piece):
            self.server.send(data[at : at + piece])
            self.step()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(importlib.import_module("cpython_sockets").socket)


def _play(bench: Bench, watch: Watch, tls: ssl.SSLContext | None) -> Iterator[Play]:
    server = Server(tls)
    play = Play(bench, server, watch)
    play.offer()
    yield play
    server.close()
    if bench.in_hand:
        bench.in_hand.let_go()


@pytest.fixture
def play(tmp_path: Path, watch: Watch) -> Iterator[Play]:
    yield from _play(Bench(tmp_path), watch, None)


@pytest.fixture
def secure(tmp_path: Path, watch: Watch) -> Iterator[Play]:
    bench = Bench(tmp_path / "board")
    ca = LocalCA(tmp_path / "ca")
    certificate, key = ca.issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    bench.board.write_etc("http_ca.pem", Path(ca.path).read_bytes())
    yield from _play(bench, watch, context)


def test_a_server_that_accepts_nothing_keeps_no_step_waiting(play: Play) -> None:
    play.step(STALL)
    assert {"connect", "poll"} <= play.watch.used
    assert play.server.asked == []
    assert play.request().startswith("GET /x.ota HTTP/1.1\r\n")
    play.send_all(head(DATA) + DATA)
    play.ends()
    assert len(play.server.asked) == 1
    assert play.watch.used == {"connect", "poll", "read", "write"}


@pytest.mark.parametrize("at", [0, 1, 14, 15, 16, 30, 38, 39, 40, 41])
def test_a_server_that_stalls_in_its_head_keeps_no_step_waiting(play: Play, at: int) -> None:
    play.request()
    answer = head(DATA)
    if at:
        play.server.send(answer[:at])
    play.step(STALL)
    assert not play.bench.agent.progress or play.bench.agent.progress[0] == 0
    play.send_all(answer[at:] + DATA)
    play.ends()
    assert len(play.server.asked) == 1


def test_a_head_that_comes_byte_by_byte_is_read(play: Play) -> None:
    play.request()
    play.send_all(head(DATA), piece=1)
    play.send_all(DATA)
    play.ends()


@pytest.mark.parametrize("at", [0, 1, 100, 4095, 4096, 4097, 20_001])
def test_a_server_that_stalls_in_its_body_keeps_no_step_waiting(play: Play, at: int) -> None:
    play.request()
    play.send_all(head(DATA) + DATA[:at])
    play.step(STALL)
    progress = play.bench.agent.progress
    assert progress
    assert progress[0] <= at // 4096
    play.send_all(DATA[at:])
    play.ends()
    assert len(play.server.asked) == 1


def test_a_body_that_trickles_is_written_as_its_blocks_are_whole(play: Play) -> None:
    play.request()
    play.send_all(head(DATA))
    play.send_all(DATA, piece=61)
    play.ends()
    assert play.steps > len(DATA) // 61


@pytest.mark.parametrize("at", [0, 20, 57])
def test_a_server_that_stalls_in_a_redirect_keeps_no_step_waiting(play: Play, at: int) -> None:
    play.request()
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 5\r\nLocation: /y.ota\r\n\r\nmoved"
    play.server.send(moved[:at])
    play.step(STALL)
    play.server.send(moved[at:])
    play.step(STALL)
    play.server.hang_up()
    assert play.request().startswith("GET /y.ota HTTP/1.1\r\n")
    play.step(STALL)
    play.send_all(head(DATA) + DATA)
    play.ends()
    assert len(play.server.asked) == 2


def test_a_connection_that_breaks_at_a_byte_is_continued_with_a_range(play: Play) -> None:
    at = 0
    for cut in (10, 4097, 8192, 12_345, 12_346, len(DATA) - 1):
        asked = play.request()
        assert (f"Range: bytes={at}-\r\n" in asked) == bool(at)
        play.send_all(head(DATA[at:], at) + DATA[at:cut])
        play.step(STALL)
        play.server.hang_up()
        play.step()
        play.late += 2000  # the pause before the next try
        at = cut // 4096 * 4096
    play.request()
    play.send_all(head(DATA[at:], at) + DATA[at:])
    play.ends()
    assert len(play.server.asked) == 7


@pytest.mark.parametrize("sent", [None, 0, 20, 100, 9000])
def test_a_silent_server_is_given_up_by_the_clock_and_asked_again(
    play: Play, sent: int | None
) -> None:
    if sent is None:
        play.step(STALL)  # not even accepted
        sent = 0
    else:
        play.request()
        play.send_all((head(DATA) + DATA)[:sent])
        play.step(STALL)
    play.late += 9000
    play.step(STALL)
    assert play.waits[-1] == 5, "nothing is given up before its time"
    play.late += 2000
    play.step()
    assert play.waits[-1] > 100, "a pause before the next try"
    play.late += 2000
    if not play.server.asked:
        play.request()  # of the connection that was given up
    play.server.hang_up()
    play.request()
    start = max(0, sent - len(head(DATA))) // 4096 * 4096
    assert play.server.asked[-1].count("Range: bytes=") == bool(start)
    play.send_all(head(DATA[start:], start) + DATA[start:])
    play.ends()


def test_a_server_that_refuses_the_connection_is_asked_again(play: Play) -> None:
    port = play.server.port
    play.server._listener.close()
    play.step(STALL)
    assert play.waits[-1] > 100
    play.late += 2000
    play.server._listener = socket.create_server(("127.0.0.1", port))
    play.server._listener.setblocking(False)
    play.request()
    play.send_all(head(DATA) + DATA)
    play.ends()


@pytest.mark.parametrize("at", [0, 10, 5000])
def test_over_tls_nothing_waits_either(secure: Play, at: int) -> None:
    secure.step(STALL)
    secure.request()
    answer = head(DATA) + DATA
    secure.server.send(answer[:at])
    secure.step(STALL)
    secure.send_all(answer[at:])
    secure.ends()
    assert len(secure.server.asked) == 1


def test_a_step_that_waits_for_a_server_says_when_to_come_again(play: Play) -> None:
    play.request()
    play.send_all(head(DATA) + DATA[:9000])
    play.step(2 * STALL)  # the head's signature, and what flash has to do, take some
    assert set(play.waits[-10:]) == {5}, "nothing is polled without a pause"


@pytest.mark.parametrize("line", [b"x" * 4096, b"X-Long: " + b"y" * 4088, b"\xff\x00" * 2048])
def test_a_line_of_the_head_that_never_ends_keeps_no_step_long_and_is_given_up(
    play: Play, line: bytes
) -> None:
    """The server always sends something, so no step ever finds the line silent."""
    play.request()
    play.server.send(b"HTTP/1.1 200 OK\r\n")
    longest = 0.0
    for _ in range(400):
        with contextlib.suppress(OSError):  # the board has hung up
            play.server.send(line)
        started = time.monotonic()
        play.step()
        longest = max(longest, time.monotonic() - started)
        path = play.bench.in_hand.path
        if path and path.left < path.tries:
            break
    else:
        raise AssertionError("it is read for ever")
    assert longest < 0.5


def test_a_head_of_one_byte_a_second_is_given_up_by_the_clock(play: Play) -> None:
    play.request()
    play.server.send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(12):
        play.server.send(b"y")
        play.step(3)
        play.late += 1000
    path = play.bench.in_hand.path
    assert path.left < path.tries
