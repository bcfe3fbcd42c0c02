"""Nothing that an application, a service or a board does leaves the agent without a next step."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_bench import PRODUCT, Bench, Chip, Patient, application, pack, packed, receive
from chipboard import fresh_ota
from job_service import indefinite_map

JOB = packed("1.1.0", 2)
OTHER = packed("1.2.0", 3)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(tmp_path / "board")


def work(bench: Bench, done: Callable[[], Any], seconds: float = 20) -> None:
    """Step as fast as can be until the condition holds."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"stuck in {bench.agent.state}: {bench.service.jobs}"
        bench.client.deliver()
        bench.agent.step()


def ended(bench: Bench, job: str) -> Callable[[], bool]:
    return lambda: bench.service.status(job) not in ("QUEUED", "IN_PROGRESS")


def boot_without_network(bench: Bench, callback: Any = None) -> Any:
    """Power on with an agent that has no client."""

    def start() -> None:
        bench.board.power_on()
        bench.board.boot_py()
        ota = fresh_ota(bench.board.folder)
        options = {"product": PRODUCT}
        bench.agent = ota.agent.Agent(None, "board-1", callback, settings=options)

    return bench.board.run(start)


# -- calls from within an event ------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 4, 5])
def test_an_update_aborted_at_one_of_its_blocks_ends_and_the_next_job_is_taken(
    bench: Bench, block: int
) -> None:
    """Also at one with which a checkpoint is due."""

    def callback(event: str, detail: Any) -> None:
        if (event, detail, bench.agent.journal.job) == ("Processed", block, "job-1"):
            bench.agent.abort("not now")

    bench.service.add("job-1", JOB)
    bench.service.add("job-2", OTHER)
    bench.boot(callback, checkpoint_blocks=4)
    work(bench, ended(bench, "job-1"))
    assert bench.service.details("job-1")["detail"] == "not now"
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")
    assert bench.agent.journal.job == "job-2"
    bench.agent.start()
    assert bench.agent.journal.next == 0


@pytest.mark.parametrize("block", [1, 5])
def test_a_file_aborted_at_one_of_its_blocks_ends_and_the_next_one_is_taken(
    bench: Bench, tmp_path: Path, block: int
) -> None:
    def callback(event: str, detail: Any) -> None:
        if (event, detail, len(failed)) == ("Processed", block, 0):
            bench.agent.abort("not now")
        if event == "Fail":
            failed.append(str(detail))

    failed: list[str] = []
    path = tmp_path / "x.ota"
    path.write_bytes(JOB)
    bench.boot(callback)
    bench.agent.install(str(path))
    work(bench, lambda: failed == ["not now"])
    assert bench.agent.journal.phase == "NONE"
    bench.agent.install(str(path))
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


def test_an_application_may_install_a_file_as_soon_as_its_job_is_cancelled(
    bench: Bench, tmp_path: Path
) -> None:
    def callback(event: str, _detail: Any) -> None:
        if event == "Fail":
            bench.agent.install(str(path))

    path = tmp_path / "x.ota"
    path.write_bytes(OTHER)
    bench.service.add("job-1", JOB)
    bench.service.add("job-2", JOB)
    bench.boot(callback)
    receive(bench, 4)
    bench.service.cancel("job-1")
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")
    assert (bench.agent.journal.origin, bench.agent.journal.sequence) == ("local", 3)
    assert bench.service.status("job-2") == "QUEUED", "it comes afterwards"


def test_a_callback_that_raises_when_a_job_is_cancelled_loses_no_job(bench: Bench) -> None:
    def callback(event: str, _detail: Any) -> None:
        if event == "Fail":
            raise ValueError("the application's own")

    bench.service.add("job-1", JOB)
    bench.service.add("job-2", OTHER)
    bench.boot(callback)
    receive(bench, 4)
    bench.service.cancel("job-1")
    with pytest.raises(ValueError, match="own"):
        work(bench, ended(bench, "job-2"))
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")
    assert bench.agent.journal.job == "job-2"


