"""OTA updates of AWS IoT's control plane: one call that makes stream and job.

Made at once, so an update is CREATE_COMPLETE from its beginning. There is no AWS Signer here:
signatures come with the request (`customCodeSigning`) and are passed on to the boards, unverified
as on AWS, since who verifies them is the board.
"""

import base64
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.formats import aws, document
from twinslot.formats.document import MQTT, File, Location
from twinslot.service import codec, rollouts
from twinslot.service.api import Operation, Result
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, invalid, not_found
from twinslot.service.operations.jobs import CONTINUOUS, SNAPSHOT, JobOperations, progress_minutes
from twinslot.service.operations.streams import stream_file
from twinslot.service.operations.tags import tags_of
from twinslot.service.rollout import plan as plans
from twinslot.service.rows.jobs import Job
from twinslot.service.rows.streams import Stream, StreamFile
from twinslot.service.rows.updates import Update
from twinslot.service.store import Store, Transaction

PREFIX = "AFR_OTA-"
"""Begins the names of what an update makes."""

URL_SECONDS = range(60, 3601)
DEFAULT_URL_SECONDS = 1800

_COMPLETE = "CREATE_COMPLETE"
_ALGORITHM = re.compile(r"[A-Za-z0-9_]{1,32}")
_INFO = codec.structure("iot", "OTAUpdateInfo")


