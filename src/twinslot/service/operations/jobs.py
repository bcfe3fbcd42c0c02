"""Operations on jobs; those on single executions are in `operations/executions.py`."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from twinslot.formats import aws, document
from twinslot.formats.document import DocumentError
from twinslot.service import executions
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.executions import Executions
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, invalid, not_found
from twinslot.service.operations.tags import tags_of
from twinslot.service.rows.jobs import Job
from twinslot.service.store import Store, Transaction

_STATUS_COUNTS = {
    aws.QUEUED: "numberOfQueuedThings",
    aws.IN_PROGRESS: "numberOfInProgressThings",
    aws.SUCCEEDED: "numberOfSucceededThings",
    aws.FAILED: "numberOfFailedThings",
    aws.REJECTED: "numberOfRejectedThings",
    aws.TIMED_OUT: "numberOfTimedOutThings",
    aws.REMOVED: "numberOfRemovedThings",
    aws.CANCELED: "numberOfCanceledThings",
}


class JobOperations:
    """Jobs. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, telling: Executions, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._executions = telling
        self._clock = clock
        self.operations = {
            "CreateJob": Operation(
                self._create_job,
                {"jobId", "targets", "document", "description", "targetSelection", "timeoutConfig"}
                | {"presignedUrlConfig", "tags"},
            ),
            "DescribeJob": Operation(self._describe_job, {"jobId"}),
            "ListJobs": Operation(self._list_jobs, {"status", *PAGING}),
            "CancelJob": Operation(self._cancel_job, {"jobId", "force", "comment", "reasonCode"}),
            "DeleteJob": Operation(self._delete_job, {"jobId", "force"}),
        }

    def served(self, job_id: str) -> dict[str, Any]:
        """The served part of a job, by thing: blocks, and bytes up to the furthest one.

        `size` is the length of the stream's first file in bytes. Raises ApiError.
        """
        with self._store.read() as transaction:
            job = job_of(transaction, job_id)
            stream = None if job.stream_id is None else transaction.stream(job.stream_id)
            served = transaction.served(job_id)
        return {
            "size": stream.files[0].size if stream is not None else 0,
            "things": {
                thing: {"blocks": count.blocks, "bytes": count.up_to}
                for thing, count in served.items()
            },
        }

    def add_job(self, transaction: Transaction, job: Job) -> None:
        """Add a job and queue it on its targets, which are told. Raises ApiError."""
        if transaction.job(job.job_id) is not None:
            raise self._names.exists("job", job.job_id)
        for location in _placeholders(job.document):
            if transaction.object(location.bucket, location.key) is None:
                raise invalid(f"document: no object {location.bucket}/{location.key}")
        transaction.add_job(job)
        things = list(dict.fromkeys(self._names.thing(arn) for arn in job.targets))
        known, revoked = transaction.known_of(things), transaction.revoked_of(things)
        for thing in things:
            if thing not in known:
                raise not_found(f"no thing {thing}")
            if thing in revoked:
                raise invalid(f"thing {thing} is revoked")
        self._executions.queue(transaction, job, things)

    def delete_job(self, transaction: Transaction, job: Job) -> None:
        """Forget a job with its executions; a thing on which one was open is told."""
        transaction.untag("job", job.job_id)
        self._executions.forget(transaction, job, int(self._clock()))

    def _create_job(self, parameters: Mapping[str, Any]) -> Result:
        job_id = parameters["jobId"]
        now = int(self._clock())
        if parameters.get("targetSelection", "SNAPSHOT") != "SNAPSHOT":
            raise invalid("only SNAPSHOT jobs are implemented here")
        text = parameters.get("document", "")
        urls = parameters.get("presignedUrlConfig", {})
        if _placeholders(text) and "roleArn" not in urls:
            raise invalid("document has URLs to be signed: presignedUrlConfig.roleArn is required")
        job = Job(
            job_id=job_id,
            document=text,
            stream_id=_stream_of(text),
            targets=parameters["targets"],
            description=parameters.get("description"),
            progress_minutes=progress_minutes(parameters.get("timeoutConfig", {})),
            status=executions.JOB_RUNNING,
            created_at=now,
            updated_at=now,
            url_seconds=urls.get("expiresInSec"),
            url_role=urls.get("roleArn"),
        )
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            self.add_job(transaction, job)
            transaction.tag("job", job_id, tags)
        return Result(self._job_names(job))

    def _describe_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            job = job_of(transaction, parameters["jobId"])
            counts = transaction.counts_of(job.job_id)
        described = {
            **self._job_summary(job),
            "description": job.description,
            "targets": job.targets,
            "forceCanceled": job.forced,
            "reasonCode": job.reason_code,
            "comment": job.comment,
            "jobProcessDetails": {
                name: counts.get(status, 0) for status, name in _STATUS_COUNTS.items()
            },
        }
        if job.progress_minutes is not None:
            described["timeoutConfig"] = {"inProgressTimeoutInMinutes": job.progress_minutes}
        urls = {"roleArn": job.url_role, "expiresInSec": job.url_seconds}
        if any(value is not None for value in urls.values()):
            described["presignedUrlConfig"] = urls
        return Result({"job": described})

    def _list_jobs(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        status = parameters.get("status")
        listing = ("jobs", status)
        before = self._names.place(parameters.get("nextToken"), listing)
        with self._store.read() as transaction:
            found = transaction.jobs(
                status=status, before=None if before is None else int(before), limit=limit + 1
            )
        shown, token = self._names.page(found, limit, lambda placed: str(placed[0]), listing)
        return Result({"jobs": [self._job_summary(job) for _, job in shown], "nextToken": token})

    def _cancel_job(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        force = parameters.get("force", False)
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            if job.status == executions.JOB_COMPLETED:
                raise invalid(f"job {job.job_id} has ended already")
            job = replace(
                job,
                status=executions.JOB_CANCELED,
                updated_at=now,
                completed_at=now,
                comment=parameters.get("comment"),
                reason_code=parameters.get("reasonCode"),
                forced=force,
            )
            transaction.save_job(job)
            self._executions.cancel(transaction, job, now, force=force)
        return Result(self._job_names(job))

    def _delete_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            if job.status == executions.JOB_RUNNING and not parameters.get("force", False):
                raise ApiError(
                    "InvalidStateTransitionException",
                    f"job {job.job_id} is IN_PROGRESS: cancel it, or delete it with force",
                    409,
                )
            self.delete_job(transaction, job)
        return Result({})

    def _job_names(self, job: Job) -> dict[str, Any]:
        arn = self._names.arn("job", job.job_id)
        return {"jobArn": arn, "jobId": job.job_id, "description": job.description}

    def _job_summary(self, job: Job) -> dict[str, Any]:
        return {
            "jobArn": self._names.arn("job", job.job_id),
            "jobId": job.job_id,
            "targetSelection": "SNAPSHOT",
            "status": job.status,
            "createdAt": job.created_at,
            "lastUpdatedAt": job.updated_at,
            "completedAt": job.completed_at,
        }


def job_of(transaction: Transaction, job_id: str) -> Job:
    """The job of this id. Raises ApiError."""
    job = transaction.job(job_id)
    if job is None:
        raise not_found(f"no job {job_id}")
    return job


def _placeholders(text: str) -> Iterable[document.Location]:
    """The objects whose URLs a job document asks for. Raises ApiError."""
    try:
        return document.locations(text)
    except DocumentError as error:
        raise invalid(f"document: {error}") from error


def _stream_of(text: str) -> str | None:
    """The stream that a job document names, if it is one of an update."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid("document is not JSON") from error
    if not isinstance(value, dict):
        raise invalid("document is not a JSON object")
    update = value.get("afr_ota")
    name = update.get("streamname") if isinstance(update, dict) else None
    # No stream has another name; a database keeps no longer one.
    return name if isinstance(name, str) and re.fullmatch(aws.NAME, name) else None


def progress_minutes(timeout: Mapping[str, Any]) -> int | None:
    """The time limit of a timeoutConfig, None without one. Raises ApiError."""
    minutes: int | None = timeout.get("inProgressTimeoutInMinutes")
    if minutes is not None and not 1 <= minutes <= aws.MAX_TIMEOUT:
        raise invalid(
            f"inProgressTimeoutInMinutes: {minutes} is not within 1 to {aws.MAX_TIMEOUT}",
        )
    return minutes
