"""Every call of the agent in every state, every event, and FreeRTOS's names for them.

What a call out of season must not do is change anything: the journal, the flash, what was told.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import Bench, Patient, packed, receive
from ota import slots

JOB = packed("1.1.0", 2)


class Told:
    """A callback that keeps every event and does as the default one."""

    def __init__(self, custom: bool = False) -> None:
        self.events: list[tuple[str, Any]] = []
        self.agent: Any = None
        self._custom = custom

    def __call__(self, event: str, detail: Any) -> Any:
        self.events.append((event, detail))
        if event == "ParseCustomJob":
            return self._custom
        if self.agent:
            self.agent._default_callback(event, detail)
        return None

    def boot(self, bench: Bench, **settings: Any) -> Any:
        """Boot the board with this callback."""
        self.agent = None
        end = bench.boot(self, **settings)
        self.agent = bench.agent
        return end

    def names(self) -> list[str]:
        """The events' names, those of blocks once."""
        names = [event for event, _ in self.events]
        return [name for i, name in enumerate(names) if names[i - 1 : i] != [name]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- calls and states ----------------------------------------------------------------------------


def before_start(bench: Bench) -> None:
    bench.service.online = False
    with pytest.raises(OSError):
        bench.boot(Patient())
    bench.service.online = True


def idle(bench: Bench) -> None:
    bench.boot(Patient())
    bench.step()


def receiving(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    receive(bench, 3)


def verified(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    bench.step()


def reporting(bench: Bench) -> None:
    receiving(bench)
    bench.service.silent_updates = True
    bench.agent.abort("no more")


def under_test(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(Patient())
    bench.step()


def suspended(bench: Bench) -> None:
    receiving(bench)
    bench.agent.suspend()


def shut_down(bench: Bench) -> None:
    receiving(bench)
    assert bench.agent.shutdown() == "NotReady"


STATES: dict[Callable[[Bench], None], str] = {
    before_start: "NotReady",
    idle: "Ready",
    receiving: "Active",
    verified: "Active",
    reporting: "Active",
    under_test: "Active",
    suspended: "Suspended",
    shut_down: "NotReady",
}

# Call -> the states in which it is legal, each with the agent's state after it.
CALLS: dict[str, dict[Callable[[Bench], None], str]] = {
    "start": {state: {"NotReady": "Ready"}.get(name, name) for state, name in STATES.items()},
    "check_for_update": {
        idle: "Ready",
        receiving: "Active",
        verified: "Active",
        reporting: "Active",
        under_test: "Active",
    },
    "install": {before_start: "Active", idle: "Active", reporting: "Active"},
    "activate": {verified: "Active"},
    "accept": {under_test: "Active"},
    "reject": {verified: "Active"},  # and under test, where it resets
    "abort": {receiving: "Active", verified: "Active", suspended: "Suspended"},
    "suspend": {state: "Suspended" for state in STATES if state is not shut_down},
    "resume": {suspended: "Active"},
    "shutdown": dict.fromkeys(STATES, "NotReady"),
    "report": STATES,
}
ARGUMENTS = {"install": ("/no/such.ota",), "report": ("job-0", "FAILED")}


def everything(bench: Bench) -> Any:
    """What a call out of season must leave as it was."""
    agent = bench.agent
    cells = bytes(bench.board.cells.getbuffer())
    return agent.state, vars(agent.journal).copy(), cells, list(bench.service.updates)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_does_what_it_says_or_is_refused_and_changes_nothing(
    bench: Bench, call: str, state: Callable[[Bench], None]
) -> None:
    state(bench)
    agent = bench.agent
    assert agent.state == STATES[state]
    before = everything(bench)

    def made() -> Any:
        return getattr(agent, call)(*ARGUMENTS.get(call, ()))

    if call == "reject" and state is under_test:
        assert isinstance(bench.board.run(made), hardware.Reset)
        return
    if state in CALLS[call]:
        assert bench.board.run(made) in (None, "NotReady")
        assert agent.state == CALLS[call][state]
        return
    import ota

    with pytest.raises(ota.StateError) as caught:
        made()
    assert " " in str(caught.value), "a sentence for people"
    assert everything(bench) == before


def test_what_waits_while_suspended_goes_on_after_resume(bench: Bench) -> None:
    suspended(bench)
    requests = len(bench.service.stream_requests)
    for _ in range(50):
        bench.client.deliver()
        assert bench.agent.step() > 0
    assert len(bench.service.stream_requests) == requests
    assert bench.agent.progress[0] >= 3
    bench.agent.resume()
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_an_activation_asked_for_while_suspended_is_remembered(bench: Bench) -> None:
    verified(bench)
    bench.agent.suspend()
    bench.agent.activate()
    assert bench.step() is None
    assert bench.agent.state == "Suspended"
    bench.agent.resume()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_an_acceptance_that_the_chip_refuses_leaves_the_image_under_test(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_test(bench)
    from ota import errors

    def refuse(_: object) -> None:
        raise errors.ActivateError("otadata cannot be written")

    with monkeypatch.context() as broken:
        broken.setattr(sys.modules["ota.slots"].Slots, "mark_valid", refuse)
        with pytest.raises(errors.ActivateError):
            bench.agent.accept()
    assert bench.service.status("job-1") == "IN_PROGRESS"
    assert bench.step() is None, "the test goes on"
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.records()[1][1] == slots.VALID  # type: ignore[index]


def test_an_image_whose_test_ended_in_a_failure_can_not_be_accepted_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_test(bench)
    from ota import errors

    def refuse(_: object) -> None:
        raise errors.ActivateError("otadata cannot be written")

    bench.agent.callback = bench.agent._default_callback
    bench.agent.start()  # over a new link the job must be named again
    with monkeypatch.context() as broken:
        broken.setattr(sys.modules["ota.slots"].Slots, "mark_valid", refuse)
        bench.agent.accept()
        bench.step()
    assert bench.service.status("job-1") == "FAILED"
    with pytest.raises(errors.StateError):
        bench.agent.accept()


# -- shutdown ------------------------------------------------------------------------------------


def test_after_a_shutdown_nothing_is_said_or_done_until_start(bench: Bench) -> None:
    shut_down(bench)
    assert bench.client.filters == [], "every topic is left"
    cells = bytes(bench.board.cells.getbuffer())
    requests = len(bench.service.stream_requests)
    for _ in range(50):
        bench.client.deliver(4)
        bench.agent.step()
    assert bench.agent.state == "NotReady"
    assert bytes(bench.board.cells.getbuffer()) == cells
    assert len(bench.service.stream_requests) == requests
    bench.agent.start()
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.running == 1


# What is in hand, as the engine says it.
MOMENTS: dict[str, Callable[[Any], Any]] = {
    "the head is awaited": lambda engine: engine.state == "fetching",
    "the head is verified": lambda engine: engine.state == "verifying",
    "room is made": lambda engine: engine.state == "preparing" and engine.work,
    "blocks come": lambda engine: engine.progress and engine.progress[0] >= 5,
    "the last block has come": lambda engine: engine.progress and engine.progress[0] == 11,
    "what came is hashed": lambda engine: engine.state == "finishing" and engine.work,
    "it is verified": lambda engine: engine.state == "waiting",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_update_that_is_shut_down_at_any_moment_goes_on_and_succeeds(
    bench: Bench, moment: str
) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    for _ in range(2000):
        bench.client.deliver()
        bench.agent.step()
        if bench.in_hand and MOMENTS[moment](bench.in_hand):
            break
    else:
        raise AssertionError("it never came to that")
    assert bench.agent.shutdown() == "NotReady"
    bench.agent.start()
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, 40_000) == JOB[4096:44_096]


def test_a_checkpoint_is_kept_by_a_shutdown(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=200_000))
    bench.boot(Patient())
    receive(bench, 20)
    assert bench.agent.journal.next == 0
    bench.agent.shutdown()
    assert bench.agent.journal.next >= 16 * 4096


def test_a_shutdown_from_within_a_callback_is_done_by_the_next_step(bench: Bench) -> None:
    said: list[str] = []

    def stop(event: str, _detail: Any) -> None:
        if event == "Activate":
            said.append(bench.agent.shutdown(1000))

    bench.service.add("job-1", JOB)
    bench.boot(stop)
    bench.step()
    assert said == ["ShuttingDown"]
    bench.agent.step()
    assert bench.agent.state == "NotReady"
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_shutdown_whose_link_is_gone_is_one_all_the_same(bench: Bench) -> None:
    receiving(bench)
    bench.service.online = False
    with pytest.raises(OSError):
        bench.agent.shutdown()
    assert bench.agent.state == "NotReady"


# -- threads -------------------------------------------------------------------------------------


def test_a_shutdown_waits_for_another_threads_step_as_long_as_it_may(bench: Bench) -> None:
    receiving(bench)
    publishing, go_on = threading.Event(), threading.Event()

    def publish(*_: Any, **__: Any) -> None:
        publishing.set()
        assert go_on.wait(10)

    bench.client.publish = publish  # type: ignore[method-assign]
    bench.agent.check_for_update()
    bench.agent.start_thread()
    assert publishing.wait(10)
    assert bench.agent.shutdown(5) == "ShuttingDown"
    go_on.set()
    assert bench.agent.shutdown(10_000) == "NotReady"


def test_calls_steps_and_messages_of_three_threads_carry_an_update(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=400_000))
    ended = threading.Event()
    bench.boot(lambda event, _: ended.set() if event in ("Activate", "Fail") else None)
    bench.agent.shutdown()
    bench.agent.start()
    bench.agent.start_thread()

    def meddle() -> None:
        while not ended.is_set():
            bench.agent.suspend()
            bench.agent.resume()
            bench.agent.check_for_update()
            assert bench.agent.state in ("Ready", "Active", "Suspended")

    with ThreadPoolExecutor() as others:
        meddling = others.submit(meddle)
        while not ended.wait(0.001) and not meddling.done():
            bench.client.deliver(2)
        ended.set()
        meddling.result()
    assert bench.agent.shutdown(10_000) == "NotReady"
    assert bench.agent.journal.phase == "VERIFIED"
    stats = bench.agent.stats
    assert stats.received == stats.queued + stats.dropped


# -- events --------------------------------------------------------------------------------------


def test_a_good_update_is_told_from_the_job_to_its_completion(bench: Bench) -> None:
    told = Told()
    bench.service.add("job-1", JOB)
    told.boot(bench)
    assert isinstance(bench.step(), hardware.Reset)
    assert told.names() == ["ReceivedJob", "Processed", "Activate"]
    assert told.events[0] == ("ReceivedJob", "job-1")
    blocks = [detail for event, detail in told.events if event == "Processed"]
    assert blocks == list(range(1, 12)), "once for every block, the last too"
    told.events.clear()
    told.boot(bench)
    bench.step()
    assert told.events == [("StartTest", "1.1.0"), ("UpdateComplete", "1.1.0")]


def test_an_acceptance_that_a_power_cut_kept_quiet_is_told_afterwards(bench: Bench) -> None:
    under_test(bench)
    bench.agent.board.slots.mark_valid()  # and the power is cut before the journal says so
    bench.board.cause = hardware.PWRON
    told = Told()
    told.boot(bench)
    bench.step()
    assert ("UpdateComplete", "1.1.0") in told.events


@pytest.mark.parametrize("how", ["rejected", "hung"])
def test_the_old_image_hears_that_the_new_one_failed_its_test(bench: Bench, how: str) -> None:
    bench.service.add("job-1", JOB)
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(Patient())
    if how == "rejected":
        bench.board.run(lambda: bench.agent.reject("the pump does not turn"))
    else:
        bench.board.cause = hardware.WDT
    told = Told()
    for _ in range(3):
        if told.boot(bench) is None:
            break
    bench.step()
    assert [event for event, _ in told.events] == ["SelfTestFailed"]
    error = told.events[0][1]
    assert error.reason() == bench.service.details("job-1")["reason"]
    assert str(error) == bench.service.details("job-1")["detail"]


CUSTOM = {"operation": "rotate-certificate", "within_days": 3}


def custom_job(bench: Bench, job: str) -> None:
    bench.service.add(job, b"")
    bench.service.jobs[job]["jobDocument"] = CUSTOM


def test_a_job_of_the_applications_own_is_left_to_it(bench: Bench) -> None:
    told = Told(custom=True)
    custom_job(bench, "job-1")
    told.boot(bench)
    bench.step()
    (event, job), *more = told.events
    assert (event, job.job_id, job.document, more) == ("ParseCustomJob", "job-1", CUSTOM, [])
    assert bench.agent.state == "Ready"
    assert bench.service.updates == []
    bench.agent.check_for_update()
    bench.step()
    assert len(told.events) == 1, "the same job is offered once"
    bench.service.add("job-2", JOB)
    bench.agent.report("job-1", "SUCCEEDED")
    assert isinstance(bench.step(), hardware.Reset), "the next job, an update, was taken"
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"


def test_a_job_nobody_takes_is_failed_and_the_next_one_done(bench: Bench) -> None:
    custom_job(bench, "job-1")
    bench.service.add("job-2", JOB)
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1")["reason"] == "0x24000000: 0x00000005"
    assert bench.service.status("job-2") == "SUCCEEDED"


def test_an_update_in_hand_makes_way_for_a_job_of_the_applications(bench: Bench) -> None:
    told = Told(custom=True)
    bench.service.add("job-1", JOB)
    told.boot(bench)
    receive(bench, 3)
    custom_job(bench, "job-2")
    bench.service.cancel("job-1")
    bench.step()
    assert told.names()[-2:] == ["Fail", "ParseCustomJob"]
    assert bench.agent.journal.job == ""
    assert bench.agent.state == "Ready"
