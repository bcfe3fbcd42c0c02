"""The agent off the straight road: lost links, cancelled jobs, a patient application."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import cbor2
import hardware
import pytest
from agent_bench import Bench, Patient, finish, packed, receive
from job_service import LinkDown


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.compatibility(
    "5",
    "after a lost link the download goes on with the blocks it has",
    path="MQTT",
    unlike="the 2019 agent does not handle it: the download stalls or is aborted",
    because="links of boards break",
)
def test_a_lost_link_costs_only_the_blocks_in_flight(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 5)
    bench.service.online = False
    bench.service.outgoing.clear()
    time.sleep(0.13)  # until the request timer is due
    with pytest.raises(LinkDown):
        bench.agent.step()
    assert bench.agent.state == "NotReady"
    bench.service.online = True
    bench.service.stream_requests.clear()
    bench.agent.start()
    finish(bench)
    again = sum(int.from_bytes(r["b"], "little").bit_count() for r in bench.service.stream_requests)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert again <= 11 - 5


@pytest.mark.compatibility("5", "a lost block is asked for again", path="MQTT")
def test_a_lost_block_is_asked_for_again(bench: Bench) -> None:
    bench.service.drop_blocks = {0, 3, 10}
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    deadline = time.monotonic() + 10
    while bench.step() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # the request timer runs in real time
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


@pytest.mark.compatibility(
    "5", "messages that find no room are counted as Dropped, and asked for again", path="MQTT"
)
def test_blocks_that_do_not_fit_are_dropped_counted_and_come_again(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 1)
    for _ in range(5):
        bench.agent.step()
        bench.client.deliver(8)  # more at once than the queue takes
    assert bench.agent.stats.dropped > 0
    assert bench.agent.stats.received == bench.agent.stats.queued + bench.agent.stats.dropped
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_client_faster_than_the_agent_is_not_flooded_with_the_same_blocks(bench: Bench) -> None:
    """An asynchronous client delivers more than the queue takes, while the rest is on its way."""
    bench.service.add("job-1", packed("1.1.0", 2, size=400_000))
    bench.boot()
    receive(bench, 1)
    for _ in range(1000):
        bench.client.deliver(3)
        if bench.agent.progress is None:
            break
        for _ in range(4):
            bench.agent.step()
    assert bench.agent.progress is None, "everything has come"
    assert bench.agent.stats.received < 4 * 400_000 // 4096


@pytest.mark.compatibility("5", "block sizes from 256 to 16384 bytes", path="MQTT")
@pytest.mark.parametrize("block_size", [256, 1024, 4096, 8192, 16384])
def test_every_block_size_carries_the_same_image(bench: Bench, block_size: int) -> None:
    data = packed("1.1.0", 2)
    bench.service.add("job-1", data)
    for _ in range(3):
        if bench.boot(block_size=block_size) is None and bench.step(20000) is None:
            break
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, 40_000) == data[4096:44_096]


@pytest.mark.compatibility(
    "5",
    "after a power cut the download goes on at its last checkpoint",
    path="MQTT",
    unlike="agents start again from the first block",
    because="an image of megabytes takes long over radio",
)
def test_a_restart_goes_on_at_the_checkpoint(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=400_000))
    bench.boot()
    receive(bench, 70)
    assert bench.agent.journal.next == 64 * 4096
    bench.service.stream_requests.clear()
    assert bench.boot() is None
    bench.until_quiet()
    offsets = [r["o"] for r in bench.service.stream_requests]
    assert offsets[:2] == [0, 64], "the head again, then from the checkpoint on"
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_the_head_fetched_again_is_no_progress_of_its_file(bench: Bench) -> None:
    """Neither told to the application, nor reported, nor noted in the journal."""
    told: list[tuple[str, Any]] = []
    size = {"block_size": 1024, "checkpoint_blocks": 4, "status_blocks": 1}
    bench.service.add("job-1", packed("1.1.0", 2, size=100_000))
    bench.boot(lambda *event: told.append(event), **size)
    receive(bench, 30)
    assert min(count for event, count in told if event == "Processed") == 4, "the head is there"
    safe = bench.agent.journal.next
    told.clear()
    bench.service.updates.clear()
    bench.boot(lambda *event: told.append(event), **size)
    receive(bench, safe // 1024 + 1)
    expected = [safe // 1024, safe // 1024 + 1]
    assert [count for event, count in told if event == "Processed"] == expected
    reported = [details["receive"] for _, _, details in bench.service.updates if details]
    assert reported == [f"{count}/104" for count in expected]
    assert bench.agent.journal.next >= safe > 4096


@pytest.mark.compatibility(
    "5", "a job cancelled in mid-transfer frees the board for the next one", path="MQTT"
)
def test_a_job_cancelled_while_receiving_frees_the_board_for_the_next(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot()
    receive(bench, 3)
    bench.service.cancel("job-1")
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "CANCELED"
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert bench.agent.running == ("1.2.0", 3)


@pytest.mark.compatibility(
    "5", "a bad document fails its own job, `0x24000000: 0x00000005`, and the next one goes on"
)
def test_a_bad_document_fails_its_own_job_and_the_next_one_goes_on(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.jobs["job-1"]["jobDocument"] = {"afr_ota": {"files": []}}
    bench.service.add("job-2", packed("1.1.0", 2))
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1")["reason"] == "0x24000000: 0x00000005"
    assert bench.service.status("job-2") == "SUCCEEDED"


def go_on_until(bench: Bench, status: str) -> None:
    """Go on until the service has recorded how job-1 ended."""
    deadline = time.monotonic() + 30
    while bench.service.status("job-1") != status:
        assert time.monotonic() < deadline, bench.service.jobs["job-1"]
        if bench.step() is not None:
            bench.boot()
        time.sleep(0.01)


@pytest.mark.compatibility(
    "5",
    "a silent request counts against momentum only while the job service answers",
    path="MQTT",
    unlike="every silent request counts, to 32",
    because="a dead link is no dead stream",
)
def test_a_silent_stream_ends_the_job_while_the_service_answers(bench: Bench) -> None:
    bench.service.silent_stream = True
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(momentum=3)
    go_on_until(bench, "FAILED")
    assert bench.service.details("job-1")["reason"] == "aborted: 0x21000020"
    assert bench.service.details("job-1")["cause"] == "no_data"


@pytest.mark.parametrize("block_size", [2048, 4096, 8192])
def test_a_broker_that_drops_large_blocks_lets_the_update_come_in_small_ones(
    bench: Bench, block_size: int
) -> None:
    bench.service.largest = 2000
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(momentum=2, block_size=block_size)
    go_on_until(bench, "SUCCEEDED")
    assert bench.agent.running == ("1.1.0", 2)
    told = [details.get("receive", "") for _, _, details in bench.service.updates]
    large = f"no block of {block_size} bytes comes, blocks of 1024 are tried"
    assert told.count(large) == 1
    sizes = [request["l"] for request in bench.service.stream_requests]
    assert sizes == sorted(sizes, reverse=True), "once small, they stay small"


def test_a_broker_that_lets_no_block_pass_is_told_with_the_size(bench: Bench) -> None:
    bench.service.largest = 1000
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(momentum=2)
    go_on_until(bench, "FAILED")
    assert bench.service.details("job-1")["cause"] == "no_data"
    assert "no block of 1024 bytes" in bench.service.details("job-1")["detail"]
    assert {request["l"] for request in bench.service.stream_requests} == {4096, 1024}


def test_a_stream_that_was_refused_is_not_asked_in_small_blocks(bench: Bench) -> None:
    bench.service.silent_stream = True
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(momentum=2)
    bench.step()
    topic = f"{bench.service.prefix}streams/job-1/rejected/cbor"
    bench.service.outgoing.append((topic, cbor2.dumps({"o": "ETagMismatch", "m": "changed"})))
    go_on_until(bench, "FAILED")
    assert "ETagMismatch" in bench.service.details("job-1")["detail"]
    assert {request["l"] for request in bench.service.stream_requests} == {4096}


@pytest.mark.compatibility(
    "5",
    "a silent request counts against momentum only while the job service answers",
    path="MQTT",
    unlike="every silent request counts, to 32",
    because="a dead link is no dead stream",
)
def test_a_stream_as_silent_as_the_whole_service_ends_nothing(bench: Bench) -> None:
    bench.service.silent_stream = True
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(momentum=3, retry_max_ms=1000)
    bench.step(1)
    deadline = time.monotonic() + 10
    while len(bench.service.stream_requests) < 8 and time.monotonic() < deadline:
        bench.client.deliver()
        wait = bench.agent.step()
        if bench.service.stream_requests:
            bench.service.outgoing.clear()
        time.sleep(wait / 1000)  # the request timer runs in real time
    assert len(bench.service.stream_requests) >= 8
    assert bench.service.status("job-1") == "QUEUED"
    bench.service.silent_stream = False
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_damaged_image_is_found_before_anything_boots(bench: Bench) -> None:
    data = bytearray(packed("1.1.0", 2))
    data[20_000] ^= 1
    bench.service.add("job-1", bytes(data))
    bench.until_quiet()
    assert bench.service.details("job-1")["cause"] == "bad_image"
    assert bench.board.running == 0
    assert len(bench.board.records()) == 2 and bench.board.records()[1] is None


# -- an application with a will of its own -------------------------------------------------------


def test_the_application_may_put_the_reboot_off_even_over_a_restart(bench: Bench) -> None:
    patient = Patient()
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(patient)
    assert bench.step() is None
    assert patient.asked == [("Activate", "1.1.0")]
    assert bench.agent.journal.phase == "VERIFIED"
    later = Patient()
    bench.service.stream_requests.clear()
    assert bench.boot(later) is None
    assert bench.step() is None
    assert later.asked == [("Activate", "1.1.0")], "raised again, after the image was hashed again"
    assert bench.service.stream_requests == [], "nothing is downloaded twice"
    bench.agent.activate()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_waiting_image_that_was_damaged_meanwhile_never_boots(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(Patient())
    bench.step()
    bench.board.damage(1, 20_000)
    bench.boot()
    assert bench.step() is None
    assert bench.service.details("job-1")["cause"] == "bad_image"
    assert bench.board.running == 0


@pytest.mark.compatibility("7", "without the application's yes nothing is accepted")
def test_without_the_applications_yes_nothing_is_accepted(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    patient = Patient()
    bench.boot(patient)
    assert bench.step() is None
    assert patient.asked == [("StartTest", "1.1.0")]
    assert bench.agent.image_state == 1
    bench.agent.accept()
    assert bench.step() is None
    assert bench.agent.image_state == 2
    assert bench.service.status("job-1") == "SUCCEEDED"


@pytest.mark.compatibility(
    "7", "an image that the application rejects: reset, the old one returns, `rejected: 0x00000000`"
)
def test_an_application_that_refuses_the_new_image_gets_the_old_one_back(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(Patient())
    bench.step()
    assert isinstance(bench.board.run(lambda: bench.agent.reject("pump stands")), hardware.Reset)
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.details("job-1")["reason"] == "rejected: 0x00000000"
    assert bench.service.details("job-1")["cause"] == "rejected"
    assert bench.service.details("job-1")["detail"] == "pump stands"


@pytest.mark.compatibility("7", "an image whose job vanished during the test is not accepted")
def test_a_job_that_vanished_during_the_test_is_not_accepted(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.cancel("job-1")
    bench.boot()
    bench.step()
    assert bench.agent.image_state == 1, "still under test: the deadline will roll it back"


@pytest.mark.compatibility(
    "6",
    "a result is told at every connect until it is answered",
    unlike="told once",
    because="a job must not stay IN_PROGRESS because one message was lost",
)
def test_a_result_is_told_until_it_is_answered(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot()
    while bench.agent.journal.phase != "ACCEPTED":
        bench.client.deliver()
        bench.agent.step()
    bench.service.silent_updates = True
    bench.step()
    assert bench.service.status("job-1") == "IN_PROGRESS"
    bench.service.silent_updates = False
    assert bench.boot() is None
    bench.step()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.journal.result is None


@pytest.mark.compatibility(
    "5",
    "`$next/get` is repeated, with pauses that double, until it is answered",
    unlike="the 2019 agent asks once",
    because="an answer may be lost, and the service may be down",
)
def test_the_queue_is_asked_again_with_growing_pauses_while_nobody_answers(bench: Bench) -> None:
    bench.boot()
    pauses: list[int] = []
    while len(pauses) < 4:
        wait = bench.agent.step()
        if bench.service.outgoing:
            bench.service.outgoing.clear()
            pauses.append(wait)
        time.sleep(wait / 1000)  # the timer runs in real time
    assert pauses == sorted(pauses)
    assert pauses[3] > 3 * pauses[0]
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_calls_out_of_season_are_refused_with_a_sentence(bench: Bench) -> None:
    bench.boot()
    bench.step()
    from ota.errors import StateError

    for call in (bench.agent.activate, bench.agent.accept, bench.agent.reject, bench.agent.abort):
        with pytest.raises(StateError, match="there is no"):
            call()
    with pytest.raises(StateError, match="not suspended"):
        bench.agent.resume()


@pytest.mark.compatibility(
    "6", "an update given up by the application: `aborted: 0x28000000`", path="MQTT"
)
def test_an_aborted_download_is_told_with_the_2019_agents_words(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 3)
    bench.agent.abort("battery low")
    bench.step()
    assert bench.service.details("job-1")["reason"] == "aborted: 0x28000000"
    assert bench.service.details("job-1")["detail"] == "battery low"


@pytest.mark.compatibility("5", "suspend and resume keep what was received", path="MQTT")
def test_a_suspended_agent_goes_on_where_it_was(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 3)
    bench.agent.suspend()
    assert bench.agent.state == "Suspended"
    assert bench.step() is None
    assert bench.agent.progress[0] == 3
    bench.agent.resume()
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_asyncio_and_a_plain_loop_drive_the_same_agent(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()

    async def application() -> None:
        task = asyncio.create_task(bench.agent.run())
        while not task.done():
            bench.client.deliver()
            await asyncio.sleep(0)
        task.result()

    assert isinstance(bench.board.run(lambda: asyncio.run(application())), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


# -- what a person sees --------------------------------------------------------------------------


def test_the_status_fits_80_columns_and_names_what_matters(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 3)
    from ota import repl_status

    lines = repl_status.lines(bench.agent)
    assert all(len(line) < 80 for line in lines)
    text = "\n".join(lines)
    assert "ota_0  valid  version 1.0.0  sequence 1" in text
    assert "job-1  receiving  3/11 blocks" in text
    assert "sequence 1 and lower are refused" in text
    bench.until_quiet()
    text = "\n".join(repl_status.lines(None))
    assert "Agent     not running" in text


def test_the_status_says_why_there_is_no_link_until_there_is_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = "no Wi-Fi sim: the password is wrong"
    bench.boot()
    from ota import note_link, repl_status

    note_link(fault)
    assert f"Link      {fault}" not in repl_status.lines(bench.agent)
    monkeypatch.setattr(type(bench.agent), "state", "NotReady")
    assert f"Link      {fault}" in repl_status.lines(bench.agent)


def test_the_journal_survives_garbage_in_its_blob(bench: Bench) -> None:
    import esp32

    bench.boot()
    for blob in (b"", b"\xff\x00", b"[]", json.dumps({"v": 1, "phase": 7, "tries": "x"}).encode()):
        nvs = esp32.NVS("ota")
        nvs.set_blob("journal", blob)
        nvs.commit()
        assert bench.boot() is None
        assert bench.agent.journal.phase == "NONE"


@pytest.mark.compatibility(
    "5", "an empty answer that comes late does not lose the job", path="MQTT"
)
def test_a_late_empty_answer_does_not_lose_the_job(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 3)
    empty = (bench.service.prefix + "jobs/$next/get/accepted", b'{"timestamp":1800000000}')
    bench.service.outgoing.appendleft(empty)
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_journal_that_cannot_be_written_is_an_error_with_a_sentence(bench: Bench) -> None:
    bench.boot()
    from ota.errors import FlashError

    with pytest.raises(FlashError, match="the journal has"):
        bench.agent.journal.save(detail="x" * 10_000)


# -- memory ---------------------------------------------------------------------------------------


def loaded() -> set[str]:
    """Return the names of the agent's modules that are loaded."""
    return {name for name in sys.modules if name.startswith("ota.")}


@pytest.mark.parametrize("sequence", [1, 2], ids=["refused", "verified and rejected"])
def test_an_update_that_is_over_leaves_none_of_its_modules_loaded(
    bench: Bench, sequence: int
) -> None:
    def reject(event: str, _detail: Any) -> None:
        if event == "Activate":
            bench.agent.reject()

    bench.boot(reject)
    bench.step()
    before, seen = loaded(), set()
    bench.service.add("job-1", packed("1.1.0", sequence))
    for _ in range(3000):
        if bench.service.status("job-1") == "FAILED":
            break
        bench.step(1)
        seen |= loaded()
    assert bench.service.status("job-1") == "FAILED"
    bench.step()
    assert {"ota.transfer", "ota.stream_cbor"} <= seen - before, "they were loaded for it"
    assert loaded() == before
