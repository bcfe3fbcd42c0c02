"""The job state machine of AWS IoT Jobs: values in, a new value or a JobError out.

No clock, no database, no topic. Times are Unix seconds and are passed in. An Execution is one job
on one thing; it is never changed in place.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twinslot.errors import FleetError
from twinslot.formats import aws

INVALID_TOPIC = "InvalidTopic"
INVALID_JSON = "InvalidJson"
INVALID_REQUEST = "InvalidRequest"
INVALID_TRANSITION = "InvalidStateTransition"
NOT_FOUND = "ResourceNotFound"
VERSION_MISMATCH = "VersionMismatch"
TERMINAL_REACHED = "TerminalStateReached"
INTERNAL_ERROR = "InternalError"
REQUEST_THROTTLED = "RequestThrottled"

_DETAIL_KEY = re.compile(aws.NAME)


class JobError(FleetError):
    """A request that the Jobs service rejects.

    `code` is the word of the service's ErrorResponse; `execution` is there where the response
    carries the execution's state.
    """

    def __init__(self, code: str, message: str, execution: "Execution | None" = None) -> None:
        super().__init__(message)
        self.code = code
        self.execution = execution


@dataclass(frozen=True)
class Execution:
    """One job on one thing. `order` is its place in the thing's queue; deadlines are Unix seconds.

    `version` goes up by one with every accepted change; `attempt` counts the executions before this
    one that it tries again.
    """

    job_id: str
    thing: str
    order: int
    queued_at: int
    updated_at: int
    number: int = 1
    status: str = aws.QUEUED
    details: Mapping[str, str] = field(default_factory=dict)
    started_at: int | None = None
    version: int = 1
    progress_deadline: int | None = None
    step_deadline: int | None = None
    forced: bool = False
    attempt: int = 0

    @property
    def identity(self) -> tuple[str, int]:
        """The identity of an execution for a notification."""
        return self.job_id, self.number

    @property
    def terminal(self) -> bool:
        """True once nothing can change it any more."""
        return self.status in aws.TERMINAL

    @property
    def deadline(self) -> int | None:
        """When the first of its timers runs out; None while none runs."""
        running = [at for at in (self.progress_deadline, self.step_deadline) if at is not None]
        return min(running, default=None)


def update(
    execution: Execution,
    status: str,
    now: int,
    *,
    details: Mapping[str, str] | None = None,
    expected_version: int | None = None,
    step_minutes: int | None = None,
    progress_minutes: int | None = None,
) -> Execution:
    """A device's report. `details` replace the old ones; None keeps them.

    `step_minutes` sets the step timer (aws.NO_STEP_TIMEOUT cancels it, None leaves it);
    `progress_minutes` is the job's own time limit, which starts with aws.IN_PROGRESS.
    Raises JobError: InvalidStateTransition from a terminal state, VersionMismatch.
    """
    if status not in aws.REPORTABLE:
        raise JobError(INVALID_REQUEST, f"a device cannot report the status {status}")
    _refuse_terminal(execution)
    _check_version(execution, expected_version)
    changed = replace(
        execution,
        status=status,
        details=dict(execution.details if details is None else details),
        started_at=now if execution.started_at is None else execution.started_at,
        updated_at=now,
        version=execution.version + 1,
    )
    if changed.terminal:
        return replace(changed, progress_deadline=None, step_deadline=None)
    if execution.status == aws.QUEUED and progress_minutes is not None:
        changed = replace(changed, progress_deadline=now + 60 * progress_minutes)
    return _step(changed, step_minutes, now)


def start(
    execution: Execution,
    now: int,
    *,
    details: Mapping[str, str] | None = None,
    step_minutes: int | None = None,
    progress_minutes: int | None = None,
) -> Execution:
    """StartNextPendingJobExecution: aws.QUEUED goes aws.IN_PROGRESS with these details.

    One that is aws.IN_PROGRESS already keeps its details and version; only the step timer is set.
    """
    if execution.status == aws.IN_PROGRESS:
        return _step(execution, step_minutes, now)
    return update(
        execution,
        aws.IN_PROGRESS,
        now,
        details=details,
        step_minutes=step_minutes,
        progress_minutes=progress_minutes,
    )


def cancel(
    execution: Execution,
    now: int,
    *,
    force: bool = False,
    details: Mapping[str, str] | None = None,
    expected_version: int | None = None,
) -> Execution:
    """An operator's cancellation; aws.IN_PROGRESS only with `force`.

    Raises JobError: InvalidStateTransition, VersionMismatch.
    """
    _refuse_terminal(execution)
    _check_version(execution, expected_version)
    if execution.status == aws.IN_PROGRESS and not force:
        raise JobError(
            INVALID_TRANSITION, "the execution is aws.IN_PROGRESS: only force cancels it", execution
        )
    return replace(
        execution,
        status=aws.CANCELED,
        details=dict(execution.details if details is None else details),
        updated_at=now,
        version=execution.version + 1,
        progress_deadline=None,
        step_deadline=None,
        forced=force,
    )


def remove(execution: Execution, now: int) -> Execution:
    """aws.REMOVED: the thing is gone from the registry, or from what the job is for.

    AWS leaves the version as it was.
    """
    _refuse_terminal(execution)
    return replace(
        execution,
        status=aws.REMOVED,
        updated_at=now,
        progress_deadline=None,
        step_deadline=None,
    )


def time_out(execution: Execution, now: int) -> Execution:
    """TIMED_OUT if one of the timers has run out, else the execution as it is."""
    deadline = execution.deadline
    if execution.status != aws.IN_PROGRESS or deadline is None or now < deadline:
        return execution
    return replace(
        execution,
        status=aws.TIMED_OUT,
        updated_at=now,
        version=execution.version + 1,
        progress_deadline=None,
        step_deadline=None,
    )


def pending(executions: Iterable[Execution]) -> list[Execution]:
    """The open ones in the order they are due: aws.IN_PROGRESS first, then as they were queued."""
    return sorted(
        (execution for execution in executions if not execution.terminal),
        key=lambda execution: (execution.status != aws.IN_PROGRESS, execution.order),
    )


def list_changed(before: Sequence[Execution], after: Sequence[Execution]) -> bool:
    """True when `notify` is due: an execution joined or left the pending list."""
    return {e.identity for e in before} != {e.identity for e in after}


def next_changed(before: Sequence[Execution], after: Sequence[Execution]) -> bool:
    """True when `notify-next` is due: another execution is first, or none is left.

    Both lists are in pending order. A change of status or details of the same first execution is
    no reason: agents of 2019 close a transfer on every message of that topic.
    """
    return [e.identity for e in before[:1]] != [e.identity for e in after[:1]]


def check_details(details: Any) -> dict[str, str]:
    """The details if they keep the limits of the Jobs service. Raises JobError InvalidRequest."""
    if not isinstance(details, dict):
        raise JobError(INVALID_REQUEST, "statusDetails is not a map")
    if len(details) > aws.MAX_DETAILS:
        raise JobError(
            INVALID_REQUEST,
            f"statusDetails has {len(details)} pairs; allowed are {aws.MAX_DETAILS}",
        )
    for key, value in details.items():
        if not isinstance(key, str) or not _DETAIL_KEY.fullmatch(key):
            raise JobError(INVALID_REQUEST, f"statusDetails: {key!r} is no key")
        if not isinstance(value, str) or not 1 <= len(value) <= aws.MAX_DETAIL_VALUE:
            raise JobError(
                INVALID_REQUEST,
                f"statusDetails, {key}: text of 1 to {aws.MAX_DETAIL_VALUE} characters",
            )
        if any(unicodedata.category(character)[0] == "C" for character in value):
            raise JobError(INVALID_REQUEST, f"statusDetails, {key}: control characters")
    return dict(details)


def _refuse_terminal(execution: Execution) -> None:
    if execution.terminal:
        raise JobError(
            INVALID_TRANSITION,
            f"the execution is already in the terminal state {execution.status}",
            execution,
        )


def _check_version(execution: Execution, expected: int | None) -> None:
    if expected is not None and expected != execution.version:
        raise JobError(
            VERSION_MISMATCH,
            f"expected version {expected}, the execution has {execution.version}",
            execution,
        )


def _step(execution: Execution, minutes: int | None, now: int) -> Execution:
    if minutes is None:
        return execution
    deadline = None if minutes == aws.NO_STEP_TIMEOUT else now + 60 * minutes
    return replace(execution, step_deadline=deadline)
