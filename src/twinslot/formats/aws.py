"""AWS's words, topics and limits for jobs, file streams and objects, each in this one place.

Source: AWS IoT developer guide ("Jobs", "MQTT-based file delivery") and service quotas.
"""

# States of a job's execution.
QUEUED = "QUEUED"
IN_PROGRESS = "IN_PROGRESS"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
REJECTED = "REJECTED"
TIMED_OUT = "TIMED_OUT"
REMOVED = "REMOVED"
CANCELED = "CANCELED"
OPEN = frozenset({QUEUED, IN_PROGRESS})
TERMINAL = frozenset({SUCCEEDED, FAILED, REJECTED, TIMED_OUT, REMOVED, CANCELED})
REPORTABLE = frozenset({IN_PROGRESS, SUCCEEDED, FAILED, REJECTED})
"""The states that a device may report."""

# Topics, below a thing's own; + stands for one level.
_JOB_REQUESTS = ("jobs/get", "jobs/start-next", "jobs/+/get", "jobs/+/update")
_STREAM_REQUESTS = ("streams/+/get/+", "streams/+/describe/+")
SHADOW = "ota"
"""Name of the shadow in which a board says what it runs; firmware/ota/channel.py has it, too."""
_SHADOW_REQUESTS = (f"shadow/name/{SHADOW}/update", f"shadow/name/{SHADOW}/get")
_ANSWERED = (*_JOB_REQUESTS, *_SHADOW_REQUESTS)
THING_PUBLISHES = (*_JOB_REQUESTS, *_STREAM_REQUESTS, *_SHADOW_REQUESTS)
"""The requests of a thing."""
JOBS = "jobs/#"
"""Every topic of the Jobs service: what is no request there is answered with InvalidTopic."""
THING_RECEIVES = (
    *(f"{request}/{answer}" for request in _ANSWERED for answer in ("accepted", "rejected")),
    "jobs/notify",
    "jobs/notify-next",
    "streams/+/data/+",
    "streams/+/description/+",
    "streams/+/rejected/+",
)
"""The answers to a thing."""
NEXT_JOB = "$next"
"""In the place of a job's name: the first that is pending."""

# Limits of MQTT messages.
MAX_TOPIC = 256  # bytes
MAX_PAYLOAD = 131072  # bytes
MAX_TOKEN = 64  # bytes of a client token

# Limits of names.
MAX_JOB_ID = 64  # characters
MAX_NAME = 128  # characters
NAME = rf"[A-Za-z0-9:_-]{{1,{MAX_NAME}}}"
"""Pattern of a thing, a stream, and the key of a status detail."""
JOB_ID = rf"[A-Za-z0-9_-]{{1,{MAX_JOB_ID}}}"

# Limits of things, groups and tags (AWS general reference, "AWS IoT Core endpoints and quotas").
MAX_ATTRIBUTES = 3
"""Attributes of a thing without a thing type."""
MAX_GROUP_ATTRIBUTES = 50
MAX_GROUPS = 10  # that a thing is in
MAX_GROUP_DEPTH = 7
MAX_TAGS = 50  # of one resource
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256  # characters

# Limits of jobs.
MAX_DETAILS = 10
MAX_DETAIL_VALUE = 1024  # characters
MAX_TIMEOUT = 10080  # minutes
NO_STEP_TIMEOUT = -1  # minutes; cancels the step timer
MAX_NOTIFIED = 10  # entries of one notify message
MAX_DOCUMENT = 32768  # characters
MAX_NUMBER = 2**31 - 1  # of an execution

# Limits of shadows.
MAX_SHADOW = 8192  # bytes of a state document, and here of a request, too
MAX_SHADOW_DEPTH = 6  # levels of desired or reported, as AWS's error message says

# Limits of streams.
MIN_BLOCK, MAX_BLOCK = 256, 131072  # bytes
MAX_PER_REQUEST = 131072  # bytes of data that one request yields
MAX_OFFSET = 98304  # blocks; 24 MB of 256-byte blocks
MAX_COUNT = 98304  # blocks
MAX_BITMAP = 12287  # bytes
MAX_REQUEST = 32768  # bytes of a request, in which a bitmap is written as hexadecimal text
MAX_FILES = 50  # of one stream
MAX_FILE = 24 * 2**20  # bytes of a stream's file
MAX_UPDATE_FILE = 16 * 2**20  # bytes of an OTA update's file

# Limits of S3's objects (S3 user guide, "Naming Amazon S3 objects").
MAX_KEY = 1024  # bytes
MAX_BUCKET = 63  # characters
MAX_CONTENT_TYPE = 255  # characters; this service's own


def topic(thing: str, rest: str) -> str:
    """Return a topic of a thing; thing "+": of every thing."""
    return f"$aws/things/{thing}/{rest}"


def of_thing(topic: str) -> tuple[str, list[str]]:
    """Return the thing of a topic and the levels below the thing's own, ("", []) of any other."""
    match topic.split("/"):
        case ["$aws", "things", thing, *levels]:
            return thing, levels
    return "", []


def subscriptions(service: str) -> tuple[str, ...]:
    """Return what a service subscribes to: the requests of "jobs", "streams" or "shadow".

    Of "jobs" everything, its own answers too: it must ask the broker to keep those back.
    """
    if service == "jobs":
        return (topic("+", JOBS),)
    requests = (request for request in THING_PUBLISHES if request.startswith(f"{service}/"))
    return tuple(topic("+", request) for request in requests)
