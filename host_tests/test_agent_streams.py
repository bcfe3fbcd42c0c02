"""A stream in CBOR and in JSON carries the same image over a link that loses and shuffles."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hardware
import paho.mqtt.client as mqtt
import pytest
from agent_bench import Bench, packed
from link_fixtures import need
from paho.mqtt.enums import CallbackAPIVersion

from demo.children import wait_for
from demo.stack import Stack
from sim.board import Board

SIZE = 200_000
FORMS = pytest.mark.parametrize("form", ["cbor", "json"])
PATIENCE_S = 30.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def settings(form: str) -> dict[str, int]:
    return {} if form == "cbor" else {"stream_json": 1}


def run(bench: Bench, form: str, **more: int) -> None:
    """Step, and boot after resets, until the job has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while bench.service.status("job-1") in ("QUEUED", "IN_PROGRESS"):
        assert time.monotonic() < deadline, bench.service.jobs["job-1"]
        if bench.agent is None or bench.step(200) is not None:
            bench.boot(**settings(form), **more)


def told(bench: Bench) -> set[str]:
    """The topics of streams to which the board has subscribed, by their ends."""
    return {name.rsplit("/", 2)[-1] for name in bench.client.filters if "/streams/" in name}


@FORMS
@pytest.mark.parametrize("block_size", [256, 4096, 16384])
def test_every_form_carries_every_block_size(bench: Bench, form: str, block_size: int) -> None:
    data = packed("1.1.0", 2)
    bench.service.add("job-1", data)
    bench.boot(block_size=block_size, **settings(form))
    assert isinstance(bench.step(20000), hardware.Reset)
    assert told(bench) == {form}
    assert bench.agent.stats.dropped == 0
    bench.boot()
    run(bench, form, block_size=block_size)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, 40_000) == data[4096:44_096]


class Shuffled:
    """Loses one stream message of ten, doubles another, and delivers the rest out of order."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self._bench = bench
        self._chance = random.Random(seed)
        self.lost = self.doubled = self.overtaken = 0

    def deliver(self, count: int = 1) -> None:
        """As Client.deliver."""
        waiting = self._bench.service.outgoing
        for _ in range(min(count, len(waiting))):
            at = self._chance.randrange(min(4, len(waiting)))
            if "/streams/" in waiting[at][0]:
                fate = self._chance.randrange(10)
                self.lost += fate == 0
                self.doubled += fate == 1
                self.overtaken += at > 0
                message = waiting[at]
                del waiting[at]
                if fate == 0:
                    continue
                waiting.appendleft(message)
                if fate == 1:
                    waiting.append(message)
            type(self._bench.client).deliver(self._bench.client)


@FORMS
def test_losses_duplicates_and_any_order_spoil_nothing(
    bench: Bench, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed("1.1.0", 2, size=SIZE)
    bench.service.add("job-1", data)
    bench.boot(**settings(form))
    link = Shuffled(bench, 7)
    monkeypatch.setattr(bench.client, "deliver", link.deliver)
    run(bench, form)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, SIZE) == data[4096 : 4096 + SIZE]
    assert min(link.lost, link.doubled, link.overtaken) > 2


@pytest.mark.parametrize("damage", ["text", "length", "not json"])
def test_a_damaged_block_in_json_ends_the_job_with_its_word(bench: Bench, damage: str) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(**settings("json"))
    while not bench.agent.progress or bench.agent.progress[0] < 3:
        bench.client.deliver()
        bench.agent.step()
    topic, payload = bench.service.outgoing.popleft()
    assert topic.endswith("/data/json")
    bad = {
        "text": payload.replace(b'"p": "', b'"p": "!'),
        "length": payload.replace(b"4096", b"4095"),
        "not json": b"\xbf" + payload[1:],
    }[damage]
    bench.service.outgoing.appendleft((topic, bad))
    bench.step()
    details = bench.service.details("job-1")
    assert bench.service.status("job-1") == "FAILED"
    assert (details["cause"], details["reason"]) == ("bad_block", "0x27000000: 0xfffffff8")
    assert bench.board.running == 0


@FORMS
def test_only_the_form_that_is_chosen_is_loaded(bench: Bench, form: str) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(**settings(form))
    while not bench.agent.progress or bench.agent.progress[0] < 3:
        bench.client.deliver()
        bench.agent.step()
    assert ("ota.stream_cbor" in sys.modules) == (form == "cbor")
    assert ("ota.stream_json" in sys.modules) == (form == "json")


@FORMS
def test_only_json_makes_buffers_larger(bench: Bench, form: str) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(**settings(form))
    inbox: Any = bench.agent._inbox
    while not bench.agent.progress:
        bench.client.deliver()
        bench.agent.step()
    assert len(inbox.buffers[0]) == (4096 if form == "cbor" else 5464) + 64


def test_the_services_refusal_in_json_is_named(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.silent_stream = True
    bench.boot(momentum=2, **settings("json"))
    bench.step()
    topic = f"{bench.service.prefix}streams/job-1/rejected/json"
    bench.service.outgoing.append((topic, b'{"o":"ETagMismatch","m":"changed"}'))
    run(bench, "json", momentum=2)
    assert "ETagMismatch" in bench.service.details("job-1")["detail"]


# -- broker, service and a board under MicroPython -------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Any:
    need("micropython")
    need("mosquitto")
    with Stack(tmp_path / "stack", interpreter="micropython") as found:
        yield found


@contextmanager
def requests_of(stack: Stack) -> Iterator[set[str]]:
    """The forms in which boards ask for blocks from now on."""
    forms: set[str] = set()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: forms.add(message.topic.split("/")[-1])
    client.connect("127.0.0.1", stack.broker_port)
    client.subscribe("$aws/things/+/streams/+/get/+")
    client.loop_start()
    yield forms
    client.disconnect()
    client.loop_stop()


def accepted(stack: Stack, board: Board, job: str) -> None:
    """Wait for the job's end, and hold the board's flash against what was sent."""
    wait_for(lambda: stack.finished(job), f"the end of {job}", timeout=90)
    execution = stack.execution(job)
    assert execution["status"] == "SUCCEEDED", execution["statusDetails"]
    assert board.boots[-1][0] == 1
    assert stack.firmware("1.1.0") == board.slot_bytes(1, len(stack.firmware("1.1.0")))


@pytest.mark.slow
def test_an_update_comes_in_json_from_the_real_service(stack: Stack) -> None:
    board = stack.board(settings={"stream_json": 1})
    board.start()
    board.wait_console("running version 1.0.0")
    with requests_of(stack) as asked:
        job = stack.publish(stack.pack("1.1.0", 2))
        accepted(stack, board, job)
        wait_for(lambda: asked, "the first request")
    assert asked == {"json"}

    def counted() -> bool:
        return int(stack.clients.traffic(job)["things"]["board-1"]["blocks"]) >= 73

    wait_for(counted, "the service to count the blocks")


def test_an_update_comes_over_http_from_the_real_service(stack: Stack) -> None:
    board = stack.board()
    board.start()
    board.wait_console("running version 1.0.0")
    job = stack.publish(stack.pack("1.1.0", 2), protocol="http")
    accepted(stack, board, job)
