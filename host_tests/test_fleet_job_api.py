"""Jobs with a plan through boto3: what is asked for, told, changed and refused."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet_site import ROLE, THING, Site, moment, refused

DOCUMENT = json.dumps({"do": "reboot"})
HOUR = 3600
RATE = {
    "maximumPerMinute": 20,
    "exponentialRate": {
        "baseRatePerMinute": 1,
        "incrementFactor": 1.5,
        "rateIncreaseCriteria": {"numberOfNotifiedThings": 10},
    },
}
ABORT = {
    "criteriaList": [
        {
            "failureType": "ALL",
            "action": "CANCEL",
            "thresholdPercentage": 33.5,
            "minNumberOfExecutedThings": 3,
        }
    ]
}
RETRY = {"criteriaList": [{"failureType": "FAILED", "numberOfRetries": 2}]}


def at(site: Site, seconds: int) -> str:
    """A time in AWS's form, so many seconds from now."""
    return datetime.fromtimestamp(site.world.now + seconds, UTC).strftime("%Y-%m-%dT%H:%M")


def create(iot: Any, things: int = 3, job_id: str = "job-1", **more: Any) -> None:
    names = [f"board-{number}" for number in range(1, things + 1)]
    for name in names:
        iot.create_thing(thingName=name)
    targets = [THING + name for name in names]
    iot.create_job(jobId=job_id, targets=targets, document=DOCUMENT, **more)


def report(site: Site, thing: str, status: str, job_id: str = "job-1") -> None:
    topic = f"$aws/things/{thing}/jobs/{job_id}/update"
    site.world.ask_jobs(topic, json.dumps({"status": status}).encode())


def look(site: Site, later: int) -> None:
    """Let the service look at its jobs so many seconds from now; requests keep today's time."""
    site.world.rollouts.tick(site.world.store, site.world.now + later)


def job(iot: Any, job_id: str = "job-1") -> dict[str, Any]:
    found: dict[str, Any] = iot.describe_job(jobId=job_id)["job"]
    return found


def details(iot: Any, job_id: str = "job-1") -> dict[str, Any]:
    """The process details that are not 0."""
    found = job(iot, job_id)["jobProcessDetails"]
    return {name: value for name, value in found.items() if value}


@pytest.mark.compatibility("1", "DescribeJob tells the plan of a job, and how far it has come")
def test_what_was_asked_for_is_told(site: Site, iot: Any) -> None:
    create(
        iot,
        jobExecutionsRolloutConfig=RATE,
        abortConfig=ABORT,
        jobExecutionsRetryConfig=RETRY,
        timeoutConfig={"inProgressTimeoutInMinutes": 30},
        presignedUrlConfig={"roleArn": ROLE, "expiresInSec": 300},
    )
    found = job(iot)
    assert found["jobExecutionsRolloutConfig"] == RATE
    assert found["abortConfig"] == ABORT
    assert found["jobExecutionsRetryConfig"] == RETRY
    assert found["timeoutConfig"] == {"inProgressTimeoutInMinutes": 30}
    assert found["presignedUrlConfig"] == {"roleArn": ROLE, "expiresInSec": 300}
    assert (found["status"], found["targetSelection"]) == ("IN_PROGRESS", "SNAPSHOT")
    assert found["isConcurrent"] is True
    targets = [f"{THING}board-{number}" for number in (1, 2, 3)]
    assert details(iot) == {"numberOfQueuedThings": 1, "processingTargets": targets}
    look(site, 60)
    look(site, 120)
    assert details(iot) == {"numberOfQueuedThings": 3}
    assert job(iot)["isConcurrent"] is False


@pytest.mark.compatibility("1", "GetJobDocument through `boto3`, placeholders as they were given")
def test_the_document_of_a_job(site: Site, iot: Any) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a.ota", Body=b"x")
    placeholder = "${aws:iot:s3-presigned-url-v2:https://s3.local.amazonaws.com/packages/a.ota}"
    text = json.dumps({"url": placeholder})
    iot.create_thing(thingName="board-1")
    iot.create_job(
        jobId="job-1",
        targets=[THING + "board-1"],
        document=text,
        presignedUrlConfig={"roleArn": ROLE, "expiresInSec": 60},
    )
    assert iot.get_job_document(jobId="job-1")["document"] == text
    execution = dict(site.world.sent())["$aws/things/board-1/jobs/notify-next"]["execution"]
    assert execution["jobDocument"]["url"].startswith(f"{site.data.url}/packages/a.ota?")
    assert "X-Amz-Expires=60" in execution["jobDocument"]["url"]
    with pytest.raises(ClientError) as error:
        iot.get_job_document(jobId="job-2")
    assert refused(error) == ("ResourceNotFoundException", 404)


