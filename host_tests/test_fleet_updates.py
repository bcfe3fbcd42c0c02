"""OTA updates through boto3: what CreateOTAUpdate makes of stream, job and document."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, THING, Site, fetch, moment, plain, refused

from tools.paths import ROOT
from twinslot.service.rows.streams import streams_table

SIGNATURE = bytes(range(70))
S3 = {"s3Location": {"bucket": "packages", "key": "app.bin"}}
SIGNED = {
    "customCodeSigning": {
        "signature": {"inlineDocument": SIGNATURE},
        "certificateChain": {"certificateName": "/certs/signer.pem"},
        "hashAlgorithm": "SHA256",
        "signatureAlgorithm": "ECDSA",
    }
}
FILE = {"fileName": "/fw/app.bin", "fileLocation": S3, "codeSigning": SIGNED}
JOBS = "$aws/things/board-1/jobs"


@contextmanager
def ready(folder: Path, database: str | None = None) -> Iterator[Site]:
    made = Site(folder, database=database)
    made.clients.iot.create_thing(thingName="board-1")
    made.clients.s3.put_object(Bucket="packages", Key="app.bin", Body=IMAGE)
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[Site]:
    with ready(tmp_path, database) as made:
        yield made


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that leave nothing."""
    with ready(tmp_path_factory.mktemp("site")) as made:
        yield made


def create(iot: Any, update_id: str = "u-1", **changes: Any) -> Any:
    arguments = {
        "otaUpdateId": update_id,
        "targets": [THING + "board-1"],
        "targetSelection": "SNAPSHOT",
        "files": [FILE],
        "roleArn": ROLE,
        **changes,
    }
    return iot.create_ota_update(**arguments)


def told(site: Site) -> Any:
    """The update in the job document that the board is told of."""
    topic, message = site.world.sent()[-1]
    assert topic == f"{JOBS}/notify-next"
    return message["execution"]["jobDocument"]["afr_ota"]


@pytest.mark.compatibility(
    "2",
    "CreateOTAUpdate through `boto3` makes a stream `AFR_OTA-...` and a job, and the board is told",
    path="MQTT",
)
def test_an_update_makes_stream_and_job_and_tells_the_board(site: Site, iot: Any) -> None:
    made = create(iot, description="1.1.0")
    assert plain(made) == {
        "otaUpdateId": "u-1",
        "otaUpdateArn": "arn:aws:iot:local:000000000000:otaupdate/u-1",
        "awsIotJobId": "AFR_OTA-u-1",
        "awsIotJobArn": "arn:aws:iot:local:000000000000:job/AFR_OTA-u-1",
        "otaUpdateStatus": "CREATE_COMPLETE",
    }
    update = told(site)
    stream_id = update["streamname"]
    assert stream_id.startswith("AFR_OTA-")
    assert len(stream_id) == 44  # the longest that FreeRTOS's agents take
    assert update == {
        "protocols": ["MQTT"],
        "streamname": stream_id,
        "files": [
            {
                "filepath": "/fw/app.bin",
                "filesize": len(IMAGE),
                "fileid": 0,
                "certfile": "/certs/signer.pem",
                "sig-sha256-ecdsa": base64.b64encode(SIGNATURE).decode(),
            }
        ],
    }
    (answer,) = site.world.streams.handle(
        f"$aws/things/board-1/streams/{stream_id}/get/json", b'{"f":0,"l":4096,"n":1}'
    )
    assert base64.b64decode(json.loads(answer.payload)["p"]) == IMAGE[:4096]
    job = iot.describe_job(jobId="AFR_OTA-u-1")["job"]
    assert (job["status"], job["targets"]) == ("IN_PROGRESS", [THING + "board-1"])


