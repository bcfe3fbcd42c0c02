"""The host's readers of job documents with placeholders."""

import json

from twinslot.formats import document
from twinslot.formats.document import DocumentError, File, Location
from twinslot.service.codec import ApiError
from twinslot.service.operations import jobs

ALLOWED = (DocumentError, ApiError)
COVERS = (
    "src/twinslot/formats/document.py: locations resolved _location",
    "src/twinslot/service/operations/jobs.py: _stream_of _placeholders",
)
_FILES = [File("a", 5, location=Location("b", "k"), signature=("sig", "x"))]
SEEDS = (
    document.of_update(_FILES, ["HTTP"], "s", "local").encode(),
    b'{"a":"${aws:iot:s3-presigned-url:https://b.s3.eu.amazonaws.com/k%20x}"}',
    b'{"afr_ota":{"streamname":"s"}}',
    b'"${aws:iot:s3-presigned-url:http://[}"',
    b'"${aws:iot:s3-presigned-url:https://s3.x/a/\\ud800}"',
    b'{"afr_ota":[]}',
)


def run(data: bytes) -> None:
    """Find placeholders, put URLs in their place, and look for the stream."""
    text = data.decode("utf-8", "replace")
    try:
        jobs._stream_of(text)
    except ApiError:
        pass
    try:
        jobs._placeholders(text)
    except ApiError:
        pass
    for location in document.locations(text):
        location.bucket.encode()
        location.key.encode()
    put = document.resolved(text, lambda location: f"https://h/{location.bucket}")
    assert put == text or "${aws" in text
    json.dumps(put)
