"""Without a job the agent keeps little in memory; a message or a call brings the rest back."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import Bench, Chip, Patient, application, pack, packed
from job_service import LinkDown
from test_agent_api import custom_job
from test_agent_never_stuck import boot_without_network, ended, work

JOB = packed("1.1.0", 2)
# What an agent at rest is made of.
RESIDENT = {"agent", "chip", "compat", "errors", "inbox", "loader", "settings"}
NO_JOB = b"$aws/things/board-1/jobs/$next/get/accepted", b'{"timestamp": 1800000000}'
ANSWER = b"$aws/things/board-1/jobs/job-0/update/accepted", b"{}"
UNREADABLE = b"$aws/things/board-1/jobs/notify-next", b"{"
NOTIFY = b"$aws/things/board-1/jobs/notify-next"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def loaded() -> set[str]:
    return {name[4:] for name in sys.modules if name.startswith("ota.")}


def at_rest(bench: Bench) -> bool:
    return loaded() == RESIDENT and bench.agent.state == "Ready"


def rested(bench: Bench, callback: Any = None, **settings: Any) -> Any:
    """Boot, and step until there is nothing to do. Returns the agent."""
    bench.boot(callback, **settings)
    bench.step()
    return bench.agent


def test_with_an_empty_queue_only_what_waits_stays_loaded(bench: Bench) -> None:
    rested(bench)
    assert at_rest(bench)


def test_without_a_network_too(bench: Bench) -> None:
    boot_without_network(bench)
    for _ in range(12):
        bench.agent.step()
    assert at_rest(bench)


def test_a_board_that_may_not_unload_keeps_everything(bench: Bench) -> None:
    agent = rested(bench, unload=0)
    assert agent.state == "Ready"
    assert "engine" in loaded()


def test_what_an_application_may_ask_stays_as_it_was_and_loads_nothing(bench: Bench) -> None:
    bench.boot()
    agent = bench.agent
    before = agent.running, agent.slot, agent.image_state, agent.progress, agent.missing
    bench.step()
    assert at_rest(bench)
    assert (agent.running, agent.slot, agent.image_state, agent.progress, agent.missing) == before
    assert at_rest(bench)


def test_a_job_that_comes_then_ends_up_running_and_accepted(bench: Bench) -> None:
    rested(bench)
    bench.service.add("job-1", JOB)
    bench.service.notify()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.running == ("1.1.0", 2)
    assert at_rest(bench)


def test_after_a_failed_update_nothing_of_it_stays(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.0.0", 1))
    bench.boot()
    work(bench, ended(bench, "job-1"))
    assert bench.service.status("job-1") == "FAILED"
    bench.step()
    assert at_rest(bench)


def test_it_is_loaded_one_module_at_a_step(bench: Bench) -> None:
    agent = rested(bench)
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    while agent.state == "Ready":
        before = loaded()
        agent.step()
        if "transfer" not in loaded():
            assert len(loaded() - before) <= 1
    assert agent.state == "Active"


def test_the_message_that_brought_it_back_is_not_answered_by_a_question(bench: Bench) -> None:
    agent = rested(bench)
    asked = agent._inbox.asked
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    while agent.state == "Ready":
        agent.step()
    assert agent._inbox.asked == asked


@pytest.mark.parametrize(
    "message",
    [
        (NOTIFY, b'{"timestamp": 1800000000}'),
        (NOTIFY, b"[" * 4000),
    ],
    ids=["no-job", "no-json"],
)
def test_a_message_of_no_use_is_read_and_the_agent_rests_again(
    bench: Bench, message: tuple[bytes, bytes]
) -> None:
    agent = rested(bench)
    asked = agent._inbox.asked
    assert agent.on_message(*message)
    agent.step()
    assert not at_rest(bench)
    for _ in range(20):
        agent.step()
    assert at_rest(bench)
    assert agent._inbox.asked == asked


def test_an_answer_that_nobody_awaits_is_the_agents_and_loads_nothing(bench: Bench) -> None:
    agent = rested(bench)
    assert agent.on_message(*ANSWER)
    agent.step()
    assert at_rest(bench)


@pytest.mark.parametrize("kind", ["data", "rejected"])
def test_what_comes_late_of_a_stream_is_the_agents_and_loads_nothing(
    bench: Bench, kind: str
) -> None:
    agent = rested(bench)
    assert agent.on_message(f"$aws/things/board-1/streams/s/{kind}/cbor".encode(), bytes(4096))
    agent.step()
    assert at_rest(bench)


def test_a_shadow_is_the_applications(bench: Bench) -> None:
    agent = rested(bench)
    assert not agent.on_message(b"$aws/things/board-1/shadow/update/delta", b"{}")


@pytest.mark.parametrize("first", [UNREADABLE, NO_JOB], ids=["unreadable", "no-job"])
def test_a_job_that_found_the_queue_full_is_asked_for_after_what_is_in_it(
    bench: Bench, first: tuple[bytes, bytes]
) -> None:
    agent = rested(bench, Patient())
    for message in (first, NO_JOB, NO_JOB, NO_JOB):
        agent.on_message(*message)
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    assert agent.stats.dropped == 1
    work(bench, lambda: agent.journal.job == "job-1")


def test_no_stream_stays_subscribed(bench: Bench) -> None:
    agent = rested(bench)
    for number in range(3):
        bench.service.add(f"job-{number}", packed("1.0.0", 1, size=20_000 + number))
        bench.service.notify()
        work(bench, ended(bench, f"job-{number}"))
        bench.step()
        assert at_rest(bench)
        assert len([topic for topic in bench.client.filters if "/streams/" in topic]) == 2
    agent.shutdown()
    assert not bench.client.filters


def test_questions_are_counted_on_over_a_rest(bench: Bench) -> None:
    """Their tokens are told apart."""
    agent = rested(bench)
    for _ in range(2):
        agent.check_for_update()
        bench.step()
        assert at_rest(bench)
    tokens = [json.loads(payload)["clientToken"] for _, payload, _ in bench.client.sent]
    assert tokens == ["0:board-1", "1:board-1", "2:board-1"]


def test_a_new_link_asks_again_and_the_agent_rests_again(bench: Bench) -> None:
    agent = rested(bench)
    asked = agent._inbox.asked
    agent.start()
    bench.step()
    assert agent._inbox.asked == asked + 1
    assert at_rest(bench)


def test_a_suspended_agent_is_not_woken(bench: Bench) -> None:
    agent = rested(bench)
    agent.suspend()
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    for _ in range(20):
        agent.step()
    assert loaded() == RESIDENT
    assert agent.state == "Suspended"
    agent.resume()
    work(bench, lambda: agent.state == "Active")


def test_shutdown_leaves_the_topics(bench: Bench) -> None:
    agent = rested(bench)
    assert bench.client.filters
    assert agent.shutdown() == "NotReady"
    assert not bench.client.filters
    assert loaded() == RESIDENT


def test_a_start_that_fails_after_shutdown_starts_nothing(bench: Bench) -> None:
    agent = rested(bench)
    agent.shutdown()
    bench.service.online = False
    with pytest.raises(OSError, match="reset"):
        agent.start()
    with pytest.raises(sys.modules["ota"].StateError):
        agent.suspend()
    bench.service.online = True
    agent.start()
    assert agent.state == "Ready"


def test_memory_that_was_short_while_it_was_loaded_spoils_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(name: str) -> None:
        if name == "ota.journal":
            raise MemoryError
        __import__(name)

    agent = rested(bench)
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["ota.loader"], "__import__", scarce, raising=False)
        for call in (agent.check_for_update, lambda: [agent.step() for _ in range(9)]):
            with pytest.raises(MemoryError):
                call()
            assert loaded() == RESIDENT
        agent.suspend()
        with pytest.raises(MemoryError):
            agent.resume()
        assert agent.state == "Suspended"
        with pytest.raises(MemoryError):
            agent.shutdown()
    agent.shutdown()
    assert not bench.client.filters
    agent.start()
    assert isinstance(bench.step(), hardware.Reset)


@pytest.mark.parametrize("local", [False, True])
def test_memory_that_was_short_for_an_updates_buffers_is_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, local: bool
) -> None:
    def scarce(*_: object) -> None:
        raise MemoryError

    agent = rested(bench)
    path = tmp_path / "x.ota"
    path.write_bytes(JOB)
    with monkeypatch.context() as patch:
        patch.setattr(type(agent._inbox), "open", scarce)
        if local:
            agent.install(str(path))
        else:
            bench.service.add("job-1", JOB)
            bench.service.notify()
        with pytest.raises(MemoryError):
            bench.step()
    assert isinstance(bench.step(), hardware.Reset)


def test_a_block_that_meets_the_end_of_its_stream_in_another_thread_is_forgotten(
    bench: Bench,
) -> None:
    class Block(bytes):
        looked = 0

        def __len__(self) -> int:
            Block.looked += 1
            if Block.looked == 2:
                agent.abort()  # as by the thread that steps
            return super().__len__()

    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    agent = bench.agent
    work(bench, lambda: agent._inbox.stream)
    agent.on_message(agent._inbox.stream, Block(b"x" * 100))
    assert Block.looked >= 2
    for _ in range(5):
        agent.step()
    work(bench, ended(bench, "job-1"))


def test_flash_that_cannot_be_read_is_no_lost_link(bench: Bench) -> None:
    class Otadata:
        def readblocks(self, *_: object) -> None:
            raise OSError(5)

    slots = rested(bench, unload=0).board.slots
    slots._otadata = Otadata()
    with pytest.raises(sys.modules["ota.errors"].FlashError, match="otadata"):
        slots.state(slots.running)


def test_what_a_download_has_brought_so_far_is_not_tidied_away(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    files = application("1.1.0")
    data = pack("1.1.0", 2, files, behaviour="good", application_first=True)
    chip.service.add("job-1", data)
    chip.boot(None, checkpoint_blocks=1)
    work(chip, lambda: chip.agent.journal.next > 24_000)
    boot_without_network(chip)
    for _ in range(50):
        chip.agent.step()
    chip.until_quiet()
    assert chip.service.status("job-1") == "SUCCEEDED"


def test_a_person_who_rolls_back_keeps_the_journal_as_it_was_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is suspended before, not only when yes was typed."""

    def answer(_: str) -> str:
        assert bench.agent.state == "Suspended"
        return "no"

    bench.service.add("job-1", JOB)
    bench.until_quiet()
    monkeypatch.setattr("builtins.input", answer)
    bench.board.run(lambda: sys.modules["ota"].rollback())
    assert bench.agent.state == "Ready"


