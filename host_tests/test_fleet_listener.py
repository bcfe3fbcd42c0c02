"""The ports of the service: who says nothing, too little or too much costs the others nothing."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from boto3.session import Session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from fleet_service import until
from fleet_site import Listener, Site
from local_ca import LocalCA

from twinslot.service.api import MAX_STRANGE_BODY
from twinslot.service.listener import Limits

SHORT = Limits(
    every=16, of_address=8, head=0.4, keep_alive=0.4, body=0.4, body_rate=1_000_000, taking=0.4
)
GIGABYTE = 2**30


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHORT)
    yield made
    made.close()


def connected(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port.port), timeout=10)


def ends(link: socket.socket, deadline: float = 5) -> bytes:
    """Everything that comes until the service ends the connection."""
    link.settimeout(deadline)
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := link.recv(65536):
            found += piece
    return found


def dripping(link: socket.socket, text: bytes, pause: float = 0.05) -> threading.Thread:
    """Send one byte after the other, until the service has had enough."""

    def drip() -> None:
        with contextlib.suppress(OSError):
            for byte in text:
                link.send(bytes([byte]))
                time.sleep(pause)

    thread = threading.Thread(target=drip)
    thread.start()
    return thread


def works(site: Site) -> bool:
    return bool(site.clients.iot.list_things()["things"] == [])


def test_a_connection_that_says_nothing_is_closed(site: Site) -> None:
    for listener in (site.control, site.data):
        with connected(listener) as link:
            assert ends(link) == b""
        until(lambda: len(listener.port.seats) == 0, "its place to be free")  # noqa: B023


@pytest.mark.parametrize(
    "said",
    [b"GET /things HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1000, b"\r\n" * 500],
    ids=["a header without end", "empty lines"],
)
def test_a_head_that_never_ends_is_given_up_while_bytes_keep_coming(
    site: Site, said: bytes
) -> None:
    with connected(site.control) as link:
        began = time.monotonic()
        thread = dripping(link, said)
        ends(link)
        assert time.monotonic() - began < 5, "a thousand bytes take fifty seconds"
        thread.join()


def test_the_next_head_of_a_connection_has_a_deadline_too(site: Site) -> None:
    with connected(site.control) as link:
        link.sendall(b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"403" in link.recv(65536)
        thread = dripping(link, b"GET /things HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1000)
        ends(link)
        thread.join()


def test_a_body_that_drips_is_given_up_with_a_sentence(site: Site) -> None:
    with connected(site.control) as link:
        link.sendall(b"POST /jobs/job-1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n")
        thread = dripping(link, b"x" * 1000)
        answer = ends(link)
        thread.join()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body came too slowly" in answer


@pytest.mark.parametrize("length", [f"content-length: {GIGABYTE}", "transfer-encoding: chunked"])
def test_an_unsigned_gigabyte_is_refused_before_it_is_read(site: Site, length: str) -> None:
    for listener, most in ((site.control, 4 * MAX_STRANGE_BODY), (site.data, MAX_STRANGE_BODY)):
        with connected(listener) as link:
            link.sendall(f"PUT /packages/x HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n".encode())
            piece = bytes(65536)
            chunk = b"10000\r\n" + piece + b"\r\n" if "chunked" in length else piece
            sent = 0
            with contextlib.suppress(OSError):
                while sent < GIGABYTE:
                    link.sendall(chunk)
                    sent += len(piece)
            assert sent <= most + 8_000_000, "what the kernel holds aside"
    assert works(site)


def test_who_asks_before_sending_a_body_hears_why_it_is_not_wanted(site: Site) -> None:
    for listener, code in ((site.control, b"403"), (site.data, b"413")):
        with connected(listener) as link:
            link.sendall(
                b"PUT /packages/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
                b"content-length: 20000000\r\n\r\n"
            )
            answer = ends(link)
            assert answer.startswith(b"HTTP/1.1 " + code)
            assert b"100" not in answer.split(b"\r\n")[0]


def test_a_peer_that_takes_no_answer_is_cut_off(site: Site) -> None:
    site.world.object("large", bytes(20_000_000))
    url = urlsplit(site.s3(site.data.url).generate_presigned_url(
        "get_object", {"Bucket": "packages", "Key": "large"}
    ))  # fmt: skip
    with connected(site.data) as link:
        link.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n\r\n".encode())
        until(lambda: len(site.data.port.seats) == 1, "the connection")
        until(lambda: len(site.data.port.seats) == 0, "its end", 10)
        assert len(ends(link)) < 20_000_000


def test_a_crowd_that_says_nothing_is_bounded_and_a_real_request_goes_through(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as crowd:
        for number in range(200):
            crowd.enter_context(connected(site.control))
            assert len(site.control.port.seats) <= SHORT.of_address
            if number % 50 == 0:
                assert works(site)
        assert works(site)
    assert {record.name for record in caplog.records} <= {"twinslot.service.listener"}


def test_a_crowd_does_not_push_out_one_that_is_being_answered(site: Site) -> None:
    data = bytes(range(256)) * 40_000
    site.world.object("large", data)
    url = urlsplit(site.s3(site.data.url).generate_presigned_url(
        "get_object", {"Bucket": "packages", "Key": "large"}
    ))  # fmt: skip
    with connected(site.data) as link, contextlib.ExitStack() as crowd:
        link.sendall(
            f"GET {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            "connection: close\r\n\r\n".encode()
        )
        received = link.recv(65536)
        for _ in range(30):
            crowd.enter_context(connected(site.data))
        received += ends(link)
    assert received.endswith(data[-1000:])
    assert len(received) > len(data)


def test_a_crowd_does_not_push_out_an_upload_whose_head_is_signed(site: Site) -> None:
    data = bytes(range(256)) * 4000
    request = AWSRequest("PUT", f"{site.control.url}/packages/large", data=data)
    credentials = Session(
        site.credentials.access_key, site.credentials.secret_key
    ).get_credentials()
    S3SigV4Auth(credentials, "s3", "local").add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    address = urlsplit(site.control.url).netloc
    with connected(site.control) as link, contextlib.ExitStack() as crowd:
        link.sendall(
            f"PUT /packages/large HTTP/1.1\r\nhost: {address}\r\n{head}"
            f"content-length: {len(data)}\r\nconnection: close\r\n\r\n".encode()
        )
        link.sendall(data[:100_000])
        until(lambda: len(site.control.port.seats) == 1, "the connection")
        for _ in range(30):
            crowd.enter_context(connected(site.control))
        until(lambda: len(site.control.port.seats) == SHORT.of_address, "the crowd")
        link.sendall(data[100_000:])
        assert ends(link).startswith(b"HTTP/1.1 200 ")
    assert site.clients.s3.head_object(Bucket="packages", Key="large")["ContentLength"] == len(data)


def test_a_peer_that_hangs_up_in_mid_body_is_one_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(site.control) as link:
        link.sendall(b"POST /jobs/\x1b HTTP/1.1\r\nhost: x\r\n\r\n")  # no path: h11 says so
    with connected(site.control) as link:
        link.sendall(b"POST /jobs/job-1 HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nabc")
        until(lambda: len(site.control.port.seats) == 1, "the connection")
    until(lambda: "hung up" in caplog.text, "the line")
    (line,) = [record for record in caplog.records if "hung up" in record.getMessage()]
    assert line.levelno == logging.WARNING
    assert "Traceback" not in caplog.text


def test_small_packets_are_sent_at_once(site: Site) -> None:
    with connected(site.control) as link:
        link.sendall(b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n")
        assert link.recv(100)
        (connection,) = site.control._server.server_state.connections
        there = connection.transport.get_extra_info("socket")
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_does_not_even_begin_with_tls_is_closed_and_leaves_no_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = LocalCA(tmp_path / "ca")
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", SHORT, *ca.issue("data", "127.0.0.1"))
    try:
        with contextlib.ExitStack() as crowd:
            links = [crowd.enter_context(connected(site.data)) for _ in range(30)]
            assert len(site.data.port.seats) <= SHORT.of_address
            links[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
            for link in links:
                ends(link)
        until(lambda: len(site.data.port.seats) == 0, "all places to be free")
        context = ssl.create_default_context(cafile=ca.path)
        with (
            connected(site.data) as link,
            context.wrap_socket(link, server_hostname="127.0.0.1") as talking,
        ):
            talking.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"403" in talking.recv(65536)
        assert "Traceback" not in caplog.text
    finally:
        site.close()
