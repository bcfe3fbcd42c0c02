"""The Jobs service on MQTT: a request's topic and payload in, an answer in the outbox.

Topics and shapes are AWS IoT's (developer guide, "Jobs device MQTT operations"). The thing is the
one that the topic names; what the payload says about it counts for nothing.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twinslot.formats import aws
from twinslot.service import fallback, states
from twinslot.service.executions import state, summary
from twinslot.service.rollouts import Rollouts
from twinslot.service.states import JobError
from twinslot.service.store import Transaction

SUBSCRIPTIONS = aws.subscriptions("jobs")

_THING = re.compile(aws.NAME)
_JOB = re.compile(aws.JOB_ID)


@dataclass(frozen=True)
class Request:
    """The request in a topic: `operation` is get, start-next, describe or update."""

    topic: str
    thing: str
    operation: str
    job_id: str = ""


def is_answer(topic: str) -> bool:
    """Whether a topic is one of the service's own, on which nobody is answered.

    A broker may deliver to the service what it, or another of its kind, has published.
    """
    match aws.of_thing(topic)[1]:
        case ["jobs", "notify" | "notify-next"] | ["jobs", *_, "accepted" | "rejected"]:
            return True
    return False


def parse_topic(topic: str) -> Request:
    """Read a request topic. Raises JobError InvalidTopic."""
    thing, levels = aws.of_thing(topic)
    match levels:
        case ["jobs", ("get" | "start-next") as operation]:
            request = Request(topic, thing, operation)
        case ["jobs", job_id, "get"]:
            request = Request(topic, thing, "describe", job_id)
        case ["jobs", job_id, "update"]:
            request = Request(topic, thing, "update", job_id)
        case _:
            raise JobError(states.INVALID_TOPIC, f"{topic} is no operation of the Jobs service")
    if not _THING.fullmatch(request.thing):
        raise JobError(states.INVALID_TOPIC, "the topic names no thing")
    named_next = request.operation == "describe" and request.job_id == aws.NEXT_JOB
    if request.operation in ("describe", "update") and not (
        named_next or _JOB.fullmatch(request.job_id)
    ):
        raise JobError(states.INVALID_TOPIC, "the topic names no job")
    return request


def token_of(payload: bytes) -> dict[str, str]:
    """The client token of a request as answers echo it; nothing where none can be read."""
    try:
        return Body.read(payload).token()
    except JobError:
        return {}


class Jobs:
    """Answers the requests of devices. `clock` returns Unix seconds; `region`: of new jobs."""

    def __init__(
        self, rollouts: Rollouts, clock: Callable[[], float], region: str = "local"
    ) -> None:
        self._rollouts = rollouts
        self._executions = rollouts.executions
        self._region = region
        self._clock = clock
        self._looks = {"get": self._get_pending, "describe": self._describe}
        self._changes = {"start-next": self._start_next, "update": self._update}

    def answer(self, transaction: Transaction, topic: str, payload: bytes) -> None:
        """Do what a request asks, and send its answer. An operation is refused before it writes."""
        now = int(self._clock())
        token: dict[str, str] = {}
        try:
            body = Body.read(payload)
            token = body.token()
            with self.performing(transaction, parse_topic(topic), body, now) as answer:
                transaction.send(f"{topic}/accepted", {**token, "timestamp": now, **answer})
        except JobError as error:
            rejection = {**token, "timestamp": now, "code": error.code, "message": str(error)}
            if error.execution is not None:
                rejection["executionState"] = state(error.execution)
            transaction.send(f"{topic}/rejected", rejection)

    @contextmanager
    def performing(
        self, transaction: Transaction, request: Request, body: "Body", now: int
    ) -> Iterator[dict[str, Any]]:
        """Do what a request asks; the thing is told of changes at the end. Raises JobError."""
        if transaction.thing(request.thing) is None:
            raise JobError(states.NOT_FOUND, f"no thing {request.thing}")
        look = self._looks.get(request.operation)
        if look is not None:
            yield look(transaction, request, body, now)
            return
        with self._executions.notifying(transaction, [request.thing], now):
            yield self._changes[request.operation](transaction, request, body, now)

    def _get_pending(
        self, transaction: Transaction, request: Request, _body: "Body", _now: int
    ) -> dict[str, Any]:
        waiting = _pending(transaction, request.thing)
        return {
            "inProgressJobs": [summary(e) for e in waiting if e.status == aws.IN_PROGRESS],
            "queuedJobs": [summary(e) for e in waiting if e.status == aws.QUEUED],
        }

    def _start_next(
        self, transaction: Transaction, request: Request, body: "Body", now: int
    ) -> dict[str, Any]:
        details, step_minutes = body.details(), body.step_minutes()
        waiting = _pending(transaction, request.thing)
        if not waiting:
            return {}
        started = states.start(
            waiting[0],
            now,
            details=details,
            step_minutes=step_minutes,
            progress_minutes=_progress_minutes(transaction, waiting[0]),
        )
        self._rollouts.save(transaction, [(waiting[0], started)], now)
        return self._executions.next_job(transaction, [started], now)

    def _describe(
        self, transaction: Transaction, request: Request, body: "Body", now: int
    ) -> dict[str, Any]:
        number = body.number("executionNumber", 1, aws.MAX_NUMBER)
        document = body.flag("includeJobDocument", default=True)
        if request.job_id == aws.NEXT_JOB:
            waiting = _pending(transaction, request.thing)
            if not waiting:
                return {}
            execution = waiting[0]
            named = {}  # AWS leaves the thing out here
        else:
            execution = _find(transaction, request, number)
            if execution.terminal:
                raise JobError(
                    states.TERMINAL_REACHED, f"job {request.job_id} has ended: {execution.status}"
                )
            named = {"thingName": execution.thing}
        described = self._executions.described(transaction, execution, now, document=document)
        return {"execution": {**named, **described}}

    def _update(
        self, transaction: Transaction, request: Request, body: "Body", now: int
    ) -> dict[str, Any]:
        status = body.text("status", 32)
        if status not in aws.REPORTABLE:
            raise JobError(
                states.INVALID_REQUEST, f"status is none of {', '.join(sorted(aws.REPORTABLE))}"
            )
        details, step_minutes = body.details(), body.step_minutes()
        expected_version = body.expected_version()
        with_state = body.flag("includeJobExecutionState", default=False)
        with_document = body.flag("includeJobDocument", default=False)
        before = _find(transaction, request, body.number("executionNumber", 1, aws.MAX_NUMBER))
        after = states.update(
            before,
            status,
            now,
            details=details,
            expected_version=expected_version,
            step_minutes=step_minutes,
            progress_minutes=_progress_minutes(transaction, before),
        )
        self._rollouts.save(transaction, [(before, after)], now)
        fallback.follow(transaction, after, self._region, now)
        answer: dict[str, Any] = {}
        if with_state:
            answer["executionState"] = state(after)
        if with_document:
            answer["jobDocument"] = self._executions.job_document(transaction, after.job_id, now)
        return answer


def _pending(transaction: Transaction, thing: str) -> list[states.Execution]:
    return states.pending(transaction.open_executions([thing])[thing])


def _find(transaction: Transaction, request: Request, number: int | None) -> states.Execution:
    execution = transaction.execution(request.thing, request.job_id, number)
    if execution is None:
        raise JobError(states.NOT_FOUND, f"no job {request.job_id} on {request.thing}")
    return execution


def _progress_minutes(transaction: Transaction, execution: states.Execution) -> int | None:
    job = transaction.job(execution.job_id)
    return None if job is None else job.progress_minutes


class Body:
    """Typed access to a request's JSON object. Its methods raise JobError."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value

    @classmethod
    def read(cls, payload: bytes) -> "Body":
        """Read a payload; an empty one is an empty object. Raises JobError."""
        try:
            value = _JSON.decode(payload.decode() or "{}")
        except (ValueError, RecursionError) as error:
            raise JobError(states.INVALID_JSON, "the payload is not JSON") from error
        if not isinstance(value, dict):
            raise JobError(states.INVALID_REQUEST, "the payload is not a JSON object")
        return cls(value)

    def token(self) -> dict[str, str]:
        """The client token as answers echo it; nothing where there is none."""
        token = self.text("clientToken", aws.MAX_TOKEN)
        return {} if token is None else {"clientToken": token}

    def text(self, key: str, most: int) -> str | None:
        """Text of at most so many characters."""
        value = self._value.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > most):
            raise JobError(states.INVALID_REQUEST, f"{key}: text of at most {most} characters")
        return value

    def number(self, key: str, least: int, most: int) -> int | None:
        """A number within bounds."""
        value = self._value.get(key)
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise JobError(states.INVALID_REQUEST, f"{key}: a number from {least} to {most}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._value.get(key, default)
        if not isinstance(value, bool):
            raise JobError(states.INVALID_REQUEST, f"{key}: true or false")
        return value

    def details(self) -> dict[str, str] | None:
        """The status details, None where there are none."""
        if self._value.get("statusDetails") is None:
            return None
        return states.check_details(self._value["statusDetails"])

    def step_minutes(self) -> int | None:
        """The minutes of a step, or aws.NO_STEP_TIMEOUT."""
        minutes = self.number("stepTimeoutInMinutes", aws.NO_STEP_TIMEOUT, aws.MAX_TIMEOUT)
        if minutes == 0:
            raise JobError(states.INVALID_REQUEST, "stepTimeoutInMinutes: not 0")
        return minutes

    def expected_version(self) -> int | None:
        """A number, or one in a string as the developer guide's examples have it."""
        value = self._value.get("expectedVersion")
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            return int(value)
        return self.number("expectedVersion", 0, 2**63)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)  # to make one costs more than to use it
