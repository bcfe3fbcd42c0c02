"""What a job service sees of the agent: topics, payloads byte for byte, order, QoS, error words.

By sections 5 to 7 of AWS's protocol as the 2019 agent (V1.0.4) speaks it. Where this agent differs
on purpose, the test says so.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cbor2
import hardware
import pytest
from agent_bench import Bench, Patient, packed, receive

THING = "$aws/things/board-1/"
JOBS = THING + "jobs/"
JOB = packed("1.1.0", 2)
BLOCKS = 11


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def told(bench: Bench) -> list[tuple[str, str, int]]:
    """What was published about jobs: (topic below jobs/, text, QoS)."""
    return [
        (topic.removeprefix(JOBS), payload.decode(), qos)
        for topic, payload, qos in bench.client.sent
        if topic.startswith(JOBS)
    ]


def send_block(bench: Bench, index: int, data: bytes, **more: Any) -> None:
    """Let the stream send a block of its own choice, ahead of all others."""
    message = {"f": 0, "i": index, "l": len(data), "p": data, **more}
    send(bench, cbor2.dumps(message))


def send(bench: Bench, payload: bytes) -> None:
    bench.service.outgoing.appendleft((THING + "streams/job-1/data/cbor", payload))


def block(index: int) -> bytes:
    return JOB[index * 4096 : (index + 1) * 4096]


def requested(bench: Bench) -> list[int]:
    """The blocks that were asked for, in order."""
    return [
        request["o"] + bit
        for request in bench.service.stream_requests
        for bit in range(64)
        if int.from_bytes(request["b"], "little") >> bit & 1
    ]


# -- section 6: status updates -------------------------------------------------------------------


def test_a_good_update_is_told_in_these_words_on_these_topics(bench: Bench) -> None:
    """Deviations: 1/11 as v3.4 has it; a token where the answer is waited for."""
    bench.service.add("job-1", JOB)
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    assert told(bench) == [
        ("$next/get", '{"clientToken":"0:board-1"}', 1),
        ("job-1/update", '{"status":"IN_PROGRESS","statusDetails":{"receive":"1/11"}}', 0),
        (
            "job-1/update",
            '{"status":"IN_PROGRESS","statusDetails":{"self_test":"ready","updatedBy":"0x1"},'
            '"clientToken":"ready"}',
            1,
        ),
    ]
    bench.boot()
    bench.step()
    assert told(bench) == [
        ("$next/get", '{"clientToken":"0:board-1"}', 1),
        (
            "job-1/update",
            '{"status":"IN_PROGRESS","statusDetails":{"self_test":"active","updatedBy":"0x2"}}',
            1,
        ),
        (
            "job-1/update",
            '{"status":"SUCCEEDED","statusDetails":{"reason":"accepted v1.1.0","version":"1.1.0"},'
            '"clientToken":"result"}',
            1,
        ),
    ]


def test_progress_is_told_every_64_blocks_without_acknowledgement(bench: Bench) -> None:
    """On a multiple of 64, and never with the last block."""
    bench.service.add("job-1", packed("1.1.0", 2, size=4096 * 191))
    bench.boot(Patient())
    bench.step(6000)
    received = [text for topic, text, qos in told(bench) if topic == "job-1/update" and qos == 0]
    assert [json.loads(text)["statusDetails"]["receive"] for text in received] == [
        "1/192",
        "64/192",
        "128/192",
    ]


def test_the_stream_is_asked_for_and_heard_at_qos_0_and_jobs_at_qos_1(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    bench.step()
    stream = THING + "streams/job-1/"
    assert bench.client.subscribed == [
        (JOBS + "$next/get/accepted", 1),
        (JOBS + "$next/get/rejected", 1),
        (JOBS + "notify-next", 1),
        (JOBS + "+/update/accepted", 1),
        (JOBS + "+/update/rejected", 1),
        (stream + "data/cbor", 0),
        (stream + "rejected/cbor", 0),
    ]
    sent = {(topic, qos) for topic, _, qos in bench.client.sent if "streams" in topic}
    assert sent == {(stream + "get/cbor", 0)}


def test_a_failure_carries_reason_cause_sentence_and_what_runs(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    receive(bench, 3)
    send(bench, b"\xff\xff")
    bench.step()
    assert list(bench.service.details("job-1")) == ["reason", "cause", "detail", "version"]
    assert bench.service.details("job-1")["version"] == "1.0.0"


# -- section 5: jobs -----------------------------------------------------------------------------


def test_an_empty_queue_is_asked_once_and_then_waited_for(bench: Bench) -> None:
    bench.boot()
    for _ in range(20):
        assert bench.step() is None
    assert told(bench) == [("$next/get", '{"clientToken":"0:board-1"}', 1)]
    assert str(bench.agent.stats) == "Received: 1 Queued: 1 Processed: 1 Dropped: 0"
    assert bench.agent.state == "Ready"


def test_requests_are_counted_in_their_token(bench: Bench) -> None:
    bench.boot()
    bench.step()
    for _ in range(2):
        bench.agent.check_for_update()
        bench.step()
    assert [json.loads(text)["clientToken"] for _, text, _ in told(bench)] == [
        "0:board-1",
        "1:board-1",
        "2:board-1",
    ]


def test_the_same_job_named_again_goes_on_and_does_not_restart(bench: Bench) -> None:
    """The 2019 agent closes the transfer, later ones begin again with block 0."""
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    for count in (1, 3, 6, 9):
        receive(bench, count)
        bench.service.notify()
    bench.step()
    assert bench.agent.journal.phase == "VERIFIED"
    assert requested(bench) == list(range(BLOCKS)), "each block was asked for once"


def test_a_second_job_waits_until_the_first_has_ended(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot()
    receive(bench, 3)
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.step()
    assert bench.service.status("job-2") == "QUEUED"
    bench.until_quiet()
    assert [bench.service.status(job) for job in ("job-1", "job-2")] == ["SUCCEEDED"] * 2
    assert bench.agent.running == ("1.2.0", 3)


def test_another_job_that_moves_to_the_front_takes_the_place_of_the_first(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot()
    receive(bench, 3)
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.service.queue.reverse()
    bench.service.notify()
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1")["reason"] == "rejected: 0x22000000", "by then it is old"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ({"filesize": 0}, "0x24000000: 0x00000004"),
        ({"filesize": None}, "0x24000000: 0x00000005"),
        ({"fileid": 256}, "0x24000000: 0x00000005"),
    ],
)
def test_a_bad_document_is_reported_by_its_job_id(
    bench: Bench, file: dict[str, Any], reason: str
) -> None:
    bench.service.add("job-1", JOB)
    bench.service.jobs["job-1"]["jobDocument"]["afr_ota"]["files"][0].update(file)
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1")["reason"] == reason
    assert bench.service.stream_requests == []


def test_a_document_without_a_job_id_is_told_to_nobody(bench: Bench) -> None:
    bench.boot()
    bench.step()
    bench.service.outgoing.append((JOBS + "notify-next", b'{"execution":{"jobDocument":{}}}'))
    bench.step()
    assert bench.service.updates == []
    assert bench.agent.state == "Ready"


# -- section 5: blocks ---------------------------------------------------------------------------


def test_a_duplicate_is_ignored_and_costs_nothing(bench: Bench) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    for count in range(2, BLOCKS):
        receive(bench, count)
        send_block(bench, 1, block(1))
        bench.client.deliver()
        bench.agent.step()
    bench.step()
    assert bench.agent.journal.phase == "VERIFIED"
    assert requested(bench) == list(range(BLOCKS))


@pytest.mark.parametrize(
    ("index", "size"),
    [
        (BLOCKS, 4096),
        (0xFFFFFFFF, 4096),
        (3, 4095),
        (3, 0),
    ],
)
def test_a_block_outside_the_file_or_of_a_wrong_length_is_passed_over(
    bench: Bench, index: int, size: int
) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    receive(bench, 3)
    send_block(bench, index, bytes(size))
    until_verified(bench)
    assert bench.service.status("job-1") == "IN_PROGRESS"
    assert bench.board.slot_bytes(1, len(JOB) - 4096) == JOB[4096:]


@pytest.mark.parametrize("payload", [b"", b"\xa0", b"\xbf\x61", cbor2.dumps([1, 2])])
def test_a_block_that_cannot_be_decoded_fails_the_job(bench: Bench, payload: bytes) -> None:
    bench.service.add("job-1", JOB)
    bench.boot(Patient())
    receive(bench, 3)
    send(bench, payload)
    bench.step()
    assert bench.service.details("job-1")["reason"] == "0x27000000: 0xfffffff8"


@pytest.mark.parametrize(("size", "other"), [(4096, False), (8192, True), (4095, True)])
def test_the_last_block_is_as_short_as_the_file_ends(bench: Bench, size: int, other: bool) -> None:
    bench.service.add("job-1", JOB)
    bench.service.drop_blocks = {BLOCKS // 2}
    bench.boot(Patient(), block_size=8192)
    receive(bench, 4)
    send_block(bench, BLOCKS // 2, JOB[8192 * (BLOCKS // 2) :].ljust(size, b"?")[:size])
    bench.step()
    assert (bench.agent.journal.phase == "VERIFIED") != other
    if other:  # it was passed over, and is asked for again
        bench.service.drop_blocks = set()
        until_verified(bench)


def test_silence_is_broken_by_a_request_for_what_is_missing(bench: Bench) -> None:
    bench.service.drop_blocks = {2, 5}
    bench.service.add("job-1", JOB)
    bench.boot(Patient(), request_ms=100)
    until_verified(bench)
    assert sorted(requested(bench)) == sorted([*range(BLOCKS), 2, 5])


def test_after_so_many_silent_requests_of_large_and_of_small_blocks_the_job_is_given_up(
    bench: Bench,
) -> None:
    bench.service.silent_stream = True
    bench.service.add("job-1", JOB)
    bench.boot(Patient(), request_ms=100, momentum=6, retry_max_ms=1000)
    wait_until(bench, lambda: bench.service.status("job-1") == "FAILED")
    assert bench.service.details("job-1")["reason"] == "aborted: 0x21000020"
    sizes = Counter(request["l"] for request in bench.service.stream_requests)
    assert sizes.keys() == {4096, 1024}
    assert all(count in (6, 7, 8) for count in sizes.values()), sizes


def until_verified(bench: Bench) -> None:
    wait_until(bench, lambda: bench.agent.journal.phase == "VERIFIED")


def wait_until(bench: Bench, condition: Any) -> None:
    """Run the application's loop until something holds; timers run in real time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        bench.client.deliver()
        if bench.agent.step():
            time.sleep(0.002)