@pytest.mark.parametrize("event", ["ReceivedJob", "ParseCustomJob"])
def test_a_callback_that_raises_when_a_job_comes_is_told_of_it_again(
    bench: Bench, event: str
) -> None:
    told = []

    def callback(name: str, detail: Any) -> Any:
        if name == event:
            told.append(detail)
            if len(told) == 1:
                bench.agent.accept()  # there is nothing under test
            return True
        return None

    bench.boot(callback)
    work(bench, lambda: "ota.engine" not in sys.modules)
    bench.service.add("job-1", JOB)
    if event == "ParseCustomJob":
        bench.service.jobs["job-1"]["jobDocument"] = {"operation": "rotate"}
    bench.service.outgoing.clear()
    bench.service.notify()
    with pytest.raises(sys.modules["ota"].StateError, match="under test"):
        work(bench, lambda: len(told) > 1)
    work(bench, lambda: len(told) > 1)


def test_a_custom_job_that_is_queued_once_more_is_offered_once_more(bench: Bench) -> None:
    offered = []

    def callback(event: str, detail: Any) -> bool:
        offered.append((event, detail.job_id))
        return True

    bench.service.add("job-1", b"")
    job = bench.service.jobs["job-1"]
    job["jobDocument"] = {"operation": "rotate"}
    bench.boot(callback)
    bench.step()
    topic = bench.service.prefix + "jobs/job-1/update"
    bench.client.publish(topic, b'{"status":"FAILED"}', qos=1)
    job.update(status="QUEUED", executionNumber=2)
    bench.service.queue.append("job-1")
    bench.service.notify()
    bench.step()
    assert offered == [("ParseCustomJob", "job-1")] * 2


def test_a_thread_that_a_callback_ends_says_that_nobody_steps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def callback(event: str, _detail: Any) -> None:
        if event == "ReceivedJob":
            raise ValueError("the application's own")

    bench.service.add("job-1", JOB)
    died: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hint: died.append(str(hint.exc_value)))
    bench.boot(callback)
    bench.agent.start_thread()
    end = time.monotonic() + 10
    while bench.agent.state != "NotReady" and time.monotonic() < end:
        bench.client.deliver()
        time.sleep(0.002)
    assert bench.agent.state == "NotReady"
    assert died == ["the application's own"]
    bench.agent.callback = Patient()
    bench.agent.start()
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


# -- what the service does -----------------------------------------------------------------------


def unreadable_after_a_cancelled_one(bench: Bench, phase: str) -> None:
    """Leave the board with a job in hand that was cancelled, and one behind it."""
    bench.service.add("job-1", JOB)
    bench.service.add("job-2", JOB)
    bench.service.jobs["job-2"]["jobDocument"]["afr_ota"]["files"][0]["filesize"] = "lots"
    bench.service.add("job-3", OTHER)
    bench.boot(Patient(), momentum=3)
    work(bench, lambda: bench.agent.journal.phase == phase)
    bench.service.cancel("job-1")


def go_on_with_the_third(bench: Bench) -> None:
    work(bench, ended(bench, "job-2"))
    assert bench.service.details("job-2")["reason"] == "0x24000000: 0x00000005"
    work(bench, lambda: bench.agent.journal.job == "job-3")


def test_an_unreadable_job_gets_its_turn_when_the_blocks_of_a_cancelled_one_stay_away(
    bench: Bench,
) -> None:
    unreadable_after_a_cancelled_one(bench, "RECEIVING")
    go_on_with_the_third(bench)


def test_an_unreadable_job_gets_its_turn_when_a_cancelled_one_is_activated(bench: Bench) -> None:
    unreadable_after_a_cancelled_one(bench, "VERIFIED")
    bench.agent.activate()
    go_on_with_the_third(bench)


@pytest.mark.parametrize("how", ["start", "check_for_update"])
def test_a_job_cancelled_unheard_does_not_keep_the_board_while_it_waits(
    bench: Bench, how: str
) -> None:
    bench.service.add("job-1", JOB)
    bench.service.add("job-2", OTHER)
    bench.boot(Patient())
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")
    bench.service.cancel("job-1")
    bench.service.outgoing.clear()
    getattr(bench.agent, how)()
    work(bench, lambda: bench.agent.journal.job == "job-2")


