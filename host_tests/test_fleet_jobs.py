"""The Jobs service: every operation of AWS IoT Jobs over MQTT, and every way to get it wrong."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fleet_world import NOW, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = "$aws/things/board-1/jobs"


@pytest.fixture
def world(tmp_path: Path, database: str) -> World:
    made = World(tmp_path, database)
    made.things("board-1", "board-2")
    return made


def ask(world: World, topic: str, body: Any = None) -> list[tuple[str, Any]]:
    """All messages that a request causes, topics without `$aws/things/board-1/jobs/`."""
    payload = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    world.ask_jobs(f"{ROOT}/{topic}", payload)
    return [(sent.removeprefix(ROOT + "/"), message) for sent, message in world.sent()]


def accepted(world: World, topic: str, body: Any = None) -> Any:
    messages = ask(world, topic, body)
    assert messages[0][0] == f"{topic}/accepted"
    assert messages[0][1].pop("timestamp") == world.now
    return messages[0][1]


def rejected(world: World, topic: str, body: Any = None) -> Any:
    ((where, message),) = ask(world, topic, body)
    assert where == f"{topic}/rejected"
    assert message["timestamp"] == world.now
    assert message["message"]
    return message


@pytest.mark.compatibility(
    "1", "an empty queue is answered without `execution`, the clientToken as it came"
)
def test_an_empty_queue_answers_next_without_execution_and_with_the_token(world: World) -> None:
    assert ask(world, "$next/get", {"clientToken": ":board-1"}) == [
        ("$next/get/accepted", {"clientToken": ":board-1", "timestamp": NOW})
    ]
    assert accepted(world, "start-next") == {}
    assert accepted(world, "get") == {"inProgressJobs": [], "queuedJobs": []}


@pytest.mark.compatibility(
    "1", "DescribeJobExecution changes nothing: a job stays QUEUED however often it is fetched"
)
def test_a_job_stays_queued_however_often_it_is_fetched(world: World) -> None:
    world.job("job-1", "board-1", stream_id="s-1")
    expected = {
        "execution": {
            "jobId": "job-1",
            "status": "QUEUED",
            "queuedAt": NOW,
            "lastUpdatedAt": NOW,
            "versionNumber": 1,
            "executionNumber": 1,
            "jobDocument": {"afr_ota": {"streamname": "s-1"}},
        }
    }
    named = {"execution": {"thingName": "board-1", **expected["execution"]}}
    for topic in ("$next/get", "job-1/get", "$next/get"):
        world.now += 10
        assert accepted(world, topic) == (named if topic == "job-1/get" else expected)


def test_an_empty_payload_is_an_empty_request(world: World) -> None:
    world.job("job-1", "board-1")
    assert accepted(world, "$next/get", b"")["execution"]["jobId"] == "job-1"


@pytest.mark.compatibility("1", "`includeJobDocument` and `executionNumber` of a describe")
def test_the_document_is_left_out_when_asked(world: World) -> None:
    world.job("job-1", "board-1")
    answer = accepted(world, "job-1/get", {"includeJobDocument": False, "executionNumber": 1})
    assert "jobDocument" not in answer["execution"]
    assert rejected(world, "job-1/get", {"executionNumber": 2})["code"] == "ResourceNotFound"


@pytest.mark.compatibility("1", "statusDetails come back as the device set them last")
def test_status_details_survive_and_come_back_as_last_set(world: World) -> None:
    world.job("job-1", "board-1")
    accepted(world, "job-1/update", {"status": "IN_PROGRESS", "statusDetails": {"receive": "1/9"}})
    accepted(world, "job-1/update", {"status": "IN_PROGRESS"})
    found = accepted(world, "$next/get")["execution"]
    assert found["statusDetails"] == {"receive": "1/9"}
    assert (found["status"], found["versionNumber"], found["startedAt"]) == ("IN_PROGRESS", 3, NOW)
    handover = {"self_test": "ready", "updatedBy": "0x90000"}
    accepted(world, "job-1/update", {"status": "IN_PROGRESS", "statusDetails": handover})
    assert accepted(world, "$next/get")["execution"]["statusDetails"] == handover


@pytest.mark.compatibility("1", "a report about the job that stays first sends no `notify-next`")
def test_an_update_tells_nobody_while_the_same_job_stays_first(world: World) -> None:
    world.job("job-1", "board-1")
    assert ask(world, "job-1/update", {"status": "IN_PROGRESS"}) == [
        ("job-1/update/accepted", {"timestamp": NOW})
    ]


@pytest.mark.compatibility(
    "1", "the end of a job is answered; then `notify` and `notify-next` tell what is left"
)
def test_the_end_of_a_job_is_answered_and_brings_the_next_one(world: World) -> None:
    world.job("job-1", "board-1")
    world.job("job-2", "board-1")
    messages = ask(world, "job-1/update", {"status": "SUCCEEDED"})
    assert [topic for topic, _ in messages] == ["job-1/update/accepted", "notify", "notify-next"]
    listed, following = messages[1][1], messages[2][1]
    assert [job["jobId"] for job in listed["jobs"]["QUEUED"]] == ["job-2"]
    assert following["execution"]["jobId"] == "job-2"
    assert following["execution"]["jobDocument"]
    assert ask(world, "job-2/update", {"status": "FAILED"})[1:] == [
        ("notify", {"timestamp": NOW, "jobs": {}}),
        ("notify-next", {"timestamp": NOW}),
    ]


@pytest.mark.compatibility(
    "1",
    "`expectedVersion` as text; `executionState` and `jobDocument` in the answer where asked for",
)
def test_the_answer_to_an_update_carries_what_was_asked_for(world: World) -> None:
    world.job("job-1", "board-1")
    answer = accepted(
        world,
        "job-1/update",
        {
            "status": "SUCCEEDED",
            "statusDetails": {"reason": "accepted v0.9.1"},
            "expectedVersion": "1",
            "includeJobExecutionState": True,
            "includeJobDocument": True,
            "clientToken": "u-9",
        },
    )
    assert answer == {
        "clientToken": "u-9",
        "executionState": {
            "status": "SUCCEEDED",
            "statusDetails": {"reason": "accepted v0.9.1"},
            "versionNumber": 2,
        },
        "jobDocument": {"afr_ota": {"streamname": None}},
    }


@pytest.mark.compatibility(
    "1", "a report about a job that has ended: InvalidStateTransition, with `executionState`"
)
def test_a_result_sent_again_is_refused_with_the_state_that_was_kept(world: World) -> None:
    world.job("job-1", "board-1")
    ask(world, "job-1/update", {"status": "SUCCEEDED", "statusDetails": {"reason": "ok"}})
    answer = rejected(world, "job-1/update", {"status": "SUCCEEDED", "clientToken": "t"})
    assert answer["code"] == "InvalidStateTransition"
    assert answer["clientToken"] == "t"
    assert answer["executionState"] == {
        "status": "SUCCEEDED",
        "statusDetails": {"reason": "ok"},
        "versionNumber": 2,
    }
    assert rejected(world, "job-1/get")["code"] == "TerminalStateReached"


@pytest.mark.compatibility("1", "another `expectedVersion`: VersionMismatch, with `executionState`")
def test_another_expected_version_is_refused_with_the_state(world: World) -> None:
    world.job("job-1", "board-1")
    answer = rejected(world, "job-1/update", {"status": "IN_PROGRESS", "expectedVersion": 2})
    assert answer["code"] == "VersionMismatch"
    assert answer["executionState"]["versionNumber"] == 1


@pytest.mark.compatibility(
    "1", "StartNextPendingJobExecution starts the oldest, or returns what is started, unchanged"
)
def test_start_next_starts_the_oldest_and_returns_one_that_is_started(world: World) -> None:
    world.job("job-1", "board-1")
    world.job("job-2", "board-1")
    first = accepted(world, "start-next", {"statusDetails": {"phase": "begin"}})["execution"]
    assert (first["jobId"], first["status"], first["versionNumber"]) == ("job-1", "IN_PROGRESS", 2)
    again = accepted(world, "start-next", {"statusDetails": {"phase": "other"}})["execution"]
    assert again["statusDetails"] == {"phase": "begin"}
    assert again["versionNumber"] == 2


@pytest.mark.compatibility("1", "GetPendingJobExecutions: summaries, in progress and queued apart")
def test_pending_jobs_are_listed_by_state(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}", "board-1")
    messages = ask(world, "job-1/update", {"status": "IN_PROGRESS"})
    assert messages[1][0] == "notify-next"  # another job is first now
    answer = accepted(world, "get")
    assert [job["jobId"] for job in answer["inProgressJobs"]] == ["job-1"]
    assert [job["jobId"] for job in answer["queuedJobs"]] == ["job-0", "job-2"]
    assert answer["queuedJobs"][0] == {
        "jobId": "job-0",
        "queuedAt": NOW,
        "lastUpdatedAt": NOW,
        "versionNumber": 1,
        "executionNumber": 1,
    }


@pytest.mark.compatibility(
    "1", "in-progress and step timers end a job as TIMED_OUT, and the device is told"
)
def test_a_timer_runs_out_and_the_device_is_told(world: World) -> None:
    world.job("job-1", "board-1", minutes=10)
    ask(world, "job-1/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 2})
    assert accepted(world, "$next/get")["execution"]["approximateSecondsBeforeTimedOut"] == 120
    world.rollouts.tick(world.store, NOW + 119)
    assert world.sent() == []
    world.rollouts.tick(world.store, NOW + 120)
    assert [topic for topic, _ in world.sent()] == [f"{ROOT}/notify", f"{ROOT}/notify-next"]
    answer = rejected(world, "job-1/update", {"status": "SUCCEEDED"})
    assert answer["executionState"]["status"] == "TIMED_OUT"


def test_the_job_is_completed_with_its_last_execution(world: World) -> None:
    world.job("job-1", "board-1", "board-2")
    for thing, status in (("board-1", "IN_PROGRESS"), ("board-2", "COMPLETED")):
        world.now += 5
        world.ask_jobs(f"$aws/things/{thing}/jobs/job-1/update", b'{"status":"SUCCEEDED"}')
        with world.store.read() as transaction:
            job = transaction.job("job-1")
        assert job is not None
        assert job.status == status
        assert job.completed_at == (NOW + 10 if status == "COMPLETED" else None)


@pytest.mark.compatibility("1", "one thing neither sees nor changes another's jobs")
def test_one_thing_neither_sees_nor_changes_anothers_jobs(world: World) -> None:
    world.job("job-2", "board-2")
    assert accepted(world, "$next/get") == {}
    assert rejected(world, "job-2/get")["code"] == "ResourceNotFound"
    assert rejected(world, "job-2/update", {"status": "FAILED"})["code"] == "ResourceNotFound"


def test_a_thing_that_is_not_there_is_answered_so(world: World) -> None:
    world.ask_jobs("$aws/things/stranger/jobs/$next/get", b"{}")
    ((topic, message),) = world.sent()
    assert topic == "$aws/things/stranger/jobs/$next/get/rejected"
    assert message["code"] == "ResourceNotFound"


@pytest.mark.compatibility(
    "1", "malformed requests are rejected with AWS's codes and change nothing"
)
@pytest.mark.parametrize(
    ("topic", "body", "code"),
    [
        ("job-1/update", b"not json", "InvalidJson"),
        ("job-1/update", b"\xff\xfe", "InvalidJson"),
        ("job-1/update", b'{"status":NaN}', "InvalidJson"),
        ("job-1/update", b"[" * 100_000, "InvalidJson"),
        ("job-1/update", b'{"expectedVersion":' + b"9" * 5000 + b"}", "InvalidJson"),
        ("job-1/update", b"[]", "InvalidRequest"),
        ("job-1/update", b"null", "InvalidRequest"),
        ("job-1/update", b"", "InvalidRequest"),
        ("job-1/update", {"status": "CANCELED"}, "InvalidRequest"),
        ("job-1/update", {"status": 7}, "InvalidRequest"),
        ("job-1/update", {"status": ["FAILED"]}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "statusDetails": []}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "statusDetails": {"a": 1}}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "statusDetails": {"a": "\ud800"}}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "expectedVersion": "one"}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "expectedVersion": True}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "executionNumber": 0}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "executionNumber": 2**70}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "stepTimeoutInMinutes": 0}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "stepTimeoutInMinutes": 10081}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "includeJobDocument": "yes"}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "clientToken": "t" * 65}, "InvalidRequest"),
        ("job-1/update", {"status": "FAILED", "clientToken": 7}, "InvalidRequest"),
        ("job-9/update", {"status": "FAILED"}, "ResourceNotFound"),
        ("job-9/get", {}, "ResourceNotFound"),
        ("job-1/get", {"includeJobDocument": 1}, "InvalidRequest"),
        ("start-next", {"statusDetails": {"": "x"}}, "InvalidRequest"),
        ("/update", {"status": "FAILED"}, "InvalidTopic"),
        ("$next/update", {"status": "FAILED"}, "InvalidTopic"),
        ("job.1/get", {}, "InvalidTopic"),
    ],
)
def test_a_malformed_request_is_answered_with_its_code_and_changes_nothing(
    world: World, topic: str, body: Any, code: str
) -> None:
    world.job("job-1", "board-1")
    assert rejected(world, topic, body)["code"] == code
    found = accepted(world, "$next/get")["execution"]
    assert (found["status"], found["versionNumber"]) == ("QUEUED", 1)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        "status",
        "statusDetails",
        "clientToken",
        "expectedVersion",
        "executionNumber",
        "includeJobDocument",
        "includeJobExecutionState",
        "stepTimeoutInMinutes",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["get", "start-next", "job-1/get", "job-1/update", "$next/get"]),
    st.dictionaries(KEYS, ANYTHING).map(lambda body: json.dumps(body).encode()) | st.binary(),
)
def test_whatever_arrives_is_accepted_or_rejected(world: World, topic: str, body: bytes) -> None:
    world.sent()
    (where, message), *_ = ask(world, topic, body)
    if where.endswith("/rejected"):
        assert message["code"] in ("InvalidJson", "InvalidRequest", "ResourceNotFound")
    else:
        assert where == f"{topic}/accepted"


def test_the_end_of_an_execution_costs_the_same_whatever_the_number_of_targets(
    tmp_path: Path,
) -> None:
    """SQLite's own steps are counted, which no other load of the machine changes."""
    found = []
    for targets in (10, 2000):
        things = [f"board-{number:04}" for number in range(targets)]
        folder = tmp_path / str(targets)
        folder.mkdir()
        with steps() as counted:
            world = World(folder)
            world.things(*things)
            world.job("job-1", *things)
            for thing in things[:5]:
                counted.clear()
                world.ask_jobs(f"$aws/things/{thing}/jobs/job-1/update", b'{"status":"FAILED"}')
        found.append(len(counted))
    assert 0 < found[1] < 1.5 * found[0]


@contextlib.contextmanager
def steps() -> Iterator[list[None]]:
    """An entry for every ten steps of SQLite's machine on connections that are opened here."""
    taken: list[None] = []

    def count(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(lambda: taken.append(None), 10)

    sa.event.listen(sa.Pool, "connect", count)
    try:
        yield taken
    finally:
        sa.event.remove(sa.Pool, "connect", count)
