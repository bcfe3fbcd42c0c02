"""The operations of AWS IoT's control plane that updates need: things, streams, jobs."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fleet import executions, states, streams
from fleet.api import Operation, Result
from fleet.codec import ApiError
from fleet.s3 import MAX_OBJECT
from fleet.states import JobError
from fleet.store import Job, Store, Stream, StreamFile, Thing, Transaction

ACCOUNT = "000000000000"
DEFAULT_PAGE = 50  # entries

_STATUS_COUNTS = {
    states.QUEUED: "numberOfQueuedThings",
    states.IN_PROGRESS: "numberOfInProgressThings",
    states.SUCCEEDED: "numberOfSucceededThings",
    states.FAILED: "numberOfFailedThings",
    states.REJECTED: "numberOfRejectedThings",
    states.TIMED_OUT: "numberOfTimedOutThings",
    states.REMOVED: "numberOfRemovedThings",
    states.CANCELED: "numberOfCanceledThings",
}
_ERRORS = {
    states.INVALID_TRANSITION: "InvalidStateTransitionException",
    states.VERSION_MISMATCH: "VersionConflictException",
    states.INVALID_REQUEST: "InvalidRequestException",
}


class Control:
    """Things, streams and jobs. `clock` returns Unix seconds."""

    def __init__(self, store: Store, region: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._region = region
        self._clock = clock
        page = {"maxResults", "nextToken"}
        self.operations = {
            "CreateThing": Operation(self._create_thing, {"thingName", "attributePayload"}),
            "DescribeThing": Operation(self._describe_thing, {"thingName"}),
            "ListThings": Operation(self._list_things, page),
            "CreateStream": Operation(
                self._create_stream, {"streamId", "description", "files", "roleArn"}
            ),
            "DescribeStream": Operation(self._describe_stream, {"streamId"}),
            "CreateJob": Operation(
                self._create_job,
                {"jobId", "targets", "document", "description", "targetSelection", "timeoutConfig"},
            ),
            "DescribeJob": Operation(self._describe_job, {"jobId"}),
            "ListJobs": Operation(self._list_jobs, {"status", *page}),
            "CancelJob": Operation(self._cancel_job, {"jobId", "force", "comment", "reasonCode"}),
            "ListJobExecutionsForJob": Operation(self._list_executions, {"jobId", "status", *page}),
            "DescribeJobExecution": Operation(
                self._describe_execution, {"jobId", "thingName", "executionNumber"}
            ),
            "CancelJobExecution": Operation(
                self._cancel_execution,
                {"jobId", "thingName", "force", "expectedVersion", "statusDetails"},
            ),
        }

    def served(self, job_id: str) -> dict[str, Any]:
        """What was served of a job, by thing: blocks, and bytes up to the furthest one.

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
        """What is revoked, and since when (Unix seconds)."""
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
                raise self._exists("thing", name)
        return Result(
            {"thingName": name, "thingArn": self._arn("thing", name), "thingId": self._uuid(name)}
        )

    def _describe_thing(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            thing = _thing(transaction, parameters["thingName"])
        return Result(
            {
                "defaultClientId": thing.name,
                "thingName": thing.name,
                "thingId": self._uuid(thing.name),
                "thingArn": self._arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
        )

    def _list_things(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        with self._store.read() as transaction:
            found = transaction.things(after=parameters.get("nextToken", ""), limit=limit + 1)
        things = [
            {
                "thingName": thing.name,
                "thingArn": self._arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
            for thing in found[:limit]
        ]
        more = len(found) > limit
        return Result({"things": things, "nextToken": found[limit - 1].name if more else None})

    # Streams

    def _create_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        now = int(self._clock())
        with self._store.write() as transaction:
            if transaction.stream(stream_id) is not None:
                raise self._exists("stream", stream_id)
            files = tuple(
                _stream_file(transaction, file, number)
                for number, file in enumerate(parameters["files"])
            )
            if len({file.file_id for file in files}) != len(files):
                raise ApiError("InvalidRequestException", "two files have the same fileId")
            description = parameters.get("description")
            transaction.add_stream(
                Stream(stream_id, description, parameters["roleArn"], now, files)
            )
        return Result(
            {
                "streamId": stream_id,
                "streamArn": self._arn("stream", stream_id),
                "description": description,
                "streamVersion": streams.VERSION,
            }
        )

    def _describe_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        with self._store.read() as transaction:
            stream = transaction.stream(stream_id)
        if stream is None:
            raise _not_found(f"no stream {stream_id}")
        return Result(
            {
                "streamInfo": {
                    "streamId": stream_id,
                    "streamArn": self._arn("stream", stream_id),
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

    # Jobs

    def _create_job(self, parameters: Mapping[str, Any]) -> Result:
        job_id = parameters["jobId"]
        now = int(self._clock())
        if parameters.get("targetSelection", "SNAPSHOT") != "SNAPSHOT":
            raise ApiError("InvalidRequestException", "only SNAPSHOT jobs are implemented here")
        things = list(dict.fromkeys(self._target(arn) for arn in parameters["targets"]))
        document = parameters.get("document", "")
        job = Job(
            job_id=job_id,
            document=document,
            stream_id=_stream_of(document),
            targets=parameters["targets"],
            description=parameters.get("description"),
            progress_minutes=_progress_minutes(parameters),
            status=executions.JOB_RUNNING,
            created_at=now,
            updated_at=now,
        )
        with self._store.write() as transaction:
            if transaction.job(job_id) is not None:
                raise self._exists("job", job_id)
            transaction.add_job(job)
            for thing in things:
                _thing(transaction, thing)
                if transaction.is_revoked(thing):
                    raise ApiError("InvalidRequestException", f"thing {thing} is revoked")
                with executions.notifying(transaction, thing, now):
                    transaction.add_execution(job_id, thing, now)
        return Result(self._job_names(job))

    def _describe_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            job = _job(transaction, parameters["jobId"])
            found = transaction.executions_of(job.job_id)
        counts = Counter(execution.status for execution in found)
        described = {
            **self._job_summary(job),
            "description": job.description,
            "targets": job.targets,
            "forceCanceled": job.forced,
            "reasonCode": job.reason_code,
            "comment": job.comment,
            "jobProcessDetails": {name: counts[status] for status, name in _STATUS_COUNTS.items()},
        }
        if job.progress_minutes is not None:
            described["timeoutConfig"] = {"inProgressTimeoutInMinutes": job.progress_minutes}
        return Result({"job": described})

    def _list_jobs(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        token = parameters.get("nextToken")
        if token is not None and not (token.isascii() and token.isdecimal() and len(token) < 19):
            raise ApiError("InvalidRequestException", "nextToken is not one of ours")
        with self._store.read() as transaction:
            found = transaction.jobs(
                status=parameters.get("status"),
                before=None if token is None else int(token),
                limit=limit + 1,
            )
        more = len(found) > limit
        return Result(
            {
                "jobs": [self._job_summary(job) for _, job in found[:limit]],
                "nextToken": str(found[limit - 1][0]) if more else None,
            }
        )

    def _cancel_job(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        force = parameters.get("force", False)
        with self._store.write() as transaction:
            job = _job(transaction, parameters["jobId"])
            if job.status == executions.JOB_COMPLETED:
                raise ApiError("InvalidRequestException", f"job {job.job_id} has ended already")
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
            for execution in transaction.executions_of(job.job_id):
                if execution.status == states.QUEUED or (force and not execution.terminal):
                    with executions.notifying(transaction, execution.thing, now):
                        canceled = states.cancel(execution, now, force=force)
                        executions.save(transaction, execution, canceled, now)
        return Result(self._job_names(job))

    # Executions

    def _list_executions(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        with self._store.read() as transaction:
            job = _job(transaction, parameters["jobId"])
            found = transaction.executions_of(
                job.job_id,
                status=parameters.get("status"),
                after=parameters.get("nextToken", ""),
                limit=limit + 1,
            )
        summaries = [
            {
                "thingArn": self._arn("thing", execution.thing),
                "jobExecutionSummary": {
                    "status": execution.status,
                    "queuedAt": execution.queued_at,
                    "startedAt": execution.started_at,
                    "lastUpdatedAt": execution.updated_at,
                    "executionNumber": execution.number,
                },
            }
            for execution in found[:limit]
        ]
        more = len(found) > limit
        return Result(
            {
                "executionSummaries": summaries,
                "nextToken": found[limit - 1].thing if more else None,
            }
        )

    def _describe_execution(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            execution = _execution(transaction, parameters)
        deadline = execution.deadline
        described = {
            "jobId": execution.job_id,
            "status": execution.status,
            "forceCanceled": execution.forced,
            "statusDetails": {"detailsMap": execution.details},
            "thingArn": self._arn("thing", execution.thing),
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
            with executions.notifying(transaction, execution.thing, now):
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

    # Names

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:iot:{self._region}:{ACCOUNT}:{kind}/{name}"

    def _uuid(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self._arn("thing", name)))

    def _target(self, arn: str) -> str:
        """The thing that a job's target names."""
        prefix = self._arn("thing", "")
        if not arn.startswith(prefix):
            raise ApiError("InvalidRequestException", f"target {arn}: only {prefix}NAME is known")
        return arn.removeprefix(prefix)

    def _exists(self, kind: str, name: str) -> ApiError:
        members = {"resourceId": name, "resourceArn": self._arn(kind, name)}
        message = f"{kind} {name} exists already"
        return ApiError("ResourceAlreadyExistsException", message, 409, members)

    def _job_names(self, job: Job) -> dict[str, Any]:
        arn = self._arn("job", job.job_id)
        return {"jobArn": arn, "jobId": job.job_id, "description": job.description}

    def _job_summary(self, job: Job) -> dict[str, Any]:
        return {
            "jobArn": self._arn("job", job.job_id),
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
        raise _not_found(f"no thing {name}")
    return thing


def _job(transaction: Transaction, job_id: str) -> Job:
    job = transaction.job(job_id)
    if job is None:
        raise _not_found(f"no job {job_id}")
    return job


def _execution(transaction: Transaction, parameters: Mapping[str, Any]) -> states.Execution:
    thing, job_id = parameters["thingName"], parameters["jobId"]
    execution = transaction.execution(thing, job_id, parameters.get("executionNumber"))
    if execution is None:
        raise _not_found(f"no job {job_id} on {thing}")
    return execution


def _not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFoundException", message, 404)


def _stream_file(transaction: Transaction, file: Mapping[str, Any], number: int) -> StreamFile:
    location = file.get("s3Location", {})
    bucket, key = location.get("bucket", ""), location.get("key", "")
    item = transaction.object(bucket, key)
    if item is None:
        raise ApiError("InvalidRequestException", f"file {number}: no object {bucket}/{key}")
    if not 1 <= item.size <= MAX_OBJECT:
        raise ApiError(
            "InvalidRequestException",
            f"file {number}: {item.size} bytes; allowed are 1 to {MAX_OBJECT}",
        )
    return StreamFile(file.get("fileId", number), bucket, key, item.etag, item.size)


def _stream_of(document: str) -> str | None:
    """The stream that a job document names, if it is one of an update."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ApiError("InvalidRequestException", "document is not JSON") from error
    if not isinstance(value, dict):
        raise ApiError("InvalidRequestException", "document is not a JSON object")
    update = value.get("afr_ota")
    name = update.get("streamname") if isinstance(update, dict) else None
    return name if isinstance(name, str) else None


def _progress_minutes(parameters: Mapping[str, Any]) -> int | None:
    minutes: int | None = parameters.get("timeoutConfig", {}).get("inProgressTimeoutInMinutes")
    if minutes is not None and not 1 <= minutes <= states.MAX_TIMEOUT:
        raise ApiError(
            "InvalidRequestException",
            f"inProgressTimeoutInMinutes: {minutes} is not within 1 to {states.MAX_TIMEOUT}",
        )
    return minutes
