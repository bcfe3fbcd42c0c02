"""Servers as there are: their whims are no faults, and what never works ends with a sentence."""

from __future__ import annotations

import contextlib
import importlib
import time
from typing import Any, cast

import pytest
from agent_bench import Bench
from chipboard import on_load
from test_http_jobs import bench, offered, refused, server, until
from web_server import CHUNKS, UNTIL_CLOSED, WHOLE, Server

__all__ = ["bench", "server"]  # fixtures
PAGE = b"HTTP/1.1 %s\r\n%sTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500


def test_a_file_that_always_ends_at_the_same_byte_is_given_up_after_its_tries(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.ends_at = 20_001
    bench.boot(source_tries=3)
    assert until(bench, "FAILED")
    assert (
        "the server ended the file at byte 20001, 3 times"
        in (bench.service.details("job-1")["detail"])
    )
    assert [asked for _, asked in server.requests] == [None] + ["bytes=16384-"] * 2


def test_a_redirect_whose_page_comes_in_chunks_is_followed(bench: Bench, server: Server) -> None:
    offered(bench, server)
    server.answers = [PAGE % (b"302 Found", b"Location: /elsewhere\r\n")]
    assert until(bench, "SUCCEEDED")
    assert [path for path, _ in server.requests][1:] == ["/elsewhere"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PAGE % (b"403 Forbidden", b""), "the server answers 403"),
        (PAGE % (b"200 OK", b""), "the server ended the file at byte 4"),
        (PAGE % (b"200 OK", b"Content-Length: 45056\r\n"), "the server ended the file at byte 4"),
        (PAGE % (b"302 Found", b""), "a redirect without an address"),
        (PAGE % (b"302 Found", b"Location: /%s\r\n" % (b"x" * 2100)), "more than 2048 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 500, "the server answers 100"),
        (ENDLESS, "cannot be used: a head without end"),
    ],
    ids=["403", "chunks", "both lengths", "nowhere", "too long", "interim", "endless"],
)
def test_an_answer_that_is_of_no_use_is_said_by_its_name(
    bench: Bench, server: Server, answer: bytes, said: str
) -> None:
    offered(bench, server)
    server.answers = [answer] * 2
    assert said in refused(bench)


@pytest.mark.parametrize(
    ("place", "leads_to"),
    [
        ("?token=1", "/fleet/x.ota?token=1"),
        ("/y.ota#part", "/y.ota"),
        ("y.ota", "/fleet/y.ota"),
        ("HTTP://127.0.0.1:%d/y.ota", "/y.ota"),
        ("/y.ota?" + "s" * 1800, "/y.ota?" + "s" * 1800),
    ],
)
def test_a_redirect_leads_where_rfc_3986_says(
    bench: Bench, server: Server, place: str, leads_to: str
) -> None:
    offered(bench, server)
    place = place.replace("%d", str(server.server_port))
    server.answers = [PAGE % (b"302 Found", f"Location: {place}\r\n".encode())]
    assert until(bench, "SUCCEEDED")
    assert [path for path, _ in server.requests][1:] == [leads_to]


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Security-Policy": "y" * 3000},
        {"Content-Disposition": 'attachment; filename="h\u00e9.ota"'},
    ],
)
def test_a_field_that_nobody_reads_may_be_long_or_no_utf_8(
    bench: Bench, server: Server, fields: dict[str, str]
) -> None:
    offered(bench, server)
    server.heads = [fields]
    assert until(bench, "SUCCEEDED")
    assert len(server.requests) == 1


def test_an_interim_answer_is_not_the_final_one(bench: Bench, server: Server) -> None:
    offered(bench, server)
    server.interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    assert until(bench, "SUCCEEDED")
    assert len(server.requests) == 1


