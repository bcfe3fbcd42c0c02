"""Operations on the executions of jobs, one for each thing."""

from collections.abc import Callable, Mapping
from typing import Any

from twinslot.service import states
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, not_found
from twinslot.service.operations.jobs import job_of
from twinslot.service.operations.things import thing_of
from twinslot.service.rollouts import Rollouts
from twinslot.service.states import JobError
from twinslot.service.store import Store, Transaction

_ERRORS = {
    states.INVALID_TRANSITION: "InvalidStateTransitionException",
    states.VERSION_MISMATCH: "VersionConflictException",
    states.INVALID_REQUEST: "InvalidRequestException",
}


class ExecutionOperations:
    """Executions. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, rollouts: Rollouts, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._rollouts = rollouts
        self._executions = rollouts.executions
        self._clock = clock
        self.operations = {
            "ListJobExecutionsForJob": Operation(
                self._list_executions, {"jobId", "status", *PAGING}
            ),
            "ListJobExecutionsForThing": Operation(
                self._list_for_thing, {"thingName", "status", "jobId", *PAGING}
            ),
            "DescribeJobExecution": Operation(
                self._describe_execution, {"jobId", "thingName", "executionNumber"}
            ),
            "CancelJobExecution": Operation(
                self._cancel_execution,
                {"jobId", "thingName", "force", "expectedVersion", "statusDetails"},
            ),
            "DeleteJobExecution": Operation(
                self._delete_execution, {"jobId", "thingName", "executionNumber", "force"}
            ),
        }

    def _list_executions(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        status = parameters.get("status")
        listing = ("executions", parameters["jobId"], status)
        number, _, thing = (
            self._names.place(parameters.get("nextToken"), listing) or ""
        ).partition(" ")
        with self._store.read() as transaction:
            found = transaction.executions_of(
                parameters["jobId"],
                statuses=None if status is None else [status],
                after=(thing, int(number or 0)),
                limit=limit + 1,
            )
            if not found:
                job_of(transaction, parameters["jobId"])
        shown, token = self._names.page(
            found, limit, lambda one: f"{one.number} {one.thing}", listing
        )
        summaries = [
            {
                "thingArn": self._names.arn("thing", execution.thing),
                "jobExecutionSummary": _summary(execution),
            }
            for execution in shown
        ]
        return Result({"executionSummaries": summaries, "nextToken": token})

    def _list_for_thing(self, parameters: Mapping[str, Any]) -> Result:
        thing, limit = parameters["thingName"], parameters.get("maxResults", DEFAULT_PAGE)
        status, job_id = parameters.get("status"), parameters.get("jobId")
        listing = ("executions of", thing, status, job_id)
        before = self._names.place(parameters.get("nextToken"), listing)
        with self._store.read() as transaction:
            thing_of(transaction, thing)
            found = transaction.executions_on(
                thing,
                status=status,
                job_id=job_id,
                before=None if before is None else int(before),
                limit=limit + 1,
            )
        shown, token = self._names.page(found, limit, lambda one: str(one.order), listing)
        summaries = [
            {"jobId": execution.job_id, "jobExecutionSummary": _summary(execution)}
            for execution in shown
        ]
        return Result({"executionSummaries": summaries, "nextToken": token})

    def _describe_execution(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            execution = _execution(transaction, parameters)
        deadline = execution.deadline
        described = {
            "jobId": execution.job_id,
            "status": execution.status,
            "forceCanceled": execution.forced,
            "statusDetails": {"detailsMap": execution.details},
            "thingArn": self._names.arn("thing", execution.thing),
            "queuedAt": execution.queued_at,
            "startedAt": execution.started_at,
            "lastUpdatedAt": execution.updated_at,
            "executionNumber": execution.number,
            "versionNumber": execution.version,
            "approximateSecondsBeforeTimedOut": None
            if deadline is None
            else max(0, deadline - int(self._clock())),
        }
        return Result({"execution": described})

    def _cancel_execution(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        with self._store.write() as transaction:
            execution = _execution(transaction, parameters)
            with self._executions.notifying(transaction, [execution.thing], now):
                try:
                    details = parameters.get("statusDetails")
                    canceled = states.cancel(
                        execution,
                        now,
                        force=parameters.get("force", False),
                        details=None if details is None else states.check_details(details),
                        expected_version=parameters.get("expectedVersion"),
                    )
                except JobError as error:
                    raise ApiError(_ERRORS[error.code], str(error)) from error
                self._rollouts.save(transaction, [(execution, canceled)], now)
        return Result({})

    def _delete_execution(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        with self._store.write() as transaction:
            execution = _execution(transaction, parameters)
            if not execution.terminal and not parameters.get("force", False):
                raise ApiError(
                    "InvalidStateTransitionException",
                    f"the execution is {execution.status}: cancel it, or delete it with force",
                    409,
                )
            with self._executions.notifying(transaction, [execution.thing], now):
                transaction.delete_executions([execution])
                self._rollouts.settle(transaction, execution.job_id, now)
        return Result({})


def _summary(execution: states.Execution) -> dict[str, Any]:
    return {
        "status": execution.status,
        "queuedAt": execution.queued_at,
        "startedAt": execution.started_at,
        "lastUpdatedAt": execution.updated_at,
        "executionNumber": execution.number,
        "retryAttempt": execution.attempt,
    }


def _execution(transaction: Transaction, parameters: Mapping[str, Any]) -> states.Execution:
    thing, job_id = parameters["thingName"], parameters["jobId"]
    execution = transaction.execution(thing, job_id, parameters.get("executionNumber"))
    if execution is None:
        raise not_found(f"no job {job_id} on {thing}")
    return execution