def test_blocks_longer_than_asked_for_are_not_asked_for_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = bench.service

    def stream(name: str, request: dict[str, Any], _form: str = "cbor") -> None:
        asked.append(request)
        long = indefinite_map({"f": 0, "i": 2, "l": 4196, "p": bytes(4196)})
        service.outgoing.append((f"{service.prefix}streams/{name}/data/cbor", long))

    asked: list[dict[str, Any]] = []
    service.add("job-1", JOB)
    bench.boot(Patient(), momentum=3)
    receive(bench, 2)
    service.outgoing.clear()
    monkeypatch.setattr(service, "_stream", stream)
    work(bench, ended(bench, "job-1"))
    assert service.details("job-1")["cause"] == "no_data"
    assert len(asked) <= 5


def test_a_long_block_that_comes_late_does_not_spoil_the_head(bench: Bench) -> None:
    """Of 8 KB, asked for before a restart; what is awaited then is the head, of 4 KB."""
    service = bench.service
    service.add("job-1", JOB)
    bench.boot(block_size=8192)
    work(bench, lambda: len(service.stream_requests) == 2)
    late = next(message for message in service.outgoing if "/data/" in message[0])
    assert len(late[1]) > 8192
    service.outgoing.clear()
    bench.agent.shutdown()
    bench.agent.start()
    work(bench, lambda: len(service.stream_requests) == 3)
    service.outgoing.appendleft(late)
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


def test_a_link_that_lives_shorter_than_a_block_takes_is_no_silent_stream(bench: Bench) -> None:
    service = bench.service
    service.add("job-1", JOB)
    bench.boot(momentum=3)
    work(bench, lambda: len(service.stream_requests) == 2)
    for _ in range(8):
        service.silent_stream = True
        service.outgoing.clear()
        bench.agent.start()
        for _ in range(6):
            bench.client.deliver()
            bench.agent.step()
    assert service.status("job-1") == "IN_PROGRESS", service.details("job-1")
    assert len(service.stream_requests) == 10, "each link asks once"
    service.silent_stream = False
    bench.agent.start()
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


def test_each_link_lost_in_mid_transfer_halves_what_is_asked_for_at_once(bench: Bench) -> None:
    service = bench.service
    service.add("job-1", packed("1.1.0", 2, size=200_000))
    bench.boot()
    receive(bench, 2)
    asked = []
    for _ in range(5):
        asked.append(int.from_bytes(service.stream_requests[-1]["b"], "little").bit_count())
        service.outgoing.clear()
        service.stream_requests.clear()
        bench.agent.start()
        work(bench, lambda: service.stream_requests)
    assert asked == [8, 4, 2, 1, 1]
    bench.agent.check_for_update()
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


def test_verifying_keeps_no_buffer_and_receiving_only_the_inboxs(
    bench: Bench,
) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    seen = set()

    def looked() -> bool:
        if bench.in_hand and bench.in_hand.path:
            verifying = "ota.p256" in sys.modules
            inbox, board = bench.agent._inbox, bench.agent.board
            seen.add((verifying, bool(inbox.buffers), board._buf is not None))
        return bool(bench.agent.journal.phase == "VERIFIED")

    work(bench, looked)
    assert {look for look in seen if look[0]} == {(True, False, False)}
    assert (False, True, False) in seen