@pytest.mark.compatibility("1", "ListJobExecutionsForThing through `boto3`, in pages, with retries")
def test_the_executions_of_a_thing(site: Site, iot: Any) -> None:
    for number in range(1, 4):
        create(iot, 1, f"job-{number}", jobExecutionsRetryConfig=RETRY)
    report(site, "board-1", "FAILED")
    entries = iot.list_job_executions_for_thing(thingName="board-1")["executionSummaries"]
    found = [
        (
            entry["jobId"],
            entry["jobExecutionSummary"]["executionNumber"],
            entry["jobExecutionSummary"]["retryAttempt"],
            entry["jobExecutionSummary"]["status"],
        )
        for entry in entries
    ]
    assert found == [
        ("job-1", 2, 1, "QUEUED"),
        ("job-3", 1, 0, "QUEUED"),
        ("job-2", 1, 0, "QUEUED"),
        ("job-1", 1, 0, "FAILED"),
    ]
    assert entries[0]["jobExecutionSummary"]["queuedAt"] == moment(site)
    pages = iot.get_paginator("list_job_executions_for_thing").paginate(
        thingName="board-1", PaginationConfig={"PageSize": 3}
    )
    assert [[e["jobId"] for e in page["executionSummaries"]] for page in pages] == [
        ["job-1", "job-3", "job-2"],
        ["job-1"],
    ]
    for arguments, jobs in (
        ({"status": "FAILED"}, ["job-1"]),
        ({"jobId": "job-2"}, ["job-2"]),
        ({"status": "SUCCEEDED"}, []),
    ):
        listed = iot.list_job_executions_for_thing(thingName="board-1", **arguments)
        assert [entry["jobId"] for entry in listed["executionSummaries"]] == jobs
    with pytest.raises(ClientError) as error:
        iot.list_job_executions_for_thing(thingName="board-2")
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_each_execution_of_a_job_is_listed_once_page_by_page(site: Site, iot: Any) -> None:
    create(iot, 3, jobExecutionsRetryConfig=RETRY)
    for _ in range(2):
        report(site, "board-2", "FAILED")
    pages = iot.get_paginator("list_job_executions_for_job").paginate(
        jobId="job-1", PaginationConfig={"PageSize": 2}
    )
    found = [
        (entry["thingArn"].removeprefix(THING), entry["jobExecutionSummary"]["executionNumber"])
        for page in pages
        for entry in page["executionSummaries"]
    ]
    assert found == [("board-1", 1), ("board-2", 1), ("board-2", 2), ("board-2", 3), ("board-3", 1)]
    newest = site.clients.executions("job-1")
    assert [(one["thing"], one["status"]) for one in newest] == [
        ("board-1", "QUEUED"),
        ("board-2", "QUEUED"),
        ("board-3", "QUEUED"),
    ]


def test_one_execution_is_deleted_by_its_number(site: Site, iot: Any) -> None:
    create(iot, 1, jobExecutionsRetryConfig=RETRY)
    report(site, "board-1", "FAILED")
    iot.delete_job_execution(jobId="job-1", thingName="board-1", executionNumber=1)
    with pytest.raises(ClientError) as error:
        iot.delete_job_execution(jobId="job-1", thingName="board-1", executionNumber=2)
    assert refused(error) == ("InvalidStateTransitionException", 409)
    assert job(iot)["status"] == "IN_PROGRESS"
    iot.delete_job_execution(jobId="job-1", thingName="board-1", executionNumber=2, force=True)
    assert job(iot)["status"] == "COMPLETED"


# UpdateJob


