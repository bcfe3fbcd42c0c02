"""kill -9 of service and broker at any step of a rollout loses, doubles or sticks nothing.

Each minute of the rollout passes while the service is dead: the times in its database are moved.
Seeds are printed, so that a failure can be played again.
"""

import os
import random
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleet_service import Broker, Service, running, until
from rollout_boards import Boards

THING = "arn:aws:iot:local:000000000000:thing/"
BOARDS = [f"board-{number:02}" for number in range(12)]
RATE = 4  # boards a minute


def statuses(iot: Any, job: str = "job-1") -> dict[tuple[str, int], str]:
    """By board and number, the status of each execution."""
    pages = iot.get_paginator("list_job_executions_for_job").paginate(jobId=job)
    return {
        (
            entry["thingArn"].removeprefix(THING),
            entry["jobExecutionSummary"]["executionNumber"],
        ): entry["jobExecutionSummary"]["status"]
        for page in pages
        for entry in page["executionSummaries"]
    }


def let_a_minute_pass(service: Service) -> None:
    """Move the times of a service that is dead, as if it had been dead for a minute."""
    database = sqlite3.connect(service.config.state / "fleet.db")
    with database:
        database.execute("UPDATE executions SET queued_at = queued_at - 60")
        database.execute("UPDATE jobs SET due_at = due_at - 60 WHERE due_at IS NOT NULL")
    database.close()


def most_in_a_minute(service: Service) -> int:
    """The largest number of executions that were queued within 60 seconds."""
    database = sqlite3.connect(service.config.state / "fleet.db")
    times = [at for (at,) in database.execute("SELECT queued_at FROM executions ORDER BY 1")]
    database.close()
    return max(len([at for at in times if first <= at < first + 60]) for first in times)


def kill(dice: random.Random, service: Service, broker: Broker) -> None:
    """kill -9 the service, and the broker with it or not, after a moment; a minute passes."""
    time.sleep(dice.uniform(0, 0.6))
    service.kill()
    if dice.random() < 0.5:
        broker.kill()
        broker.start()
    let_a_minute_pass(service)
    service.start()


@pytest.mark.slow
@pytest.mark.parametrize("run", range(3))
@pytest.mark.compatibility(
    "1", "kill -9 of service and broker in a rollout loses, doubles and sticks nothing"
)
def test_each_board_does_the_job_and_its_retry_once(tmp_path: Path, run: int) -> None:
    seed = int(os.environ.get("KILL_SEED", "0")) or random.randrange(1, 10**6) + run
    sys.stdout.write(f"KILL_SEED={seed}\n")
    dice = random.Random(seed)
    with running(tmp_path) as (service, broker):
        iot = service.clients().iot
        for thing in BOARDS:
            iot.create_thing(thingName=thing)
        boards = Boards(broker, BOARDS, lambda _, number: "FAILED" if number == 1 else "SUCCEEDED")
        try:
            iot.create_job(
                jobId="job-1",
                targets=[THING + thing for thing in BOARDS],
                document="{}",
                jobExecutionsRolloutConfig={"maximumPerMinute": RATE},
                jobExecutionsRetryConfig={
                    "criteriaList": [{"failureType": "FAILED", "numberOfRetries": 1}]
                },
            )
            for _ in range(30):
                kill(dice, service, broker)
                iot = service.clients().iot
                if iot.describe_job(jobId="job-1")["job"]["status"] == "COMPLETED":
                    break
            until(
                lambda: iot.describe_job(jobId="job-1")["job"]["status"] == "COMPLETED",
                "the end of the job",
                deadline=30,
            )
        finally:
            boards.stop()
        found = statuses(iot)
        assert found == {
            (thing, number): status
            for thing in BOARDS
            for number, status in ((1, "FAILED"), (2, "SUCCEEDED"))
        }
        assert most_in_a_minute(service) <= RATE


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["service", "broker"])
def test_an_abort_survives_what_dies_with_it(tmp_path: Path, victim: str) -> None:
    """Failures are on their way when the part dies: they count once it is back, and end the job."""
    with running(tmp_path) as (service, broker):
        iot = service.clients().iot
        for thing in BOARDS:
            iot.create_thing(thingName=thing)
        boards = Boards(broker, BOARDS, lambda *_: "FAILED")
        try:
            iot.create_job(
                jobId="job-1",
                targets=[THING + thing for thing in BOARDS],
                document="{}",
                jobExecutionsRolloutConfig={"maximumPerMinute": 3},
                abortConfig={
                    "criteriaList": [
                        {
                            "failureType": "FAILED",
                            "action": "CANCEL",
                            "thresholdPercentage": 100,
                            "minNumberOfExecutedThings": 3,
                        }
                    ]
                },
            )
            until(lambda: any(boards.told.values()), "the first board")
            if victim == "service":
                service.kill()
                let_a_minute_pass(service)
                service.start()
            else:
                broker.kill()
                broker.start()
            iot = service.clients().iot
            until(
                lambda: iot.describe_job(jobId="job-1")["job"]["status"] == "CANCELED",
                "the end of the job",
                deadline=40,
            )
        finally:
            boards.stop()
        found = Counter(statuses(iot).values())
        assert found["FAILED"] >= 3
        assert set(found) <= {"FAILED", "CANCELED"}, "nothing is left open"
