"""The suites of both contracts where they need CPython: over HTTP, against the service's double.

Also that the suites say of each word of the contract what there is to say.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import agent_modules
import component_writer_suite
import data_path_suite
import engine_world
import job_service
import path_kits
import pytest
import web_server
from link_fixtures import need
from ota import http, http_job, mqtt_stream
from ota.jobs import Job
from test_phases import CHECKOUT, EXTENSIONS, TABLE, needs, tree

from sim.build import CHIP
from tools import interpreters, natives

if str(CHIP / "cpython") not in sys.path:
    sys.path.append(str(CHIP / "cpython"))
cpython_sockets: Any = importlib.import_module("cpython_sockets")
MODULES = agent_modules.loaded()


@pytest.fixture(autouse=True)
def _the_modules_that_were_imported() -> None:
    agent_modules.restore(MODULES)


class Sockets:
    """Stands for `socket`: counts what is open."""

    def __init__(self) -> None:
        self.left: list[Any] = []
        sockets = self

        class Counted(cpython_sockets.Socket):  # type: ignore[misc]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                sockets.left.append(self)

            def close(self) -> None:
                self.real.close()
                if self in sockets.left:
                    sockets.left.remove(self)

        self.socket = Counted
        self.getaddrinfo = cpython_sockets.socket.getaddrinfo
        self.SOCK_STREAM = cpython_sockets.socket.SOCK_STREAM


class Asked:
    """A client whose job service is asked for the job. asks: how often; down: no link."""

    def __init__(self) -> None:
        self.asks = 0
        self.down = False

    def subscribe(self, topic: str, qos: int = 0) -> None:
        if self.down:
            raise OSError(104, "reset")

    def publish(self, topic: str, msg: bytes, retain: bool = False, qos: int = 0) -> None:
        self.subscribe(topic)
        self.asks += 1


class Http(path_kits.Kit):  # type: ignore[misc]
    """A file on a web server, which breaks every connection where it fails."""

    patience = 3000

    def __init__(self, module: Any, length: str = web_server.WHOLE) -> None:
        super().__init__()
        self._module = module
        self._length = length
        self._stack: ExitStack
        self._server: web_server.Server
        self._client: Asked
        self._sockets: Sockets
        self._path: Any

    def open(self, stops_at: int | None = None, **settings: Any) -> Any:
        self._stack = ExitStack()
        self._server = self._stack.enter_context(web_server.serving(self.data))
        self._server.length = self._length
        if stops_at is not None:
            self._server.ends_at = stops_at * 4096
        self._sockets = http.socket = Sockets()
        self._client = Asked()
        self.world = engine_world.World(
            self._client, source=self._server.url, job=self.job(), **settings
        )
        return self.reopen()

    def reopen(self) -> Any:
        self._path = self._module.make(self.world.engine)
        return self._path

    def turn(self) -> None:
        time.sleep(0.0005)
        if self._client.asks:
            self._client.asks = 0
            self._path.named(self.job())

    def mend(self) -> None:
        self._server.ends_at = None

    def break_link(self) -> None:
        self._client.down = True

    def mend_link(self) -> None:
        self._client.down = False

    def job(self) -> Any:
        if self._module is not http_job:
            return None
        url = self._server.url
        return Job(
            "J", {}, False, 0, None, 0, len(self.data), ["HTTP"], url, {}, None, (1, 1), None
        )

    def left_open(self) -> list[Any]:
        return list(self._sockets.left)

    def close(self) -> None:
        super().close()
        for stream in self.left_open():
            stream.close()
        self._stack.close()


class Kept(set[int]):
    """Blocks that are dropped, however often they are asked for."""

    def discard(self, _: object) -> None:
        pass


class Service(path_kits.Kit):  # type: ignore[misc]
    """The MQTT stream of the job service's double."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form
        self._service: job_service.JobService
        self._client: job_service.Client

    def open(self, stops_at: int | None = None, **settings: Any) -> Any:
        service = self._service = job_service.JobService(engine_world.THING)
        service.add("J", self.data)
        service.outgoing.clear()
        if stops_at is not None:
            service.drop_blocks = Kept(range(stops_at, 100))
        self._client = job_service.Client(service)
        settings["stream_json"] = int(self._form == "json")
        self.world = engine_world.World(self._client, job=self.job(), **settings)
        self.world.engine.modules = TABLE["PATHS"][self._form]
        self._client.agent = self
        return self.reopen()

    def on_message(self, topic: bytes, payload: bytes) -> None:
        self.world.inbox.put(topic, payload)
        while self.world.inbox.take_control():
            pass

    def reopen(self) -> Any:
        return mqtt_stream.make(self.world.engine)

    def turn(self) -> None:
        self._client.deliver()

    def mend(self) -> None:
        self._service.drop_blocks = set()

    def break_link(self) -> None:
        self._service.online = False
        self._service.outgoing.clear()

    def mend_link(self) -> None:
        self._service.online = True

    def job(self) -> Any:
        size = len(self.data)
        return Job("J", {}, False, 0, "J", 0, size, ["MQTT"], None, {}, None, (1, 1), None)


