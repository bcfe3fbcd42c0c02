"""A job's file comes over HTTP where the job offers it, at an address that expires."""

from __future__ import annotations

import importlib
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import esp32
import pytest
from agent_bench import Bench, packed
from chipboard import on_load
from local_ca import LocalCA
from web_server import CHUNKS, UNTIL_CLOSED, Server, serving

from sim.build import CHIP

PATIENCE_S = 30.0


class Hasty(Bench):
    """A board that asks a server again soon."""

    def boot(self, callback: Any = None, **settings: Any) -> Any:
        ended = super().boot(callback, **settings)
        on_load("source", lambda source: setattr(source, "_FIRST_PAUSE_MS", 20))
        return ended


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A board whose sockets are those of a chip."""
    monkeypatch.syspath_prepend(str(CHIP / "cpython"))
    sockets = importlib.import_module("cpython_sockets")
    monkeypatch.setitem(sys.modules, "socket", sockets.socket)
    monkeypatch.setitem(sys.modules, "tls", sockets.tls)
    return Hasty(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(packed("1.1.0", 2)) as found:
        yield found


def offered(bench: Bench, server: Server, *, mqtt: bool = False, signature: str = "1") -> str:
    """Queue a job whose file is on the server. Returns the path that is asked for."""
    path = f"/fleet/x.ota?X-Amz-Expires=60&X-Amz-Signature={signature}"
    bench.service.add("job-1", server.data)
    address = f"{server.scheme}://127.0.0.1:{server.server_port}{path}"
    bench.service.offer_http("job-1", address, mqtt=mqtt)
    return path


@pytest.mark.compatibility(
    "4",
    "a file is fetched by one request, read on",
    path="HTTP",
    unlike="agents since V1.1 send a GET for each block",
    because="a round trip per block makes HTTP slow",
)
def test_a_job_without_a_stream_is_fetched_by_one_request(bench: Bench, server: Server) -> None:
    path = offered(bench, server)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.running == ("1.1.0", 2)
    assert server.requests == [(path, None)], "HTTP is slow with a request per block"
    assert bench.service.stream_requests == []


@pytest.mark.compatibility(
    "4", "where both are offered the board's preference decides", path="MQTT, HTTP"
)
@pytest.mark.parametrize(("prefer_http", "over_http"), [(0, False), (1, True)])
def test_the_boards_preference_decides_where_both_are_offered(
    bench: Bench, server: Server, prefer_http: int, over_http: bool
) -> None:
    offered(bench, server, mqtt=True)
    while bench.boot(prefer_http=prefer_http) is not None or bench.step() is not None:
        pass
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bool(server.requests) == over_http
    assert bool(bench.service.stream_requests) != over_http


@pytest.mark.compatibility(
    "4",
    "an expired URL is asked for again, and the download goes on with the blocks it has",
    path="HTTP",
)
def test_an_expired_address_is_asked_for_again_and_the_download_goes_on(
    bench: Bench, server: Server
) -> None:
    first = offered(bench, server)
    server.breaks_at = [20000]
    bench.boot()
    while not bench.agent.progress or bench.agent.progress[0] < 3:
        bench.client.deliver()
        assert bench.agent.step() is not None
    server.expired.add(first)
    second = first.replace("Signature=1", "Signature=2")
    bench.service.offer_http("job-1", f"http://127.0.0.1:{server.server_port}{second}")
    assert until(bench, "SUCCEEDED")
    asked = [path for path, _ in server.requests]
    assert asked[0] == first
    assert asked[-1] == second
    start = server.requests[-1][1]
    assert start is not None
    assert int(start.removeprefix("bytes=").rstrip("-")) >= 3 * 4096, (
        "what came is not fetched again"
    )
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.running == ("1.1.0", 2)


class ShortLived:
    """Addresses that expire 60 ms after they were signed; the first four requests are refused."""

    def __init__(self) -> None:
        self.signed: dict[str, float] = {}
        self.refusals = 4

    def __contains__(self, path: str) -> bool:
        self.refusals -= 1
        return self.refusals >= 0 or time.monotonic() - self.signed[path] > 0.06


def test_an_address_that_expires_sooner_than_the_pause_ends_is_signed_after_it(
    bench: Bench, server: Server
) -> None:
    """Pauses of 20 ms and twice as much each time, as with seconds and minutes."""
    path = offered(bench, server)
    known = ShortLived()
    server.expired = known  # type: ignore[assignment]
    handle = bench.service.handle

    def signing(topic: str, payload: bytes) -> None:
        if topic.endswith("$next/get"):
            afresh = f"{path}{len(known.signed)}"
            known.signed[afresh] = time.monotonic()
            bench.service.offer_http("job-1", f"http://127.0.0.1:{server.server_port}{afresh}")
        handle(topic, payload)

    bench.service.handle = signing  # type: ignore[method-assign]
    assert until(bench, "SUCCEEDED")


def step_on(bench: Bench) -> None:
    """Step until the link is found to be lost."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        bench.agent.step()


