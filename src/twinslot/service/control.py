"""The operations of AWS IoT's control plane that updates need: things, streams, jobs."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from twinslot.formats import aws, document
from twinslot.formats.document import DocumentError
from twinslot.service import executions, states, streams
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.executions import Executions
from twinslot.service.names import Names, invalid, not_found
from twinslot.service.states import JobError
from twinslot.service.store import Job, Store, Stream, StreamFile, Thing, Transaction

DEFAULT_PAGE = 50  # entries

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
_ERRORS = {
    states.INVALID_TRANSITION: "InvalidStateTransitionException",
    states.VERSION_MISMATCH: "VersionConflictException",
    states.INVALID_REQUEST: "InvalidRequestException",
}


class Control:
    """Things, streams and jobs. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, telling: Executions, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._executions = telling
        self._clock = clock
        paging = {"maxResults", "nextToken"}
        self.operations = {
            "CreateThing": Operation(self._create_thing, {"thingName", "attributePayload"}),
            "DescribeThing": Operation(self._describe_thing, {"thingName"}),
            "ListThings": Operation(self._list_things, paging),
            "CreateStream": Operation(
                self._create_stream, {"streamId", "description", "files", "roleArn"}
            ),
            "DescribeStream": Operation(self._describe_stream, {"streamId"}),
            "DeleteStream": Operation(self._delete_stream, {"streamId"}),
            "CreateJob": Operation(
                self._create_job,
                {"jobId", "targets", "document", "description", "targetSelection", "timeoutConfig"}
                | {"presignedUrlConfig"},
            ),
            "DescribeJob": Operation(self._describe_job, {"jobId"}),
            "ListJobs": Operation(self._list_jobs, {"status", *paging}),
            "CancelJob": Operation(self._cancel_job, {"jobId", "force", "comment", "reasonCode"}),
            "DeleteJob": Operation(self._delete_job, {"jobId", "force"}),
            "ListJobExecutionsForJob": Operation(
                self._list_executions, {"jobId", "status", *paging}
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

    def served(self, job_id: str) -> dict[str, Any]:
        """The served part of a job, by thing: blocks, and bytes up to the furthest one.

        `size` is the length of the stream's first file in bytes. Raises ApiError.
        """
        with self._store.read() as transaction:
            job = _job(transaction, job_id)
            stream = None if job.stream_id is None else transaction.stream(job.stream_id)
            served = transaction.served(job_id)
        return {
            "size": stream.files[0].size if stream is not None else 0,
            "things": {
                thing: {"blocks": count.blocks, "bytes": count.up_to}
                for thing, count in served.items()
            },
        }

    # Who is refused: AWS has this in its certificates, which are not kept here

    def revoke(self, thing: str) -> dict[str, Any]:
        """Answer this thing no more, nor record what it says."""
        with self._store.write() as transaction:
            transaction.revoke(thing, int(self._clock()))
        return {}

    def admit(self, thing: str) -> dict[str, Any]:
        """Take a revocation back."""
        with self._store.write() as transaction:
            transaction.admit(thing)
        return {}

    def revoked(self, _rest: str) -> dict[str, Any]:
        """The revoked things, and since when (Unix seconds)."""
        with self._store.read() as transaction:
            return {"things": transaction.revoked()}

    # Things

    def _create_thing(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingName"]
        attributes = parameters.get("attributePayload", {}).get("attributes", {})
        with self._store.write() as transaction:
            existing = transaction.thing(name)
            if existing is None:
                transaction.add_thing(Thing(name, attributes, int(self._clock())))
            elif existing.attributes != attributes:
                raise self._names.exists("thing", name)
        return Result(
            {
                "thingName": name,
                "thingArn": self._names.arn("thing", name),
                "thingId": self._names.uuid(name),
            }
        )

    def _describe_thing(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            thing = _thing(transaction, parameters["thingName"])
        return Result(
            {
                "defaultClientId": thing.name,
                "thingName": thing.name,
                "thingId": self._names.uuid(thing.name),
                "thingArn": self._names.arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
        )

    def _list_things(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        listing = ("things",)
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            found = transaction.things(after=after, limit=limit + 1)
        shown, token = self._names.page(found, limit, lambda thing: thing.name, listing)
        things = [
            {
                "thingName": thing.name,
                "thingArn": self._names.arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
            for thing in shown
        ]
        return Result({"things": things, "nextToken": token})

    # Streams

    def _create_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        now = int(self._clock())
        with self._store.write() as transaction:
            if transaction.stream(stream_id) is not None:
                raise self._names.exists("stream", stream_id)
            files = tuple(
                stream_file(transaction, file, number)
                for number, file in enumerate(parameters["files"])
            )
            if len({file.file_id for file in files}) != len(files):
                raise invalid("two files have the same fileId")
            description = parameters.get("description")
            transaction.add_stream(
                Stream(stream_id, description, parameters["roleArn"], now, files)
            )
        return Result(
            {
                "streamId": stream_id,
                "streamArn": self._names.arn("stream", stream_id),
                "description": description,
                "streamVersion": streams.VERSION,
            }
        )

    def _describe_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        with self._store.read() as transaction:
            stream = transaction.stream(stream_id)
        if stream is None:
            raise not_found(f"no stream {stream_id}")
        return Result(
            {
                "streamInfo": {
                    "streamId": stream_id,
                    "streamArn": self._names.arn("stream", stream_id),
                    "streamVersion": streams.VERSION,
                    "description": stream.description,
                    "files": [
                        {
                            "fileId": file.file_id,
                            "s3Location": {"bucket": file.bucket, "key": file.key},
                        }
                        for file in stream.files
                    ],
                    "createdAt": stream.created_at,
                    "lastUpdatedAt": stream.created_at,
                    "roleArn": stream.role_arn,
                }
            }
        )

    def _delete_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        with self._store.write() as transaction:
            if transaction.stream(stream_id) is None:
                raise not_found(f"no stream {stream_id}")
            if jobs := transaction.open_jobs_of(stream_id):
                raise ApiError(
                    "DeleteConflictException",
                    f"stream {stream_id} is needed by {', '.join(jobs)}: cancel or delete that",
                    409,
                )
            transaction.delete_stream(stream_id)
        return Result({})

    # Jobs

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
        with self._store.write() as transaction:
            self.add_job(transaction, job)
        return Result(self._job_names(job))

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
        self._executions.forget(transaction, job, int(self._clock()))

    def _describe_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            job = _job(transaction, parameters["jobId"])
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
            job = _job(transaction, parameters["jobId"])
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
            job = _job(transaction, parameters["jobId"])
            if job.status == executions.JOB_RUNNING and not parameters.get("force", False):
                raise ApiError(
                    "InvalidStateTransitionException",
                    f"job {job.job_id} is IN_PROGRESS: cancel it, or delete it with force",
                    409,
                )
            self.delete_job(transaction, job)
        return Result({})

    # Executions

    def _list_executions(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        status = parameters.get("status")
        listing = ("executions", parameters["jobId"], status)
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            found = transaction.executions_of(
                parameters["jobId"],
                statuses=None if status is None else [status],
                after=after,
                limit=limit + 1,
            )
            if not found:
                _job(transaction, parameters["jobId"])
        shown, token = self._names.page(found, limit, lambda one: one.thing, listing)
        summaries = [
            {
                "thingArn": self._names.arn("thing", execution.thing),
                "jobExecutionSummary": {
                    "status": execution.status,
                    "queuedAt": execution.queued_at,
                    "startedAt": execution.started_at,
                    "lastUpdatedAt": execution.updated_at,
                    "executionNumber": execution.number,
                },
            }
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
                executions.save(transaction, execution, canceled, now)
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
                executions.complete(transaction, execution.job_id, now)
        return Result({})

    # Names

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


def _thing(transaction: Transaction, name: str) -> Thing:
    thing = transaction.thing(name)
    if thing is None:
        raise not_found(f"no thing {name}")
    return thing


def _job(transaction: Transaction, job_id: str) -> Job:
    job = transaction.job(job_id)
    if job is None:
        raise not_found(f"no job {job_id}")
    return job


def _execution(transaction: Transaction, parameters: Mapping[str, Any]) -> states.Execution:
    thing, job_id = parameters["thingName"], parameters["jobId"]
    execution = transaction.execution(thing, job_id, parameters.get("executionNumber"))
    if execution is None:
        raise not_found(f"no job {job_id} on {thing}")
    return execution


def stream_file(transaction: Transaction, file: Mapping[str, Any], number: int) -> StreamFile:
    """The file of a stream that CreateStream's parameters describe. Raises ApiError."""
    location = file.get("s3Location", {})
    bucket, key = location.get("bucket", ""), location.get("key", "")
    item = transaction.object(bucket, key)
    if item is None:
        raise invalid(f"file {number}: no object {bucket}/{key}")
    if not 1 <= item.size <= aws.MAX_FILE:
        raise invalid(
            f"file {number}: {item.size} bytes; allowed are 1 to {aws.MAX_FILE}",
        )
    return StreamFile(file.get("fileId", number), bucket, key, item.etag, item.size)


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
