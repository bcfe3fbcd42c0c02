"""Changing executions, with everything that follows from it.

The two sides that change them, devices over MQTT and operators over HTTP, both come through here:
the thing is told what its next job is, and the job is completed with its last execution.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from twinslot.formats import aws
from twinslot.formats.document import Location, resolved
from twinslot.service import states
from twinslot.service.presign import Presigner
from twinslot.service.states import Execution
from twinslot.service.store import Store, Transaction

JOB_RUNNING = "IN_PROGRESS"
JOB_COMPLETED = "COMPLETED"
JOB_CANCELED = "CANCELED"
DEFAULT_URL_SECONDS = 3600
"""How long URLs are good for where the job does not say."""


class Executions:
    """The description of executions for devices. `presigner` makes the URLs in job documents."""

    def __init__(self, presigner: Presigner) -> None:
        self._presigner = presigner

    @contextmanager
    def notifying(self, transaction: Transaction, thing: str, now: int) -> Iterator[None]:
        """Sends `notify` and `notify-next` at the end, where what happens inside makes them due.

        A revoked thing is told nothing.
        """
        before = states.pending(transaction.open_executions(thing))
        yield
        if transaction.is_revoked(thing):
            return
        after = states.pending(transaction.open_executions(thing))
        topic = aws.topic(thing, "jobs")
        if states.list_changed(before, after):
            transaction.send(f"{topic}/notify", {"timestamp": now, "jobs": _by_status(after)})
        if states.next_changed(before, after):
            transaction.send(
                f"{topic}/notify-next", {"timestamp": now, **self.next_job(transaction, after, now)}
            )

    def time_out_overdue(self, store: Store, now: int) -> None:
        """Executions whose timers have run out become TIMED_OUT."""
        with store.read() as transaction:
            if not transaction.overdue(now):
                return
        with store.write() as transaction:
            for execution in transaction.overdue(now):
                with self.notifying(transaction, execution.thing, now):
                    save(transaction, execution, states.time_out(execution, now), now)

    def next_job(
        self, transaction: Transaction, pending: Sequence[Execution], now: int
    ) -> dict[str, Any]:
        """`{"execution": ...}` of the first pending one, or `{}` where there is none."""
        if not pending:
            return {}
        return {"execution": self.described(transaction, pending[0], now)}

    def described(
        self, transaction: Transaction, execution: Execution, now: int, *, document: bool = True
    ) -> dict[str, Any]:
        """A JobExecution as devices get it, over MQTT with the job document as an object."""
        view: dict[str, Any] = {"jobId": execution.job_id, "status": execution.status}
        if execution.details:
            view["statusDetails"] = dict(execution.details)
        view |= _times(execution)
        if execution.deadline is not None:
            view["approximateSecondsBeforeTimedOut"] = max(0, execution.deadline - now)
        if document:
            view["jobDocument"] = self.job_document(transaction, execution, now)
        return view

    def job_document(self, transaction: Transaction, execution: Execution, now: int) -> Any:
        """The job document of an execution, parsed; the URLs in it are signed now."""
        job = transaction.job(execution.job_id)
        if job is None:
            raise LookupError(f"execution of a job that is not there: {execution.job_id}")
        seconds = job.url_seconds or DEFAULT_URL_SECONDS

        def url_of(location: Location) -> str:
            return self._presigner.url(location, seconds, now)

        return json.loads(resolved(job.document, url_of))


def save(transaction: Transaction, before: Execution, after: Execution, now: int) -> None:
    """Write a changed execution; the job is COMPLETED when this was its last open one."""
    transaction.save(before, after)
    if after.terminal:
        complete(transaction, after.job_id, now)


def complete(transaction: Transaction, job_id: str, now: int) -> None:
    """A job none of whose executions is open any more is COMPLETED."""
    job = transaction.job(job_id)
    if job is not None and job.status == JOB_RUNNING and not transaction.is_open(job_id):
        transaction.save_job(replace(job, status=JOB_COMPLETED, updated_at=now, completed_at=now))


def summary(execution: Execution) -> dict[str, Any]:
    """A JobExecutionSummary as devices get it."""
    return {"jobId": execution.job_id, **_times(execution)}


def state(execution: Execution) -> dict[str, Any]:
    """A JobExecutionState."""
    return {
        "status": execution.status,
        "statusDetails": dict(execution.details),
        "versionNumber": execution.version,
    }


def _times(execution: Execution) -> dict[str, Any]:
    started = {} if execution.started_at is None else {"startedAt": execution.started_at}
    return {
        "queuedAt": execution.queued_at,
        **started,
        "lastUpdatedAt": execution.updated_at,
        "versionNumber": execution.version,
        "executionNumber": execution.number,
    }


def _by_status(pending: Sequence[Execution]) -> dict[str, list[dict[str, Any]]]:
    listed: dict[str, list[dict[str, Any]]] = {}
    for execution in pending[: aws.MAX_NOTIFIED]:
        listed.setdefault(execution.status, []).append(summary(execution))
    return listed