class UpdateOperations:
    """OTA updates. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, jobs: JobOperations, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._jobs = jobs
        self._clock = clock
        self.operations = {
            "CreateOTAUpdate": Operation(
                self._create,
                {"otaUpdateId", "description", "targets", "protocols", "targetSelection", "files"}
                | {"awsJobPresignedUrlConfig", "awsJobTimeoutConfig", "additionalParameters"}
                | {"awsJobExecutionsRolloutConfig", "awsJobAbortConfig", "roleArn", "tags"},
            ),
            "GetOTAUpdate": Operation(self._get, {"otaUpdateId"}),
            "ListOTAUpdates": Operation(self._list, {"otaUpdateStatus", *PAGING}),
            "DeleteOTAUpdate": Operation(
                self._delete, {"otaUpdateId", "deleteStream", "forceDeleteAWSJob"}
            ),
        }

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        update_id = parameters["otaUpdateId"]
        job_id = PREFIX + update_id
        if len(job_id) > aws.MAX_JOB_ID:
            raise invalid(
                f"otaUpdateId: its job would be {job_id}, over {aws.MAX_JOB_ID} characters"
            )
        protocols = list(dict.fromkeys(parameters.get("protocols", [MQTT])))
        url_seconds = _url_seconds(parameters)
        minutes = progress_minutes(parameters.get("awsJobTimeoutConfig", {}))
        now = int(self._clock())
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            if transaction.update(update_id) is not None:
                raise self._names.exists("otaupdate", update_id)
            source = self._source(transaction, parameters, protocols, now)
            files = [
                _file(asked, found, number)
                for number, (asked, found) in enumerate(
                    zip(parameters["files"], source.files, strict=True)
                )
            ]
            named = source.stream_id if MQTT in protocols else None
            text = document.of_update(files, protocols, named, self._names.region)
            if len(text) > aws.MAX_DOCUMENT:
                raise invalid(f"the job document would have over {aws.MAX_DOCUMENT} characters")
            job = Job(
                job_id=job_id,
                document=text,
                stream_id=named,
                targets=parameters["targets"],
                description=parameters.get("description"),
                progress_minutes=minutes,
                status=rollouts.JOB_RUNNING,
                created_at=now,
                updated_at=now,
                url_seconds=url_seconds,
                url_role=parameters["roleArn"],
                plan=_plan(parameters),
                continuous=parameters.get("targetSelection") == CONTINUOUS,
            )
            self._jobs.add_job(transaction, job)
            made = source.stream_id if source.made else None
            update = Update(update_id, job_id, made, _request(parameters, protocols, made), now)
            transaction.add_update(update)
            transaction.tag("otaupdate", update_id, tags)
        return Result({**self._identity(update), "otaUpdateStatus": _COMPLETE})

    def _get(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            update = _update(transaction, parameters["otaUpdateId"])
        info = {
            **codec.from_json(_INFO, update.request, "request"),
            **self._identity(update),
            "creationDate": update.created_at,
            "lastModifiedDate": update.created_at,
            "otaUpdateStatus": _COMPLETE,
        }
        return Result({"otaUpdateInfo": info})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        status = parameters.get("otaUpdateStatus", _COMPLETE)
        listing = ("otaUpdates", status)
        before = self._names.place(parameters.get("nextToken"), listing)
        if status != _COMPLETE:
            return Result({"otaUpdates": []})
        with self._store.read() as transaction:
            found = transaction.updates(
                before=None if before is None else int(before), limit=limit + 1
            )
        shown, token = self._names.page(found, limit, lambda placed: str(placed[0]), listing)
        summaries = [
            {
                "otaUpdateId": update.update_id,
                "otaUpdateArn": self._names.arn("otaupdate", update.update_id),
                "creationDate": update.created_at,
            }
            for _, update in shown
        ]
        return Result({"otaUpdates": summaries, "nextToken": token})

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            update = _update(transaction, parameters["otaUpdateId"])
            job = transaction.job(update.job_id)
            if job is not None:
                if parameters.get("forceDeleteAWSJob", False):
                    self._jobs.delete_job(transaction, job)
                elif job.status in rollouts.GOING_ON:
                    raise invalid(
                        f"job {job.job_id} is IN_PROGRESS: cancel it, or set forceDeleteAWSJob"
                    )
            if update.stream_id is not None and parameters.get("deleteStream", False):
                if jobs := transaction.open_jobs_of(update.stream_id):
                    raise invalid(
                        f"stream {update.stream_id} is needed by {', '.join(jobs)}: "
                        "cancel that with force, or set forceDeleteAWSJob"
                    )
                transaction.untag("stream", update.stream_id)
                transaction.delete_stream(update.stream_id)
            transaction.untag("otaupdate", update.update_id)
            transaction.delete_update(update.update_id)
        return Result({})

    def _source(
        self,
        transaction: Transaction,
        parameters: Mapping[str, Any],
        protocols: Sequence[str],
        now: int,
    ) -> "_Source":
        """Where the files are: in one stream that is there, or in S3, of which one is made."""
        asked = parameters["files"]
        if len(asked) > aws.MAX_FILES:
            raise invalid(f"files: {len(asked)} are more than {aws.MAX_FILES}")
        locations = [file.get("fileLocation", {}) for file in asked]
        if all(set(location) == {"stream"} for location in locations):
            return _of_stream(transaction, [location["stream"] for location in locations])
        if not all(set(location) == {"s3Location"} for location in locations):
            raise invalid("files: either all have an s3Location, or all a stream")
        if any("version" in location["s3Location"] for location in locations):
            raise invalid("s3Location.version is not implemented here")
        files = tuple(
            stream_file(transaction, {"fileId": number, **location}, number)
            for number, location in enumerate(locations)
        )
        if MQTT not in protocols:
            return _Source(None, files)
        stream_id = f"{PREFIX}{uuid.uuid4()}"
        description = parameters.get("description")
        transaction.add_stream(Stream(stream_id, description, parameters["roleArn"], now, files))
        return _Source(stream_id, files, made=True)

    def _identity(self, update: Update) -> dict[str, Any]:
        return {
            "otaUpdateId": update.update_id,
            "otaUpdateArn": self._names.arn("otaupdate", update.update_id),
            "awsIotJobId": update.job_id,
            "awsIotJobArn": self._names.arn("job", update.job_id),
        }


@dataclass(frozen=True)
class _Source:
    """The files of an update, and the stream that has them, which may have been made for it."""

    stream_id: str | None
    files: tuple[StreamFile, ...]
    made: bool = False


def _of_stream(transaction: Transaction, asked: Sequence[Mapping[str, Any]]) -> _Source:
    stream_ids = {stream.get("streamId", "") for stream in asked}
    if len(stream_ids) != 1:
        raise invalid("files: a job document names one stream, these files lie in several")
    (stream_id,) = stream_ids
    stream = transaction.stream(stream_id)
    if stream is None:
        raise not_found(f"no stream {stream_id}")
    by_id = {file.file_id: file for file in stream.files}
    wanted = [stream.get("fileId", 0) for stream in asked]
    for file_id in wanted:
        if file_id not in by_id:
            raise invalid(f"stream {stream_id} has no file {file_id}")
    return _Source(stream_id, tuple(by_id[file_id] for file_id in wanted))


def _update(transaction: Transaction, update_id: str) -> Update:
    update = transaction.update(update_id)
    if update is None:
        raise not_found(f"no OTA update {update_id}")
    return update


def _file(asked: Mapping[str, Any], found: StreamFile, number: int) -> File:
    """A file of the job document. `number` names it in errors."""
    if found.size > aws.MAX_UPDATE_FILE:
        raise invalid(
            f"file {number}: {found.size} bytes; an OTA update takes {aws.MAX_UPDATE_FILE}"
        )
    certificate, signature = _signing(asked.get("codeSigning", {}), f"file {number}: codeSigning")
    return File(
        asked.get("fileName"),
        found.size,
        found.file_id,
        certificate,
        asked.get("fileType"),
        signature,
        Location(found.bucket, found.key),
    )


def _signing(asked: Mapping[str, Any], where: str) -> tuple[str | None, tuple[str, str] | None]:
    """Where boards find the certificate, and the signature as the job document has it."""
    for foreign in ("awsSignerJobId", "startSigningJobParameter"):
        if foreign in asked:
            raise invalid(
                f"{where}.{foreign}: there is no AWS Signer here; sign the file yourself and give "
                "the signature as customCodeSigning"
            )
    custom = asked.get("customCodeSigning")
    if custom is None:
        return None, None
    chain = custom.get("certificateChain", {})
    if "inlineDocument" in chain:
        raise invalid(f"{where}: only certificateChain.certificateName is implemented here")
    signature = custom.get("signature", {}).get("inlineDocument", b"")
    names = [custom.get("hashAlgorithm", ""), custom.get("signatureAlgorithm", "")]
    if not signature or not all(_ALGORITHM.fullmatch(name) for name in names):
        raise invalid(
            f"{where}.customCodeSigning: signature, hashAlgorithm (such as SHA256) and "
            "signatureAlgorithm (such as ECDSA) are required"
        )
    key = "-".join(["sig", *names]).lower()
    return chain.get("certificateName"), (key, base64.b64encode(signature).decode())


def _plan(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of the job, in the words of CreateJob."""
    plan = {}
    if (rate := parameters.get("awsJobExecutionsRolloutConfig")) is not None:
        plan[plans.ROLLOUT] = rate
    if (abort := parameters.get("awsJobAbortConfig")) is not None:
        plan[plans.ABORT] = {"criteriaList": abort["abortCriteriaList"]}
    return plan


def _url_seconds(parameters: Mapping[str, Any]) -> int:
    seconds: int = parameters.get("awsJobPresignedUrlConfig", {}).get(
        "expiresInSec", DEFAULT_URL_SECONDS
    )
    if seconds not in URL_SECONDS:
        raise invalid(
            f"awsJobPresignedUrlConfig.expiresInSec: {seconds} is not within "
            f"{URL_SECONDS[0]} to {URL_SECONDS[-1]}"
        )
    return seconds


def _request(
    parameters: Mapping[str, Any], protocols: Sequence[str], made: str | None
) -> dict[str, Any]:
    """The request as GetOTAUpdate tells it, as JSON; `made` is the stream made of the files."""
    told = {name: value for name, value in parameters.items() if name in _INFO.members}
    files = parameters["files"]
    if made is not None:
        files = [
            {
                **file,
                "fileLocation": {
                    **file["fileLocation"],
                    "stream": {"streamId": made, "fileId": number},
                },
            }
            for number, file in enumerate(files)
        ]
    selection = parameters.get("targetSelection", SNAPSHOT)
    told |= {"protocols": protocols, "targetSelection": selection, "otaUpdateFiles": files}
    request: dict[str, Any] = codec.to_json(_INFO, told)
    return request
