"""Executions, and what things are told of them.

What follows from a changed execution for its job is in `rollouts.py`.
"""

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twinslot.formats import aws
from twinslot.formats.document import Location, resolved
from twinslot.service import states
from twinslot.service.presign import Presigner
from twinslot.service.rows.base import batches
from twinslot.service.rows.jobs import Job
from twinslot.service.states import Execution
from twinslot.service.store import Transaction

DEFAULT_URL_SECONDS = 3600
"""How long URLs are good for where the job does not say."""
PAGE = 500
"""Executions, or things, that are read and written at a time."""


class Executions:
    """The description of executions for devices. `presigner` makes the URLs in job documents."""

    def __init__(self, presigner: Presigner) -> None:
        self._presigner = presigner

    @contextmanager
    def notifying(
        self, transaction: Transaction, things: Collection[str], now: int
    ) -> Iterator[None]:
        """Sends `notify` and `notify-next` at the end, where what happens inside makes them due.

        A revoked thing is told nothing.
        """
        before = transaction.open_executions(things)
        yield
        after = transaction.open_executions(things)
        revoked = transaction.revoked_of(things)
        # Many things have the same job next.
        document = functools.cache(lambda job: self.job_document(transaction, job, now))
        messages: list[tuple[str, Mapping[str, Any]]] = []
        for thing in things:
            if thing in revoked:
                continue
            topic = aws.topic(thing, "jobs")
            earlier, pending = states.pending(before[thing]), states.pending(after[thing])
            if states.list_changed(earlier, pending):
                told = {"timestamp": now, "jobs": _by_status(pending)}
                messages.append((f"{topic}/notify", told))
            if states.next_changed(earlier, pending):
                told = {"timestamp": now}
                for first in pending[:1]:
                    told["execution"] = {**_view(first, now), "jobDocument": document(first.job_id)}
                messages.append((f"{topic}/notify-next", told))
        transaction.send_all(messages)

    def queue(
        self,
        transaction: Transaction,
        job_id: str,
        attempts: Mapping[str, int],
        now: int,
        *,
        last: Mapping[str, int] | None = None,
    ) -> None:
        """Queue a job on things, which are told.

        attempts: by thing, how many times it has tried already; last: the number of its last
        execution, where it had one.
        """
        for some in batches(attempts, PAGE):
            with self.notifying(transaction, some, now):
                transaction.add_executions(job_id, some, now, attempts=attempts, last=last)

    def cancel(self, transaction: Transaction, job: Job, now: int, *, force: bool) -> None:
        """Cancel the executions that have not begun, with `force` all open ones."""
        for some in _pages(transaction, job, aws.OPEN if force else (aws.QUEUED,)):
            with self.notifying(transaction, _things(some), now):
                transaction.save_all((one, states.cancel(one, now, force=force)) for one in some)

    def forget(self, transaction: Transaction, job: Job, now: int) -> None:
        """Forget a job with its executions; a thing on which one was open is told."""
        for some in _pages(transaction, job, aws.OPEN):
            with self.notifying(transaction, _things(some), now):
                transaction.delete_executions(some)
        transaction.delete_job(job.job_id)

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
        view = _view(execution, now)
        if document:
            view["jobDocument"] = self.job_document(transaction, execution.job_id, now)
        return view

    def job_document(self, transaction: Transaction, job_id: str, now: int) -> Any:
        """The job document of an execution, parsed; the URLs in it are signed now."""
        job = transaction.job(job_id)
        if job is None:
            raise LookupError(f"execution of a job that is not there: {job_id}")
        seconds = job.url_seconds or DEFAULT_URL_SECONDS

        def url_of(location: Location) -> str:
            return self._presigner.url(location, seconds, now)

        return json.loads(resolved(job.document, url_of))


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


def _view(execution: Execution, now: int) -> dict[str, Any]:
    """A JobExecution without its document."""
    view: dict[str, Any] = {"jobId": execution.job_id, "status": execution.status}
    if execution.details:
        view["statusDetails"] = dict(execution.details)
    view |= _times(execution)
    if execution.deadline is not None:
        view["approximateSecondsBeforeTimedOut"] = max(0, execution.deadline - now)
    return view


def _pages(
    transaction: Transaction, job: Job, statuses: Collection[str]
) -> Iterator[list[Execution]]:
    """The executions of a job in these statuses, a page at a time, by thing."""
    after = ("", 0)
    while found := transaction.executions_of(
        job.job_id, statuses=statuses, after=after, limit=PAGE
    ):
        yield found
        after = (found[-1].thing, found[-1].number)


def _things(executions: Iterable[Execution]) -> list[str]:
    return list(dict.fromkeys(execution.thing for execution in executions))


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
