"""The client's readers of what an endpoint answers, and of a board's shadow."""

from botocore.parsers import create_parser

from twinslot.client import answers, shadow
from twinslot.errors import FleetError
from twinslot.service.codec import service_model

ALLOWED = (FleetError,)
COVERS = ("src/twinslot/client/answers.py", "src/twinslot/client/shadow.py: read _inside _newest")
_OPERATIONS = [
    *(service_model("iot").operation_model(name) for name in sorted(answers.NEEDED)),
    service_model("iot-data").operation_model("GetThingShadow"),
    service_model("s3").operation_model("PutObject"),
]
_HEADERS = ({}, {"x-amzn-errortype": "ResourceNotFoundException"}, {"etag": '"1"'})
_STATUS = (200, 301, 404, 413, 503)
SEEDS = (
    b'\0{"things":[{"thingName":"a","version":1,"attributes":{"a":"b"}}]}',
    b'\0{"job":{"createdAt":1.5,"targets":["a"],"forceCanceled":true,"jobProcessDetails":{}}}',
    b'\0{"execution":{"status":"QUEUED","queuedAt":1,"lastUpdatedAt":1,"statusDetails":{"detailsMap":{}}}}',
    b'\0{"state":{"reported":{"version":"1","heap":5}},"metadata":{"reported":{"a":{"timestamp":1}}}}',
    b'\x07{"message":"x","code":"y"}',
    b"\x0b<Error><Code>x</Code></Error>",
    b"\x02<html>",
    b'\0{"things":[null]}',
    b'\0{"things":7}',
    b'\0{"things":[{"thingName":"a","attributes":5}]}',
    b'\0{"things":[{"thingName":"a","attributes":{"a":5}}]}',
)


def run(data: bytes) -> None:
    """Judge the input as the answer to each operation; what is let through, botocore can read."""
    shadow.read(data[1:])
    status = _STATUS[data[0] % 5] if data else 200
    headers = _HEADERS[data[0] // 5 % 3] if data else {}
    body = data[1:]
    for operation in _OPERATIONS:
        try:
            answers.check(operation, "http://h", status, headers, body)
        except FleetError:
            continue
        if operation.has_streaming_output or operation.name == "PutObject":
            continue
        parser = create_parser(operation.service_model.resolved_protocol)
        response = {"status_code": status, "headers": headers, "body": body}
        parser.parse(response, operation.output_shape)
    answers.parsed("http://h", status, headers, body)
