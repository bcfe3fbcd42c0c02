"""No step holds the application's loop for long: a slice of a signature, or a sector of flash."""

from __future__ import annotations

import importlib
import re
import ssl
import sys
from pathlib import Path
from typing import Any

import esp32
import pytest
from agent_bench import Bench, Patient, packed
from chipboard import on_load
from job_service import LinkDown
from layout import SLOTS
from local_ca import LocalCA
from web_server import serving

from sim.build import CHIP

# Reductions modulo P: 7 a doubling, 10 an addition. An inversion takes as long as so many.
INVERSION = 20
DOUBLINGS = 256 * 7
# Some 20 ms on a chip, where 4 KB of flash take 30 to 100.
MOST_PER_STEP = 200
SECTOR = 4096
# The journal's record, and NVS's own notes about it (bytes).
JOURNAL = 1024


class Meter:
    """Counts what ota.p256 does, in reductions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        meter = self

        class Prime(int):
            """P; whoever reduces by it is counted."""

            def __rmod__(self, number: int) -> int:
                meter.count += 1
                return number % int(self)

        monkeypatch.setattr(importlib.import_module("ota.loader"), "unloads", False)
        p256: Any = importlib.import_module("ota.p256")
        monkeypatch.setattr(p256, "P", Prime(p256.P))
        inverse = p256._inverse

        def counted(number: int, prime: int) -> Any:
            self.count += INVERSION
            return inverse(number, int(prime))

        monkeypatch.setattr(p256, "_inverse", counted)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def until(bench: Bench, condition: Any, meter: Meter | None = None) -> list[int]:
    """Step until the condition holds; return what each step cost by the meter."""
    costs: list[int] = []
    for _ in range(3000):
        if condition():
            return costs
        bench.client.deliver()
        before = meter.count if meter else 0
        bench.agent.step()
        costs.append(meter.count - before if meter else 0)
    raise AssertionError("it never came to that")


def until_verifying(bench: Bench) -> None:
    """Stop in the middle of the verification of the head."""
    agent = bench.agent
    until(bench, lambda: bench.in_hand and bench.in_hand.state == "verifying")
    for _ in range(5):
        agent.step()
    assert bench.in_hand.state == "verifying"


def put_off(_event: str, _detail: Any) -> None:
    """Do nothing as the application, so that a verified image waits."""


def receives(bench: Bench) -> bool:
    """Say whether the head was admitted, so that blocks of the image come."""
    return bool(bench.agent.progress and bench.agent.progress[0] >= 2)


def test_no_step_does_more_than_a_slice_of_a_verification(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(put_off)
    meter = Meter(monkeypatch)
    costs = until(bench, lambda: receives(bench), meter)
    assert sum(costs) > DOUBLINGS
    assert max(costs) <= MOST_PER_STEP, max(costs)

    bench.step()
    later = Patient()
    bench.boot(later)  # finds a verified image
    meter = Meter(monkeypatch)
    costs = until(bench, lambda: bool(later.asked), meter)
    assert later.asked == [("Activate", "1.1.0")]
    assert sum(costs) > DOUBLINGS
    assert max(costs) <= MOST_PER_STEP, max(costs)


def test_what_runs_is_known_before_the_first_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.boot()
    meter = Meter(monkeypatch)
    assert bench.agent.running == ("1.0.0", 1)
    bench.step()
    assert meter.count == 0


def test_neither_blocks_nor_a_new_connection_disturb_a_verification(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    until_verifying(bench)
    request = bench.service.stream_requests[-1]
    for _ in range(2):  # the head's block once more, as a slow network may bring it
        bench.service._stream("job-1", request)
    bench.service.stream_requests.clear()
    bench.client.deliver(count=2)
    bench.agent.step()
    assert bench.agent.stats.dropped == 2, "nothing is wanted meanwhile, and there are no buffers"
    bench.agent.suspend()
    assert bench.agent.step() > 0
    bench.agent.resume()
    bench.agent.start()
    until(bench, lambda: receives(bench))
    assert all(sent["o"] for sent in bench.service.stream_requests), "no head is asked for again"


def test_a_job_cancelled_while_its_head_is_verified_makes_way_for_the_next(bench: Bench) -> None:
    patient = Patient()
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot(patient)
    until_verifying(bench)
    bench.service.cancel("job-1")
    until(bench, lambda: bench.service.details("job-2"))
    assert patient.asked == [("Fail", "the job was cancelled")]
    assert bench.service.details("job-2") == {"receive": "1/11"}


def test_a_verification_that_ran_out_of_memory_is_begun_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    until_verifying(bench)
    p256: Any = sys.modules["ota.p256"]
    monkeypatch.setattr(p256, "_multiple_of_g", lambda _: bytearray(1 << 60))
    with pytest.raises(MemoryError):
        bench.agent.step()
    monkeypatch.undo()
    until(bench, lambda: receives(bench))


def test_a_link_that_breaks_while_the_stream_is_opened_costs_no_job(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    subscribe = bench.client.subscribe

    def broken(topic: str, qos: int = 0) -> None:
        raise LinkDown(104, "reset")

    bench.client.subscribe = broken  # type: ignore[method-assign]
    with pytest.raises(LinkDown):
        bench.step()
    assert bench.agent.state == "NotReady"
    bench.client.subscribe = subscribe  # type: ignore[method-assign]
    bench.agent.start()
    until(bench, lambda: receives(bench))


class FlashMeter:
    """Counts what is done to the flash: erased sectors, bytes programmed and read.

    Reads of NVS do not count: the chip has its index in memory.
    """

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        flash = bench.board.flash
        self.count = dict.fromkeys(("erase", "erase_block", "program", "read"), 0)
        for name in self.count:
            monkeypatch.setattr(flash, name, self._counted(name, getattr(flash, name)))

    def _counted(self, name: str, action: Any) -> Any:
        def counted(address: int, *data: Any) -> Any:
            if name != "read" or address >= SLOTS[0][3]:
                self.count[name] += len(data[0]) if data else 1
            return action(address, *data)

        return counted

    def take(self) -> dict[str, int]:
        """What was counted since the last call."""
        counted = dict(self.count)
        self.count.update(dict.fromkeys(self.count, 0))
        return counted


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The chip's `socket` and `tls` over CPython's, where the agent imports them."""
    monkeypatch.syspath_prepend(str(CHIP / "cpython"))
    found: Any = importlib.import_module("cpython_sockets")
    monkeypatch.setitem(sys.modules, "socket", found.socket)
    monkeypatch.setitem(sys.modules, "tls", found.tls)
    return found