@pytest.mark.compatibility(
    "2", "CreateOTAUpdate by HTTP, signed with RSA, with its expiry and timeout", path="HTTP"
)
def test_an_update_by_http_has_a_url_and_no_stream(site: Site, iot: Any) -> None:
    rsa = {**SIGNED["customCodeSigning"], "hashAlgorithm": "SHA256", "signatureAlgorithm": "RSA"}
    create(
        iot,
        protocols=["HTTP"],
        files=[{**FILE, "fileType": 3, "codeSigning": {"customCodeSigning": rsa}}],
        awsJobPresignedUrlConfig={"expiresInSec": 60},
        awsJobTimeoutConfig={"inProgressTimeoutInMinutes": 9},
    )
    update = told(site)
    assert update.keys() == {"protocols", "files"}
    (file,) = update["files"]
    assert fetch(file.pop("update_data_url")) == IMAGE
    assert file == {
        "filepath": "/fw/app.bin",
        "filesize": len(IMAGE),
        "fileid": 0,
        "certfile": "/certs/signer.pem",
        "fileType": 3,
        "auth_scheme": "aws.s3.presigned",
        "sig-sha256-rsa": base64.b64encode(SIGNATURE).decode(),
    }
    job = iot.describe_job(jobId="AFR_OTA-u-1")["job"]
    assert job["presignedUrlConfig"] == {"roleArn": ROLE, "expiresInSec": 60}
    assert job["timeoutConfig"] == {"inProgressTimeoutInMinutes": 9}


@pytest.mark.compatibility("2", "URLs of an update are good for 1800 s unless it says", path="HTTP")
def test_urls_of_an_update_are_good_for_half_an_hour_unless_it_says(site: Site, iot: Any) -> None:
    create(iot, protocols=["MQTT", "HTTP"])
    update = told(site)
    assert update["protocols"] == ["MQTT", "HTTP"]
    assert "X-Amz-Expires=1800&" in update["files"][0]["update_data_url"]
    assert "streamname" in update


@pytest.mark.compatibility(
    "2", "an update without signature or name has neither `sig-...` nor `filepath`"
)
def test_an_unsigned_unnamed_file_has_neither_name_nor_signature(site: Site, iot: Any) -> None:
    create(iot, files=[{"fileLocation": S3}])
    assert told(site)["files"] == [{"filesize": len(IMAGE), "fileid": 0}]


def test_an_update_may_name_files_of_a_stream_that_is_there(site: Site, iot: Any) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="second.bin", Body=b"second")
    second = {"s3Location": {"bucket": "packages", "key": "second.bin"}}
    iot.create_stream(
        streamId="s-1", files=[{"fileId": 4, **S3}, {"fileId": 9, **second}], roleArn=ROLE
    )
    streams = [{"stream": {"streamId": "s-1", "fileId": file_id}} for file_id in (9, 4)]
    create(
        iot,
        protocols=["MQTT", "HTTP"],
        files=[{"fileName": f"n{at}", "fileLocation": one} for at, one in enumerate(streams)],
    )
    update = told(site)
    assert update["streamname"] == "s-1"
    assert [(file["fileid"], file["filesize"]) for file in update["files"]] == [
        (9, 6),
        (4, len(IMAGE)),
    ]
    assert fetch(update["files"][0]["update_data_url"]) == b"second"
    iot.delete_ota_update(otaUpdateId="u-1", deleteStream=True, forceDeleteAWSJob=True)
    assert iot.describe_stream(streamId="s-1")["streamInfo"]["streamId"] == "s-1"


def test_by_http_alone_a_stream_that_is_there_is_not_opened_to_boards(site: Site, iot: Any) -> None:
    iot.create_stream(streamId="s-1", files=[{"fileId": 0, **S3}], roleArn=ROLE)
    location = {"stream": {"streamId": "s-1", "fileId": 0}}
    create(iot, protocols=["HTTP"], files=[{"fileLocation": location}])
    update = told(site)
    assert "streamname" not in update
    assert fetch(update["files"][0]["update_data_url"]) == IMAGE
    (answer,) = site.world.streams.handle(
        "$aws/things/board-1/streams/s-1/get/json", b'{"f":0,"l":4096,"n":1}'
    )
    assert json.loads(answer.payload)["o"] == "Unauthorized"