def test_a_refusal_nested_too_deep_is_one_that_cannot_be_read(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(stream_json=1)
    work(bench, lambda: bench.service.stream_requests)
    topic = bench.service.prefix + "streams/job-1/rejected/json"
    bench.agent.on_message(topic.encode(), b"[" * 4000)
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")


# -- what the board does -------------------------------------------------------------------------


def test_an_empty_file_is_refused_and_forgotten(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "empty.ota"
    path.write_bytes(b"")
    told = Patient()
    bench.boot(told)
    bench.agent.install(str(path))
    bench.service.add("job-1", JOB)
    work(bench, lambda: bench.agent.journal.phase == "VERIFIED")
    assert told.asked[0] == ("Fail", f"{path} is empty")


def test_keys_that_are_no_text_fail_the_job_with_a_sentence(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    bench.board.write_etc("trusted_keys.pem", b"\x30\x59\xff\xfe")
    work(bench, ended(bench, "job-1"))
    assert "trusted_keys.pem is no text" in bench.service.details("job-1")["detail"]


def test_a_history_that_nvs_refuses_keeps_no_result_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, product="another"))
    bench.boot(Patient())
    journal: Any = importlib.import_module("ota.journal")
    write = journal._write
    written: list[str] = []

    def full(nvs: Any, key: str, data: bytes) -> None:
        written.append(key)
        if key == "history":
            raise importlib.import_module("ota.errors").FlashError("NVS is full")
        write(nvs, key, data)

    monkeypatch.setattr(journal, "_write", full)
    work(bench, ended(bench, "job-1"))
    assert bench.service.status("job-1") == "FAILED"
    assert written.count("history") == 1


def test_a_reason_and_a_name_too_long_for_the_journal_do_not_cost_it(
    bench: Bench, tmp_path: Path
) -> None:
    bench.boot(Patient())
    errors = importlib.import_module("ota.errors")
    with pytest.raises(errors.SourceError, match="1900 characters"):
        bench.agent.install("http://" + "x" * 1893)
    assert bench.agent.state == "Ready"
    bench.service.add("job-1", JOB)
    bench.boot()
    assert bench.step() is not None, "it restarts into the new image"
    bench.boot(Patient())
    work(bench, lambda: bench.proof and bench.proof._named)
    assert bench.board.run(lambda: bench.agent.reject("r" * 2000)) is not None
    bench.until_quiet()
    assert bench.service.details("job-1")["cause"] == "rejected"
    assert bench.service.details("job-1")["detail"] == "r" * 200


def test_a_directory_that_cannot_be_looked_at_fails_the_job_and_not_the_link(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chip.folder / "app_0").mkdir()
    (chip.folder / "app_0/x.py").write_text("1")
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.boot(Patient())
    room: Any = importlib.import_module("ota.room")

    def damaged() -> Any:
        raise OSError(84, "corrupt")

    monkeypatch.setattr(room, "free", damaged)
    monkeypatch.setattr(importlib.import_module("ota.loader"), "unloads", False)
    work(chip, ended(chip, "job-1"))
    assert chip.service.status("job-1") == "FAILED"
    assert "the file system cannot be looked at" in chip.service.details("job-1")["detail"]


def test_an_agent_without_a_network_asks_nobody(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "x.ota"
    path.write_bytes(packed("1.1.0", 2, size=200_000))
    boot_without_network(bench, Patient())
    bench.agent.install(str(path))
    for _ in range(20):
        bench.agent.step()
    bench.agent.suspend()
    bench.agent.resume()
    for _ in range(3000):
        bench.agent.step()
    assert bench.agent.journal.phase == "VERIFIED"


def test_an_agent_without_a_network_steps_in_a_thread(bench: Bench) -> None:
    boot_without_network(bench)
    bench.agent.start_thread()
    before = bench.agent.stepped
    end = time.monotonic() + 10
    while bench.agent.stepped == before and time.monotonic() < end:
        time.sleep(0.002)
    assert bench.agent.stepped != before
    assert bench.agent.shutdown(1000) == "NotReady"


def test_an_agent_without_a_network_leaves_a_result_to_one_that_has_it(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    receive(bench, 3)
    bench.service.silent_updates = True
    bench.agent.abort("no")
    boot_without_network(bench, Patient())
    for _ in range(10):
        bench.agent.step()
    assert bench.agent.journal.result["status"] == "FAILED"
    bench.service.silent_updates = False
    bench.boot(Patient())
    work(bench, ended(bench, "job-1"))
    assert bench.service.status("job-1") == "FAILED"


def test_an_installation_at_the_prompt_gives_the_callback_back(
    bench: Bench, tmp_path: Path
) -> None:
    def callback(event: str, _detail: Any) -> bool:
        seen.append(event)
        return True

    seen: list[str] = []
    bench.service.add("job-1", JOB)
    bench.boot(callback)
    receive(bench, 3)
    sys.modules["ota"].install(str(tmp_path / "x.ota"))  # says that an update is in hand
    assert bench.agent.callback is callback
    work(bench, lambda: "Activate" in seen)
    assert bench.agent.journal.phase == "VERIFIED"