@pytest.mark.compatibility("1", "UpdateJob replaces what it names, of a job that goes on")
def test_a_job_is_changed_on_its_way(site: Site, iot: Any) -> None:
    create(iot, 3, jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    iot.update_job(
        jobId="job-1",
        description="faster",
        jobExecutionsRolloutConfig={"maximumPerMinute": 2},
        abortConfig=ABORT,
        presignedUrlConfig={"roleArn": ROLE},
        timeoutConfig={"inProgressTimeoutInMinutes": 5},
    )
    found = job(iot)
    assert found["description"] == "faster"
    assert found["jobExecutionsRolloutConfig"] == {"maximumPerMinute": 2}
    assert found["abortConfig"] == ABORT
    assert found["presignedUrlConfig"] == {"roleArn": ROLE}
    assert details(iot)["numberOfQueuedThings"] == 2, "it counts at once"
    iot.update_job(jobId="job-1", jobExecutionsRolloutConfig=RATE)
    assert job(iot)["jobExecutionsRolloutConfig"] == RATE
    assert job(iot)["abortConfig"] == ABORT


@pytest.mark.compatibility("1", "a timeout that UpdateJob sets counts for what begins later")
def test_a_new_timeout_reaches_executions_that_begin_later(site: Site, iot: Any) -> None:
    create(iot, 2, timeoutConfig={"inProgressTimeoutInMinutes": 60})
    report(site, "board-1", "IN_PROGRESS")
    iot.update_job(jobId="job-1", timeoutConfig={"inProgressTimeoutInMinutes": 120})
    report(site, "board-2", "IN_PROGRESS")
    left = [
        iot.describe_job_execution(jobId="job-1", thingName=thing)["execution"][
            "approximateSecondsBeforeTimedOut"
        ]
        for thing in ("board-1", "board-2")
    ]
    assert left == [3600, 7200]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing is to be changed"),
        ({"jobExecutionsRolloutConfig": {}}, "maximumPerMinute is required"),
        ({"timeoutConfig": {}}, "inProgressTimeoutInMinutes is required"),
        ({"timeoutConfig": {"inProgressTimeoutInMinutes": 10081}}, "10081"),
        (
            {"jobExecutionsRetryConfig": RETRY},
            "changed to 0 only",
        ),
        (
            {
                "jobExecutionsRetryConfig": {
                    "criteriaList": [{"failureType": "FAILED", "numberOfRetries": 0}]
                }
            },
            "name the failure types",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    site: Site, iot: Any, changes: dict[str, Any], words: str
) -> None:
    create(iot)
    before = job(iot)
    with pytest.raises(ClientError, match=words) as error:
        iot.update_job(jobId="job-1", **changes)
    assert refused(error) == ("InvalidRequestException", 400)
    assert job(iot) == before


def test_a_job_that_has_ended_is_not_changed(site: Site, iot: Any) -> None:
    create(iot, 1)
    report(site, "board-1", "SUCCEEDED")
    create(iot, 1, "job-2")
    iot.cancel_job(jobId="job-2")
    for job_id, status in (("job-1", "COMPLETED"), ("job-2", "CANCELED")):
        with pytest.raises(ClientError, match=status) as error:
            iot.update_job(jobId=job_id, description="late")
        assert refused(error) == ("InvalidRequestException", 400)
    with pytest.raises(ClientError) as error:
        iot.update_job(jobId="job-3", description="none")
    assert refused(error) == ("ResourceNotFoundException", 404)


# Schedules


def test_a_scheduled_job_is_told_as_such_and_can_be_cancelled(site: Site, iot: Any) -> None:
    create(iot, schedulingConfig={"startTime": at(site, HOUR)})
    create(iot, 1, "job-2")
    assert job(iot)["status"] == "SCHEDULED"
    assert job(iot)["schedulingConfig"] == {"startTime": at(site, HOUR)}
    assert [one["jobId"] for one in iot.list_jobs(status="SCHEDULED")["jobs"]] == ["job-1"]
    with pytest.raises(ClientError) as error:
        iot.delete_job(jobId="job-1")
    assert refused(error) == ("InvalidStateTransitionException", 409)
    iot.cancel_job(jobId="job-1", reasonCode="TOO_EARLY")
    look(site, 2 * HOUR)
    assert details(iot) == {}
    assert (job(iot)["status"], job(iot)["reasonCode"]) == ("CANCELED", "TOO_EARLY")


def test_the_next_seven_windows_are_told(site: Site, iot: Any) -> None:
    window = {"startTime": "cron(30 2 ? * MON *)", "durationInMinutes": 60}
    config: Any = {"schedulingConfig": {"maintenanceWindows": [window]}}
    with pytest.raises(ClientError, match="SNAPSHOT"):
        create(iot, **config)
    create(iot, targetSelection="CONTINUOUS", **config)
    opens = [datetime.fromisoformat(one["startTime"]) for one in job(iot)["scheduledJobRollouts"]]
    assert len(opens) == 7
    assert all(one.strftime("%a %H:%M %z") == "Mon 02:30 +0000" for one in opens)
    assert {b - a for a, b in itertools.pairwise(opens)} == {timedelta(days=7)}
    assert timedelta(0) <= opens[0] - moment(site) <= timedelta(days=7)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"startTime": "soon"}, "startTime"),
        ({"startTime": "2020-01-01T00:00"}, "startTime"),
        ({"endTime": "2199-01-01T00:00"}, "endTime"),
        (
            {"maintenanceWindows": [{"startTime": "cron(0 2 * * * *)", "durationInMinutes": 60}]},
            "maintenanceWindows",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    site: Site, iot: Any, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words) as error:
        create(iot, schedulingConfig=config)
    assert refused(error) == ("InvalidRequestException", 400)
    assert iot.list_jobs()["jobs"] == []