@pytest.mark.compatibility("2", "GetOTAUpdate tells what was asked for")
def test_what_was_asked_for_can_be_looked_up(site: Site, iot: Any) -> None:
    file = {**FILE, "fileVersion": "1.1.0", "attributes": {"a": "b"}}
    create(iot, description="to 1.1.0", files=[file], additionalParameters={"x": "y"})
    stream_id = told(site)["streamname"]
    info = iot.get_ota_update(otaUpdateId="u-1")["otaUpdateInfo"]
    location = {**S3, "stream": {"streamId": stream_id, "fileId": 0}}
    assert info == {
        "otaUpdateId": "u-1",
        "otaUpdateArn": "arn:aws:iot:local:000000000000:otaupdate/u-1",
        "creationDate": moment(site),
        "lastModifiedDate": moment(site),
        "description": "to 1.1.0",
        "targets": [THING + "board-1"],
        "protocols": ["MQTT"],
        "targetSelection": "SNAPSHOT",
        "otaUpdateFiles": [{**file, "fileLocation": location}],
        "otaUpdateStatus": "CREATE_COMPLETE",
        "awsIotJobId": "AFR_OTA-u-1",
        "awsIotJobArn": "arn:aws:iot:local:000000000000:job/AFR_OTA-u-1",
        "additionalParameters": {"x": "y"},
    }
    with pytest.raises(ClientError) as error:
        iot.get_ota_update(otaUpdateId="u-2")
    assert refused(error) == ("ResourceNotFoundException", 404)


@pytest.mark.compatibility("2", "ListOTAUpdates, in pages")
def test_updates_are_listed_newest_first_in_pages(site: Site, iot: Any) -> None:
    for number in range(3):
        create(iot, f"u-{number}")
    pages = iot.get_paginator("list_ota_updates").paginate(PaginationConfig={"PageSize": 2})
    assert [[update["otaUpdateId"] for update in page["otaUpdates"]] for page in pages] == [
        ["u-2", "u-1"],
        ["u-0"],
    ]
    (newest,) = iot.list_ota_updates(maxResults=1)["otaUpdates"]
    assert newest["creationDate"] == moment(site)
    assert len(iot.list_ota_updates(otaUpdateStatus="CREATE_COMPLETE")["otaUpdates"]) == 3
    assert iot.list_ota_updates(otaUpdateStatus="CREATE_FAILED")["otaUpdates"] == []
    given = iot.list_ota_updates(maxResults=2)["nextToken"]
    bogus = ["u-1", "1", given[:-1], f"{given}!", "é", iot.list_jobs(maxResults=1)["nextToken"]]
    for token in bogus:
        with pytest.raises(ClientError) as error:
            iot.list_ota_updates(nextToken=token)
        assert refused(error) == ("InvalidRequestException", 400)


