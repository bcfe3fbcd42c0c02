"""The full package for a board that could not take a smaller one.

Whoever uploads a smaller form of a package names the object of the full one in its metadata. A
board that refuses the form from its head, for want of the base, of the extension or of an agent
that reads it, or that fails to decode it, gets the full package as a job of its own.
"""

import json
from dataclasses import replace

from twinslot.formats import aws, document
from twinslot.formats.document import MQTT, File, Location
from twinslot.service.rollouts import JOB_CANCELED, JOB_RUNNING
from twinslot.service.rows.jobs import Job
from twinslot.service.rows.objects import Object
from twinslot.service.rows.streams import Stream, StreamFile
from twinslot.service.states import Execution
from twinslot.service.store import Transaction

CAUSES = frozenset({"base", "encoding", "extension", "bad_package"})
"""Words (docs/error-words.md) by which boards fail a form that is not for them."""


def follow(transaction: Transaction, ended: Execution, region: str, now: int) -> None:
    """Queue the full package on the thing, if this execution failed for what the full one lacks.

    ended: the execution as it was saved; now: Unix seconds. Call it where the thing is told of what
    changes. Nothing is queued where the full package is no longer there.
    """
    if ended.status != aws.FAILED or ended.details.get("cause") not in CAUSES:
        return
    job = transaction.job(ended.job_id)
    full = None if job is None else _full(transaction, job)
    if job is None or full is None or ended.thing in transaction.revoked_of([ended.thing]):
        return
    if job.status == JOB_CANCELED:
        return  # by a person, or by its own criterion
    name = document.full_job(job.job_id)
    follower = transaction.job(name)
    if follower is None:
        follower = _add(transaction, job, full, region, now)
    elif follower.status == JOB_CANCELED or transaction.execution(ended.thing, name):
        return
    transaction.save_job(
        replace(
            follower,
            status=JOB_RUNNING,
            targets=[*follower.targets, *_target(job, ended.thing)],
            updated_at=now,
            completed_at=None,
        )
    )
    transaction.add_executions(name, [ended.thing], now)


def _full(transaction: Transaction, job: Job) -> Object | None:
    """The object of the full package, None where the job's own is no smaller form of one."""
    stream = None if job.stream_id is None else transaction.stream(job.stream_id)
    if stream is not None:
        places = [Location(file.bucket, file.key) for file in stream.files]
    else:
        places = document.locations(job.document)
    for place in places[:1]:
        found = transaction.object(place.bucket, place.key)
        if found is not None and document.FULL in found.metadata:
            return transaction.object(place.bucket, found.metadata[document.FULL])
    return None


def _add(transaction: Transaction, job: Job, full: Object, region: str, now: int) -> Job:
    """Make the job of the full package, and its stream, as the smaller one had them."""
    name = document.full_job(job.job_id)
    protocols = json.loads(job.document)["afr_ota"]["protocols"]
    streamed = name if MQTT in protocols else None
    if streamed and transaction.stream(streamed) is None:
        file = StreamFile(0, full.bucket, full.key, full.etag, full.size)
        role = job.url_role or ""
        transaction.add_stream(Stream(streamed, job.description, role, now, (file,)))
    place = Location(full.bucket, full.key)
    text = document.of_update(
        [File(full.key, full.size, location=place)], protocols, streamed, region
    )
    made = replace(job, job_id=name, document=text, stream_id=streamed, targets=[], created_at=now)
    made = replace(made, reason_code=None, comment=None, forced=False)
    # The rates and criteria of the smaller form are not those of the few boards that refuse it.
    made = replace(made, plan={}, continuous=False, stopped=False, due_at=None)
    transaction.add_job(made)
    return made


def _target(job: Job, thing: str) -> list[str]:
    """The ARN of a thing among a job's targets."""
    return [arn for arn in job.targets if arn.rpartition("/")[2] == thing]
