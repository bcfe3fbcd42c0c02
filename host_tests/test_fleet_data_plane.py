"""Streams to the full, and over HTTP the boards' side: jobs and shadows, by boto3."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, THING, Site, moment, plain, refused

DOCUMENT = {"do": "something", "with": [1, 2]}


@pytest.fixture
def devices(site: Site) -> Any:
    return site.clients.client("iot-jobs-data")


@pytest.fixture
def data(site: Site) -> Any:
    return site.clients.client("iot-data")


def put(site: Site, key: str, body: bytes, file_id: int = 0) -> dict[str, Any]:
    site.clients.s3.put_object(Bucket="packages", Key=key, Body=body)
    return {"fileId": file_id, "s3Location": {"bucket": "packages", "key": key}}


def job(iot: Any, job_id: str, *things: str, document: Any = DOCUMENT) -> None:
    iot.create_job(
        jobId=job_id,
        targets=[THING + thing for thing in things],
        document=json.dumps(document),
    )


def heard(site: Site) -> list[str]:
    """The last words of the topics on which somebody was told something."""
    return [topic.rpartition("/")[2] for topic, _ in site.world.sent()]


@pytest.mark.compatibility(
    "3", "UpdateStream changes files and raises `streamVersion`; ListStreams"
)
def test_a_stream_is_changed_and_has_another_version(site: Site, iot: Any) -> None:
    iot.create_thing(thingName="b1")
    iot.create_stream(
        streamId="s-1", description="one", files=[put(site, "a", IMAGE)], roleArn=ROLE
    )
    job(iot, "j", "b1", document={"afr_ota": {"streamname": "s-1"}})
    topic = "$aws/things/b1/streams/s-1/{}/json"

    def ask(operation: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        (answer,) = site.world.streams.handle(topic.format(operation), json.dumps(request).encode())
        return answer.topic.split("/")[-2], json.loads(answer.payload)

    assert ask("describe", {})[1]["s"] == 1
    site.world.now += 5
    updated = iot.update_stream(streamId="s-1", files=[put(site, "b", IMAGE[:300], 7)])
    assert plain(updated) == {
        "streamId": "s-1",
        "streamArn": "arn:aws:iot:local:000000000000:stream/s-1",
        "description": "one",
        "streamVersion": 2,
    }
    described = ask("describe", {})[1]
    assert (described["s"], described["r"]) == (2, [{"f": 7, "z": 300}])
    window = {"f": 7, "l": 4096, "n": 1}
    assert ask("get", window)[1]["l"] == 300
    assert ask("get", {**window, "s": 2})[0] == "data"
    assert ask("get", {**window, "s": 1})[1]["o"] == "VersionMismatch"
    iot.update_stream(streamId="s-1", description="two", roleArn=ROLE + "-2")
    info = iot.describe_stream(streamId="s-1")["streamInfo"]
    assert (info["description"], info["roleArn"], info["streamVersion"]) == ("two", ROLE + "-2", 3)
    assert [file["fileId"] for file in info["files"]] == [7]
    assert info["lastUpdatedAt"] == moment(site) > info["createdAt"]
    two = [put(site, "c", IMAGE, 1), put(site, "d", IMAGE, 1)]
    for asked, code in (
        ({"streamId": "s-2"}, "ResourceNotFoundException"),
        ({"streamId": "s-1", "files": two}, "InvalidRequestException"),
        ({"streamId": "s-1", "files": [{"fileId": 1, "s3Location": {"bucket": "x", "key": "y"}}]},
         "InvalidRequestException"),
    ):  # fmt: skip
        with pytest.raises(ClientError) as error:
            iot.update_stream(**asked)
        assert refused(error)[0] == code
    assert iot.describe_stream(streamId="s-1")["streamInfo"]["streamVersion"] == 3


def test_streams_are_listed_in_pages_both_ways(site: Site, iot: Any) -> None:
    for name in ("s-1", "s-2", "s-3"):
        iot.create_stream(streamId=name, files=[put(site, name, IMAGE)], roleArn=ROLE)
    pages = iot.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    found = [[one["streamId"] for one in page["streams"]] for page in pages]
    assert found == [["s-1", "s-2"], ["s-3"]]
    down = iot.list_streams(ascendingOrder=False, maxResults=2)
    assert [one["streamId"] for one in down["streams"]] == ["s-3", "s-2"]
    rest = iot.list_streams(ascendingOrder=False, nextToken=down["nextToken"])
    assert [one["streamId"] for one in rest["streams"]] == ["s-1"]


@pytest.mark.compatibility("11", "DescribeEndpoint tells the broker, and where jobs are by HTTP")
def test_the_endpoints_are_told(site: Site, iot: Any) -> None:
    control = site.control.url.removeprefix("http://")
    for asked, expected in (
        ({}, "127.0.0.1:1883"),
        ({"endpointType": "iot:Data-ATS"}, "127.0.0.1:1883"),
        ({"endpointType": "iot:Jobs"}, control),
    ):
        assert iot.describe_endpoint(**asked)["endpointAddress"] == expected
    with pytest.raises(ClientError, match="iot:CredentialProvider is not here") as error:
        iot.describe_endpoint(endpointType="iot:CredentialProvider")
    assert refused(error) == ("InvalidRequestException", 400)


@pytest.mark.compatibility(
    "1", "the same path is another operation of `iot` and of `iot-jobs-data`, by the signature"
)
def test_one_path_is_two_operations_by_the_service_of_the_signature(
    site: Site, iot: Any, devices: Any
) -> None:
    iot.create_thing(thingName="b1")
    job(iot, "j", "b1")
    operators = iot.describe_job_execution(jobId="j", thingName="b1")["execution"]
    boards = devices.describe_job_execution(jobId="j", thingName="b1")["execution"]
    assert "jobDocument" not in operators
    assert json.loads(boards["jobDocument"]) == DOCUMENT
    assert operators["thingArn"] == THING + "b1"
    assert boards["thingName"] == "b1"


@pytest.mark.compatibility(
    "1", "`iot-jobs-data` over HTTP lists, describes, starts and reports, as MQTT does"
)
def test_a_board_does_its_job_over_http(site: Site, iot: Any, devices: Any) -> None:
    iot.create_thing(thingName="b1")
    empty = plain(devices.get_pending_job_executions(thingName="b1"))
    assert empty == {"inProgressJobs": [], "queuedJobs": []}
    assert plain(devices.start_next_pending_job_execution(thingName="b1")) == {}
    job(iot, "j1", "b1")
    job(iot, "j2", "b1")
    pending = devices.get_pending_job_executions(thingName="b1")
    assert [one["jobId"] for one in pending["queuedJobs"]] == ["j1", "j2"]
    named = devices.describe_job_execution(thingName="b1", jobId="$next")["execution"]
    assert (named["jobId"], named["status"]) == ("j1", "QUEUED")
    site.world.sent()
    started = devices.start_next_pending_job_execution(
        thingName="b1", statusDetails={"step": "one"}, stepTimeoutInMinutes=5
    )["execution"]
    assert (started["jobId"], started["status"], started["versionNumber"]) == (
        "j1",
        "IN_PROGRESS",
        2,
    )
    assert started["statusDetails"] == {"step": "one"}
    assert started["approximateSecondsBeforeTimedOut"] == 300
    assert json.loads(started["jobDocument"]) == DOCUMENT
    assert heard(site) == [], "neither the list nor the first of it is another one"
    bare = devices.describe_job_execution(
        thingName="b1", jobId="j1", executionNumber=1, includeJobDocument=False
    )["execution"]
    assert "jobDocument" not in bare
    done = devices.update_job_execution(
        thingName="b1",
        jobId="j1",
        status="SUCCEEDED",
        expectedVersion=2,
        includeJobExecutionState=True,
        includeJobDocument=True,
    )
    assert done["executionState"]["status"] == "SUCCEEDED"
    assert json.loads(done["jobDocument"]) == DOCUMENT
    assert heard(site) == ["notify", "notify-next"], "by MQTT, as for a board's own report"
    assert iot.describe_job(jobId="j1")["job"]["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("call", "asked", "expected"),
    [
        ("get_pending_job_executions", {"thingName": "x"}, ("ResourceNotFoundException", 404)),
        (
            "describe_job_execution",
            {"thingName": "b1", "jobId": "x"},
            ("ResourceNotFoundException", 404),
        ),
        ("describe_job_execution", {"thingName": "b1", "jobId": "ended"},
         ("TerminalStateException", 410)),
        (
            "update_job_execution",
            {"thingName": "b1", "jobId": "ended", "status": "FAILED"},
            ("InvalidStateTransitionException", 409),
        ),
        (
            "update_job_execution",
            {"thingName": "b1", "jobId": "open", "status": "QUEUED"},
            ("InvalidRequestException", 400),
        ),
        (
            "update_job_execution",
            {"thingName": "b1", "jobId": "open", "status": "FAILED", "expectedVersion": 7},
            ("InvalidRequestException", 400),
        ),
        (
            "update_job_execution",
            {"thingName": "b1", "jobId": "open", "status": "FAILED", "stepTimeoutInMinutes": 0},
            ("InvalidRequestException", 400),
        ),
        (
            "start_next_pending_job_execution",
            {"thingName": "b1", "statusDetails": {"a b": "c"}},
            ("InvalidRequestException", 400),
        ),
        ("get_pending_job_executions", {"thingName": "gone"}, ("InvalidRequestException", 400)),
    ],
)  # fmt: skip
def test_a_wrong_request_over_http_is_refused_and_changes_nothing(
    site: Site, iot: Any, devices: Any, call: str, asked: dict[str, Any], expected: tuple[str, int]
) -> None:
    for name in ("b1", "gone"):
        iot.create_thing(thingName=name)
    job(iot, "ended", "b1")
    devices.update_job_execution(thingName="b1", jobId="ended", status="SUCCEEDED")
    job(iot, "open", "b1")
    site.clients.revoke("gone")
    site.world.sent()
    with pytest.raises(ClientError) as error:
        getattr(devices, call)(**asked)
    assert refused(error) == expected
    assert site.world.sent() == []
    found = iot.describe_job_execution(jobId="open", thingName="b1")["execution"]
    assert (found["status"], found["versionNumber"]) == ("QUEUED", 1)


@pytest.mark.compatibility(
    "10", "UpdateThingShadow, DeleteThingShadow, ListNamedShadowsForThing, of the shadow `ota`"
)
def test_a_shadow_is_changed_and_deleted_over_http(site: Site, iot: Any, data: Any) -> None:
    iot.create_thing(thingName="b1")
    named = {"thingName": "b1", "shadowName": "ota"}
    assert data.list_named_shadows_for_thing(thingName="b1")["results"] == []

    def update(body: Any) -> Any:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return json.loads(data.update_thing_shadow(**named, payload=text)["payload"].read())

    made = update({"state": {"desired": {"speed": 3}}, "clientToken": "t"})
    assert made == {
        "state": {"desired": {"speed": 3}},
        "metadata": {"desired": {"speed": {"timestamp": site.world.now}}},
        "version": 1,
        "timestamp": site.world.now,
        "clientToken": "t",
    }
    site.world.ask_shadows(
        "$aws/things/b1/shadow/name/ota/update", b'{"state":{"reported":{"version":"1.0.0"}}}'
    )
    found = json.loads(data.get_thing_shadow(**named)["payload"].read())
    assert found["state"] == {"desired": {"speed": 3}, "reported": {"version": "1.0.0"}}
    listed = data.list_named_shadows_for_thing(thingName="b1")
    assert (listed["results"], listed["timestamp"]) == (["ota"], site.world.now)
    for body, expected in (
        ({"state": {}, "version": 1}, ("ConflictException", 409)),
        (b"no JSON", ("InvalidRequestException", 400)),
        ({"no": "state"}, ("InvalidRequestException", 400)),
        ({"state": {"desired": {"x": "y" * 9000}}}, ("RequestEntityTooLargeException", 413)),
    ):
        with pytest.raises(ClientError) as error:
            update(body)
        assert refused(error) == expected
    assert json.loads(data.get_thing_shadow(**named)["payload"].read())["version"] == 2
    deleted = json.loads(data.delete_thing_shadow(**named)["payload"].read())
    assert deleted == {"version": 2, "timestamp": site.world.now}
    with pytest.raises(ClientError) as error:
        data.delete_thing_shadow(**named)
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_other_shadows_and_other_things_are_refused(site: Site, iot: Any, data: Any) -> None:
    iot.create_thing(thingName="b1")
    body = b'{"state":{}}'
    for other in ({"shadowName": "x"}, {}):
        with pytest.raises(ClientError, match="not implemented here, only 'ota'") as error:
            data.update_thing_shadow(thingName="b1", payload=body, **other)
        assert refused(error) == ("InvalidRequestException", 400)
        with pytest.raises(ClientError, match="only 'ota'"):
            data.delete_thing_shadow(thingName="b1", **other)
    for call in (
        lambda: data.update_thing_shadow(thingName="x", shadowName="ota", payload=body),
        lambda: data.list_named_shadows_for_thing(thingName="x"),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == ("ResourceNotFoundException", 404)
    with pytest.raises(ClientError, match="nextToken"):
        data.list_named_shadows_for_thing(thingName="b1", nextToken="x")
