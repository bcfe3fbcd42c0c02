"""The HTTP side: every operation through boto3 against a real listener, and who is let in."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, THING, Site, fetch, moment, plain, refused

from twinslot import config
from twinslot.addresses import Address
from twinslot.client.clients import RefusedError
from twinslot.client.own_service import OwnService
from twinslot.errors import UnreachableError
from twinslot.service import codec, s3, sigv4

DOCUMENT = json.dumps({"afr_ota": {"protocols": ["MQTT"], "streamname": "s-1", "files": []}})


def test_things(site: Site, iot: Any) -> None:
    made = iot.create_thing(thingName="board-1", attributePayload={"attributes": {"room": "lab"}})
    assert made["thingArn"] == THING + "board-1"
    again = iot.create_thing(thingName="board-1", attributePayload={"attributes": {"room": "lab"}})
    assert again["thingId"] == made["thingId"]
    with pytest.raises(ClientError) as error:
        iot.create_thing(thingName="board-1")
    assert refused(error) == ("ResourceAlreadyExistsException", 409)
    found: Any = error.value.response
    assert found["resourceId"] == "board-1"
    assert found["resourceArn"] == THING + "board-1"
    described = plain(iot.describe_thing(thingName="board-1"))
    assert described == {
        "defaultClientId": "board-1",
        "thingName": "board-1",
        "thingId": made["thingId"],
        "thingArn": THING + "board-1",
        "attributes": {"room": "lab"},
        "version": 1,
    }
    with pytest.raises(ClientError) as error:
        iot.describe_thing(thingName="board-2")
    assert refused(error) == ("ResourceNotFoundException", 404)
    for number in range(2, 6):
        iot.create_thing(thingName=f"board-{number}")
    pages = iot.get_paginator("list_things").paginate(PaginationConfig={"PageSize": 2})
    names = [[thing["thingName"] for thing in page["things"]] for page in pages]
    assert names == [["board-1", "board-2"], ["board-3", "board-4"], ["board-5"]]


def test_objects(site: Site) -> None:
    store = site.clients.s3
    key = "folder/1.1.0 +ü&=~.ota"
    put = store.put_object(Bucket="packages", Key=key, Body=IMAGE, Metadata={"made-by": "a test"})
    head = store.head_object(Bucket="packages", Key=key)
    assert head["ETag"] == put["ETag"]
    assert head["ContentLength"] == len(IMAGE)
    assert head["LastModified"] == moment(site)
    assert head["Metadata"] == {"made-by": "a test"}
    whole = store.get_object(Bucket="packages", Key=key)
    assert whole["Body"].read() == IMAGE
    assert whole["ResponseMetadata"]["HTTPStatusCode"] == 200
    for text, part, described in (
        ("bytes=0-0", IMAGE[:1], f"bytes 0-0/{len(IMAGE)}"),
        ("bytes=4096-8191", IMAGE[4096:8192], f"bytes 4096-8191/{len(IMAGE)}"),
        ("bytes=10000-", IMAGE[10000:], f"bytes 10000-{len(IMAGE) - 1}/{len(IMAGE)}"),
        ("bytes=10000-99999", IMAGE[10000:], f"bytes 10000-{len(IMAGE) - 1}/{len(IMAGE)}"),
        ("bytes=-100", IMAGE[-100:], f"bytes {len(IMAGE) - 100}-{len(IMAGE) - 1}/{len(IMAGE)}"),
    ):
        got = store.get_object(Bucket="packages", Key=key, Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == described
        assert got["ContentLength"] == len(part)
        assert got["Body"].read() == part
        assert store.head_object(Bucket="packages", Key=key, Range=text)["ContentLength"] == len(
            part
        )
    with pytest.raises(ClientError) as error:
        store.get_object(Bucket="packages", Key=key, Range=f"bytes={len(IMAGE)}-")
    assert refused(error) == ("InvalidRange", 416)
    with pytest.raises(ClientError) as error:
        store.get_object(Bucket="packages", Key="other")
    assert refused(error) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as error:
        store.head_object(Bucket="packages", Key="other")
    assert refused(error) == ("404", 404)
    store.put_object(Bucket="packages", Key=key, Body=b"")
    assert store.get_object(Bucket="packages", Key=key)["Body"].read() == b""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Key": "k" * 1025}, "KeyTooLongError"),
        ({"Key": "a\0b"}, "InvalidArgument"),
        ({"ContentType": "x" * 256}, "InvalidArgument"),
    ],
)
def test_an_object_that_no_database_could_keep_is_refused(
    site: Site, changes: dict[str, str], code: str
) -> None:
    with pytest.raises(ClientError) as error:
        site.clients.s3.put_object(**{"Bucket": "packages", "Key": "k", "Body": b"x"} | changes)
    assert refused(error) == (code, 400)


def test_a_range_of_another_form_means_the_whole_object() -> None:
    for text in ("", "bytes=-", "bytes=5-4", "bytes=a-b", "blocks=0-1", "bytes=0-1,3-4"):
        assert s3.byte_range(text, 100) is None


def test_streams(site: Site, iot: Any) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a.ota", Body=IMAGE)
    files = [{"fileId": 0, "s3Location": {"bucket": "packages", "key": "a.ota"}}]
    made = iot.create_stream(streamId="s-1", description="1.1.0", files=files, roleArn=ROLE)
    assert (made["streamId"], made["streamVersion"]) == ("s-1", 1)
    info = iot.describe_stream(streamId="s-1")["streamInfo"]
    assert info == {
        "streamId": "s-1",
        "streamArn": "arn:aws:iot:local:000000000000:stream/s-1",
        "streamVersion": 1,
        "description": "1.1.0",
        "files": files,
        "createdAt": moment(site),
        "lastUpdatedAt": moment(site),
        "roleArn": ROLE,
    }
    for arguments, code in (
        ({"streamId": "s-1", "files": files}, "ResourceAlreadyExistsException"),
        ({"streamId": "s-2", "files": files * 2}, "InvalidRequestException"),
        ({"streamId": "s-2", "files": [{"fileId": 1}]}, "InvalidRequestException"),
        ({"streamId": "s 2", "files": files}, "InvalidRequestException"),
        ({"streamId": "s-2", "files": [{**files[0], "fileId": 256}]}, "InvalidRequestException"),
    ):
        with pytest.raises(ClientError) as error:
            iot.create_stream(roleArn=ROLE, **arguments)
        assert refused(error)[0] == code
    with pytest.raises(ClientError) as error:
        iot.describe_stream(streamId="s-2")
    assert refused(error) == ("ResourceNotFoundException", 404)


def make_jobs(site: Site, *job_ids: str, things: tuple[str, ...] = ("board-1", "board-2")) -> None:
    for thing in things:
        site.clients.iot.create_thing(thingName=thing)
    for job_id in job_ids:
        site.clients.iot.create_job(
            jobId=job_id,
            targets=[THING + thing for thing in things],
            document=DOCUMENT,
            description="1.1.0",
            targetSelection="SNAPSHOT",
            timeoutConfig={"inProgressTimeoutInMinutes": 30},
        )


def test_jobs(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1", "job-2", "job-3")
    job = iot.describe_job(jobId="job-1")["job"]
    assert job["jobArn"] == "arn:aws:iot:local:000000000000:job/job-1"
    assert job["status"] == "IN_PROGRESS"
    assert job["targets"] == [THING + "board-1", THING + "board-2"]
    assert job["createdAt"] == moment(site)
    assert job["timeoutConfig"] == {"inProgressTimeoutInMinutes": 30}
    assert job["jobProcessDetails"]["numberOfQueuedThings"] == 2
    assert job["jobProcessDetails"]["numberOfFailedThings"] == 0
    pages = iot.get_paginator("list_jobs").paginate(PaginationConfig={"PageSize": 2})
    assert [[job["jobId"] for job in page["jobs"]] for page in pages] == [
        ["job-3", "job-2"],
        ["job-1"],
    ]
    assert iot.list_jobs(status="COMPLETED")["jobs"] == []
    make_tokens = [
        lambda token: iot.list_jobs(nextToken=token),
        lambda token: iot.list_jobs(nextToken=token, status="IN_PROGRESS"),
        lambda token: iot.list_things(nextToken=token),
        lambda token: iot.list_job_executions_for_job(jobId="job-1", nextToken=token),
        lambda token: iot.list_job_executions_for_job(jobId="job-2", nextToken=token),
    ]
    given = [
        iot.list_jobs(maxResults=1)["nextToken"],
        iot.list_jobs(maxResults=1, status="IN_PROGRESS")["nextToken"],
        iot.list_things(maxResults=1)["nextToken"],
        iot.list_job_executions_for_job(jobId="job-1", maxResults=1)["nextToken"],
        iot.list_job_executions_for_job(jobId="job-2", maxResults=1)["nextToken"],
    ]
    for here, ask in enumerate(make_tokens):
        assert ask(given[here])
        others = [token for there, token in enumerate(given) if there != here]
        for token in ("job-1", "1", "", "board-1", "é", f"{given[here]}A", *others):
            with pytest.raises(ClientError) as error:
                ask(token)
            assert refused(error) == ("InvalidRequestException", 400), token


def test_a_job_keeps_the_role_and_the_time_limit_of_its_urls(site: Site, iot: Any) -> None:
    board = iot.create_thing(thingName="board-1")["thingArn"]
    for number, urls in enumerate([{"roleArn": ROLE}, {"roleArn": ROLE, "expiresInSec": 600}]):
        name = f"job-{number}"
        iot.create_job(jobId=name, targets=[board], document="{}", presignedUrlConfig=urls)
        assert iot.describe_job(jobId=name)["job"]["presignedUrlConfig"] == urls
    iot.create_job(jobId="job-9", targets=[board], document="{}")
    assert "presignedUrlConfig" not in iot.describe_job(jobId="job-9")["job"]


def test_a_new_job_reaches_its_things(site: Site) -> None:
    make_jobs(site, "job-1", things=("board-1",))
    assert [topic for topic, _ in site.world.sent()] == [
        "$aws/things/board-1/jobs/notify",
        "$aws/things/board-1/jobs/notify-next",
    ]
    make_jobs(site, "job-2", things=("board-1",))
    assert [topic for topic, _ in site.world.sent()] == ["$aws/things/board-1/jobs/notify"]


@pytest.mark.compatibility(
    "1", "DescribeJobExecution through `boto3` has `statusDetails` even when there are none"
)
def test_executions(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1")
    update = {"status": "IN_PROGRESS", "statusDetails": {"receive": "64/400"}}
    site.world.ask_jobs("$aws/things/board-1/jobs/job-1/update", json.dumps(update).encode())
    listed = iot.list_job_executions_for_job(jobId="job-1")["executionSummaries"]
    assert [entry["thingArn"] for entry in listed] == [THING + "board-1", THING + "board-2"]
    assert [entry["jobExecutionSummary"]["status"] for entry in listed] == ["IN_PROGRESS", "QUEUED"]
    assert "startedAt" not in listed[1]["jobExecutionSummary"]
    queued = iot.list_job_executions_for_job(jobId="job-1", status="QUEUED", maxResults=1)
    assert len(queued["executionSummaries"]) == 1
    assert "nextToken" not in queued
    found = iot.describe_job_execution(jobId="job-1", thingName="board-1")["execution"]
    assert found == {
        "jobId": "job-1",
        "status": "IN_PROGRESS",
        "forceCanceled": False,
        "statusDetails": {"detailsMap": {"receive": "64/400"}},
        "thingArn": THING + "board-1",
        "queuedAt": moment(site),
        "startedAt": moment(site),
        "lastUpdatedAt": moment(site),
        "executionNumber": 1,
        "versionNumber": 2,
        "approximateSecondsBeforeTimedOut": 1800,
    }
    empty = iot.describe_job_execution(jobId="job-1", thingName="board-2", executionNumber=1)
    assert empty["execution"]["statusDetails"] == {"detailsMap": {}}
    for arguments in ({"thingName": "board-3"}, {"thingName": "board-1", "executionNumber": 2}):
        with pytest.raises(ClientError) as error:
            iot.describe_job_execution(jobId="job-1", **arguments)
        assert refused(error) == ("ResourceNotFoundException", 404)


@pytest.mark.compatibility(
    "1", "CancelJobExecution through `boto3`: versions, force, AWS's exceptions"
)
def test_cancelling_an_execution(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1")
    iot.cancel_job_execution(
        jobId="job-1", thingName="board-2", statusDetails={"why": "wrong board"}, expectedVersion=1
    )
    found = iot.describe_job_execution(jobId="job-1", thingName="board-2")["execution"]
    assert found["status"] == "CANCELED"
    assert found["statusDetails"]["detailsMap"] == {"why": "wrong board"}
    site.world.ask_jobs("$aws/things/board-1/jobs/job-1/update", b'{"status":"IN_PROGRESS"}')
    for arguments, code, status in (
        ({"thingName": "board-2"}, "InvalidStateTransitionException", 409),
        ({"thingName": "board-1"}, "InvalidStateTransitionException", 409),
        ({"thingName": "board-1", "expectedVersion": 9}, "VersionConflictException", 409),
        ({"thingName": "board-3"}, "ResourceNotFoundException", 404),
        (
            {"thingName": "board-1", "force": True, "statusDetails": {"why": "\n"}},
            "InvalidRequestException",
            400,
        ),
    ):
        with pytest.raises(ClientError) as error:
            iot.cancel_job_execution(jobId="job-1", **arguments)
        assert refused(error) == (code, status)
    site.world.sent()
    iot.cancel_job_execution(jobId="job-1", thingName="board-1", force=True)
    assert site.world.sent()[-1] == (
        "$aws/things/board-1/jobs/notify-next",
        {"timestamp": site.world.now},
    )
    assert iot.describe_job(jobId="job-1")["job"]["status"] == "COMPLETED"


@pytest.mark.compatibility("1", "CancelJob through `boto3`, with and without `force`")
def test_cancelling_a_job(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1")
    site.world.ask_jobs("$aws/things/board-1/jobs/job-1/update", b'{"status":"IN_PROGRESS"}')
    iot.cancel_job(jobId="job-1", comment="recalled", reasonCode="BAD")

    def statuses() -> list[str]:
        entries = iot.list_job_executions_for_job(jobId="job-1")["executionSummaries"]
        return [entry["jobExecutionSummary"]["status"] for entry in entries]

    assert statuses() == ["IN_PROGRESS", "CANCELED"]
    iot.cancel_job(jobId="job-1", force=True, comment="recalled", reasonCode="BAD")
    assert statuses() == ["CANCELED", "CANCELED"]
    job = iot.describe_job(jobId="job-1")["job"]
    assert (job["status"], job["comment"], job["reasonCode"]) == ("CANCELED", "recalled", "BAD")
    assert job["forceCanceled"] is True
    assert job["completedAt"] == moment(site)


def begin(site: Site, job: str = "job-1", thing: str = "board-1") -> None:
    site.world.ask_jobs(f"$aws/things/{thing}/jobs/{job}/update", b'{"status":"IN_PROGRESS"}')


@pytest.mark.compatibility(
    "1",
    "a job deleted by force is gone at once",
    unlike="deletes in the background",
    because="there is nothing to wait for; boards are told what is next",
)
def test_a_deleted_job_is_gone_for_operator_and_board(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1", "job-2")
    begin(site)
    with pytest.raises(ClientError, match="job job-1 is IN_PROGRESS: cancel it") as error:
        iot.delete_job(jobId="job-1")
    assert refused(error) == ("InvalidStateTransitionException", 409)
    site.world.sent()
    iot.delete_job(jobId="job-1", force=True)
    sent = dict(site.world.sent())
    assert sorted(sent) == [
        f"$aws/things/{thing}/jobs/{topic}"
        for thing in ("board-1", "board-2")
        for topic in ("notify", "notify-next")
    ]
    for thing in ("board-1", "board-2"):
        following = sent[f"$aws/things/{thing}/jobs/notify-next"]["execution"]
        assert (following["jobId"], following["status"]) == ("job-2", "QUEUED")
    begin(site)
    ((topic, message),) = site.world.sent()
    assert (topic.rpartition("/")[2], message["code"]) == ("rejected", "ResourceNotFound")
    for call in (
        lambda: iot.describe_job(jobId="job-1"),
        lambda: iot.delete_job(jobId="job-1", force=True),
        lambda: iot.describe_job_execution(jobId="job-1", thingName="board-1"),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == ("ResourceNotFoundException", 404)
    make_jobs(site, "job-1")  # its name is free again


def test_a_job_that_has_ended_is_deleted_in_silence(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1")
    iot.cancel_job(jobId="job-1")
    site.world.sent()
    iot.delete_job(jobId="job-1")
    assert site.world.sent() == []
    assert iot.list_jobs()["jobs"] == []


def test_a_deleted_execution_is_gone_and_ends_the_job_if_it_was_the_last(
    site: Site, iot: Any
) -> None:
    make_jobs(site, "job-1")
    begin(site)
    for thing in ("board-1", "board-2"):  # one is IN_PROGRESS, the other QUEUED
        execution = {"jobId": "job-1", "thingName": thing, "executionNumber": 1}
        with pytest.raises(ClientError, match="delete it with force") as error:
            iot.delete_job_execution(**execution)
        assert refused(error) == ("InvalidStateTransitionException", 409)
        site.world.sent()
        iot.delete_job_execution(**execution, force=True)
        assert site.world.sent()[-1] == (
            f"$aws/things/{thing}/jobs/notify-next",
            {"timestamp": site.world.now},
        )
        with pytest.raises(ClientError) as error:
            iot.delete_job_execution(**execution, force=True)
        assert refused(error) == ("ResourceNotFoundException", 404)
        status = {"board-1": "IN_PROGRESS", "board-2": "COMPLETED"}[thing]
        assert iot.describe_job(jobId="job-1")["job"]["status"] == status


def test_a_stream_is_deleted_when_no_board_needs_it(site: Site, iot: Any) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a.ota", Body=IMAGE)
    files = [{"fileId": 0, "s3Location": {"bucket": "packages", "key": "a.ota"}}]
    iot.create_stream(streamId="s-1", files=files, roleArn=ROLE)
    make_jobs(site, "job-1")
    with pytest.raises(ClientError, match="stream s-1 is needed by job-1") as error:
        iot.delete_stream(streamId="s-1")
    assert refused(error) == ("DeleteConflictException", 409)
    iot.cancel_job(jobId="job-1")
    iot.delete_stream(streamId="s-1")
    for call in (iot.describe_stream, iot.delete_stream):
        with pytest.raises(ClientError) as error:
            call(streamId="s-1")
        assert refused(error) == ("ResourceNotFoundException", 404)
    iot.create_stream(streamId="s-1", files=files, roleArn=ROLE)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"jobId": "a.b"}, "InvalidRequestException"),
        ({"jobId": "x" * 65}, "InvalidRequestException"),
        ({"document": "{"}, "InvalidRequestException"),
        ({"document": "[]"}, "InvalidRequestException"),
        ({"document": json.dumps({"pad": "x" * 32768})}, "InvalidRequestException"),
        ({"targets": [THING + "board-9"]}, "ResourceNotFoundException"),
        ({"targets": ["arn:aws:iot:eu-west-1:1:thing/board-1"]}, "InvalidRequestException"),
        (
            {"targets": ["arn:aws:iot:local:000000000000:thinggroup/all"]},
            "ResourceNotFoundException",
        ),
        ({"jobExecutionsRolloutConfig": {}}, "InvalidRequestException"),
        ({"targetSelection": "SOME"}, "InvalidRequestException"),
        ({"timeoutConfig": {"inProgressTimeoutInMinutes": 0}}, "InvalidRequestException"),
        ({"jobTemplateArn": "arn:aws:iot:local:0:jobtemplate/t"}, "InvalidRequestException"),
        ({"description": "line\nline"}, "InvalidRequestException"),
    ],
)
def test_a_job_that_cannot_be_is_refused_and_leaves_nothing(
    site: Site, iot: Any, changes: dict[str, Any], code: str
) -> None:
    iot.create_thing(thingName="board-1")
    arguments = {"jobId": "job-1", "targets": [THING + "board-1"], "document": DOCUMENT, **changes}
    with pytest.raises(ClientError) as error:
        iot.create_job(**arguments)
    assert refused(error)[0] == code
    assert iot.list_jobs()["jobs"] == []
    assert site.world.sent() == []


def test_a_job_id_is_used_once(site: Site, iot: Any) -> None:
    make_jobs(site, "job-1")
    with pytest.raises(ClientError) as error:
        make_jobs(site, "job-1")
    assert refused(error) == ("ResourceAlreadyExistsException", 409)


def test_what_was_served_is_told(site: Site) -> None:
    site.world.things("board-1")
    site.world.stream("s-1", IMAGE)
    site.world.job("job-1", "board-1", stream_id="s-1")
    assert site.clients.traffic("job-1") == {
        "size": len(IMAGE),
        "things": {"board-1": {"blocks": 0, "bytes": 0}},
    }
    with pytest.raises(RefusedError) as error:
        site.clients.traffic("job-2")
    assert error.value.code == "ResourceNotFoundException"


@pytest.mark.compatibility(
    "1",
    "an operation that is not here answers NotImplemented",
    unlike="has hundreds of operations",
    because="only what updates need is here",
)
def test_what_is_not_implemented_says_so_by_name(site: Site, iot: Any) -> None:
    devices = site.clients.client("iot-jobs-data")
    calls = [
        (lambda: iot.list_thing_types(), "ListThingTypes"),
        (lambda: iot.create_billing_group(billingGroupName="b"), "CreateBillingGroup"),
        (lambda: devices.start_command_execution(targetArn="a" * 20, commandArn="c" * 20),
         "StartCommandExecution"),
        (lambda: site.clients.client("iot-data").publish(topic="t"), "Publish"),
        (lambda: site.clients.s3.list_objects(Bucket="packages"), "ListObjects"),
        (lambda: site.clients.s3.delete_bucket(Bucket="packages"), "DeleteBucket"),
        (lambda: site.clients.s3.get_object_acl(Bucket="packages", Key="k"), "GetObjectAcl"),
        (lambda: site.clients.s3.copy_object(Bucket="p", Key="k", CopySource="p/j"), "CopyObject"),
        (lambda: site.clients.s3.upload_part_copy(
            Bucket="p", Key="k", PartNumber=1, UploadId="u", CopySource="p/j"
        ), "UploadPartCopy"),
    ]  # fmt: skip
    call: Any
    for call, name in calls:
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == ("NotImplemented", 501)
        assert name in str(error.value)


def test_a_parameter_that_would_be_ignored_is_refused(site: Site, iot: Any) -> None:
    with pytest.raises(ClientError, match="thingTypeName is not implemented"):
        iot.create_thing(thingName="board-1", thingTypeName="meter")
    with pytest.raises(ClientError, match="IfNoneMatch is not implemented"):
        site.clients.s3.get_object(Bucket="packages", Key="k", IfNoneMatch="e")


# Who is let in


def test_another_secret_key_or_access_key_is_refused(site: Site) -> None:
    for changes, code in (
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "wrong"}, "InvalidAccessKeyId"),
        ({"region_name": "eu-west-1"}, "SignatureDoesNotMatch"),
    ):
        with pytest.raises(ClientError) as error:
            site.s3(site.control.url, **changes).put_object(Bucket="b", Key="k", Body=b"x")
        assert refused(error) == (code, 403)


@pytest.mark.parametrize("seconds", [-901, 901])
def test_a_clock_that_is_off_by_more_than_a_quarter_of_an_hour_is_refused(
    site: Site, iot: Any, seconds: int
) -> None:
    iot.list_things()
    site.world.now += seconds
    with pytest.raises(ClientError) as error:
        iot.list_things()
    assert refused(error) == ("RequestTimeTooSkewed", 403)


def test_a_presigned_url_works_on_the_data_listener_until_it_expires(site: Site) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a b.ota", Body=IMAGE)
    url = site.s3(site.data.url).generate_presigned_url(
        "get_object", Params={"Bucket": "packages", "Key": "a b.ota"}, ExpiresIn=60
    )
    assert fetch(url) == IMAGE
    assert fetch(url, {"Range": "bytes=4096-8191"}) == IMAGE[4096:8192]
    for broken in (url.replace("a%20b", "c"), url.replace("Expires=60", "Expires=61"), url + "0"):
        with pytest.raises(HTTPError) as error:
            fetch(broken)
        assert error.value.code == 403
        assert b"SignatureDoesNotMatch" in error.value.read()
    site.world.now += 62
    with pytest.raises(HTTPError) as error:
        fetch(url)
    assert error.value.code == 403
    assert b"<Code>AccessDenied</Code><Message>Request has expired" in error.value.read()


def test_the_data_listener_hands_out_objects_and_nothing_else(site: Site) -> None:
    data = site.s3(site.data.url)
    with pytest.raises(ClientError) as error:
        data.put_object(Bucket="packages", Key="k", Body=b"x")
    assert refused(error)[1] == 413
    with pytest.raises(ClientError) as error:
        data.delete_object(Bucket="packages", Key="k")
    assert refused(error) == ("NotImplemented", 501)
    request = AWSRequest("GET", f"{site.data.url}/things")
    credentials: Any = boto3.session.Session(
        site.credentials.access_key, site.credentials.secret_key
    ).get_credentials()
    SigV4Auth(credentials, "iot", "local").add_auth(request)
    with pytest.raises(HTTPError) as http_error:
        fetch(request.url, dict(request.headers))
    assert http_error.value.code == 404
    assert b"no service iot" in http_error.value.read()


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 403),
        ({"Authorization": "Basic YTpi"}, "", 403),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=a"}, "", 403),
        ({}, "?X-Amz-Signature=00", 403),
        ({}, "?X-Amz-Signature=00&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9999999", 403),
        ({}, "?X-Amz-Signature=00&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9", 403),
    ],
)
def test_an_unsigned_or_half_signed_request_is_refused(
    site: Site, headers: dict[str, str], query: str, status: int
) -> None:
    for listener in (site.control, site.data):
        with pytest.raises(HTTPError) as error:
            fetch(f"{listener.url}/packages/key{query}", headers)
        assert error.value.code == status


def signed(site: Site, url: str, body: bytes = b"", method: str = "POST") -> codec.HttpRequest:
    """A request as botocore signs it, as the service would see it."""
    request = AWSRequest(method, url, data=body, headers={"host": urlsplit(url).netloc})
    credentials: Any = boto3.session.Session(
        site.credentials.access_key, site.credentials.secret_key
    ).get_credentials()
    SigV4Auth(credentials, "iot", "local").add_auth(request)
    parts = urlsplit(url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return codec.HttpRequest(method, parts.path, parts.query, headers, body)


def test_nothing_of_a_signed_request_can_be_changed(site: Site) -> None:
    request = signed(site, "http://host/things/board%201?b=2&a=%20%2B", b"{}")
    claims = sigv4.read(request)
    secret, now = site.credentials.secret_key, site.world.now
    sigv4.verify(request, claims, secret, "local", now)
    parts = vars(request)
    host = {**request.headers, "host": "other"}
    for change in (
        {"method": "PUT"},
        {"path": "/things/board"},
        {"query": "a=%20%2B"},
        {"query": "b=2&a=+%2B"},
        {"headers": host},
        {"body": b"{ }"},
    ):
        with pytest.raises(codec.ApiError) as error:
            sigv4.verify(codec.HttpRequest(**{**parts, **change}), claims, secret, "local", now)
        assert error.value.code == "SignatureDoesNotMatch"


def test_a_body_that_is_not_the_signed_one_is_refused(site: Site) -> None:
    store = site.s3(site.control.url)

    def change(request: Any, **_: Any) -> None:
        request.body = b"something else, as long"

    store.meta.events.register("before-send.s3.PutObject", change)
    with pytest.raises(ClientError) as error:
        store.put_object(Bucket="b", Key="k", Body=b"what the client signed.")
    assert refused(error)[0] == "XAmzContentSHA256Mismatch"


def test_a_body_beyond_all_sizes_is_refused(site: Site) -> None:
    with pytest.raises(ClientError) as error:
        site.s3(site.control.url).put_object(Bucket="b", Key="k", Body=bytes(25 * 2**20 + 1))
    assert refused(error)[1] == 413


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"targets":7}', b'{"targets":["a"],"document":[]}']
)
def test_a_body_of_the_wrong_form_is_refused(site: Site, body: bytes) -> None:
    url = f"{site.control.url}/jobs/job-1"
    request = signed(site, url, body, "PUT")
    with (
        pytest.raises(HTTPError) as error,
        urlopen(Request(url, body, dict(request.headers), method="PUT"), timeout=10),
    ):
        pass
    assert error.value.code == 400
    assert error.value.headers["x-amzn-errortype"] == "InvalidRequestException"


# Clients


def test_without_an_endpoint_no_client_is_made(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    config.create(
        tmp_path,
        product="p",
        chip="esp32",
        slot_size=0x1B0000,
        broker=Address("127.0.0.1", 1883),
        tls=False,
    )
    with pytest.raises(UnreachableError, match="fleet serve"):
        OwnService(config.load(tmp_path / "fleet.toml"))


def test_the_machines_own_aws_settings_and_proxies_play_no_part(
    site: Site, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "aws").write_text(
        "[profile p]\nregion = eu-west-1\nendpoint_url = http://x.invalid\n"
    )
    for name, value in (
        ("AWS_PROFILE", "missing"),
        ("AWS_CONFIG_FILE", str(tmp_path / "aws")),
        ("AWS_ACCESS_KEY_ID", "real"),
        ("AWS_SECRET_ACCESS_KEY", "real"),
        ("AWS_SESSION_TOKEN", "real"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://x.invalid"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("http_proxy", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, value)
    clients = OwnService(site.config)
    assert clients.iot.list_things()["things"] == []
    clients.s3.put_object(Bucket="b", Key="k", Body=b"x")
