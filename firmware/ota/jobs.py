"""AWS IoT Jobs messages (MQTT): topics, parsing, building. No state.

Topics lie under `$aws/things/<thing>/jobs/`. Requests are published by the board; answers come on
`accepted` and `rejected` below the request's topic, and `notify-next` tells when another job
has moved to the front.
"""

import json

from . import errors
from .compat import const

QUEUED = "QUEUED"
IN_PROGRESS = "IN_PROGRESS"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"

MQTT = "MQTT"
HTTP = "HTTP"

# Limits of statusDetails (AWS IoT Jobs): pairs, characters of a value.
_MAX_PAIRS = const(10)
_MAX_VALUE = const(1024)

# Of a number of 32 bits as text, "0x" counted: a longer one would cost more heap than there is.
_MAX_DIGITS = const(10)

# The last second (Unix) that fits a chip's clock: 31 bits, counted from 2000.
_LAST_SECOND = const(3094168447)

# How AWS says that the address needs no more than itself.
_PRESIGNED = const("aws.s3.presigned")

# A refused update that may go through later; any other refusal is final (AWS error codes).
_TRANSIENT = const(("RequestThrottled", "InternalError"))


class Topics:
    """The topics of one thing.

    get, notify: request for the next job; the topic of unasked-for news.
    subscriptions: every filter the board must subscribe to. A plain broker delivers nothing
    unsubscribed, AWS delivers the answers anyway.
    """

    def __init__(self, thing_name):
        self.thing = "$aws/things/%s/" % thing_name
        self._jobs = self.thing + "jobs/"
        self.get = self._jobs + "$next/get"
        self.notify = self._jobs + "notify-next"
        self.subscriptions = (
            self.get + "/accepted",
            self.get + "/rejected",
            self.notify,
            self._jobs + "+/update/accepted",
            self._jobs + "+/update/rejected",
        )

    def update(self, job_id):
        """Return the topic on which the status of `job_id` is reported."""
        return "%s%s/update" % (self._jobs, job_id)

    def answered_update(self, topic):
        """Return (job id, accepted) when `topic` answers a status report, else None."""
        parts = topic.split("/")
        if topic.startswith(self._jobs) and len(parts) == 7 and parts[5] == "update":
            if parts[6] in ("accepted", "rejected"):
                return parts[4], parts[6] == "accepted"
        return None


class Job:
    """One job execution, as far as an update needs it.

    job_id, status (str), details (dict str -> str); from the document: stream (str or None),
    file_id (int), file_size (bytes), protocols (list of str), url (str or None): of the file; file
    (dict): all that the document says of it, unchecked, for a raw image (see `raw`).
    document: the whole of one that is not of an update (dict), else None; queued: its
    queuedAt and executionNumber, which tell this execution from the next of the same job.
    """

    def __init__(
        self,
        job_id,
        status,
        details,
        stream,
        file_id,
        file_size,
        protocols,
        url=None,
        file=None,
        document=None,
        queued=None,
    ):
        self.job_id = job_id
        self.status = status
        self.details = details
        self.stream = stream
        self.file_id = file_id
        self.file_size = file_size
        self.protocols = protocols
        self.url = url
        self.file = file
        self.document = document
        self.queued = queued

    @property
    def custom(self):
        """Whether its document is the application's, not of an update."""
        return self.document is not None

    @property
    def in_self_test(self):
        """Whether the service believes that a new image is being tested (key `self_test`)."""
        return "self_test" in self.details

    @property
    def updated_by(self):
        """What the image that reported last is (int): its sequence, a raw one's version word.

        0 if none did or it is unreadable.
        """
        text = self.details.get("updatedBy", "0")
        if not isinstance(text, str) or len(text) > _MAX_DIGITS:
            return 0
        try:
            return int(text, 16) if text.startswith("0x") else int(text)
        except ValueError:
            return 0


def parse(payload):
    """Read a `$next/get/accepted` or `notify-next` message.

    Returns (job or None, timestamp in Unix seconds, 0 if it has none). None: the queue is empty.
    One whose document is not of an update (no `afr_ota`) is `custom`, and has neither file nor
    details.
    Raises JobError; its attribute `job_id` names the job to fail, or is None if there is none.
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
    if "afr_ota" not in document:
        queued = execution.get("queuedAt"), execution.get("executionNumber")
        return Job(job_id, QUEUED, {}, None, 0, 0, (), document=document, queued=queued)
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
        error = errors.JobError("filesize is 0")
        error.sub = 4
        raise error
    protocols = update.get("protocols", [MQTT])
    if not isinstance(protocols, list):
        raise errors.JobError("protocols is not a list")
    status = execution.get("status", QUEUED)
    return Job(job_id, status, details, stream, file_id, file_size, protocols, _url(file), file)


def _url(file):
    """Return the address of a file, as it fits into a request's first line; None without one."""
    url = file.get("update_data_url")
    if url is None:
        return None
    if not isinstance(url, str) or url.split("://")[0] not in ("http", "https"):
        raise errors.JobError("update_data_url is not an address of http or https")
    if not all("!" <= c <= "~" for c in url):
        raise errors.JobError("update_data_url holds what no address may hold")
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


def get_request(token):
    """Build a DescribeJobExecution request for `$next`. token: str of at most 64 characters."""
    return _dumps({"clientToken": token[:64]})


def update_request(status, details, token=None):
    """Build an UpdateJobExecution request. details: a dict made by `status_details`.

    token: str that the answer brings back, for requests whose answer matters: answers to
    different requests about one job look alike otherwise.
    """
    request = {"status": status, "statusDetails": details}
    if token:
        request["clientToken"] = token
    return _dumps(request)


def token_of(payload):
    """Return the clientToken that an answer brings back, None without one."""
    try:
        return _json(payload).get("clientToken")
    except (AttributeError, errors.JobError):
        return None


def status_details(reason=None, **pairs):
    """Return a dict for statusDetails that the service cannot refuse.

    Values become printable text of 1 to 1024 characters; None and empty values are left out;
    `reason` stays whatever else does not fit into ten pairs.
    """
    details = {}
    if reason:
        details["reason"] = _printable(reason)
    for key in sorted(pairs):
        if pairs[key] not in (None, "") and len(details) < _MAX_PAIRS:
            details[key] = _printable(str(pairs[key]))
    return details


def is_final(payload):
    """Say whether an `update/rejected` message ends the matter, or the report may be sent again."""
    try:
        return _json(payload).get("code") not in _TRANSIENT
    except (AttributeError, errors.JobError):
        return True


def _printable(text):
    return "".join(c if " " <= c <= "~" else "?" for c in text[:_MAX_VALUE]) or "?"


def _dumps(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _json(payload):
    try:
        return json.loads(bytes(payload))
    except (MemoryError, RuntimeError, ValueError):  # the former: brackets without end
        raise errors.JobError("the message is not JSON, or nests too deep")


def _object(value, name):
    if not isinstance(value, dict):
        raise errors.JobError(name + " is missing or not an object")
    return value


def _is_level(value, longest):
    """Say whether `value` is a name as AWS makes them, so that it is one level of a topic."""
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
