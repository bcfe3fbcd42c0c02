"""AWS's words, topics and limits are those of AWS's own models and of its developer guide."""

from __future__ import annotations

import re

import botocore.session
import pytest

from twinslot.formats import aws

SESSION = botocore.session.get_session()


def said(service: str, shape: str) -> dict[str, object]:
    """Return what AWS's model of a service says of a shape: its limits and words."""
    found: dict[str, object] = SESSION.get_service_model(service).shape_for(shape).metadata
    return found


def test_the_states_are_those_of_aws_and_each_is_open_or_terminal() -> None:
    states = said("iot-jobs-data", "JobExecutionStatus")["enum"]
    assert isinstance(states, list)
    assert sorted(aws.OPEN | aws.TERMINAL) == sorted(states)
    assert {"QUEUED", "IN_PROGRESS"} == aws.OPEN
    assert not aws.OPEN & aws.TERMINAL
    for state in states:
        assert getattr(aws, state) == state
    # Developer guide, UpdateJobExecution.
    assert {"IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"} == aws.REPORTABLE


def test_limits_that_awss_models_know_are_theirs() -> None:
    job_id = said("iot-jobs-data", "JobId")
    assert job_id["max"] == aws.MAX_JOB_ID
    assert f"[A-Za-z0-9_-]{{1,{job_id['max']}}}" == aws.JOB_ID
    for shape in ("ThingName", "DetailsKey"):
        name = said("iot-jobs-data", shape)
        assert (name["min"], name["max"]) == (1, 128)
        assert re.fullmatch(aws.NAME, "aZ09:_-")
        assert re.fullmatch(aws.NAME, "a" * 128)
        assert not re.fullmatch(aws.NAME, "a" * 129)
    assert said("iot", "JobDocument")["max"] == aws.MAX_DOCUMENT
    assert said("iot", "StreamFiles")["max"] == aws.MAX_FILES


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        # Service quotas, message broker.
        (aws.MAX_TOPIC, 256),
        (aws.MAX_PAYLOAD, 128 * 1024),
        (aws.MAX_TOKEN, 64),
        # Service quotas, jobs.
        (aws.MAX_DETAILS, 10),
        (aws.MAX_DETAIL_VALUE, 1024),
        (aws.MAX_TIMEOUT, 7 * 24 * 60),
        (aws.NO_STEP_TIMEOUT, -1),
        (aws.MAX_NOTIFIED, 10),
        (aws.MAX_NUMBER, 0x7FFFFFFF),
        # Service quotas and developer guide, file delivery.
        (aws.MIN_BLOCK, 256),
        (aws.MAX_BLOCK, 128 * 1024),
        (aws.MAX_PER_REQUEST, 128 * 1024),
        (aws.MAX_OFFSET, 98_304),
        (aws.MAX_COUNT, 98_304),
        (aws.MAX_BITMAP, 12_287),
        (aws.MAX_REQUEST, 32 * 1024),
        (aws.MAX_FILE, 24 * 1024 * 1024),
        (aws.MAX_UPDATE_FILE, 16 * 1024 * 1024),
        # Developer guide, device shadow service documents.
        (aws.MAX_SHADOW, 8 * 1024),
        (aws.MAX_SHADOW_DEPTH, 6),
        # S3 user guide, naming of objects and buckets.
        (aws.MAX_KEY, 1024),
        (aws.MAX_BUCKET, 63),
        (aws.MAX_CONTENT_TYPE, 255),
    ],
)
def test_the_other_limits_are_those_of_the_guide(limit: int, value: int) -> None:
    assert limit == value


def test_the_topics_are_those_of_the_guide() -> None:
    assert set(aws.THING_PUBLISHES) == {
        "jobs/get",
        "jobs/start-next",
        "jobs/+/get",
        "jobs/+/update",
        "streams/+/get/+",
        "streams/+/describe/+",
        "shadow/name/ota/update",
        "shadow/name/ota/get",
    }
    assert set(aws.THING_RECEIVES) == {
        "jobs/get/accepted",
        "jobs/get/rejected",
        "jobs/start-next/accepted",
        "jobs/start-next/rejected",
        "jobs/+/get/accepted",
        "jobs/+/get/rejected",
        "jobs/+/update/accepted",
        "jobs/+/update/rejected",
        "jobs/notify",
        "jobs/notify-next",
        "streams/+/data/+",
        "streams/+/description/+",
        "streams/+/rejected/+",
        "shadow/name/ota/update/accepted",
        "shadow/name/ota/update/rejected",
        "shadow/name/ota/get/accepted",
        "shadow/name/ota/get/rejected",
    }
    assert aws.topic("board-1", f"jobs/{aws.NEXT_JOB}/get") == "$aws/things/board-1/jobs/$next/get"


def test_a_topic_of_a_thing_is_told_from_any_other() -> None:
    assert aws.of_thing("$aws/things/board-1/jobs/get") == ("board-1", ["jobs", "get"])
    assert aws.of_thing("$aws/things/board-1") == ("board-1", [])
    for topic in ("", "$aws", "$aws/things", "$aws/rules/x", "aws/things/board-1/jobs", "x"):
        assert aws.of_thing(topic) == ("", [])


def test_the_service_subscribes_to_requests_and_to_every_topic_of_jobs() -> None:
    services = {name: aws.subscriptions(name) for name in ("streams", "shadow")}
    found = [topic for topics in services.values() for topic in topics]
    requests = [rest for rest in aws.THING_PUBLISHES if not rest.startswith("jobs/")]
    assert set(found) == {f"$aws/things/+/{rest}" for rest in requests}
    for name, topics in services.items():
        assert topics and all(f"/{name}/" in topic for topic in topics)
    assert aws.subscriptions("jobs") == ("$aws/things/+/jobs/#",)
