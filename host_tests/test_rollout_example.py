"""docs/examples/staged_rollout.py against a real service, with boards on a real broker."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet_service import ROOT, Service, running
from rollout_boards import Answer, Boards

ROLE = "arn:aws:iam::000000000000:role/fleet-updates"
BOARDS = [f"board-{number}" for number in range(10)]


def fleet(service: Service) -> Any:
    """Ten boards in one group, below another one."""
    iot = service.clients().iot
    iot.create_thing_group(thingGroupName="all")
    iot.create_thing_group(thingGroupName="greenhouse", parentGroupName="all")
    for thing in BOARDS:
        iot.create_thing(thingName=thing)
        iot.add_thing_to_thing_group(thingName=thing, thingGroupName="greenhouse")
    return iot


def roll_out(service: Service, control: str) -> "subprocess.CompletedProcess[str]":
    (service.folder / "app.ota").write_bytes(b"x" * 5000)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_SHARED_CREDENTIALS_FILE": "keys/credentials",
        "AWS_DEFAULT_REGION": "local",
        "AWS_ENDPOINT_URL": control,
    }
    script = ROOT / "docs/examples/staged_rollout.py"
    return subprocess.run(
        [sys.executable, script, "app.ota", "all", "packages", ROLE],
        cwd=service.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.compatibility(
    "1", "a rollout to a group ends at the third failure of ten boards, watched by plain `boto3`"
)
def test_a_bad_package_reaches_three_boards_of_ten(tmp_path: Path) -> None:
    answer: Answer = lambda _thing, _number: "FAILED"  # noqa: E731
    with running(tmp_path) as (service, broker):
        iot = fleet(service)
        boards = Boards(broker, BOARDS, answer)
        try:
            done = roll_out(service, service.clients().iot.meta.endpoint_url)
        finally:
            boards.stop()
        assert done.returncode == 1, done.stderr
        *_, last, comment = done.stdout.splitlines()
        assert last == "CANCELED {'Failed': 3}"
        assert comment.startswith("3 of 3 executions ended as ALL")
        assert [thing for thing in BOARDS if boards.told[thing]] == BOARDS[:3]
        (job,) = iot.list_jobs()["jobs"]
        entries = iot.list_job_executions_for_job(jobId=job["jobId"])["executionSummaries"]
        assert [entry["jobExecutionSummary"]["status"] for entry in entries] == ["FAILED"] * 3


def test_a_good_package_reaches_more_boards_the_more_have_succeeded(tmp_path: Path) -> None:
    """Three, then six as the rate has grown twice, and the last one in the same minute."""
    answer: Answer = lambda _thing, _number: "SUCCEEDED"  # noqa: E731
    with running(tmp_path) as (service, broker):
        fleet(service)
        boards = Boards(broker, BOARDS, answer)
        try:
            done = roll_out(service, service.clients().iot.meta.endpoint_url)
        finally:
            boards.stop()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-2:] == [
            "COMPLETED {'Succeeded': 10}",
            "every board has ended",
        ]
        assert all(boards.told.values())