def until(bench: Bench, status: str, resets: int = 8) -> bool:
    """Step, and boot after resets, until the job has this status."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if bench.service.status("job-1") == status:
            bench.step(10)
            return True
        if bench.service.status("job-1") in ("SUCCEEDED", "FAILED"):
            return False
        if bench.agent is None or bench.step(10) is not None:
            assert resets, "the board resets without end"
            resets -= 1
            bench.boot()
    return False


def refused(bench: Bench) -> str:
    """Run the job to its end, which is no good one. Returns what the service was told."""
    bench.boot(source_tries=2, retry_max_ms=1000)
    assert until(bench, "FAILED")
    assert bench.service.details("job-1")["cause"] == "source"
    assert bench.board.running == 0
    return bench.service.details("job-1")["detail"]


@pytest.mark.compatibility(
    "4", "a file of another length than the job says ends the job", path="HTTP"
)
def test_a_server_that_has_another_file_ends_the_job(bench: Bench, server: Server) -> None:
    offered(bench, server)
    server.data = server.data[:-4096]
    bench.until_quiet()
    details = bench.service.details("job-1")
    assert bench.service.status("job-1") == "FAILED"
    assert details["cause"] == "source"
    assert details["reason"] == "aborted: 0x0d000000"
    assert "Signature" not in details["detail"]
    assert bench.board.running == 0


def test_a_server_that_is_not_there_ends_the_job_after_its_tries(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.status = 404
    assert "404, 2 times" in refused(bench)


def test_the_pauses_grow_though_every_new_address_is_signed_afresh(
    bench: Bench, server: Server
) -> None:
    """Else a server that is away for seconds has cost the job all its tries."""
    path = offered(bench, server)
    server.status = 503
    bench.boot(source_tries=8)
    end = time.monotonic() + 1.0  # 20 ms and their doubles: six pauses
    for number in range(100_000):
        address = f"http://127.0.0.1:{server.server_port}{path}&n={number}"
        bench.service.offer_http("job-1", address)
        bench.client.deliver()
        bench.agent.step()
        time.sleep(0.002)
        if time.monotonic() > end:
            break
    assert 3 <= len(server.requests) <= 7
    assert bench.service.status("job-1") in ("QUEUED", "IN_PROGRESS")
    server.status = 200
    assert until(bench, "SUCCEEDED")


@pytest.mark.parametrize("port", ["x", "0", "-1", "65536", "9" * 3000])
def test_an_address_without_a_usable_port_ends_the_job_after_its_tries(
    bench: Bench, server: Server, port: str
) -> None:
    offered(bench, server)
    bench.service.offer_http("job-1", f"http://127.0.0.1:{port}/x.ota")
    bench.boot(source_tries=2)
    assert until(bench, "FAILED")
    assert bench.service.details("job-1")["cause"] == "source"
    assert bench.board.running == 0


@pytest.mark.compatibility("4", "a job that offers no way this board can go: `aborted: 0x2d000000`")
def test_a_job_that_offers_no_way_at_all_is_told_so(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    update = bench.service.jobs["job-1"]["jobDocument"]["afr_ota"]
    update["protocols"] = ["HTTP"]
    bench.until_quiet()
    details = bench.service.details("job-1")
    assert bench.service.status("job-1") == "FAILED"
    assert (details["cause"], details["reason"]) == ("data_path", "aborted: 0x2d000000")


def test_a_link_lost_while_the_file_comes_is_the_applications_to_open_again(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.status = 404
    bench.boot(request_ms=100, source_tries=100)
    for _ in range(20):
        bench.client.deliver()
        bench.agent.step()
    bench.service.online = False
    with pytest.raises(OSError, match="reset"):
        step_on(bench)
    assert bench.agent.state == "NotReady"
    assert bench.service.status("job-1") == "QUEUED"
    bench.service.online = True
    server.status = 200
    bench.agent.start()
    assert until(bench, "SUCCEEDED")


# -- whatever a server may answer ------------------------------------------------------------------


def starts(server: Server) -> list[int]:
    """The first byte of each request so far."""
    return [int((asked or "bytes=0-")[len("bytes=") : -1]) for _, asked in server.requests]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("cut", [1, 4095, 4096, 4097, 30_000, 45_055])
def test_a_connection_closed_at_any_byte_is_taken_up(
    bench: Bench, server: Server, cut: int, ranges: bool
) -> None:
    offered(bench, server)
    server.breaks_at = [cut]
    server.ranges = ranges
    assert until(bench, "SUCCEEDED")
    assert starts(server) == [0, cut // 4096 * 4096]


def test_a_server_that_sends_less_at_once_than_asked_is_asked_for_the_rest(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.breaks_at = [5000]
    server.most = 10_000
    assert until(bench, "SUCCEEDED")
    assert starts(server) == [0, 4096, 14_096, 24_096, 34_096, 44_096][: len(server.requests)]
    assert len(server.requests) >= 5
    assert server.connections == 2, "one broke, the other was kept"


@pytest.mark.parametrize("said", [True, False])
def test_a_server_that_keeps_no_connection_is_called_again(
    bench: Bench, server: Server, said: bool
) -> None:
    """Also one that does not say so, after its silence was noticed."""
    offered(bench, server)
    server.breaks_at = [5000]
    server.most = 20_000
    server.hangs_up = True
    if said:
        server.heads = [{"Connection": "close"} for _ in range(9)]
    assert until(bench, "SUCCEEDED")
    assert len(server.requests) >= 3
    assert server.connections == len(server.requests)


def test_a_page_that_redirects_is_not_taken_for_the_next_answer(
    bench: Bench, server: Server
) -> None:
    offered(bench, server)
    server.location = "/x.ota"
    document = bench.service.jobs["job-1"]["jobDocument"]["afr_ota"]["files"][0]
    document["update_data_url"] = server.url.replace("x.ota", "moved.ota")
    assert until(bench, "SUCCEEDED")
    assert [path for path, _ in server.requests] == ["/moved.ota", "/x.ota"]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Content-Length", "0", "the file is empty"),
        ("Content-Length", "-5", "the server's answer cannot be used: -5"),
        ("Content-Length", "x", "the server's answer cannot be used: x"),
        ("Transfer-Encoding", "chunked", "the server's answer cannot be used: "),
        (
            "Transfer-Encoding",
            "gzip, chunked",
            "the server sends the file packed, as gzip, chunked",
        ),
        ("Content-Encoding", "GZip", "the server sends the file packed, as gzip"),
    ],
)
def test_a_head_that_cannot_be_used_is_said(
    bench: Bench, server: Server, field: str, value: str, said: str
) -> None:
    offered(bench, server)
    server.heads = [{field: value}] * 2
    bench.boot(source_tries=2, retry_max_ms=1000)
    assert until(bench, "FAILED")
    details = bench.service.details("job-1")
    assert (details["cause"], details["reason"]) == ("source", "aborted: 0x0d000000")
    assert said in details["detail"]
    assert "2 times" in details["detail"]
    assert bench.board.running == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Range": ""},
        {"Content-Range": "bytes 0-45055/45056"},
        {"Content-Range": "bytes 4097-45055/45056"},
        {"Content-Range": "bytes 4096-45056/45056"},
        {"Content-Range": "bytes 45055-4096/45056"},
        {"Content-Range": "lines 4096-45055/45056"},
        {"Content-Length": "40959"},
        {"Content-Range": "bytes 4096-45055/45057"},
    ],
)
def test_a_range_that_is_not_the_one_asked_for_is_not_taken(
    bench: Bench, server: Server, fields: dict[str, str]
) -> None:
    offered(bench, server)
    assert len(server.data) == 45056
    server.breaks_at = [5000]
    server.heads = [{}, fields]
    bench.boot(source_tries=3, retry_max_ms=1000)
    ends = until(bench, "SUCCEEDED")
    if fields.get("Content-Range", "").endswith("45057"):
        assert not ends
        assert "has 45057 bytes, the job says 45056" in bench.service.details("job-1")["detail"]
    else:
        assert ends
        assert starts(server) == [0, 4096, 4096]
        assert bench.agent.running == ("1.1.0", 2)


def test_a_range_of_a_file_of_unknown_length_is_taken(bench: Bench, server: Server) -> None:
    """RFC 9110, 14.4: the star stands for it."""
    offered(bench, server)
    server.breaks_at = [5000]
    server.heads = [{}, {"Content-Range": "bytes 4096-45055/*"}]
    assert until(bench, "SUCCEEDED")
    assert starts(server) == [0, 4096]


@pytest.mark.parametrize("length", [CHUNKS, UNTIL_CLOSED])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("cut", [1, 4096, 5999, 6000, 30_000, 45_055])
def test_a_body_without_a_length_is_taken_up_where_it_was_cut(
    bench: Bench, server: Server, length: str, ranges: bool, cut: int
) -> None:
    offered(bench, server)
    server.length, server.ranges, server.breaks_at = length, ranges, [cut]
    assert until(bench, "SUCCEEDED")
    assert bench.agent.running == ("1.1.0", 2)
    assert len(server.requests) == 2


def test_a_file_that_changed_in_the_middle_never_boots(bench: Bench, server: Server) -> None:
    offered(bench, server)
    server.breaks_at = [20_000]
    bench.boot()
    while not server.requests or not bench.agent.progress or bench.agent.progress[0] < 4:
        bench.client.deliver()
        bench.agent.step()
    server.data = server.data[:8192] + bytes(len(server.data) - 8192)
    assert until(bench, "FAILED")
    assert bench.service.details("job-1")["cause"] == "bad_image"
    assert bench.board.running == 0


def test_redirects_are_followed_four_times_and_no_more(bench: Bench, server: Server) -> None:
    offered(bench, server)
    moved = f"http://127.0.0.1:{server.server_port}/moved.ota"
    bench.service.offer_http("job-1", moved)
    server.location = "/moved.ota"
    bench.boot(source_tries=1)
    assert until(bench, "FAILED")
    assert "the server answers 302" in bench.service.details("job-1")["detail"]
    assert len(server.requests) == 5


# -- https -----------------------------------------------------------------------------------------


@pytest.fixture
def ca(tmp_path: Path) -> LocalCA:
    return LocalCA(tmp_path / "ca")


def context(ca: LocalCA, *hosts: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*ca.issue("server", *(hosts or ("127.0.0.1",))))
    return made


@pytest.fixture
def secure(ca: LocalCA) -> Iterator[Server]:
    with serving(packed("1.1.0", 2), context(ca)) as found:
        yield found


def trust(bench: Bench, ca: LocalCA) -> None:
    bench.board.write_etc("http_ca.pem", ca.path.read_bytes())


def test_a_file_comes_over_https_by_one_request(bench: Bench, secure: Server, ca: LocalCA) -> None:
    trust(bench, ca)
    path = offered(bench, secure)
    assert until(bench, "SUCCEEDED")
    assert secure.requests == [(path, None)]
    assert bench.agent.running == ("1.1.0", 2)


def test_a_server_whom_the_boards_ca_did_not_certify_is_refused(
    bench: Bench, secure: Server, tmp_path: Path
) -> None:
    trust(bench, LocalCA(tmp_path / "another"))
    offered(bench, secure)
    assert "certificate verify failed" in refused(bench)
    assert secure.requests == []


def test_a_server_with_the_certificate_of_another_is_refused(bench: Bench, ca: LocalCA) -> None:
    trust(bench, ca)
    with serving(packed("1.1.0", 2), context(ca, "127.0.0.2")) as other:
        offered(bench, other)
        assert "certificate" in refused(bench)
        assert other.requests == []


def test_a_board_that_trusts_nobody_says_what_is_missing(bench: Bench, secure: Server) -> None:
    offered(bench, secure)
    assert "http_ca.pem is missing" in refused(bench)
    assert secure.requests == []


def test_an_https_address_is_never_asked_in_plain(
    bench: Bench, server: Server, ca: LocalCA
) -> None:
    trust(bench, ca)
    path = offered(bench, server)
    bench.service.offer_http("job-1", f"https://127.0.0.1:{server.server_port}{path}")
    refused(bench)
    assert server.requests == []


def test_a_redirect_leads_up_to_https(
    bench: Bench, server: Server, secure: Server, ca: LocalCA
) -> None:
    trust(bench, ca)
    bench.service.add("job-1", server.data)
    bench.service.offer_http("job-1", server.url.replace("x.ota", "moved.ota"))
    server.location = secure.url
    assert until(bench, "SUCCEEDED")
    assert (len(server.requests), len(secure.requests)) == (1, 1)


def test_a_redirect_never_leads_down_to_plain_http(
    bench: Bench, server: Server, secure: Server, ca: LocalCA
) -> None:
    trust(bench, ca)
    bench.service.add("job-1", server.data)
    bench.service.offer_http("job-1", secure.url.replace("x.ota", "moved.ota"))
    secure.location = server.url
    assert "the server redirects to http://" in refused(bench)
    assert server.requests == []


@pytest.mark.parametrize("mqtt", [True, False])
@pytest.mark.parametrize(
    ("regions", "fits"),
    [
        ([(100_000, 60_000, 30_000, 0)], True),
        ([(100_000, 30_000, 30_000, 0)], False),  # too little in all
        ([(60_000, 30_000, 16_000, 0)] * 2, False),  # no piece is large enough for a record
    ],
)
def test_a_second_tls_connection_is_tried_only_where_memory_allows(
    bench: Bench,
    secure: Server,
    ca: LocalCA,
    monkeypatch: pytest.MonkeyPatch,
    regions: Any,
    fits: bool,
    mqtt: bool,
) -> None:
    monkeypatch.setattr(esp32, "HEAP_DATA", 4, raising=False)
    monkeypatch.setattr(esp32, "idf_heap_info", lambda _: regions, raising=False)
    trust(bench, ca)
    offered(bench, secure, mqtt=mqtt)
    bench.boot(prefer_http=1)
    if fits or mqtt:
        assert until(bench, "SUCCEEDED")
        assert bool(secure.requests) == fits
        assert bool(bench.service.stream_requests) != fits
    else:
        assert until(bench, "FAILED")
        details = bench.service.details("job-1")
        assert (details["cause"], details["reason"]) == ("data_path", "aborted: 0x2d000000")
        assert "memory" in details["detail"]
        assert secure.requests == []
