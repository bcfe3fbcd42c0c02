"""The benchmark delays what it says it delays, and compares whole downloads."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from connected_board import begin_test, port, running_board
from link_fixtures import need

from bench import p256, report, servers
from bench.__main__ import main
from bench.delay import DelayedPort
from bench.run import (
    DEFAULT,
    HTTP,
    KINDS,
    ONE,
    RAW,
    TYPICAL,
    WIDE,
    BenchError,
    FlashTimes,
    Measurement,
    bench,
    medians,
)
from demo.stack import Stack
from sim.board import PWRON, SOFT
from tools.interpreters import INTERPRETERS
from twinslot.board.running import PendingError

DATA = bytes(range(256)) * 4096


def received(port: int, ask: bytes = b"") -> tuple[bytes, float]:
    """Read until the end. Returns the bytes, and the seconds until the first came."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(ask)
        data = sock.recv(65536)
        first = time.monotonic() - start
        while piece := sock.recv(65536):
            data += piece
    return data, first


def test_the_relay_holds_everything_back_and_keeps_the_order() -> None:
    with servers.raw(DATA) as target, DelayedPort(target, 200) as relay:
        data, first = received(relay.port)
    assert data == DATA
    assert 0.1 <= first < 0.2, "half of it each way, and nobody was asked"


def test_a_round_trip_takes_the_whole_delay_longer() -> None:
    with servers.http_get(DATA) as target, DelayedPort(target, 200) as relay:
        answer, first = received(relay.port, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == DATA
    assert 0.2 <= first < 0.35


def test_the_delay_limits_no_bandwidth() -> None:
    large = DATA * 8
    with servers.raw(large) as target, DelayedPort(target, 400) as relay:
        start = time.monotonic()
        data, _ = received(relay.port)
        took = time.monotonic() - start
    assert len(data) == len(large) == 8 << 20
    assert took < 12, "8 MB would take 25 s by 64 KB for each 200 ms"


def test_a_relay_ends_while_connections_are_open() -> None:
    with servers.raw(DATA) as target:
        threads = threading.active_count()
        with DelayedPort(target, 60_000) as relay:
            sock = socket.create_connection(("127.0.0.1", relay.port), timeout=10)
        with contextlib.suppress(ConnectionResetError), sock:
            assert sock.recv(1) == b""
        assert threading.active_count() <= threads + 1


def test_a_real_board_needs_this_machines_address(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchError, match="HOST="),
        bench(tmp_path / "b", size=65536, port="socket://127.0.0.1:1"),
    ):
        pass


def test_a_crooked_delay_is_refused() -> None:
    done = CliRunner().invoke(main, ["--delays", "soon"])
    assert done.exit_code == 2
    assert "numbers" in done.output


def test_the_table_has_a_row_for_each_kind_and_the_ratios(tmp_path: Path) -> None:
    some = [
        Measurement(kind, delay, 1_000_000, seconds, seconds + 1)
        for delay in (0, 100)
        for kind, seconds in zip(KINDS, (1.0, 2.0, 16.0, 4.0, 1.0), strict=True)
    ]
    found = medians([*some, *some, Measurement(ONE, 100, 1_000_000, 99.0, 99.0)])
    assert report.ratio(found, DEFAULT, ONE, 100) == 4.0
    assert report.ratio(found, DEFAULT, ONE, 50) is None
    shown = report.table(found, TYPICAL)
    assert shown.row_count == len(KINDS) + 3 + 3
    report.plot({FlashTimes(): found, TYPICAL: found}, tmp_path / "p.svg")
    drawn = (tmp_path / "p.svg").read_text()
    report.plot({FlashTimes(): found, TYPICAL: found}, tmp_path / "q.svg")
    assert drawn == (tmp_path / "q.svg").read_text(), "the same numbers, the same file"


@pytest.mark.slow
def test_a_signature_is_timed_beside_a_plain_verification_and_rsa() -> None:
    need("micropython")
    found = p256.measure(INTERPRETERS[0])
    assert [one.name for one in found] == ["plain", "ota.p256", "RSA-3072"]
    assert found[0].of_plain == 1
    assert all(one.ms > 0 and one.interpreter == "micropython-unix" for one in found)
    assert p256.table(found).row_count == 3


