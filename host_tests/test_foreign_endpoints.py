"""Whatever answers at the endpoint, a command ends with one sentence and no traceback."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import packed
from click.testing import CliRunner, Result
from fleet_site import Site
from local_ca import LocalCA

from twinslot import config
from twinslot.addresses import Address
from twinslot.cli.main import main
from twinslot.client import report
from twinslot.client.clients import translated
from twinslot.client.own_service import OwnService
from twinslot.errors import FleetError

HTML = b"<html><body>It works!</body></html>"


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", "Connection: close", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"
ANSWERS = {
    "HTML": http(200, HTML),
    "plain text": http(200, b"hello there"),
    "nothing": http(200, b""),
    "escape sequences": http(200, "\x1b[31m\x9b\u202e\n".encode()),
    "no UTF-8": http(200, b"\xff\xfe\0"),
    "JSON list": http(200, b"[1,2]", JSON),
    "JSON null": http(200, b"null", JSON),
    "JSON without members": http(200, b"{}", JSON),
    "JSON of other members": http(200, b'{"things":"x","jobs":7,"job":[],"size":{}}', JSON),
    "JSON with wrong entries": http(200, b'{"things":[null,3],"jobs":[{}],"job":{}}', JSON),
    "deep JSON": http(200, b"[" * 100_000, JSON),
    "a moved page": http(301, HTML, "Location: https://example.com/"),
    "a moved page without a word": http(302, b"", "Location: /login"),
    "not modified": http(304, b""),
    "not found": http(404, b"not found"),
    "a proxy's log-in": http(407, HTML),
    "too large": http(413, b"<html>413</html>"),
    "too many": http(429, b"slow down"),
    "forbidden JSON": http(403, b'{"message":"Forbidden"}', JSON),
    "error of other types": http(400, b'{"code":5,"message":[1]}', JSON),
    "a modelled error of other types": http(
        404, b'{"message":{}}', JSON, "x-amzn-errortype: ResourceNotFoundException"
    ),
    "bad gateway": http(502, b"<html><h1>502 Bad Gateway</h1></html>"),
    "unavailable": http(503, b""),
    "an own status": http(599, b"?"),
    "a body cut short": http(200, b'{"thin', length=1000),
    "an error cut short": http(500, b"<ht", length=1000),
    "no gzip": http(200, b"x", "Content-Encoding: gzip"),
    "gzip": http(200, gzip.compress(HTML), "Content-Encoding: gzip"),
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-",
    "a hang-up": b"",
    "an empty XML": http(200, b"<?xml version='1.0'?>"),
}


class Somebody:
    """A server that gives every request one answer, and hangs up."""

    def __init__(self, wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain):
        self.answer = b""
        self._wrap = wrap
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(plain,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        try:
            with self._wrap(plain) as client:
                client.settimeout(5)
                head = b""
                while b"\r\n\r\n" not in head and (more := client.recv(65536)):
                    head += more
                client.sendall(self.answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        except OSError:
            pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # which ends a thread that waits in `accept`
        self._socket.close()


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    made = Somebody()
    yield made
    made.close()


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    address = Address("127.0.0.1", 1)
    config.create(
        tmp_path, product="demo-board", chip="esp32", slot_size=0x1B0000, broker=address, tls=False
    )

    def run(*arguments: str, endpoint: str) -> Result:
        text = (tmp_path / "fleet.toml").read_text()
        path = tmp_path / "other.toml"
        path.write_text(text.replace('endpoint = ""', f"endpoint = {json.dumps(endpoint)}"))
        return CliRunner().invoke(main, ["--config", str(path), *arguments])

    return run


def assert_one_sentence(done: Result) -> None:
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 3, 4, 5)
    said = done.stderr.splitlines()
    assert len(said) == 1 and said[0].startswith("fleet: "), said
    assert said[0].isprintable()


COMMANDS = {
    "status": ("status",),
    "watch": ("watch", "job-1", "--timeout", "0.2"),
    "cancel": ("cancel", "job-1"),
    "cancel on a board": ("cancel", "job-1", "--thing", "board-1"),
    "revoke": ("revoke", "board-1"),
    "publish": ("publish", "x.ota", "board-1", "--create-things", "--force"),
    "provision": ("provision", "board-1", "--host", "h"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_command_ends_with_one_sentence(
    fleet: Callable[..., Result],
    somebody: Somebody,
    answer: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # botocore's pauses between its attempts
    somebody.answer = answer
    Path("x.ota").write_bytes(packed("1.1.0", 2))
    for name, arguments in COMMANDS.items():
        done = fleet(*arguments, endpoint=f"http://{somebody.address}")
        if name == "watch" and done.exit_code == 5:
            assert "waiting for it" in done.stdout  # a service that is away may come back
            continue
        if name == "provision" and done.exit_code == 0:
            assert "no service runs" in done.stdout
            continue
        if name == "cancel on a board" and done.exit_code == 0:
            assert answer.endswith(
                (b"\r\n\r\n", b"}", b"Content-")
            )  # AWS's own answer is empty, too
            continue
        assert_one_sentence(done)
        assert somebody.address in done.stderr, name
    done = fleet("doctor", endpoint=f"http://{somebody.address}")
    assert (done.exit_code, done.stderr) == (1, "")
    assert any("WRONG" in line and somebody.address in line for line in done.stdout.splitlines())


def test_the_sentence_has_address_status_and_first_words(
    fleet: Callable[..., Result], somebody: Somebody
) -> None:
    somebody.answer = http(404, b"<h1>No\nsuch\x1b[31m page</h1>" + b"x" * 500)
    done = fleet("status", endpoint=f"http://{somebody.address}")
    assert done.exit_code == 4
    for words in (somebody.address, "status 404", r"<h1>No such\\x1b[31m page</h1>xxx", "...'"):
        assert words in done.stderr
    assert len(done.stderr) < 300


def test_tls_that_cannot_be_trusted_ends_with_one_sentence(
    fleet: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    keys = LocalCA(tmp_path / "other").issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*keys)
    server = Somebody(lambda plain: context.wrap_socket(plain, server_side=True))
    for endpoint in (f"https://{server.address}", f"http://{server.address}"):
        assert_one_sentence(fleet("status", endpoint=endpoint))
        assert_one_sentence(fleet("revoke", "board-1", endpoint=endpoint))
    server.close()


@pytest.mark.parametrize(
    "endpoint",
    "http:// http://[ http://h:9:9 http://h:x ftp://h h:80 // http://\u202e https://:443".split(
        " "
    ),
)
def test_an_endpoint_that_is_no_url_is_refused(fleet: Callable[..., Result], endpoint: str) -> None:
    done = fleet("status", endpoint=endpoint)
    assert_one_sentence(done)
    assert done.exit_code == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"control":5,"data":"","broker":"","pid":1}', "[" * 9999]
)
def test_a_damaged_endpoint_file_ends_with_one_sentence(
    fleet: Callable[..., Result], tmp_path: Path, text: str
) -> None:
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state/endpoint.json").write_text(text)
    done = fleet("status", endpoint="")
    assert_one_sentence(done)
    assert done.exit_code == 4


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def _without(value: Any) -> Iterator[Any]:
    """The value with one thing in it taken away, or of another kind, one after another."""
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, item in inner:
        copy = value.copy()
        del copy[key]
        yield copy
        others: tuple[Any, ...] = (None, 7, 1e400, "x", [], {}, [None], True)
        for other in others:
            copy = value.copy()
            copy[key] = other
            yield copy
        if isinstance(item, (dict, list)):
            for changed in _without(item):
                copy = value.copy()
                copy[key] = changed
                yield copy


@pytest.mark.slow
def test_an_answer_with_anything_missing_or_of_another_kind_is_read_or_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each real answer that `status` asks for, with each of its members changed in turn."""
    from botocore.httpsession import URLLib3Session

    site.world.things("board-1")
    site.world.job("job-1", "board-1")
    send = URLLib3Session.send
    real: dict[str, dict[str, Any]] = {}
    change: tuple[str, Any] = ("", None)

    def changed(self: URLLib3Session, request: Any) -> Any:
        answer = send(self, request)
        if request.stream_output:
            return answer
        path = request.url.partition("?")[0]
        real.setdefault(path, json.loads(answer.content))
        if path == change[0]:
            answer._content = json.dumps(change[1]).encode()
        return answer

    monkeypatch.setattr(URLLib3Session, "send", changed)
    clients = OwnService(site.config)
    report.of_fleet(clients, 1)
    clients.served("job-1")
    refused = 0
    for path, answer in list(real.items()):
        for damaged in _without(answer):
            if damaged.get("nextToken"):
                continue  # asks for a page that is not there, and is told so by the real service
            change = path, damaged
            try:
                with translated():
                    found = report.of_fleet(clients, 1)
                    clients.served("job-1")
                    list(report.as_text(found, 1e9))
                    list(report.as_table(found, 0))
            except FleetError:
                refused += 1
    assert refused > 100