# Continuous jobs


def test_a_continuous_job_goes_on_when_all_have_ended(site: Site, iot: Any) -> None:
    create(iot, 1, targetSelection="CONTINUOUS")
    create(iot, 1, "job-2")
    report(site, "board-1", "SUCCEEDED")
    assert job(iot)["status"] == "IN_PROGRESS"
    listed = iot.list_jobs(targetSelection="CONTINUOUS")["jobs"]
    assert [(one["jobId"], one["targetSelection"]) for one in listed] == [("job-1", "CONTINUOUS")]
    assert [one["jobId"] for one in iot.list_jobs(targetSelection="SNAPSHOT")["jobs"]] == ["job-2"]


@pytest.mark.compatibility("1", "AssociateTargetsWithJob sends a continuous job to more targets")
def test_a_continuous_job_gets_more_targets(site: Site, iot: Any) -> None:
    create(iot, 1, targetSelection="CONTINUOUS")
    create(iot, 1, "job-2")
    iot.create_thing(thingName="board-2")
    answer = iot.associate_targets_with_job(
        jobId="job-1", targets=[THING + "board-1", THING + "board-2"], comment="more"
    )
    assert answer["jobId"] == "job-1"
    assert job(iot)["targets"] == [THING + "board-1", THING + "board-2"]
    assert job(iot)["comment"] == "more"
    assert details(iot) == {"numberOfQueuedThings": 2}
    for job_id, targets, code in (
        ("job-2", [THING + "board-2"], "InvalidRequestException"),
        ("job-3", [THING + "board-2"], "ResourceNotFoundException"),
        ("job-1", [THING + "board-9"], "ResourceNotFoundException"),
        ("job-1", [f"{THING}t-{n}" for n in range(100)], "LimitExceededException"),
    ):
        with pytest.raises(ClientError) as error:
            iot.associate_targets_with_job(jobId=job_id, targets=targets)
        assert refused(error)[0] == code


GROUP = "arn:aws:iot:local:000000000000:thinggroup/"


def grouped(iot: Any, things: int = 3) -> None:
    """A group `lab` below `all`, with things in it."""
    iot.create_thing_group(thingGroupName="all")
    iot.create_thing_group(thingGroupName="lab", parentGroupName="all")
    for number in range(1, things + 1):
        iot.create_thing(thingName=f"board-{number}")
        iot.add_thing_to_thing_group(thingName=f"board-{number}", thingGroupName="lab")


@pytest.mark.compatibility("1", "a SNAPSHOT job of a group: who is in it now, also in groups below")
def test_a_group_stands_for_its_things_of_now(site: Site, iot: Any) -> None:
    grouped(iot)
    site.world.things("board-9")
    with site.world.store.write() as transaction:
        transaction.revoke("board-3", site.world.now)
    targets = [THING + "board-9", GROUP + "all", GROUP + "lab"]
    iot.create_job(jobId="job-1", targets=targets, document=DOCUMENT)
    assert job(iot)["targets"] == targets
    assert [one["thing"] for one in site.clients.executions("job-1")] == [
        "board-1",
        "board-2",
        "board-9",
    ], "a revoked member is passed over"
    iot.create_thing(thingName="board-4")
    iot.add_thing_to_thing_group(thingName="board-4", thingGroupName="lab")
    assert details(iot)["numberOfQueuedThings"] == 3
    with pytest.raises(ClientError) as error:
        iot.create_job(jobId="job-2", targets=[GROUP + "none"], document=DOCUMENT)
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_a_job_of_an_empty_group_has_nothing_to_do(site: Site, iot: Any) -> None:
    iot.create_thing_group(thingGroupName="all")
    iot.create_job(jobId="job-1", targets=[GROUP + "all"], document=DOCUMENT)
    assert job(iot)["status"] == "COMPLETED"


