"""A job on its way to things, with the database: rates, aborts, retries, schedules, later targets.

The decisions alone are tested in test_rollout_decide.py.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fleet_world import NOW, World, statements

from twinslot.formats import aws
from twinslot.formats.aws import CANCELED, FAILED, IN_PROGRESS, QUEUED, SUCCEEDED, TIMED_OUT
from twinslot.service.executions import PAGE
from twinslot.service.rows.jobs import Job

RATE = "jobExecutionsRolloutConfig"
HOUR = 3600
BOARDS = [f"board-{number}" for number in range(10)]


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    made = World(tmp_path, database)
    yield made
    made.store.close()


def begin(
    world: World,
    things: Sequence[str] = BOARDS,
    *,
    job_id: str = "job-1",
    minutes: int | None = None,
    continuous: bool = False,
    known: bool = False,
    **plan: Any,
) -> None:
    """A job on things, which are made unless they are known."""
    if not known:
        world.things(*things)
    job = Job(
        job_id,
        '{"a": 1}',
        None,
        [],
        None,
        minutes,
        "IN_PROGRESS",
        world.now,
        world.now,
        plan=plan,
        continuous=continuous,
    )
    with world.store.write() as transaction:
        world.rollouts.begin(transaction, job, things)


def abort(failure: str = "FAILED", percent: float = 100, least: int = 3) -> dict[str, Any]:
    criterion = {
        "failureType": failure,
        "action": "CANCEL",
        "thresholdPercentage": percent,
        "minNumberOfExecutedThings": least,
    }
    return {"criteriaList": [criterion]}


def retry(**times: int) -> dict[str, Any]:
    return {
        "criteriaList": [
            {"failureType": failure, "numberOfRetries": number} for failure, number in times.items()
        ]
    }


def moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def pass_time(world: World, seconds: int) -> None:
    """Let the time pass, with the looks of a service that looks twice a minute."""
    for _ in range(seconds // 30):
        world.now += 30
        world.rollouts.tick(world.store, world.now)
    world.now += seconds % 30
    world.rollouts.tick(world.store, world.now)


def report(world: World, thing: str, status: str, job_id: str = "job-1") -> None:
    topic = aws.topic(thing, f"jobs/{job_id}/update")
    world.ask_jobs(topic, json.dumps({"status": status}).encode())
    assert f"{topic}/accepted" in dict(world.sent())


def told(world: World) -> list[str]:
    """The things that were told of another next job since the last call."""
    return [
        topic.split("/")[2]
        for topic, message in world.sent()
        if topic.endswith("/notify-next") and "execution" in message
    ]


def counts(world: World, job_id: str = "job-1") -> dict[str, int]:
    with world.store.read() as transaction:
        return transaction.counts_of(job_id)


def job(world: World, job_id: str = "job-1") -> Job:
    with world.store.read() as transaction:
        found = transaction.job(job_id)
    assert found is not None
    return found


def executions(world: World, thing: str, job_id: str = "job-1") -> list[tuple[int, int, str]]:
    """Number, attempt and status of a thing's executions of a job, newest first."""
    with world.store.read() as transaction:
        found = transaction.executions_on(thing, job_id=job_id, limit=100)
    return [(one.number, one.attempt, one.status) for one in found]


# Rates


def test_a_rate_tells_the_next_things_minute_by_minute_in_the_order_of_the_targets(
    world: World,
) -> None:
    begin(world, jobExecutionsRolloutConfig={"maximumPerMinute": 4})
    assert told(world) == BOARDS[:4]
    pass_time(world, 59)
    assert told(world) == []
    pass_time(world, 1)
    assert told(world) == BOARDS[4:8]
    pass_time(world, 60)
    assert told(world) == BOARDS[8:]
    for thing in BOARDS:
        assert job(world).status == IN_PROGRESS
        report(world, thing, SUCCEEDED)
    assert job(world).status == "COMPLETED"