# -- section 7: the test of the new image --------------------------------------------------------


def stale(bench: Bench, updated_by: str) -> dict[str, str]:
    """Offer a job in self-test to a board that tests nothing. Returns the job's details."""
    bench.service.add("job-1", JOB)
    bench.service.jobs["job-1"]["statusDetails"] = {"self_test": "ready", "updatedBy": updated_by}
    bench.service.jobs["job-1"]["status"] = "IN_PROGRESS"
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.stream_requests == []
    return bench.service.details("job-1")


@pytest.mark.parametrize(
    ("updated_by", "reason"),
    [
        ("0x1", "rejected: 0x23000000"),  # equal to what runs: rolled back
        ("0x5", "rejected: 0x22000000"),  # higher: something older runs
        ("0x0", "rejected: 0x26000000"),  # lower, but the platform tests nothing
        ("what", "rejected: 0x26000000"),
    ],
)
def test_a_self_test_that_this_board_does_not_know_of_is_refused(
    bench: Bench, updated_by: str, reason: str
) -> None:
    assert stale(bench, updated_by)["reason"] == reason


@pytest.mark.parametrize("value", ["ready", "active", ""])
def test_a_self_test_is_recognised_by_its_key_alone(bench: Bench, value: str) -> None:
    """Also with a lost journal: the job is the one of the image under test."""
    bench.service.add("job-1", JOB)
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.jobs["job-1"]["statusDetails"]["self_test"] = value
    bench.agent.journal.finish()  # nothing in flight that the new image would know of
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.running == 1


def test_the_same_job_with_a_document_that_is_no_update_leaves_the_transfer_alone(
    bench: Bench,
) -> None:
    bench.service.add("job-1", JOB)
    document = bench.service.jobs["job-1"]["jobDocument"]
    bench.boot(Patient())
    receive(bench, 3)
    bench.service.jobs["job-1"]["jobDocument"] = {"operation": "reboot"}
    bench.service.notify()
    bench.step()
    bench.service.jobs["job-1"]["jobDocument"] = document
    assert bench.agent.journal.phase == "VERIFIED"
