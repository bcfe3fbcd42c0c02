"""The plan of a job in AWS's words, taken apart and checked. Pure.

Source of the limits: AWS IoT API reference (JobExecutionsRolloutConfig, AbortConfig,
JobExecutionsRetryConfig, SchedulingConfig) and developer guide ("How job configurations work").
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service.rollout import cron
from twinslot.service.rollout.schedule import ALWAYS, STOP_ROLLOUT, Schedule, Window

ROLLOUT = "jobExecutionsRolloutConfig"
ABORT = "abortConfig"
RETRY = "jobExecutionsRetryConfig"
SCHEDULE = "schedulingConfig"
PARTS = (ROLLOUT, ABORT, RETRY, SCHEDULE)
"""The members of CreateJob that a plan consists of."""

ALL = "ALL"
NOTIFIED = "numberOfNotifiedThings"
SUCCEEDED = "numberOfSucceededThings"

MAX_RATE = 1000  # things a minute
MAX_RETRIES = 10  # of one thing
MAX_WINDOW = 1430  # minutes
_LEAST = 30 * 60  # seconds until a job starts or ends, and between the two
_YEAR = 366 * 24 * 3600  # seconds
_FACTORS = (Fraction(11, 10), Fraction(5))


class PlanError(FleetError):
    """A job asks for a rollout that cannot be."""


@dataclass(frozen=True)
class Growth:
    """A rate that grows: from `base` things a minute, by `factor` for each `every` things.

    criterion: NOTIFIED or SUCCEEDED, the things that are counted.
    """

    base: int
    factor: Fraction
    criterion: str
    every: int


@dataclass(frozen=True)
class Rate:
    """How many things are told of the job in a minute, at most."""

    maximum: int
    growth: Growth | None = None

    def per_minute(self, notified: int, succeeded: int) -> int:
        """The rate after so many things have been told, and so many have succeeded."""
        if self.growth is None:
            return self.maximum
        counted = notified if self.growth.criterion == NOTIFIED else succeeded
        rate = Fraction(self.growth.base)
        for _ in range(counted // self.growth.every):
            rate *= self.growth.factor
            if rate >= self.maximum:
                return self.maximum
        return int(rate)


@dataclass(frozen=True)
class Abort:
    """A criterion that ends a job: `hundredths` of a percent of the executions that have ended.

    failure: FAILED, REJECTED, TIMED_OUT or ALL; least: executions that must have ended before.
    """

    failure: str
    hundredths: int
    least: int


@dataclass(frozen=True)
class Retry:
    """How often a thing tries again after this failure: FAILED, TIMED_OUT or ALL."""

    failure: str
    times: int


@dataclass(frozen=True)
class Plan:
    """How a job reaches its things. `rate` None: all of them at once."""

    rate: Rate | None = None
    aborts: tuple[Abort, ...] = ()
    retries: tuple[Retry, ...] = ()
    schedule: Schedule = ALWAYS


SIMPLE = Plan()
"""Of a job that asks for nothing."""


def read(asked: Mapping[str, Any]) -> Plan:
    """Take apart what a job asks for, the members PARTS of CreateJob. Raises PlanError."""
    return _read(json.dumps(dict(asked), sort_keys=True)) if asked else SIMPLE


@functools.lru_cache(maxsize=256)
def _read(text: str) -> Plan:
    # The same few jobs are asked for again with each report of a board.
    asked = json.loads(text)
    return Plan(
        rate=_rate(asked[ROLLOUT]) if ROLLOUT in asked else None,
        aborts=tuple(_abort(one) for one in asked.get(ABORT, {}).get("criteriaList", ())),
        retries=_retries(asked.get(RETRY, {}).get("criteriaList", ())),
        schedule=_schedule(asked.get(SCHEDULE, {})),
    )


def check_times(plan: Plan, now: int, *, continuous: bool) -> None:
    """Hold a schedule against the limits of a job that is made now. Raises PlanError."""
    schedule = plan.schedule
    if schedule.windows and not continuous:
        raise PlanError("maintenanceWindows cannot be used with a SNAPSHOT job: say CONTINUOUS")
    for name, at, years in (("startTime", schedule.start, 1), ("endTime", schedule.end, 2)):
        if at is not None and not now + _LEAST <= at <= now + years * _YEAR:
            raise PlanError(f"{name}: not within 30 minutes and {years * 12} months from now")
    start = now if schedule.start is None else schedule.start
    if schedule.end is not None and schedule.end - start < _LEAST:
        raise PlanError("endTime: less than 30 minutes after startTime")
    if schedule.windows and not schedule.openings(now, 1):
        raise PlanError("maintenanceWindows: none of them ever opens")


def check_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say whether UpdateJob may replace one RETRY by another. Raises PlanError."""
    old = {one["failureType"] for one in before.get("criteriaList", ())}
    criteria = after.get("criteriaList", ())
    if any(one["numberOfRetries"] for one in criteria):
        raise PlanError(f"{RETRY}: the number of retries can be changed to 0 only")
    if {one["failureType"] for one in criteria} != old:
        raise PlanError(f"{RETRY}: name the failure types that the job was made with")