def test_an_application_that_steps_seldom_does_not_make_a_server_silent(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.heads = [{f"X-{number}": "y" for number in range(30)}]
    bench.boot(source_tries=1)
    compat: Any = importlib.import_module("ota.compat")
    late = [0]

    def later(channel: Any) -> None:
        channel.ticks_ms = lambda: compat.ticks_ms() + late[0]

    on_load("channel", later)
    deadline = time.monotonic() + 30
    while not bench.agent.progress or not bench.agent.progress[0]:
        assert time.monotonic() < deadline
        assert bench.service.status("job-1") != "FAILED", bench.service.details("job-1")
        bench.client.deliver()
        bench.agent.step()
        late[0] += 700
        time.sleep(0.002)
    assert len(server.requests) == 1


# -- an address that the application or a person named ---------------------------------------------


def installed(bench: Bench, server: Server) -> tuple[str, int] | None:
    """Install from the server. Returns what runs afterwards."""
    bench.boot(source_tries=3, retry_max_ms=1000)
    bench.step(50)
    bench.agent.install(server.url)
    deadline = time.monotonic() + 30
    while not bench.agent.journal.history():
        assert time.monotonic() < deadline
        if bench.step(10) is not None:
            bench.boot()
    return cast("tuple[str, int]", bench.agent.running)


@pytest.mark.parametrize("length", [WHOLE, CHUNKS, UNTIL_CLOSED])
def test_the_head_says_how_long_a_package_is_where_the_server_does_not(
    bench: Bench, server: Server, length: str
) -> None:
    server.length, server.breaks_at = length, [5000]
    assert installed(bench, server) == ("1.1.0", 2)
    assert len(server.requests) == 2


@pytest.mark.parametrize("length", [WHOLE, CHUNKS, UNTIL_CLOSED])
def test_a_package_that_is_cut_short_is_a_failed_read(
    bench: Bench, server: Server, length: str
) -> None:
    server.length, server.data = length, server.data[:20_001]
    assert installed(bench, server) != ("1.1.0", 2)
    entry = bench.agent.journal.history()[0]
    assert (entry["status"], entry["cause"]) == (
        "FAILED",
        "bad_job" if length == WHOLE else "source",
    )


@pytest.mark.parametrize("size", [b"", b"x", b"-5", b"0x", b"5 5", b"f" * 3000, b"\xb2"])
def test_a_chunk_of_no_size_is_a_failed_read(bench: Bench, server: Server, size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % size
    server.answers = [answer + server.data[:100]] * 3
    assert installed(bench, server) != ("1.1.0", 2)
    assert bench.agent.journal.history()[0]["cause"] == "source"


def interrupted(bench: Bench, server: Server) -> None:
    """Install from the server, as far as some blocks and their checkpoint."""
    bench.boot(checkpoint_blocks=1)
    bench.step(50)
    bench.agent.install(server.url)
    while not bench.agent.progress or bench.agent.progress[0] < 6:
        bench.client.deliver()
        bench.agent.step()
    assert bench.agent.journal.next >= 4 * 4096


def test_an_install_taken_up_again_survives_a_server_that_is_not_up_yet(
    bench: Bench, server: Server
) -> None:
    interrupted(bench, server)
    server.answers = [PAGE % (b"503 Service Unavailable", b"")] * 3
    bench.boot()
    deadline = time.monotonic() + 30
    while not bench.agent.journal.history():
        assert time.monotonic() < deadline
        if bench.step(10) is not None:
            bench.boot()
    assert bench.agent.journal.history()[0]["status"] == "SUCCEEDED"
    assert bench.agent.running == ("1.1.0", 2)
    assert not server.answers


def test_what_memory_interrupts_is_asked_for_again(bench: Bench, server: Server) -> None:
    bench.boot()
    bench.step(50)
    server.breaks_at = [20_001]
    left = [1]

    def scarce(http: Any) -> None:
        real = http.Http._line

        def line(self: Any) -> Any:
            if len(server.requests) == 2 and left[0]:
                left[0] = 0
                raise MemoryError
            return (yield from real(self))

        http.Http._line = line

    on_load("http", scarce)
    bench.agent.install(server.url)
    deadline = time.monotonic() + 30
    resets: Any = None
    while resets is None:
        assert time.monotonic() < deadline
        with contextlib.suppress(MemoryError):
            resets = bench.step(10)
    assert not left[0]
    bench.boot()
    assert bench.agent.running == ("1.1.0", 2)