def test_a_job_is_not_complete_while_things_wait_for_it(world: World) -> None:
    begin(world, BOARDS[:2], jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    report(world, BOARDS[0], SUCCEEDED)
    assert job(world).status == IN_PROGRESS
    pass_time(world, 60)
    report(world, BOARDS[1], FAILED)
    assert job(world).status == "COMPLETED"


def test_a_rate_grows_with_the_things_that_have_succeeded(world: World) -> None:
    growth = {
        "baseRatePerMinute": 1,
        "incrementFactor": 3,
        "rateIncreaseCriteria": {"numberOfSucceededThings": 1},
    }
    begin(world, jobExecutionsRolloutConfig={"maximumPerMinute": 6, "exponentialRate": growth})
    assert told(world) == BOARDS[:1]
    pass_time(world, 600)
    assert told(world) == BOARDS[1:10], "one a minute, as long as none has succeeded"
    begin(
        world,
        job_id="job-2",
        known=True,
        jobExecutionsRolloutConfig={"maximumPerMinute": 6, "exponentialRate": growth},
    )
    report(world, BOARDS[0], SUCCEEDED, "job-1")
    world.sent()
    report(world, BOARDS[0], SUCCEEDED, "job-2")
    assert counts(world, "job-2") == {SUCCEEDED: 1, QUEUED: 2}, "three in this minute"


def test_a_rate_grows_with_the_things_that_were_told(world: World) -> None:
    growth = {
        "baseRatePerMinute": 1,
        "incrementFactor": 2,
        "rateIncreaseCriteria": {"numberOfNotifiedThings": 1},
    }
    begin(world, jobExecutionsRolloutConfig={"maximumPerMinute": 5, "exponentialRate": growth})
    waves = [len(told(world))]
    for _ in range(3):
        pass_time(world, 60)
        waves.append(len(told(world)))
    assert waves == [1, 2, 5, 2]


def test_more_things_than_a_page_go_out_in_several_transactions(world: World) -> None:
    things = [f"thing-{number:04}" for number in range(2 * PAGE + 100)]
    start = {"startTime": moment(NOW + HOUR)}
    rate = {"maximumPerMinute": 1000}
    begin(world, things, schedulingConfig=start, jobExecutionsRolloutConfig=rate)
    world.now = NOW + HOUR
    waves = []
    for _ in range(3):
        world.rollouts.tick(world.store, world.now)
        waves.append(sum(counts(world).values()))
    assert waves == [PAGE, 2 * PAGE, 2 * PAGE], "a thousand in the first minute"
    pass_time(world, 60)
    assert counts(world) == {QUEUED: len(things)}
    with world.store.read() as transaction:
        assert not transaction.waits("job-1")


def test_a_page_of_things_costs_as_many_statements_as_one(world: World) -> None:
    def sent(size: int) -> int:
        things = [f"of-{size}-{number}" for number in range(size)]
        world.things(*things)
        with statements() as begun:
            begin(
                world,
                things,
                job_id=f"job-{size}",
                known=True,
                jobExecutionsRolloutConfig={"maximumPerMinute": 1},
            )
        return len(begun)

    assert sent(PAGE) <= sent(2) + 2


# Aborts


def test_the_third_failure_of_ten_ends_the_job(world: World) -> None:
    begin(world, abortConfig=abort(), jobExecutionsRolloutConfig={"maximumPerMinute": 5})
    report(world, BOARDS[4], IN_PROGRESS)
    for thing in BOARDS[:2]:
        report(world, thing, FAILED)
    assert job(world).status == IN_PROGRESS
    world.sent()
    report(world, BOARDS[2], FAILED)
    ended = job(world)
    assert (ended.status, ended.reason_code) == (CANCELED, "ABORT_CRITERIA_MET")
    assert ended.comment is not None
    assert ended.comment.startswith("3 of 3 executions ended as FAILED")
    assert counts(world) == {FAILED: 3, CANCELED: 1, IN_PROGRESS: 1}
    pass_time(world, 600)
    assert counts(world) == {FAILED: 3, CANCELED: 1, IN_PROGRESS: 1}, "five were never told"
    report(world, BOARDS[4], SUCCEEDED)
    assert job(world).status == CANCELED


def test_whoever_is_cancelled_by_an_abort_is_told(world: World) -> None:
    begin(world, BOARDS[:2], abortConfig=abort(least=1))
    world.sent()
    world.ask_jobs(aws.topic(BOARDS[0], "jobs/job-1/update"), b'{"status":"FAILED"}')
    topics = [topic for topic, _ in world.sent()]
    for thing in BOARDS[:2]:
        assert aws.topic(thing, "jobs/notify-next") in topics


def test_timeouts_end_a_job_too(world: World) -> None:
    begin(world, minutes=1, abortConfig=abort("TIMED_OUT", 50, 2))
    for thing in BOARDS[:2]:
        report(world, thing, IN_PROGRESS)
    pass_time(world, 60)
    assert counts(world) == {TIMED_OUT: 2, CANCELED: 8}
    assert job(world).status == CANCELED


def test_a_success_may_bring_the_number_that_a_criterion_waits_for(world: World) -> None:
    begin(world, abortConfig=abort(percent=50, least=3))
    for thing, status in zip(BOARDS, [FAILED, FAILED, SUCCEEDED], strict=False):
        assert job(world).status == IN_PROGRESS
        report(world, thing, status)
    assert job(world).status == CANCELED


# Retries


@pytest.mark.compatibility(
    "1", "a failure is tried again as often as jobExecutionsRetryConfig says"
)
def test_a_thing_that_fails_is_told_again_as_often_as_it_may_try(world: World) -> None:
    begin(world, BOARDS[:1], jobExecutionsRetryConfig=retry(FAILED=2))
    assert told(world) == BOARDS[:1]
    for attempt in (1, 2):
        world.ask_jobs(aws.topic(BOARDS[0], "jobs/job-1/update"), b'{"status":"FAILED"}')
        sent = dict(world.sent())
        execution = sent[aws.topic(BOARDS[0], "jobs/notify-next")]["execution"]
        assert (execution["executionNumber"], execution["versionNumber"]) == (attempt + 1, 1)
        assert execution["status"] == QUEUED
        assert job(world).status == IN_PROGRESS
    report(world, BOARDS[0], FAILED)
    assert executions(world, BOARDS[0]) == [(3, 2, FAILED), (2, 1, FAILED), (1, 0, FAILED)]
    assert job(world).status == "COMPLETED"


def test_a_timeout_is_tried_again_and_a_rejection_is_not(world: World) -> None:
    begin(world, BOARDS[:2], minutes=1, jobExecutionsRetryConfig=retry(ALL=3))
    report(world, BOARDS[0], IN_PROGRESS)
    report(world, BOARDS[1], "REJECTED")
    pass_time(world, 60)
    assert executions(world, BOARDS[0]) == [(2, 1, QUEUED), (1, 0, TIMED_OUT)]
    assert executions(world, BOARDS[1]) == [(1, 0, "REJECTED")]
    report(world, BOARDS[0], SUCCEEDED)
    assert job(world).status == "COMPLETED"


def test_retries_wait_for_their_rate_before_those_who_were_not_told_yet(world: World) -> None:
    begin(
        world,
        jobExecutionsRetryConfig=retry(FAILED=1),
        jobExecutionsRolloutConfig={"maximumPerMinute": 2},
    )
    world.sent()
    report(world, BOARDS[0], FAILED)
    assert told(world) == []
    pass_time(world, 60)
    assert told(world) == [BOARDS[0], BOARDS[2]]


def test_an_abort_ends_retries(world: World) -> None:
    begin(world, BOARDS[:2], abortConfig=abort(least=2), jobExecutionsRetryConfig=retry(FAILED=5))
    report(world, BOARDS[0], FAILED)
    assert counts(world) == {FAILED: 1, QUEUED: 2}
    report(world, BOARDS[0], FAILED)
    assert counts(world) == {FAILED: 2, CANCELED: 1}
    assert job(world).status == CANCELED


def test_a_cancelled_job_retries_nothing(world: World) -> None:
    begin(world, BOARDS[:1], jobExecutionsRetryConfig=retry(FAILED=5))
    report(world, BOARDS[0], IN_PROGRESS)
    with world.store.write() as transaction:
        world.rollouts.cancel(transaction, job(world), world.now, force=False)
    report(world, BOARDS[0], FAILED)
    assert executions(world, BOARDS[0]) == [(1, 0, FAILED)]


# Schedules


@pytest.mark.compatibility("1", "a job is SCHEDULED until its startTime, and then IN_PROGRESS")
def test_a_job_begins_at_its_start(world: World) -> None:
    begin(world, schedulingConfig={"startTime": moment(NOW + HOUR)})
    assert (job(world).status, job(world).due_at) == ("SCHEDULED", NOW + HOUR)
    pass_time(world, HOUR - 1)
    assert told(world) == []
    pass_time(world, 1)
    assert sorted(told(world)) == BOARDS
    assert job(world).status == IN_PROGRESS


@pytest.mark.compatibility("1", "endBehavior STOP_ROLLOUT, CANCEL and FORCE_CANCEL")
@pytest.mark.parametrize(
    ("behavior", "left", "status"),
    [
        ("STOP_ROLLOUT", {QUEUED: 1, IN_PROGRESS: 1}, IN_PROGRESS),
        ("CANCEL", {CANCELED: 1, IN_PROGRESS: 1}, IN_PROGRESS),
        ("FORCE_CANCEL", {CANCELED: 2}, "COMPLETED"),
    ],
)
def test_a_job_ends_at_its_end(
    world: World, behavior: str, left: dict[str, int], status: str
) -> None:
    end = {"endTime": moment(NOW + 90), "endBehavior": behavior}
    begin(world, schedulingConfig=end, jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    report(world, BOARDS[0], IN_PROGRESS)
    pass_time(world, 60)
    assert counts(world) == {IN_PROGRESS: 1, QUEUED: 1}
    pass_time(world, 600)
    assert counts(world) == left, "nobody is told any more"
    assert job(world).status == status
    for thing in BOARDS[:2]:
        if executions(world, thing)[0][2] in aws.OPEN:
            report(world, thing, SUCCEEDED)
    assert job(world).status == "COMPLETED"


def test_nothing_is_tried_again_after_the_end(world: World) -> None:
    end = {"endTime": moment(NOW + 60)}
    begin(world, BOARDS[:1], schedulingConfig=end, jobExecutionsRetryConfig=retry(FAILED=5))
    report(world, BOARDS[0], IN_PROGRESS)
    pass_time(world, 60)
    report(world, BOARDS[0], FAILED)
    assert executions(world, BOARDS[0]) == [(1, 0, FAILED)]
    assert job(world).status == "COMPLETED"


@pytest.mark.compatibility(
    "1", "outside its maintenance windows a job is SCHEDULED, and told nobody"
)
def test_things_are_told_in_windows_only(world: World) -> None:
    noon = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp())
    world.now = noon
    window = {"startTime": "cron(0 22 ? * * *)", "durationInMinutes": 2}
    begin(
        world,
        continuous=True,
        schedulingConfig={"maintenanceWindows": [window]},
        jobExecutionsRolloutConfig={"maximumPerMinute": 3},
    )
    assert job(world).status == "SCHEDULED"
    for day, number in ((0, 6), (1, 10), (2, 10)):
        world.now = noon + 24 * HOUR * day + 10 * HOUR - 60
        pass_time(world, 60)
        assert job(world).status == IN_PROGRESS
        pass_time(world, 600)
        assert job(world).status == "SCHEDULED"
        assert sum(counts(world).values()) == number


# Targets that come and go


@pytest.mark.compatibility(
    "1", "a continuous job runs again on a thing that joins when its last execution has ended"
)
def test_a_thing_that_joins_again_runs_a_continuous_job_again(world: World) -> None:
    begin(world, BOARDS[:3], continuous=True)
    report(world, BOARDS[0], SUCCEEDED)
    report(world, BOARDS[1], IN_PROGRESS)
    world.things("board-new")
    world.sent()
    with world.store.write() as transaction:
        world.rollouts.add_targets(transaction, job(world), [*BOARDS[:3], "board-new"], world.now)
    assert told(world) == [BOARDS[0], "board-new"]
    assert executions(world, BOARDS[0]) == [(2, 0, QUEUED), (1, 0, SUCCEEDED)]
    assert executions(world, BOARDS[1]) == [(1, 0, IN_PROGRESS)]
    assert executions(world, BOARDS[2]) == [(1, 0, QUEUED)]


@pytest.mark.compatibility(
    "1", "a thing that leaves the targets: QUEUED becomes REMOVED, what has begun stays"
)
def test_a_thing_that_leaves_loses_what_has_not_begun(world: World) -> None:
    begin(world, BOARDS[:3], continuous=True)
    report(world, BOARDS[0], SUCCEEDED)
    report(world, BOARDS[1], IN_PROGRESS)
    world.sent()
    with world.store.write() as transaction:
        world.rollouts.remove_targets(transaction, job(world), BOARDS[:3], world.now)
    assert [topic for topic, _ in world.sent()] == [
        aws.topic(BOARDS[2], f"jobs/{kind}") for kind in ("notify", "notify-next")
    ]
    assert executions(world, BOARDS[2]) == [(1, 0, "REMOVED")]
    assert executions(world, BOARDS[1]) == [(1, 0, IN_PROGRESS)]
    assert job(world).status == IN_PROGRESS, "a continuous job has no last execution"


def test_things_that_wait_can_leave_and_join_and_are_told_once(world: World) -> None:
    begin(world, BOARDS[:3], continuous=True, schedulingConfig={"startTime": moment(NOW + HOUR)})
    with world.store.write() as transaction:
        world.rollouts.remove_targets(transaction, job(world), BOARDS[:1], world.now)
        world.rollouts.add_targets(transaction, job(world), BOARDS[1:3], world.now)
    pass_time(world, HOUR)
    assert Counter(told(world)) == {BOARDS[1]: 1, BOARDS[2]: 1}


def test_a_deleted_job_leaves_nobody_waiting(world: World) -> None:
    begin(world, jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    with world.store.write() as transaction:
        world.executions.forget(transaction, job(world), world.now)
    pass_time(world, 120)
    with world.store.read() as transaction:
        assert transaction.job("job-1") is None
        assert not transaction.waits("job-1")


def test_one_job_that_cannot_go_on_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("job-1", "job-2"):
        rate = {"maximumPerMinute": 5}
        begin(world, job_id=name, known=name != "job-1", jobExecutionsRolloutConfig=rate)
    with world.store.write() as transaction:
        broken = job(world)
        transaction.save_job(Job(**{**vars(broken), "plan": {RATE: {"maximumPerMinute": 0}}}))
    pass_time(world, 60)
    assert counts(world, "job-2") == {QUEUED: 10}
    assert "job job-1 does not go on" in caplog.text
