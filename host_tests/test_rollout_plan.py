"""What a job may ask for, and how it is refused."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from twinslot.service.rollout import plan
from twinslot.service.rollout.plan import Abort, Growth, PlanError, Rate, Retry

NOW = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp())


def rollout(**more: Any) -> dict[str, Any]:
    growth = {
        "baseRatePerMinute": 50,
        "incrementFactor": 2,
        "rateIncreaseCriteria": {"numberOfNotifiedThings": 1000},
    }
    config = {"maximumPerMinute": 1000, "exponentialRate": growth | more}
    return {"jobExecutionsRolloutConfig": config}


def abort(**more: Any) -> dict[str, Any]:
    criterion = {
        "failureType": "FAILED",
        "action": "CANCEL",
        "thresholdPercentage": 20,
        "minNumberOfExecutedThings": 100,
    }
    return {"abortConfig": {"criteriaList": [criterion | more]}}


def retry(*criteria: tuple[str, int]) -> dict[str, Any]:
    listed = [{"failureType": failure, "numberOfRetries": times} for failure, times in criteria]
    return {"jobExecutionsRetryConfig": {"criteriaList": listed}}


def schedule(**config: Any) -> dict[str, Any]:
    return {"schedulingConfig": config}


def test_a_job_that_asks_for_nothing_reaches_all_things_at_once() -> None:
    assert plan.read({}) == plan.SIMPLE == plan.Plan()


def test_each_part_is_taken_apart() -> None:
    read = plan.read(
        rollout()
        | abort(thresholdPercentage=10.99)
        | retry(("FAILED", 2), ("TIMED_OUT", 8))
        | schedule(startTime="2026-12-01T18:00", endTime="2026-12-02T18:00:30+01:00")
    )
    assert read.rate == Rate(1000, Growth(50, Fraction(2), plan.NOTIFIED, 1000))
    assert read.aborts == (Abort("FAILED", 1099, 100),)
    assert read.retries == (Retry("FAILED", 2), Retry("TIMED_OUT", 8))
    assert read.schedule.start == NOW + 30 * 3600
    assert read.schedule.end == NOW + 53 * 3600 + 30
    assert read.schedule.behavior == "STOP_ROLLOUT"


def test_each_part_of_a_job_counts_by_itself() -> None:
    asked = rollout() | abort() | retry(("ALL", 10)) | schedule(startTime="2026-12-01T18:00")
    assert set(asked) == set(plan.PARTS)
    for part in plan.PARTS:
        assert plan.read({part: asked[part]}) != plan.SIMPLE
    assert plan.read(asked).retries == (Retry("ALL", 10),)


def test_what_becomes_of_a_job_at_its_end_can_be_chosen() -> None:
    for behavior in ("STOP_ROLLOUT", "CANCEL", "FORCE_CANCEL"):
        config = schedule(endTime="2026-12-02T18:00", endBehavior=behavior)
        assert plan.read(config).schedule.behavior == behavior


def test_a_rate_without_growth_stays_as_it_is() -> None:
    rate = plan.read({"jobExecutionsRolloutConfig": {"maximumPerMinute": 50}}).rate
    assert rate == Rate(50)
    assert [rate.per_minute(n, n) for n in (0, 1000, 10**6)] == [50, 50, 50]


@pytest.mark.compatibility("1", "rollout rates grow as AWS's developer guide has it in a table")
def test_the_rate_grows_as_in_the_developer_guide() -> None:
    rate = plan.read(rollout()).rate
    assert rate is not None
    notified = (0, 999, 1000, 1999, 2000, 3000, 4000, 5000)
    assert [rate.per_minute(n, 0) for n in notified] == [50, 50, 100, 100, 200, 400, 800, 1000]
    by_success = plan.read(rollout(rateIncreaseCriteria={"numberOfSucceededThings": 10})).rate
    assert by_success is not None
    assert [by_success.per_minute(5000, n) for n in (0, 9, 10, 20)] == [50, 50, 100, 200]


def test_a_rate_of_one_digit_is_no_sum_of_rounding_errors() -> None:
    rate = plan.read(rollout(baseRatePerMinute=10, incrementFactor=1.1)).rate
    assert rate is not None
    assert [rate.per_minute(1000 * step, 0) for step in range(5)] == [10, 11, 12, 13, 14]
    assert rate.per_minute(10**12, 0) == 1000


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"jobExecutionsRolloutConfig": {}}, "maximumPerMinute is required"),
        (
            {"jobExecutionsRolloutConfig": {"maximumPerMinute": 0}},
            "jobExecutionsRolloutConfig.maximumPerMinute: 0 is not within 1 to 1000",
        ),
        ({"jobExecutionsRolloutConfig": {"maximumPerMinute": 1001}}, "not within 1 to 1000"),
        (
            rollout(baseRatePerMinute=1000),
            "jobExecutionsRolloutConfig.exponentialRate.baseRatePerMinute: 1000 is not less than "
            "maximumPerMinute",
        ),
        (rollout(incrementFactor=1.55), "one digit"),
        (rollout(incrementFactor=1.0), "1.1 to 5"),
        (rollout(incrementFactor=5.1), "1.1 to 5"),
        (
            rollout(rateIncreaseCriteria={}),
            "one of numberOfNotifiedThings and numberOfSucceededThings",
        ),
        (
            rollout(
                rateIncreaseCriteria={"numberOfNotifiedThings": 1, "numberOfSucceededThings": 1}
            ),
            "one of",
        ),
        (abort(thresholdPercentage=0), "more than 0"),
        (abort(thresholdPercentage=100.01), "up to 100"),
        (abort(thresholdPercentage=10.999), "two digits"),
        (retry(("ALL", 1), ("FAILED", 1)), "ALL by itself"),
        (retry(("FAILED", 1), ("FAILED", 1)), "once each"),
        (retry(("FAILED", 6), ("TIMED_OUT", 5)), "more than 10"),
        (schedule(startTime="tomorrow"), "2027-01-31T22:30"),
        (schedule(endTime="2026-13-01T00:00"), "endTime"),
        (
            schedule(maintenanceWindows=[{"startTime": "0 2 * * *", "durationInMinutes": 60}]),
            "maintenanceWindows.startTime",
        ),
        (
            schedule(
                maintenanceWindows=[{"startTime": "cron(0 2 ? * 2 *)", "durationInMinutes": 1431}]
            ),
            "schedulingConfig.maintenanceWindows.durationInMinutes: 1431 is not within 1 to 1430",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_its_name(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError) as error:
        plan.read(asked)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("config", "continuous", "words"),
    [
        ({"startTime": "2026-11-30T12:29"}, False, "startTime"),
        ({"startTime": "2027-12-15T12:00"}, False, "startTime"),
        ({"endTime": "2026-11-30T12:29"}, False, "endTime"),
        ({"endTime": "2029-01-01T12:00"}, False, "endTime"),
        ({"startTime": "2026-12-01T12:00", "endTime": "2026-12-01T12:29"}, False, "30 minutes"),
        (
            {"maintenanceWindows": [{"startTime": "cron(0 2 ? * 2 *)", "durationInMinutes": 60}]},
            False,
            "SNAPSHOT",
        ),
        (
            {"maintenanceWindows": [{"startTime": "cron(0 2 1 1 ? 2020)", "durationInMinutes": 9}]},
            True,
            "none of them ever opens",
        ),
    ],
)
def test_a_schedule_outside_awss_limits_is_refused(
    config: dict[str, Any], continuous: bool, words: str
) -> None:
    read = plan.read(schedule(**config))
    with pytest.raises(PlanError) as error:
        plan.check_times(read, NOW, continuous=continuous)
    assert words in str(error.value)


def test_a_schedule_at_awss_limits_is_taken() -> None:
    for config in (
        {},
        {"startTime": "2026-11-30T12:30", "endTime": "2026-11-30T13:00"},
        {"startTime": "2027-11-30T12:00", "endTime": "2028-11-30T12:00"},
    ):
        plan.check_times(plan.read(schedule(**config)), NOW, continuous=False)


def test_retries_can_only_be_taken_away_afterwards() -> None:
    made = retry(("FAILED", 2), ("TIMED_OUT", 3))["jobExecutionsRetryConfig"]
    plan.check_change(made, retry(("TIMED_OUT", 0), ("FAILED", 0))["jobExecutionsRetryConfig"])
    for changed, words in (
        (retry(("FAILED", 1), ("TIMED_OUT", 0)), "can be changed to 0 only"),
        (retry(("FAILED", 0)), "name the failure types that the job was made with"),
        (retry(("ALL", 0)), "name the failure types that the job was made with"),
    ):
        with pytest.raises(PlanError, match=f"jobExecutionsRetryConfig: .*{words}"):
            plan.check_change(made, changed["jobExecutionsRetryConfig"])
    with pytest.raises(PlanError):
        plan.check_change({}, retry(("FAILED", 0))["jobExecutionsRetryConfig"])


def test_a_timeout_is_a_minute_to_a_week() -> None:
    assert [plan.progress_minutes(minutes) for minutes in (None, 1, 10080)] == [None, 1, 10080]
    for minutes in (0, -1, 10081):
        with pytest.raises(PlanError):
            plan.progress_minutes(minutes)