@pytest.mark.usefixtures("sockets")
@pytest.mark.parametrize("path", ["cbor", "json", "http"])
def test_no_step_of_an_update_does_more_than_one_sectors_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """From job to acceptance; only the one that activates the new image is let off."""
    data = packed("1.1.0", 2, size=400_000)
    settings = {"stream_json": 1} if path == "json" else {}
    with serving(data) as server:
        bench.service.add("job-1", data)
        if path == "http":
            bench.service.offer_http("job-1", server.url)
        bench.boot(**settings)
        bench.agent.journal.finish()  # a blank NVS is prepared
        meter = FlashMeter(bench, monkeypatch)
        total = dict.fromkeys(meter.count, 0)
        for step in range(100_000):
            if bench.service.status("job-1") == "SUCCEEDED":
                break
            if step % 3:  # else nothing comes, so that the flash has time for more
                bench.client.deliver()
            meter.take()
            ended = bench.board.run(bench.agent.step)
            done = meter.take()
            if not isinstance(ended, int):
                assert bench.agent.journal.phase == "ACTIVATED"
                bench.boot(**settings)
                continue
            assert done["erase"] <= 1
            assert done["erase_block"] == 0
            assert done["program"] <= SECTOR + JOURNAL
            assert done["read"] <= 4 * SECTOR
            total = {name: total[name] + done[name] for name in total}
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert total["program"] > len(data) - 2 * SECTOR
    assert total["erase"] >= len(data) // SECTOR - 1
    assert bool(server.requests) == (path == "http")
    assert len(server.requests) <= 1


PAGE = (Path(__file__).parent.parent / "docs/agent.md").read_text(encoding="utf-8")
LONG_CALL = re.compile(
    r"^\| (?:`([\w.]+)\(\)`|([\w ]+)) \| that [^|]+ \| (\d+) \| (\d+) \| ", re.MULTILINE
)
# Call -> how often in a step, and the bound of one (ms).
LONG = {a or b: (int(most), int(ms)) for a, b, most, ms in LONG_CALL.findall(PAGE)}


class LongCalls:
    """Counts the calls that take long by a chip's nature, by their names in docs/agent.md."""

    def __init__(self, bench: Bench, sockets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = dict.fromkeys(LONG, 0)
        self._watch(monkeypatch, esp32.Partition, "set_boot", "Partition.set_boot")
        self._watch(monkeypatch, esp32.NVS, "commit", "NVS.commit")
        self._watch(monkeypatch, sockets.socket, "getaddrinfo", "socket.getaddrinfo")
        self._watch(monkeypatch, sockets.tls.SSLContext, "wrap_socket", "TLS handshake")
        self._watch(monkeypatch, bench.board.flash, "erase_block", "erasing 64 KB")

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, row: str) -> None:
        real = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.count[row] += 1
            return real(*arguments, **options)

        assert row in self.count, f"{row} has no row in docs/agent.md"
        monkeypatch.setattr(owner, name, counted)

    def take(self) -> dict[str, int]:
        """Return the counts since the last time."""
        taken, self.count = self.count, dict.fromkeys(self.count, 0)
        return taken


def plenty(prepare: Any) -> None:
    """Let `prepare` believe in PSRAM."""
    prepare.mem_free = lambda: 4 << 20


@pytest.mark.parametrize("way", ["mqtt", "wide", "http", "https"])
def test_what_takes_longer_than_a_step_may_is_on_the_page_and_comes_no_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sockets: Any, way: str
) -> None:
    bench = Bench(tmp_path / "board")
    data = packed("1.1.0", 2, size=300_000)
    ca = LocalCA(tmp_path / "ca")
    bench.board.write_etc("http_ca.pem", Path(ca.path).read_bytes())
    tls = None
    if way == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*ca.issue("server", "127.0.0.1"))
    seen = dict.fromkeys(LONG, 0)
    with serving(data, tls=tls) as server:
        bench.service.add("job-1", data)
        if way.startswith("http"):
            bench.service.offer_http("job-1", server.url)
        calls = LongCalls(bench, sockets, monkeypatch)
        for _ in range(8):
            if bench.boot() is not None:
                continue
            calls.take()
            if way == "wide":
                on_load("prepare", plenty)
            for _ in range(20_000):
                bench.client.deliver()
                ended = bench.board.run(bench.agent.step)
                for name, count in calls.take().items():
                    assert count <= LONG[name][0], f"{name}: {count} times in a step"
                    seen[name] += count
                if not isinstance(ended, int) or bench.service.status("job-1") == "SUCCEEDED":
                    break
            if bench.service.status("job-1") == "SUCCEEDED":
                break
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert seen["Partition.set_boot"] == 1
    assert bool(seen["erasing 64 KB"]) == (way == "wide")
    assert bool(seen["TLS handshake"]) == (way == "https")
    assert all(bound >= 500 for _, bound in LONG.values())
