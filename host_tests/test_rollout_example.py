"""docs/examples/staged_rollout.py against a real service, with boards on a real broker."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet_service import ROOT, Service, running
from link_fixtures import need
from rollout_boards import Answer, Boards

from demo.stack import Stack

ROLE = "arn:aws:iam::000000000000:role/fleet-updates"
BOARDS = [f"board-{number}" for number in range(10)]


def fleet(service: Service) -> Any:
    """Ten boards in one group, below another one."""
    (service.folder / "app.ota").write_bytes(b"x" * 5000)
    iot = service.clients().iot
    for thing in BOARDS:
        iot.create_thing(thingName=thing)
    grouped(iot)
    return iot


def grouped(iot: Any) -> None:
    iot.create_thing_group(thingGroupName="all")
    iot.create_thing_group(thingGroupName="greenhouse", parentGroupName="all")
    for thing in BOARDS:
        iot.add_thing_to_thing_group(thingName=thing, thingGroupName="greenhouse")


def roll_out(
    folder: Path, package: str, iot: Any, timeout: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run the script in the folder of a fleet, and send a package of it to the group `all`."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_SHARED_CREDENTIALS_FILE": "keys/credentials",
        "AWS_DEFAULT_REGION": "local",
        "AWS_ENDPOINT_URL": iot.meta.endpoint_url,
    }
    script = ROOT / "docs/examples/staged_rollout.py"
    return subprocess.run(
        [sys.executable, script, package, "all", "packages", ROLE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
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
            done = roll_out(service.folder, "app.ota", iot)
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
        iot = fleet(service)
        boards = Boards(broker, BOARDS, answer)
        try:
            done = roll_out(service.folder, "app.ota", iot)
        finally:
            boards.stop()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-2:] == [
            "COMPLETED {'Succeeded': 10}",
            "every board has ended",
        ]
        assert all(boards.told.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_application_that_dies_under_test_reaches_three_boards_of_ten(tmp_path: Path) -> None:
    """The boards run the firmware under MicroPython: each takes the package, and goes back."""
    need("mosquitto")
    with contextlib.ExitStack() as stop, Stack(tmp_path / "stack") as stack:
        boards = {thing: stop.enter_context(stack.board(thing)) for thing in BOARDS}
        for board in boards.values():
            board.start()
        for board in boards.values():
            board.wait_console("State: Ready", timeout=120)
        iot = stack.clients.iot
        grouped(iot)
        dying = {"app.py": "def start():\n    raise ValueError('no lamp')\n"}
        package = stack.pack("2.0.0", 2, application=dying, firmware=False)
        done = roll_out(stack.config.folder, str(package), iot, 300)
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout.splitlines()[-2] == "CANCELED {'Failed': 3}"
        (job,) = iot.list_jobs()["jobs"]
        entries = iot.list_job_executions_for_job(jobId=job["jobId"])["executionSummaries"]
        told = {entry["thingArn"].rpartition("/")[2] for entry in entries}
        assert len(told) == 3
        for thing in told:
            execution = stack.execution(job["jobId"], thing)
            assert execution["status"] == "FAILED"
            assert execution["statusDetails"]["cause"] == "crash"
            assert "no lamp" in execution["statusDetails"]["detail"]
        for thing, board in boards.items():
            log = board.log_path.read_text(encoding="utf-8", errors="replace")
            assert ("image under test" in log) == (thing in told)
            last = [line for line in log.splitlines() if "main: running version" in line][-1]
            assert "main: running version 1.0.0" in last
