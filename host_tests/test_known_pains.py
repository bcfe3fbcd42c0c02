"""What users of FreeRTOS's OTA agent met, and what happens to a board of ours in the same place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hardware
import nor
import pytest
from agent_bench import IMAGE, Bench, packed, receive
from job_service import LinkDown
from layout import SLOT_SIZE
from test_http_jobs import offered
from web_server import Server, serving

from sim.build import CHIP

FIRST = packed("1.1.0", 2)
SECOND = packed("1.2.0", 3)
PENDING, VALID = 1, 2  # of otadata
BLOCKS = len(FIRST) // 4096


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Application:
    """Agrees to every update but those it was told to wait with. told: the events it got."""

    def __init__(self, bench: Bench, waits_with: str = "") -> None:
        self.bench = bench
        self.waits_with = waits_with
        self.told: list[str] = []

    def __call__(self, event: str, detail: Any) -> None:
        self.told.append(event)
        if event == "Activate" and detail != self.waits_with:
            self.bench.agent.activate()
        elif event == "StartTest":
            self.bench.agent.accept()


def step_until(bench: Bench, reached: Callable[[], bool]) -> None:
    """Step and deliver one at a time until it is so."""
    for _ in range(3000):
        if reached():
            return
        bench.client.deliver()
        bench.agent.step()
    raise AssertionError("it never comes to that")


def asked_for(bench: Bench) -> list[int]:
    """Return the blocks that were asked for, in order, those asked for twice twice."""
    found: list[int] = []
    for request in bench.service.stream_requests:
        bits = int.from_bytes(request["b"], "little")
        found += [request["o"] + i for i in range(bits.bit_length()) if bits >> i & 1]
    return found


def runs(bench: Bench, version: str, sequence: int) -> None:
    """Assert that this is what runs, accepted, and that nothing is left to do."""
    assert bench.agent.running == (version, sequence)
    assert bench.agent.image_state == VALID
    assert bench.agent.state == "Ready"
    assert bench.agent.journal.result is None


# -- a cancelled job ------------------------------------------------------------------------------


def before_the_head(bench: Bench) -> None:
    bench.service.silent_stream = True
    bench.step()
    assert bench.agent.progress == (0, BLOCKS)
    bench.service.silent_stream = False


def while_the_head_is_verified(bench: Bench) -> None:
    step_until(bench, lambda: bench.agent._engine and bench.agent._engine.state == "verifying")


def while_it_comes(bench: Bench) -> None:
    receive(bench, 3)


def while_it_is_hashed(bench: Bench) -> None:
    step_until(bench, lambda: bench.agent._engine.state == "finishing")


def while_the_application_is_asked(bench: Bench) -> None:
    bench.step()
    assert bench.agent.journal.phase == "VERIFIED"


def when_it_was_told_ready(bench: Bench) -> None:
    bench.step()
    bench.service.silent_updates = True
    bench.agent.activate()
    bench.step()
    assert bench.service.updates[-1][2]["self_test"] == "ready"
    bench.service.silent_updates = False


BEFORE_THE_TEST = [
    before_the_head,
    while_the_head_is_verified,
    while_it_comes,
    while_it_is_hashed,
    while_the_application_is_asked,
    when_it_was_told_ready,
]


@pytest.mark.parametrize("waits", [True, False], ids=["another waits", "another comes later"])
@pytest.mark.parametrize("phase", BEFORE_THE_TEST, ids=lambda phase: phase.__name__)
def test_cancel_that_crashed_the_agent(
    bench: Bench, phase: Callable[[Bench], None], waits: bool
) -> None:
    """A job cancelled while its update was in hand took the whole device down.

    Here the agent lets go of it, whatever it is doing, tells the application, and takes the next
    job without a restart.
    """
    application = Application(bench, waits_with="1.1.0")
    bench.service.add("job-1", FIRST)
    if waits:
        bench.service.add("job-2", SECOND)
    assert bench.boot(application) is None
    phase(bench)
    agent = bench.agent
    told = len(bench.service.updates)
    bench.service.cancel("job-1")
    if not waits:
        assert bench.step() is None
        assert agent.state == "Ready"
        assert (agent.journal.phase, agent.journal.job, agent.progress) == ("NONE", "", None)
        bench.service.add("job-2", SECOND)
    assert isinstance(bench.step(), hardware.Reset)
    assert bench.agent is agent, "no restart before the next job's own"
    assert application.told.count("Fail") == 1
    bench.until_quiet(application)
    assert bench.service.status("job-1") == "CANCELED"
    assert {job for job, _, _ in bench.service.updates[told:]} == {"job-2"}
    assert bench.service.status("job-2") == "SUCCEEDED"
    runs(bench, "1.2.0", 3)
    assert bench.board.slot_bytes(1, IMAGE) == SECOND[4096 : 4096 + IMAGE]


def test_cancel_of_an_image_under_test_brings_the_old_one_back(bench: Bench) -> None:
    """A job cancelled after the reboot left devices with an image nobody wanted any more.

    Here the test ends without its job, so the deadline brings the old image back, whose late report
    is refused, and the next job goes its way.
    """
    bench.service.add("job-1", FIRST)
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.cancel("job-1")
    assert bench.boot() is None
    assert bench.step() is None
    assert bench.agent.image_state == PENDING
    bench.service.add("job-2", SECOND)
    assert bench.step() is None
    assert bench.agent.image_state == PENDING, "another job is no reason to accept"
    assert isinstance(bench.board.run(hardware.hang), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "CANCELED"
    assert bench.service.status("job-2") == "SUCCEEDED"
    runs(bench, "1.2.0", 3)


# -- the others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [True, False], ids=["without a link", "without power"])
def test_job_created_while_the_device_was_offline(bench: Bench, power: bool) -> None:
    """A job that was made while the device was away was never taken, for its news were missed.

    Here the agent asks after every connect, so that it needs no news.
    """
    bench.until_quiet()
    bench.service.online = False
    bench.agent.check_for_update()
    with pytest.raises(LinkDown):
        bench.agent.step()
    bench.service.add("job-1", FIRST)
    bench.service.outgoing.clear()  # nobody is there to hear of it
    bench.service.online = True
    if power:
        bench.agent.start()
        assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    runs(bench, "1.1.0", 2)


@pytest.mark.parametrize("end", ["link", "power"])
def test_job_said_failed_although_the_image_was_accepted(bench: Bench, end: str) -> None:
    """A result that was lost left the job in its self-test; the device then took that for a test
    of the version it already ran, and failed it.

    Here the result is in the journal before it is told, and told until it is answered.
    """
    bench.service.add("job-1", FIRST)
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    assert bench.boot() is None
    step_until(bench, lambda: bench.agent.image_state == VALID)
    bench.service.silent_updates = True
    assert bench.step() is None
    assert bench.service.updates[-1][1] == "SUCCEEDED"
    assert bench.service.status("job-1") == "IN_PROGRESS"
    assert "self_test" in bench.service.details("job-1")
    bench.service.silent_updates = False
    if end == "power":
        assert bench.boot() is None
    else:
        bench.agent.start()
    bench.service.notify()  # the job once more, as it was when the result was lost
    assert bench.step() is None
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert "FAILED" not in [status for _, status, _ in bench.service.updates]
    runs(bench, "1.1.0", 2)


def test_image_accepted_when_the_power_failed_before_it_was_noted(bench: Bench) -> None:
    """As before, but the power fails between otadata and journal: otadata decides."""
    bench.service.add("job-1", FIRST)
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    assert bench.boot() is None
    slots = sys.modules["ota.slots"].Slots
    mark = slots.mark_valid

    def then_the_power_fails(pair: object) -> None:
        mark(pair)
        bench.board.flash.cut_at = bench.board.flash.operations + 1

    slots.mark_valid = then_the_power_fails
    assert isinstance(bench.step(), nor.PowerCut)
    assert bench.service.details("job-1")["self_test"] == "active"
    bench.service.stream_requests.clear()
    bench.until_quiet()
    assert bench.service.stream_requests == [], "it is here"
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert "FAILED" not in [status for _, status, _ in bench.service.updates]
    runs(bench, "1.1.0", 2)


def test_delayed_reboot_that_let_the_next_job_overwrite_the_slot(bench: Bench) -> None:
    """While an application put the reboot off, the next job was written over the verified image.

    Here the next job waits, over days and restarts, until the application has agreed.
    """
    application = Application(bench, waits_with="1.1.0")
    bench.service.add("job-1", FIRST)
    bench.service.add("job-2", SECOND)
    assert bench.boot(application) is None
    assert bench.step() is None
    waiting = bench.board.slot_bytes(1, SLOT_SIZE)
    assert waiting[:IMAGE] == FIRST[4096 : 4096 + IMAGE]
    for day in range(3):
        if day == 1:
            assert bench.boot(application) is None
        bench.agent.check_for_update()
        bench.service.notify()
        assert bench.step() is None
        assert bench.agent.journal.phase == "VERIFIED"
        assert bench.board.slot_bytes(1, SLOT_SIZE) == waiting
        assert bench.service.status("job-2") == "QUEUED"
    assert "Fail" not in application.told
    bench.agent.activate()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet(application)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.service.status("job-2") == "SUCCEEDED"
    runs(bench, "1.2.0", 3)


def test_delayed_reboot_of_a_job_that_ended_meanwhile(bench: Bench) -> None:
    """As before, but the service gives the waiting job up: the next one may have the slot.

    The application is told before anything is written, and can no longer start the old image.
    """
    application = Application(bench, waits_with="1.1.0")
    bench.service.add("job-1", FIRST)
    bench.service.add("job-2", SECOND)
    assert bench.boot(application) is None
    assert bench.step() is None
    waiting = bench.board.slot_bytes(1, SLOT_SIZE)
    bench.service.cancel("job-1")
    step_until(bench, lambda: "Fail" in application.told)
    assert bench.board.slot_bytes(1, SLOT_SIZE) == waiting
    from ota.errors import StateError

    with pytest.raises(StateError, match="no verified image"):
        bench.agent.activate()
    bench.until_quiet(application)
    assert bench.service.status("job-2") == "SUCCEEDED"
    runs(bench, "1.2.0", 3)


def test_restart_after_power_loss(bench: Bench) -> None:
    """A power cut made the whole download start over.

    Here it goes on at the last checkpoint: what is safe in flash is asked for only once.
    """
    large = packed("1.1.0", 2, size=400_000)
    bench.service.add("job-1", large)
    assert bench.boot() is None
    receive(bench, 70)
    bench.board.flash.cut_at = bench.board.flash.operations + 10
    assert isinstance(bench.step(), nor.PowerCut)
    safe = 64
    before, bench.service.stream_requests = asked_for(bench), []
    assert max(before) > safe
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    head, *rest = asked_for(bench)
    assert head == 0
    assert rest == list(range(safe, len(large) // 4096)), "nothing twice, nothing left out"
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, 400_000) == large[4096:404_096]
    runs(bench, "1.1.0", 2)


def test_notify_next_in_mid_transfer(bench: Bench) -> None:
    """Any news of the job threw away what had come, so that a chatty service kept the device busy.

    Here the job named again is the job in hand: every block is asked for once.
    """
    bench.service.add("job-1", FIRST)
    bench.service.add("job-2", SECOND)
    assert bench.boot() is None
    for _ in range(3000):
        bench.service.notify()
        bench.service.outgoing.rotate()
        bench.client.deliver(2)  # the news, and a block
        bench.agent.step()
        bench.agent.step()
        if bench.agent.journal.phase == "VERIFIED":
            break
    assert bench.agent.journal.phase == "VERIFIED"
    assert sorted(asked_for(bench)) == list(range(BLOCKS))
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.service.status("job-2") == "SUCCEEDED"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server, and sockets as a chip has them."""
    monkeypatch.syspath_prepend(str(CHIP / "cpython"))
    sockets = importlib.import_module("cpython_sockets")
    monkeypatch.setitem(sys.modules, "socket", sockets.socket)
    with serving(FIRST) as found:
        yield found


def test_http_slow_because_of_a_request_per_block(bench: Bench, server: Server) -> None:
    """Over HTTP each block was a request of its own, which made it slower than MQTT.

    Here one request brings the file, and after a lost connection one more what is missing.
    """
    path = offered(bench, server)
    bench.until_quiet()
    assert server.requests == [(path, None)]
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, IMAGE) == FIRST[4096 : 4096 + IMAGE]
    runs(bench, "1.1.0", 2)
