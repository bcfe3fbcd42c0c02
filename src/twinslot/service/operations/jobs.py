"""Operations on jobs; those on single executions are in `operations/executions.py`."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from twinslot.formats import aws, document
from twinslot.formats.document import DocumentError
from twinslot.service import rollouts, targets
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, invalid, not_found
from twinslot.service.operations.tags import tags_of
from twinslot.service.rollout import plan as plans
from twinslot.service.rollout.plan import PlanError
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.jobs import Job
from twinslot.service.store import Store, Transaction

CONTINUOUS, SNAPSHOT = "CONTINUOUS", "SNAPSHOT"
MAX_TARGETS = 100  # of a job to which targets are added
SHOWN_WINDOWS = 7  # the next ones
_CHANGEABLE = frozenset({plans.ROLLOUT, plans.ABORT, plans.RETRY})

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
        self, store: Store, names: Names, course: Rollouts, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._rollouts = course
        self._clock = clock
        self.operations = {
            "CreateJob": Operation(
                self._create_job,
                {"jobId", "targets", "document", "description", "targetSelection", "timeoutConfig"}
                | {"presignedUrlConfig", "tags", *plans.PARTS},
            ),
            "UpdateJob": Operation(
                self._update_job,
                {"jobId", "description", "presignedUrlConfig", "timeoutConfig"} | _CHANGEABLE,
            ),
            "AssociateTargetsWithJob": Operation(
                self._associate_targets, {"jobId", "targets", "comment"}
            ),
            "DescribeJob": Operation(self._describe_job, {"jobId", "beforeSubstitution"}),
            "GetJobDocument": Operation(self._get_document, {"jobId", "beforeSubstitution"}),
            "ListJobs": Operation(self._list_jobs, {"status", "targetSelection", *PAGING}),
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
        """Add a job and queue it on its targets, as its plan says. Raises ApiError."""
        try:
            plans.check_times(plans.read(job.plan), job.created_at, continuous=job.continuous)
        except PlanError as error:
            raise invalid(str(error)) from error
        if transaction.job(job.job_id) is not None:
            raise self._names.exists("job", job.job_id)
        for location in _placeholders(job.document):
            if transaction.object(location.bucket, location.key) is None:
                raise invalid(f"document: no object {location.bucket}/{location.key}")
        things = targets.things(transaction, self._names, job.targets)
        self._rollouts.begin(transaction, job, things)

    def delete_job(self, transaction: Transaction, job: Job) -> None:
        """Forget a job with its executions; a thing on which one was open is told."""
        transaction.untag("job", job.job_id)
        self._rollouts.executions.forget(transaction, job, int(self._clock()))

    def _create_job(self, parameters: Mapping[str, Any]) -> Result:
        job_id = parameters["jobId"]
        now = int(self._clock())
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
            status=rollouts.JOB_RUNNING,
            created_at=now,
            updated_at=now,
            url_seconds=urls.get("expiresInSec"),
            url_role=urls.get("roleArn"),
            plan={part: parameters[part] for part in plans.PARTS if part in parameters},
            continuous=parameters.get("targetSelection") == CONTINUOUS,
        )
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            self.add_job(transaction, job)
            transaction.tag("job", job_id, tags)
        return Result(self._job_names(job))

    def _update_job(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        if parameters.keys() == {"jobId"}:
            raise invalid(f"nothing is to be changed in job {parameters['jobId']}")
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            _going_on(job)
            self._rollouts.change(transaction, _changed(job, parameters, now), now)
        return Result({})

    def _associate_targets(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            _going_on(job)
            if not job.continuous:
                raise invalid(f"job {job.job_id} is SNAPSHOT: only a CONTINUOUS one gets targets")
            added = [arn for arn in parameters["targets"] if arn not in job.targets]
            if len(job.targets) + len(added) > MAX_TARGETS:
                raise ApiError(
                    "LimitExceededException", f"a job has {MAX_TARGETS} targets at most", 409
                )
            things = targets.things(transaction, self._names, added)
            job = replace(
                job,
                targets=[*job.targets, *dict.fromkeys(added)],
                comment=parameters.get("comment", job.comment),
                updated_at=now,
            )
            transaction.save_job(job)
            self._rollouts.add_targets(transaction, job, things, now)
        return Result(self._job_names(job))

    def _describe_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            job = job_of(transaction, parameters["jobId"])
            counts = transaction.counts_of(job.job_id)
            waiting = bool(job.plan) and transaction.waits(job.job_id)
        details: dict[str, Any] = {
            name: counts.get(status, 0) for status, name in _STATUS_COUNTS.items()
        }
        if waiting:
            details["processingTargets"] = job.targets
        described = {
            **self._job_summary(job),
            **job.plan,
            "description": job.description,
            "targets": job.targets,
            "forceCanceled": job.forced,
            "reasonCode": job.reason_code,
            "comment": job.comment,
            "jobProcessDetails": details,
            "isConcurrent": waiting,
        }
        if job.progress_minutes is not None:
            described["timeoutConfig"] = {"inProgressTimeoutInMinutes": job.progress_minutes}
        urls = {"roleArn": job.url_role, "expiresInSec": job.url_seconds}
        if any(value is not None for value in urls.values()):
            described["presignedUrlConfig"] = urls
        schedule = plans.read(job.plan).schedule
        if schedule.windows and job.status in rollouts.GOING_ON:
            opens = schedule.openings(int(self._clock()), SHOWN_WINDOWS)
            described["scheduledJobRollouts"] = [{"startTime": _moment(at)} for at in opens]
        return Result({"job": described})

    def _get_document(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            job = job_of(transaction, parameters["jobId"])
        return Result({"document": job.document})

    def _list_jobs(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        status, selection = parameters.get("status"), parameters.get("targetSelection")
        listing = ("jobs", status, selection)
        before = self._names.place(parameters.get("nextToken"), listing)
        with self._store.read() as transaction:
            found = transaction.jobs(
                status=status,
                continuous=None if selection is None else selection == CONTINUOUS,
                before=None if before is None else int(before),
                limit=limit + 1,
            )
        shown, token = self._names.page(found, limit, lambda placed: str(placed[0]), listing)
        return Result({"jobs": [self._job_summary(job) for _, job in shown], "nextToken": token})

    def _cancel_job(self, parameters: Mapping[str, Any]) -> Result:
        now = int(self._clock())
        force = parameters.get("force", False)
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            if job.status == rollouts.JOB_COMPLETED:
                raise invalid(f"job {job.job_id} has ended already")
            job = replace(
                job,
                updated_at=now,
                comment=parameters.get("comment"),
                reason_code=parameters.get("reasonCode"),
                forced=force,
            )
            self._rollouts.cancel(transaction, job, now, force=force)
        return Result(self._job_names(job))

    def _delete_job(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            job = job_of(transaction, parameters["jobId"])
            if job.status in rollouts.GOING_ON and not parameters.get("force", False):
                raise ApiError(
                    "InvalidStateTransitionException",
                    f"job {job.job_id} is {job.status}: cancel it, or delete it with force",
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
            "targetSelection": CONTINUOUS if job.continuous else SNAPSHOT,
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
    try:
        return plans.progress_minutes(timeout.get("inProgressTimeoutInMinutes"))
    except PlanError as error:
        raise invalid(str(error)) from error


def _going_on(job: Job) -> None:
    if job.status not in rollouts.GOING_ON:
        raise invalid(f"job {job.job_id} is {job.status}: it cannot be changed any more")


def _changed(job: Job, parameters: Mapping[str, Any], now: int) -> Job:
    """The job with what UpdateJob says; a member replaces the one that was. Raises ApiError."""
    plan = {**job.plan, **{part: parameters[part] for part in _CHANGEABLE if part in parameters}}
    try:
        if plans.RETRY in parameters:
            plans.check_change(job.plan.get(plans.RETRY, {}), parameters[plans.RETRY])
        plans.read(plan)
    except PlanError as error:
        raise invalid(str(error)) from error
    changed = replace(job, plan=plan, updated_at=now)
    if "description" in parameters:
        changed = replace(changed, description=parameters["description"])
    if urls := parameters.get("presignedUrlConfig"):
        changed = replace(
            changed, url_seconds=urls.get("expiresInSec"), url_role=urls.get("roleArn")
        )
    if "timeoutConfig" in parameters:
        minutes = progress_minutes(parameters["timeoutConfig"])
        if minutes is None:
            raise invalid("timeoutConfig: inProgressTimeoutInMinutes is required")
        changed = replace(changed, progress_minutes=minutes)
    return changed


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