@pytest.mark.compatibility(
    "1", "a CONTINUOUS job follows the things that join its group, and that leave it"
)
def test_a_continuous_job_follows_its_group(site: Site, iot: Any) -> None:
    grouped(iot, 2)
    iot.create_job(
        jobId="job-1",
        targets=[GROUP + "all"],
        document=DOCUMENT,
        targetSelection="CONTINUOUS",
        jobExecutionsRetryConfig=RETRY,
    )
    report(site, "board-1", "IN_PROGRESS")
    iot.create_thing(thingName="board-3")
    for _ in range(2):  # a thing that is there already does not join
        iot.add_thing_to_thing_group(thingName="board-3", thingGroupName="lab")
    assert details(iot) == {"numberOfQueuedThings": 2, "numberOfInProgressThings": 1}
    for number in (1, 2):
        iot.remove_thing_from_thing_group(thingName=f"board-{number}", thingGroupName="lab")
    report(site, "board-1", "FAILED")
    assert details(iot) == {
        "numberOfQueuedThings": 1,
        "numberOfRemovedThings": 1,
        "numberOfFailedThings": 1,
    }, "whoever has left does not try again"
    iot.add_thing_to_thing_group(thingName="board-2", thingGroupName="all")
    listed = iot.list_job_executions_for_thing(thingName="board-2")["executionSummaries"]
    assert [
        (one["jobExecutionSummary"]["executionNumber"], one["jobExecutionSummary"]["status"])
        for one in listed
    ] == [(2, "QUEUED"), (1, "REMOVED")]
    iot.delete_thing_group(thingGroupName="lab")
    assert details(iot)["numberOfRemovedThings"] == 2, "its things have left it"
    assert job(iot)["status"] == "IN_PROGRESS"


def test_a_thing_in_two_groups_of_a_job_stays_until_it_has_left_both(site: Site, iot: Any) -> None:
    iot.create_thing(thingName="board-1")
    for group in ("a", "b"):
        iot.create_thing_group(thingGroupName=group)
        iot.add_thing_to_thing_group(thingName="board-1", thingGroupName=group)
    targets = [GROUP + "a", GROUP + "b"]
    iot.create_job(jobId="job-1", targets=targets, document=DOCUMENT, targetSelection="CONTINUOUS")
    iot.remove_thing_from_thing_group(thingName="board-1", thingGroupName="a")
    assert details(iot) == {"numberOfQueuedThings": 1}
    iot.remove_thing_from_thing_group(thingName="board-1", thingGroupName="b")
    assert details(iot) == {"numberOfRemovedThings": 1}


def test_a_thing_that_is_deleted_waits_no_more(site: Site, iot: Any) -> None:
    create(iot, 2, jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    report(site, "board-1", "SUCCEEDED")
    iot.delete_thing(thingName="board-2")
    assert job(iot)["status"] == "COMPLETED"


# OTA updates


@pytest.mark.compatibility(
    "2", "CreateOTAUpdate with awsJobExecutionsRolloutConfig and awsJobAbortConfig"
)
def test_an_update_has_the_plan_of_its_job(site: Site, iot: Any) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a.bin", Body=b"x" * 100)
    for number in range(1, 6):
        iot.create_thing(thingName=f"board-{number}")
    file = {"fileName": "a", "fileLocation": {"s3Location": {"bucket": "packages", "key": "a.bin"}}}
    made = iot.create_ota_update(
        otaUpdateId="u-1",
        targets=[f"{THING}board-{number}" for number in range(1, 6)],
        files=[file],
        roleArn=ROLE,
        targetSelection="CONTINUOUS",
        awsJobExecutionsRolloutConfig={"maximumPerMinute": 3},
        awsJobAbortConfig={"abortCriteriaList": ABORT["criteriaList"]},
        awsJobTimeoutConfig={"inProgressTimeoutInMinutes": 9},
        awsJobPresignedUrlConfig={"expiresInSec": 600},
    )
    job_id = made["awsIotJobId"]
    found = job(iot, job_id)
    assert found["jobExecutionsRolloutConfig"] == {"maximumPerMinute": 3}
    assert found["abortConfig"] == ABORT
    assert found["targetSelection"] == "CONTINUOUS"
    assert found["presignedUrlConfig"]["expiresInSec"] == 600
    info = iot.get_ota_update(otaUpdateId="u-1")["otaUpdateInfo"]
    assert info["targetSelection"] == "CONTINUOUS"
    assert info["awsJobExecutionsRolloutConfig"] == {"maximumPerMinute": 3}
    for number in (1, 2, 3):
        report(site, f"board-{number}", "FAILED", job_id)
    assert job(iot, job_id)["status"] == "CANCELED"
    look(site, 600)
    assert details(iot, job_id) == {"numberOfFailedThings": 3}
