"""What the messages of AWS IoT Jobs say (`$next/get/accepted`, `notify-next`, `.../update/...`).

Pure. `channel` has the topics, and the requests that a board publishes.
"""

import json
from collections import namedtuple
from gc import collect

from . import errors
from .compat import const, mem_free

MQTT = "MQTT"
HTTP = "HTTP"

# Digits of a number of 32 bits, with "0x": a longer text would cost more heap than there is.
_MAX_DIGITS = const(10)

# The last second (Unix) that fits a chip's clock: 31 bits, counted from 2000.
_LAST_SECOND = const(3094168447)

# Bytes of heap that a document must leave to the agent's next steps.
_SPARE = const(8192)

# AWS's word for an address that needs no further authentication.
_PRESIGNED = const("aws.s3.presigned")

# A refused update that may go through later; any other refusal is final (AWS error codes).
_TRANSIENT = const(("RequestThrottled", "InternalError"))


# One job execution, as far as an update needs it. A tuple: the methods of a class would keep this
# module in memory for as long as the job is in hand.
# job_id (str); details (dict str -> str); in_self_test (bool): whether the service believes that a
# new image is under test; updated_by (int): sequence, or a raw image's version word, of the image
# that reported last, 0 if none did; from the document: stream (str or None), file_id (int),
# file_size (bytes), protocols (list of str), url (str or None) of the file, file (dict): all that
# the document says of it, unchecked, for a raw image.
# document: of a job that is no update (dict), else None; queued: queuedAt and executionNumber,
# which tell this execution from the next one of the same job; fault: the JobError of an update that
# cannot be read, which is offered to the application like a job of its own, as FreeRTOS does (v3,
# OtaJobParseErrNonConformingJobDoc), else None.
Job = namedtuple(
    "Job",
    (
        "job_id",
        "details",
        "in_self_test",
        "updated_by",
        "stream",
        "file_id",
        "file_size",
        "protocols",
        "url",
        "file",
        "document",
        "queued",
        "fault",
    ),
)


def parse(payload):
    """Read a `$next/get/accepted` or `notify-next` message.

    Returns (job or None, timestamp in Unix seconds, 0 if it has none). None: the queue is empty.
    A job that is no update has a `document`, and neither file nor details. Raises JobError; its
    attribute `job_id` names the job to fail, or is None if there is none.
    """
    message = _object(_json(payload), "the message")
    timestamp = message.get("timestamp", 0)
    if not isinstance(timestamp, int) or not 0 <= timestamp <= _LAST_SECOND:
        timestamp = 0  # some samples of AWS count milliseconds
    if "execution" not in message:
        return None, timestamp
    execution = _object(message["execution"], "execution")
    job_id = execution.get("jobId")
    if not _is_level(job_id, 64):
        raise errors.JobError("the job has no usable jobId")
    try:
        return _job(job_id, execution), timestamp
    except errors.JobError as error:
        error.job_id = job_id
        raise


def _job(job_id, execution):
    details = _object(execution.get("statusDetails", {}), "statusDetails")
    document = _object(execution.get("jobDocument"), "jobDocument")
    fault = None
    if "afr_ota" in document:
        try:
            return _update(job_id, details, document)
        except errors.JobError as error:
            fault = error
            fault.job_id = job_id
    collect()
    if 0 < mem_free() < _SPARE:
        raise errors.JobError("the job's document leaves this board too little memory")
    queued = execution.get("queuedAt"), execution.get("executionNumber")
    return Job(job_id, {}, False, 0, None, 0, 0, (), None, None, document, queued, fault)