KITS: dict[str, Callable[[], Any]] = {
    "HTTP job": lambda: Http(http_job),
    "HTTP job in chunks": lambda: Http(http_job, web_server.CHUNKS),
    "HTTP address": lambda: Http(http),
    "HTTP address in chunks": lambda: Http(http, web_server.CHUNKS),
    "HTTP address until it is closed": lambda: Http(http, web_server.UNTIL_CLOSED),
    "stream in CBOR": lambda: Service("cbor"),
    "stream in JSON": lambda: Service("json"),
}
SOCKET = http.socket
CLAUSES = {
    clause.__name__: clause for clauses in data_path_suite.CLAUSES.values() for clause in clauses
}


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = KITS[request.param]()
    try:
        yield found
    finally:
        found.close()
        http.socket = SOCKET


@pytest.mark.parametrize("kit", KITS, indirect=True)
@pytest.mark.parametrize("clause", CLAUSES)
def test_every_data_path_keeps_every_clause(kit: Any, clause: str) -> None:
    CLAUSES[clause](kit)


# -- the contract itself -------------------------------------------------------------------------

DOCSTRING = ast.get_docstring(tree("transfer")) or ""


def words(title: str) -> set[str]:
    """Return the attributes and methods that a part of the contract has."""
    part = DOCSTRING.partition(f"{title}:")[2].partition("knows no")[0]
    return set(re.findall(r"^    (\w+)(?:\(| )", part, re.MULTILINE))


def test_the_suites_have_a_clause_for_each_word_of_the_contracts() -> None:
    assert words("Data path") == set(data_path_suite.CLAUSES)
    assert words("Component writer") == set(component_writer_suite.CLAUSES)


def last_modules(*tables: str) -> set[str]:
    return {row.split()[-1] for table in tables for row in TABLE[table].values()}


def test_a_data_path_knows_no_slot_head_or_manifest() -> None:
    known = {"slots", "manifest", "package", "admission", "transfer"}
    assert last_modules("PATHS") == {"mqtt_stream", "http_job", "http", "source"}
    for module in last_modules("PATHS"):
        assert not needs(module) & (known | last_modules("WRITERS", "WIDE_WRITERS")), module


def test_a_component_writer_knows_no_network() -> None:
    network = {"channel", "inbox", "jobs", "engine", "transfer", "socket", "select", "ssl"}
    for module in last_modules("WRITERS", "WIDE_WRITERS"):
        assert not needs(module) & (network | last_modules("PATHS")), module


def test_transfer_knows_none_of_them_by_name() -> None:
    named = last_modules("PATHS", "WRITERS", "WIDE_WRITERS") | set().union(*EXTENSIONS.values())
    assert not needs("transfer") & named
    texts = {node.value for node in ast.walk(tree("transfer")) if isinstance(node, ast.Constant)}
    assert not texts & named
    assert "ota.transfer" in sys.modules


# -- what a block takes of the heap, over a network ------------------------------------------------

# Bytes of a piece that brings no whole block, on a 64-bit interpreter: its views.
PIECE_MOST = 160
CHUNK_MOST = 1300


@contextmanager
def trickling(size: int, piece: int) -> Iterator[str]:
    """Serve one file of zeros to one client, piece by piece. Yields its address."""

    def serve() -> None:
        with server.accept()[0] as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, piece):
                client.sendall(bytes(min(piece, size - at)))
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.ota"
        thread.join()


def figures(url: str, size: int) -> list[int]:
    """Return what each block after the first ones takes under MicroPython."""
    need("micropython")
    command = [*natives.command("micropython"), "-X", "heapsize=8m"]
    script = str(interpreters.ON_BOARD / "http_way.py")
    done = subprocess.run(
        [*command, script, str(CHECKOUT), url, str(size)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[int] = json.loads(done.stdout)
    assert len(found) == size // 4096 - 4
    return found


def test_a_block_over_http_that_comes_whole_takes_nothing() -> None:
    size = 40 * 4096
    with web_server.serving(bytes(size)) as server:
        assert sorted(figures(server.url, size))[18] == 0, "most of them come whole"


def test_a_block_over_http_takes_a_view_of_each_piece() -> None:
    size, piece = 20 * 4096, 1000
    with trickling(size, piece) as url:
        found = figures(url, size)
    assert max(found) <= PIECE_MOST * (4096 // piece + 2), found


def test_a_block_over_http_in_chunks_takes_two_lines_of_each() -> None:
    size = 20 * 4096
    with web_server.serving(bytes(size)) as server:
        server.length = web_server.CHUNKS
        found = figures(server.url, size)
    assert max(found) <= 2 * CHUNK_MOST, found  # so many end in a block at most
