"""What `fleet serve` reads of boards: job requests, stream requests, shadows."""

from twinslot.errors import FleetError
from twinslot.service import jobs, shadows, states, streams
from twinslot.service.s3 import byte_range

ALLOWED = (FleetError,)
COVERS = (
    "src/twinslot/service/jobs.py: Body",
    "src/twinslot/service/shadows.py: _parsed _token _change _is_deeper _size",
    "src/twinslot/service/streams.py: _load_cbor _load_json _check_length",
    "src/twinslot/service/states.py: check_details",
    "src/twinslot/service/s3.py: byte_range",
)
SEEDS = (
    b'{"status":"FAILED","statusDetails":{"a":"b"},"clientToken":"x","expectedVersion":"5"}',
    b'{"stepTimeoutInMinutes":5,"executionNumber":1,"includeJobDocument":true}',
    b'{"state":{"reported":{"a":{"b":[1]}},"desired":null},"clientToken":"x"}',
    bytes.fromhex("a461630061661901006162410161f6f6"),
    b'{"includeJobDocument":5}',
    b'{"statusDetails":{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":""}}',
    b"~",
    b"bytes=0-5",
    b"bytes=-5",
    b"bytes=5-",
    b'{"statusDetails":{"a":"' + b"x" * 1100 + b'"}}',
)


def run(data: bytes) -> None:
    """Give the input to every reader; one that ends with ~ stands for a long one."""
    if data.endswith(b"~"):
        data += bytes(200_000)
    for read in (_job, _shadow, streams._load_cbor, streams._load_json, _range):
        try:
            read(data)
        except ALLOWED:
            continue


def _job(data: bytes) -> None:
    body = jobs.Body.read(data)
    for look in (
        body.token,
        body.details,
        body.step_minutes,
        body.expected_version,
        lambda: body.text("status", 20),
        lambda: body.number("executionNumber", 1, 9),
        lambda: body.flag("includeJobDocument", default=False),
    ):
        try:
            look()
        except states.JobError:
            continue


def _shadow(data: bytes) -> None:
    body = shadows._parsed(data)
    try:
        shadows._token(body)
    except shadows.ShadowError:
        pass
    shadows._size(shadows._change(body))


def _range(data: bytes) -> None:
    byte_range(data.decode("latin-1"), 100)