def _update(job_id, details, document):
    update = _object(document.get("afr_ota"), "afr_ota")
    files = update.get("files")
    if not isinstance(files, list) or len(files) != 1:
        raise errors.JobError("the job must name exactly one file")
    file = _object(files[0], "files[0]")
    stream = update.get("streamname")
    if stream is not None and not _is_level(stream, 128):
        raise errors.JobError("streamname is not 1 to 128 letters, digits, - or _")
    file_id = _number(file, "fileid", 0, 255)
    file_size = _number(file, "filesize", 0, 0xFFFFFFFF)
    if file_size == 0:
        raise errors.EmptyFileError("filesize is 0")
    protocols = update.get("protocols", [MQTT])
    if not isinstance(protocols, list):
        raise errors.JobError("protocols is not a list")
    return Job(
        job_id,
        details,
        "self_test" in details,
        _updated_by(details),
        stream,
        file_id,
        file_size,
        protocols,
        _url(file),
        file,
        None,
        None,
        None,
    )


def _updated_by(details):
    text = details.get("updatedBy", "0")
    if not isinstance(text, str) or len(text) > _MAX_DIGITS:
        return 0
    try:
        return int(text, 16) if text.startswith("0x") else int(text)
    except ValueError:
        return 0


def _url(file):
    """Return the address of a file, as it fits into a request's first line; None without one."""
    url = file.get("update_data_url")
    if url is None:
        return None
    if not isinstance(url, str) or url.split("://")[0] not in ("http", "https"):
        raise errors.JobError("update_data_url is not an address of http or https")
    if not all("!" <= c <= "~" for c in url):
        raise errors.JobError("update_data_url has characters that no address may have")
    scheme = file.get("auth_scheme", _PRESIGNED)
    if scheme != _PRESIGNED:
        raise errors.JobError("auth_scheme must be %s" % _PRESIGNED)
    return url


def choose(job, prefer_http, https_fits):
    """Return how the file of a Job is fetched: MQTT or HTTP.

    prefer_http (bool): where both are offered; https_fits (bool): whether there is
    memory for one more TLS connection. Raises DataPathError.
    """
    mqtt = MQTT in job.protocols and job.stream is not None
    http = HTTP in job.protocols and job.url is not None
    if not mqtt and not http:
        raise errors.DataPathError("the job offers neither an MQTT stream nor an address for HTTP")
    if http and job.url.startswith("https://") and not https_fits:
        if not mqtt:
            raise errors.DataPathError("there is no memory for a second TLS connection")
        return MQTT
    return HTTP if http and (prefer_http or not mqtt) else MQTT


def answered_update(topic, things):
    """Return (job id, accepted) when `topic` answers a status report, else None.

    things: the beginning of all topics of this thing (str).
    """
    parts = topic.split("/")
    if topic.startswith(things + "jobs/") and len(parts) == 7 and parts[5] == "update":
        if parts[6] in ("accepted", "rejected"):
            return parts[4], parts[6] == "accepted"
    return None


def token_of(payload):
    """Return the clientToken that an answer brings back, None without one."""
    try:
        return _json(payload).get("clientToken")
    except (AttributeError, errors.JobError):
        return None


def is_final(payload):
    """Say whether a `rejected` message is final. Otherwise the request may be sent again."""
    try:
        return _json(payload).get("code") not in _TRANSIENT
    except (AttributeError, errors.JobError):
        return True


def _json(payload):
    try:
        return json.loads(bytes(payload))
    except (MemoryError, RuntimeError, ValueError):  # the first two: brackets without end
        raise errors.JobError("the message is not JSON, or nests too deep")


def _object(value, name):
    if not isinstance(value, dict):
        raise errors.JobError(name + " is missing or not an object")
    return value


def _is_level(value, longest):
    """Say whether `value` is a name as AWS makes names, and so one level of a topic."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        return False
    return all(c in "-_" or "0" <= c <= "9" or "A" <= c <= "Z" or "a" <= c <= "z" for c in value)


def _number(holder, key, lowest, highest):
    """Return holder[key] as int. v3 agents take quoted numbers too."""
    value = holder.get(key)
    if isinstance(value, str):
        try:
            value = int(value) if len(value) <= _MAX_DIGITS else None
        except ValueError:
            value = None
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise errors.JobError("%s is not a number from %d to %d" % (key, lowest, highest))
    return value