def test_what_a_person_asked_for_is_unloaded_too(bench: Bench) -> None:
    rested(bench)
    sys.modules["ota"].status()
    sys.modules["ota"].verify()
    bench.step()
    assert at_rest(bench)


@pytest.mark.parametrize("call", ["activate", "accept", "reject", "abort"])
def test_a_call_out_of_season_is_refused_and_the_agent_rests_again(bench: Bench, call: str) -> None:
    agent = rested(bench)
    with pytest.raises(sys.modules["ota"].StateError):
        getattr(agent, call)()
    bench.step()
    assert at_rest(bench)


def test_a_file_is_installed_out_of_rest(bench: Bench, tmp_path: Path) -> None:
    agent = rested(bench, Patient())
    path = tmp_path / "x.ota"
    path.write_bytes(JOB)
    agent.install(str(path))
    work(bench, lambda: agent.journal.phase == "VERIFIED")


def test_a_job_in_the_applications_hands_is_offered_once(bench: Bench) -> None:
    offered = []

    def callback(event: str, detail: Any) -> bool:
        offered.append((event, detail.job_id))
        return True

    custom_job(bench, "job-1")
    agent = rested(bench, callback)
    assert at_rest(bench)
    agent.on_message(*NO_JOB)  # a late answer
    bench.step()
    agent.check_for_update()
    bench.step()
    assert offered == [("ParseCustomJob", "job-1")]