def signing(**changes: Any) -> dict[str, Any]:
    custom = {**SIGNED["customCodeSigning"], **changes}
    return {"codeSigning": {"customCodeSigning": {k: v for k, v in custom.items() if v}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"otaUpdateId": "a.b"}, "otaUpdateId"),
        ({"otaUpdateId": "u" * 57}, "over 64 characters"),
        ({"targetSelection": "ALWAYS"}, "targetSelection"),
        ({"protocols": ["COAP"]}, "protocols"),
        ({"awsJobPresignedUrlConfig": {"expiresInSec": 59}}, "59 is not within 60 to 3600"),
        ({"awsJobPresignedUrlConfig": {"expiresInSec": 3601}}, "3601 is not within 60 to 3600"),
        ({"awsJobTimeoutConfig": {"inProgressTimeoutInMinutes": 0}}, "inProgressTimeoutInMinutes"),
        ({"awsJobExecutionsRolloutConfig": {}}, "maximumPerMinute is required"),
        ({"awsJobAbortConfig": {"abortCriteriaList": []}}, "awsJobAbortConfig"),
        (
            {"targets": ["arn:aws:iot:local:000000000000:job/j"]},
            "neither a thing nor a thing group",
        ),
        ({"files": [FILE] * 51}, "51 are more than 50"),
        ({"files": [{"fileName": "f"}]}, "s3Location"),
        ({"files": [{"fileLocation": {**S3, "stream": {"streamId": "s"}}}]}, "s3Location"),
        ({"files": [FILE, {"fileLocation": {"stream": {"streamId": "s"}}}]}, "either all"),
        (
            {"files": [{"fileLocation": {"stream": {"streamId": s}}} for s in "ab"]},
            "lie in several",
        ),
        (
            {"files": [{"fileLocation": {"s3Location": {**S3["s3Location"], "version": "1"}}}]},
            "version is not implemented",
        ),
        ({"files": [{"fileLocation": {"s3Location": {"bucket": "b", "key": "k"}}}]}, "no object"),
        ({"files": [{**FILE, "fileType": 256}]}, "fileType"),
        ({"files": [{**FILE, "fileName": "x" * 32768}]}, "job document"),
        (
            {"files": [{**FILE, "codeSigning": {"startSigningJobParameter": {}}}]},
            "no AWS Signer here; sign the file yourself",
        ),
        (
            {"files": [{**FILE, "codeSigning": {"awsSignerJobId": "j"}}]},
            "no AWS Signer here; sign the file yourself",
        ),
        ({"files": [{**FILE, **signing(hashAlgorithm=None)}]}, "file 0: .* are required"),
        ({"files": [FILE, {**FILE, **signing(signature=None)}]}, "file 1: .* are required"),
        ({"files": [{**FILE, **signing(signatureAlgorithm="RSA PSS")}]}, "are required"),
        (
            {"files": [{**FILE, **signing(certificateChain={"inlineDocument": "PEM"})}]},
            "only certificateChain.certificateName",
        ),
    ],
)
def test_an_update_that_cannot_be_is_refused_and_leaves_nothing(
    unchanged: Site, changes: dict[str, Any], words: str
) -> None:
    unchecked = unchanged.clients.client("iot", parameter_validation=False)
    with pytest.raises(ClientError, match=words) as error:
        create(unchecked, changes.pop("otaUpdateId", "u-1"), **changes)
    assert refused(error) == ("InvalidRequestException", 400)
    nothing_is_left(unchanged)


def nothing_is_left(site: Site) -> None:
    assert site.clients.iot.list_ota_updates()["otaUpdates"] == []
    assert site.clients.iot.list_jobs()["jobs"] == []
    assert site.world.sent() == []
    with site.world.store.read() as transaction:
        assert transaction._one(sa.select(streams_table)) is None


def test_an_unknown_board_or_stream_is_not_found(site: Site, iot: Any) -> None:
    for changes in (
        {"targets": [THING + "board-9"]},
        {"files": [{"fileLocation": {"stream": {"streamId": "s-9", "fileId": 0}}}]},
    ):
        with pytest.raises(ClientError) as error:
            create(iot, **changes)
        assert refused(error) == ("ResourceNotFoundException", 404)
    nothing_is_left(site)


def test_a_file_beyond_the_limit_of_updates_is_refused(site: Site, iot: Any) -> None:
    large = replace(site.world.object("app.bin", b"its size is only said"), size=2**24 + 1)
    with site.world.store.write() as transaction:
        transaction.put_object(large)
    with pytest.raises(ClientError, match="file 0: 16777217 bytes") as error:
        create(iot)
    assert refused(error) == ("InvalidRequestException", 400)
    nothing_is_left(site)


def test_a_name_is_used_once(site: Site, iot: Any) -> None:
    create(iot)
    with pytest.raises(ClientError) as error:
        create(iot)
    assert refused(error) == ("ResourceAlreadyExistsException", 409)
    iot.delete_ota_update(otaUpdateId="u-1", forceDeleteAWSJob=True, deleteStream=True)
    site.world.sent()
    create(iot)
    assert told(site)["files"][0]["filesize"] == len(IMAGE)


