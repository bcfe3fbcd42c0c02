"""The Jobs service for devices over HTTP (`iot-jobs-data`), by the code that answers MQTT."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from twinslot.formats import aws
from twinslot.service import states
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.jobs import Body, Jobs, Request
from twinslot.service.names import invalid
from twinslot.service.states import JobError
from twinslot.service.store import Store

_ERRORS = {
    states.INVALID_TRANSITION: "InvalidStateTransitionException",
    states.NOT_FOUND: "ResourceNotFoundException",
    states.TERMINAL_REACHED: "TerminalStateException",
}
"""Errors of the service model; everything else is an InvalidRequestException there."""
_NAMES = frozenset({"thingName", "jobId"})
_DESCRIBED = {"includeJobDocument", "executionNumber"}
_REPORTED = {"status", "statusDetails", "stepTimeoutInMinutes", "expectedVersion"} | {
    "includeJobExecutionState",
    "includeJobDocument",
    "executionNumber",
}


class DeviceJobOperations:
    """The four operations of devices. `clock` returns Unix seconds."""

    def __init__(self, store: Store, jobs: Jobs, clock: Callable[[], float]) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self.operations = {
            "GetPendingJobExecutions": Operation(
                lambda asked: self._perform("get", asked), {"thingName"}
            ),
            "StartNextPendingJobExecution": Operation(
                lambda asked: self._perform("start-next", asked),
                {"thingName", "statusDetails", "stepTimeoutInMinutes"},
            ),
            "DescribeJobExecution": Operation(
                lambda asked: self._perform("describe", asked), _NAMES | _DESCRIBED
            ),
            "UpdateJobExecution": Operation(
                lambda asked: self._perform("update", asked), _NAMES | _REPORTED
            ),
        }

    def _perform(self, operation: str, parameters: Mapping[str, Any]) -> Result:
        thing, job_id = parameters["thingName"], parameters.get("jobId", "")
        request = Request(aws.topic(thing, "jobs"), thing, operation, job_id)
        body = Body({name: value for name, value in parameters.items() if name not in _NAMES})
        with self._store.write() as transaction:
            if transaction.is_revoked(thing):
                raise invalid(f"thing {thing} is revoked")
            try:
                with self._jobs.performing(
                    transaction, request, body, int(self._clock())
                ) as answer:
                    return Result(_told(answer))
            except JobError as error:
                code = _ERRORS.get(error.code, "InvalidRequestException")
                raise ApiError(code, str(error)) from error


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as HTTP has it: there a job document is text."""
    told = dict(answer)
    if "execution" in told:
        told["execution"] = _told(told["execution"])
    if "jobDocument" in told:
        told["jobDocument"] = json.dumps(told["jobDocument"], separators=(",", ":"))
    return told