def test_a_link_lost_while_a_stream_is_subscribed_leaves_no_buffers(bench: Bench) -> None:
    agent = rested(bench, Patient())
    bench.service.add("job-1", JOB)
    bench.service.notify()
    bench.client.deliver()
    subscribe = bench.client.subscribe

    def lost(topic: str, qos: int = 0) -> None:
        if "/streams/" in topic:
            raise LinkDown(104, "reset")
        subscribe(topic, qos)

    bench.client.subscribe = lost  # type: ignore[method-assign]
    with pytest.raises(LinkDown):
        bench.step()
    agent.shutdown()
    assert not agent._inbox.buffers
    assert loaded() == RESIDENT


@pytest.mark.parametrize("queued", [False, True])
def test_shutdown_unloads_whatever_was_asked_or_queued(bench: Bench, queued: bool) -> None:
    agent = rested(bench)
    if queued:
        agent.on_message(*NO_JOB)
    else:
        agent.check_for_update()
    agent.shutdown()
    assert loaded() == RESIDENT
    agent.start()
    bench.service.add("job-1", JOB)
    assert isinstance(bench.step(), hardware.Reset)


def test_what_was_looked_at_without_a_link_is_unloaded_again(bench: Bench) -> None:
    agent = rested(bench)
    agent._inbox.online = False
    assert agent.journal.job == ""
    agent.step()
    assert loaded() == RESIDENT
    assert agent.state == "NotReady"