@pytest.mark.compatibility("2", "DeleteOTAUpdate with `forceDeleteAWSJob` and `deleteStream`")
def test_deleting_an_update_by_force_takes_the_job_from_the_board(site: Site, iot: Any) -> None:
    create(iot)
    stream_id = told(site)["streamname"]
    site.world.ask_jobs(f"{JOBS}/AFR_OTA-u-1/update", b'{"status":"IN_PROGRESS"}')
    with pytest.raises(ClientError, match="is IN_PROGRESS: cancel it, or set forceDelete") as error:
        iot.delete_ota_update(otaUpdateId="u-1", deleteStream=True)
    assert refused(error) == ("InvalidRequestException", 400)
    site.world.sent()
    iot.delete_ota_update(otaUpdateId="u-1", deleteStream=True, forceDeleteAWSJob=True)
    now = site.world.now
    assert site.world.sent() == [
        (f"{JOBS}/notify", {"timestamp": now, "jobs": {}}),
        (f"{JOBS}/notify-next", {"timestamp": now}),
    ]
    site.world.ask_jobs(f"{JOBS}/AFR_OTA-u-1/update", b'{"status":"SUCCEEDED"}')
    ((topic, message),) = site.world.sent()
    assert topic == f"{JOBS}/AFR_OTA-u-1/update/rejected"
    assert message["code"] == "ResourceNotFound"
    for call in (
        lambda: iot.describe_job(jobId="AFR_OTA-u-1"),
        lambda: iot.describe_stream(streamId=stream_id),
        lambda: iot.get_ota_update(otaUpdateId="u-1"),
        lambda: iot.delete_ota_update(otaUpdateId="u-1"),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == ("ResourceNotFoundException", 404)


def test_deleting_an_update_that_has_ended_leaves_job_and_stream_unless_asked(
    site: Site, iot: Any
) -> None:
    create(iot)
    stream_id = told(site)["streamname"]
    iot.cancel_job(jobId="AFR_OTA-u-1")
    iot.delete_ota_update(otaUpdateId="u-1")
    assert iot.describe_job(jobId="AFR_OTA-u-1")["job"]["status"] == "CANCELED"
    assert iot.describe_stream(streamId=stream_id)["streamInfo"]["streamId"] == stream_id


def test_a_stream_that_a_board_still_reads_is_not_deleted_with_its_update(
    site: Site, iot: Any
) -> None:
    create(iot)
    stream_id = told(site)["streamname"]
    site.world.ask_jobs(f"{JOBS}/AFR_OTA-u-1/update", b'{"status":"IN_PROGRESS"}')
    iot.cancel_job(jobId="AFR_OTA-u-1")  # not by force: the board goes on
    with pytest.raises(ClientError, match=f"stream {stream_id} is needed by AFR_OTA-u-1"):
        iot.delete_ota_update(otaUpdateId="u-1", deleteStream=True)
    assert iot.get_ota_update(otaUpdateId="u-1")["otaUpdateInfo"]["otaUpdateId"] == "u-1"


def test_an_update_whose_job_was_deleted_by_itself_can_be_deleted(site: Site, iot: Any) -> None:
    create(iot)
    iot.delete_job(jobId="AFR_OTA-u-1", force=True)
    iot.delete_ota_update(otaUpdateId="u-1", deleteStream=True)
    site.world.sent()
    nothing_is_left(site)


# docs/service.md

PAGE = (ROOT / "docs/service.md").read_text(encoding="utf-8")


def test_the_pages_example_makes_an_update(site: Site) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    folder = site.config.folder
    (folder / "app.ota").write_bytes(IMAGE)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_SHARED_CREDENTIALS_FILE": "keys/credentials",
        "AWS_DEFAULT_REGION": "local",
        "AWS_ENDPOINT_URL": site.control.url,
    }
    for name in environment.keys() - {"PATH"}:
        assert name in PAGE
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "IN_PROGRESS\n"), done.stderr
    update = told(site)
    assert update["protocols"] == ["MQTT", "HTTP"]
    assert fetch(update["files"][0]["update_data_url"]) == IMAGE


def test_the_pages_list_the_operations_that_are_there(unchanged: Site) -> None:
    listed: dict[str, set[str]] = {name: set() for name in unchanged.operations}
    registry = (ROOT / "docs/registry.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)`[^|]*\| (.*) \|$", PAGE, re.MULTILINE)
    rows += [
        ("iot", cell) for cell in re.findall(r"^\| [a-z ]+ \| (.*) \|$", registry, re.MULTILINE)
    ]
    for service, cell in (row for row in rows if row[0] in listed):
        listed[service] |= set(re.findall(r"\b[A-Z]\w+[a-z][A-Z]\w+", cell))
    assert listed == {name: set(found) for name, found in unchanged.operations.items()}