@pytest.mark.slow
def test_every_kind_of_download_is_measured_on_the_simulated_board(tmp_path: Path) -> None:
    need("mosquitto")
    need("micropython")
    folder = tmp_path / "bench"
    with bench(folder, size=131_072, flash=FlashTimes(10, 20, 1)) as running:
        assert running.kinds == list(KINDS)
        found = {kind: running.measure(kind, 0) for kind in running.kinds}
    sectors = 131_072 // 4096
    assert found[RAW].total == found[RAW].transfer
    assert found[HTTP].transfer >= sectors * (10 + 1) / 1000, "the flash takes its time"
    assert found[ONE].transfer >= sectors * (10 + 1) / 1000 * 0.9
    assert found[WIDE].transfer < found[DEFAULT].transfer
    for one in found.values():
        assert 0 < one.transfer <= one.total
    log = (folder / "bench" / "console.log").read_text(errors="replace")
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_board_behind_a_port_is_measured_and_goes_on_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PORT=, as on a real board: one that runs its application, connected to its broker."""
    need("mosquitto")
    need("micropython")
    monkeypatch.setattr("bench.__main__.CACHE", tmp_path / "cache")
    with Stack(tmp_path / "stack", interpreter="micropython") as stack:
        board = stack.board(keys_set=False)
        board.start()
        at = board.wait_console("State: Ready", 60)
        slot = board.slot_bytes(0, 300_000)
        port = "socket://{}:{}".format(*board.console)
        options = ["--port", port, "--host", "127.0.0.1", "--size", "65536", "--delays", "0"]
        done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "out")])
        assert done.exit_code == 0, done.output
        board.wait_console("State: Ready", 60, since=at)
        assert board.slot_bytes(0, 300_000) == slot
        (first, *rest) = board.boots
        assert first == (0, PWRON)
        assert set(rest) == {(0, SOFT)}
        board.stop()
        assert "bench" not in board.list_files("/")
        assert "bench_downloads.mpy" not in board.list_files("/")
    (saved,) = json.loads((tmp_path / "out/results.json").read_text())["downloads"]
    assert [(one["kind"], one["delay_ms"]) for one in saved["measurements"]] == [
        (kind, 0) for kind in KINDS
    ]
    assert "the board's own flash" in (tmp_path / "out/performance.svg").read_text()


@pytest.mark.slow
def test_an_image_that_does_not_fit_leaves_a_board_as_it_was(
    tmp_path: Path,
) -> None:
    need("mosquitto")
    need("micropython")
    with running_board(tmp_path / "board") as board:
        trailer = board.trailer(1)
        too_large = bench(tmp_path / "bench", size=4_000_000, port=port(board), host="127.0.0.1")
        with pytest.raises(BenchError, match="4000000 bytes do not fit a slot of"), too_large:
            pass
        board.stop()
        assert board.trailer(1) == trailer
        assert "bench" not in board.list_files("/")


def test_a_board_that_tests_an_image_is_not_measured(tmp_path: Path) -> None:
    need("micropython")
    with running_board(tmp_path / "board") as board:
        at = begin_test(board)
        refused = bench(tmp_path / "bench", size=65_536, port=port(board), host="127.0.0.1")
        with pytest.raises(PendingError, match="under test"), refused:
            pass
        board.wait_console("main: runs 1.0.0", since=at)


@pytest.mark.slow
def test_with_100_ms_a_window_is_four_times_as_fast_as_one_block_per_request(
    tmp_path: Path,
) -> None:
    need("mosquitto")
    need("micropython")
    with bench(tmp_path / "bench", size=400_000, flash=FlashTimes()) as running:
        found = [running.measure(kind, 100) for kind in (ONE, DEFAULT)]
    ratio = report.ratio(found, DEFAULT, ONE, 100)
    assert ratio is not None
    assert ratio >= 4, json.dumps([one.rate for one in found])


@pytest.mark.slow
def test_no_window_waits_for_tcp_to_acknowledge_a_small_packet(tmp_path: Path) -> None:
    # 40 ms wherever one of board, broker and service sends in two pieces without TCP_NODELAY.
    need("mosquitto")
    need("micropython")
    with bench(tmp_path / "bench", size=400_000, flash=FlashTimes()) as running:
        fastest = min(running.measure(DEFAULT, 0).transfer for _ in range(5))
    windows = 400_000 / 4096 / 8
    assert fastest / windows < 0.03