def test_a_file_whose_data_path_found_no_memory_is_taken_up_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def scarce(*_: object) -> None:
        raise MemoryError

    path = tmp_path / "x.ota"
    path.write_bytes(JOB)
    agent = rested(bench)
    with monkeypatch.context() as patch:
        patch.setattr(type(agent._inbox), "open", scarce)
        agent.install(str(path))
        with pytest.raises(MemoryError):
            bench.step()
    assert isinstance(bench.step(), hardware.Reset)


def test_a_person_asks_while_a_thread_steps(bench: Bench) -> None:
    """Nothing is unloaded under an answer that is being given."""
    agent = rested(bench)
    died: list[Exception] = []

    def stepping() -> None:
        try:
            while not done.is_set():
                agent.step()
        except Exception as error:  # noqa: BLE001
            died.append(error)

    done = threading.Event()
    thread = threading.Thread(target=stepping)
    thread.start()
    try:
        for _ in range(30):
            sys.modules["ota"].status()
    finally:
        done.set()
        thread.join()
    assert died == []
    agent.step()
    assert at_rest(bench)


# -- a service that refuses to name a job ---------------------------------------------------------


class Clock:
    """Time as the agent sees it, minutes at once."""

    def __init__(self) -> None:
        self.ms = 0
        for name in ("ota.agent", "ota.inbox"):
            module: Any = sys.modules[name]
            real = module.ticks_ms
            module.ticks_ms = lambda real=real: real() + self.ms


def pauses_of(bench: Bench, clock: Clock, count: int) -> list[int]:
    """Return the minutes between so many questions."""
    found: list[int] = []
    while len(found) < count:
        asked, minutes = bench.agent._inbox.asked, 0
        while bench.agent._inbox.asked == asked:
            clock.ms += 60_000
            minutes += 1
            bench.step()
        found.append(minutes)
    return found


def test_a_thing_that_the_service_does_not_know_rests_and_asks_with_growing_pauses(
    bench: Bench,
) -> None:
    bench.service.refusal = "ResourceNotFound"
    agent = rested(bench)
    assert at_rest(bench)
    assert agent._inbox.asked == 1
    inbox: Any = sys.modules[type(agent._inbox).__module__]
    inbox.spread = lambda pause: pause  # no random part
    clock = Clock()
    assert pauses_of(bench, clock, 9) == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert at_rest(bench)
    bench.service.refusal = ""
    bench.service.add("job-1", JOB)
    clock.ms += 64 * 60_000
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_new_link_asks_a_service_that_refused_at_once(bench: Bench) -> None:
    bench.service.refusal = "ResourceNotFound"
    agent = rested(bench)
    bench.service.refusal = ""
    agent.start()
    bench.step()
    assert (agent._inbox.asked, agent._inbox.refused) == (2, 0)


def test_a_service_that_is_busy_is_asked_again_soon(bench: Bench) -> None:
    bench.service.refusal = "RequestThrottled"
    bench.boot()
    for _ in range(100):
        bench.step(5)
        if bench.agent._inbox.asked > 2:
            break
        time.sleep(0.02)
    assert bench.agent._inbox.asked > 2
    assert bench.agent._inbox.refused == 0