def _rate(asked: Mapping[str, Any]) -> Rate:
    maximum = asked.get("maximumPerMinute")
    if maximum is None:
        raise PlanError(f"{ROLLOUT}: maximumPerMinute is required")
    _within(maximum, 1, MAX_RATE, f"{ROLLOUT}.maximumPerMinute")
    growth = asked.get("exponentialRate")
    return Rate(maximum, None if growth is None else _growth(growth, maximum))


def _growth(asked: Mapping[str, Any], maximum: int) -> Growth:
    where = f"{ROLLOUT}.exponentialRate"
    base = asked["baseRatePerMinute"]
    if base >= maximum:
        raise PlanError(f"{where}.baseRatePerMinute: {base} is not less than maximumPerMinute")
    tenths = 10 * asked["incrementFactor"]
    factor = Fraction(round(tenths), 10)
    if abs(tenths - round(tenths)) > 1e-6 or not _FACTORS[0] <= factor <= _FACTORS[1]:
        raise PlanError(f"{where}.incrementFactor: 1.1 to 5, with one digit after the point")
    criteria = asked["rateIncreaseCriteria"]
    if len(criteria) != 1:
        raise PlanError(f"{where}.rateIncreaseCriteria: one of {NOTIFIED} and {SUCCEEDED}")
    ((criterion, every),) = criteria.items()
    return Growth(base, factor, criterion, every)


def _abort(asked: Mapping[str, Any]) -> Abort:
    percent = asked["thresholdPercentage"]
    hundredths = round(100 * percent)
    if abs(100 * percent - hundredths) > 1e-6 or not 0 < hundredths <= 100_00:
        raise PlanError(
            f"{ABORT}.thresholdPercentage: {percent} is not more than 0 and up to 100, with two "
            "digits after the point at most"
        )
    return Abort(asked["failureType"], hundredths, asked["minNumberOfExecutedThings"])


def _retries(asked: list[Mapping[str, Any]]) -> tuple[Retry, ...]:
    retries = tuple(Retry(one["failureType"], one["numberOfRetries"]) for one in asked)
    names = [retry.failure for retry in retries]
    if len(set(names)) != len(names) or (ALL in names and len(names) > 1):
        raise PlanError(f"{RETRY}: ALL by itself, or FAILED and TIMED_OUT once each")
    if sum(retry.times for retry in retries) > MAX_RETRIES:
        raise PlanError(f"{RETRY}: more than {MAX_RETRIES} retries of one thing")
    return retries


def _schedule(asked: Mapping[str, Any]) -> Schedule:
    windows = tuple(_window(window) for window in asked.get("maintenanceWindows", ()))
    return Schedule(
        _time(asked, "startTime"),
        _time(asked, "endTime"),
        asked.get("endBehavior", STOP_ROLLOUT),
        windows,
    )


def _window(asked: Mapping[str, Any]) -> Window:
    minutes = asked["durationInMinutes"]
    _within(minutes, 1, MAX_WINDOW, f"{SCHEDULE}.maintenanceWindows.durationInMinutes")
    try:
        return Window(cron.parse(asked["startTime"]), minutes)
    except cron.CronError as error:
        raise PlanError(f"{SCHEDULE}.maintenanceWindows.startTime: {error}") from error


def _time(asked: Mapping[str, Any], name: str) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise PlanError(
            f"{SCHEDULE}.{name}: {text!r} is not a time such as 2027-01-31T22:30, which is UTC"
        ) from error


def _within(number: int, least: int, most: int, where: str) -> None:
    if not least <= number <= most:
        raise PlanError(f"{where}: {number} is not within {least} to {most}")


def progress_minutes(minutes: int | None) -> int | None:
    """The time limit of a timeoutConfig. Raises PlanError."""
    if minutes is not None:
        _within(minutes, 1, aws.MAX_TIMEOUT, "inProgressTimeoutInMinutes")
    return minutes
