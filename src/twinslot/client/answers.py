"""A look at each answer, before anything is read out of it: is it one of the service? Pure.

An endpoint may be something else: a router's page, a proxy, another program. botocore reads such an
answer as one without members, or fails in the midst of it; so this comes first.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import OperationModel, Shape
from botocore.utils import parse_timestamp

from twinslot.errors import FleetError, UnreachableError
from twinslot.text import printable

_BUSY = (429, *range(500, 600))
_TOO_LARGE = 413
_MOST_WORDS = 60  # characters of an answer that are quoted
NEEDED: dict[str, tuple[str, ...]] = {
    "CancelJob": ("jobId",),
    "CreateCertificateFromCsr": ("certificateArn", "certificatePem"),
    "CreateJob": ("jobId",),
    "CreateStream": ("streamId",),
    "CreateThing": ("thingArn",),
    "DescribeEndpoint": ("endpointAddress",),
    "DescribeJob": ("job",),
    "DescribeJobExecution": (
        "execution.status",
        "execution.queuedAt",
        "execution.lastUpdatedAt",
    ),
    "DescribeThing": ("thingArn",),
    "ListJobExecutionsForJob": ("executionSummaries.thingArn",),
    "ListJobs": ("jobs.jobId",),
    "ListThings": ("things.thingName",),
}
"""The members that this client reads out of an answer; the models name none that must be there.

A dot leads into a structure, and into each entry of a list.
"""


class ForeignAnswerError(FleetError):
    """The program at the endpoint is no service of a fleet, nor AWS."""

    exit_code = 4


class BusyAnswerError(UnreachableError):
    """Something before the service answers in its place, and may not for long."""


class TooLargeError(FleetError):
    """The service, or something before it, takes no request of this size."""


def check(
    operation: OperationModel, address: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Raise ForeignAnswerError or BusyAnswerError unless this may be an answer to an operation."""
    xml = operation.service_model.resolved_protocol == "rest-xml"
    if status >= 300:
        wrong = _no_error(operation, headers, body, xml=xml)
    elif xml:
        wrong = "" if operation.name != "PutObject" or "etag" in headers else "no ETag"
    else:
        wrong = _no_result(operation, body)
    if wrong:
        raise foreign(address, status, body, wrong)


def parsed(address: str, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The JSON object of an answer that no model describes, of a result or of an error.

    Raises ForeignAnswerError, BusyAnswerError.
    """
    found = _object(body)
    if found is None:
        raise foreign(address, status, body, "no JSON object")
    if status != 200 and not _is_error(found, headers):
        raise foreign(address, status, body, "no error of the service")
    return found


def foreign(address: str, status: int, body: bytes, wrong: str) -> FleetError:
    """The error for an answer that is not the service's. wrong: a few words, what it lacks or is.

    One of 429, 500 or more comes from what stands before a service, and may be over soon.
    """
    words = " ".join(body[: 4 * _MOST_WORDS].decode(errors="replace").split())
    if len(words) > _MOST_WORDS:
        words = words[: _MOST_WORDS - 3] + "..."
    said = f"{printable(words)!r}" if words else "nothing"
    if status in _BUSY:
        return BusyAnswerError(f"no service answers at {address}: status {status}, and {said}")
    if status == _TOO_LARGE:
        return TooLargeError(
            f"{address} takes no request of this size: status {status}, and {said}"
        )
    return ForeignAnswerError(
        f"what answers at {address} is no fleet service: status {status}, {wrong}; it says {said}"
    )


def _no_result(operation: OperationModel, body: bytes) -> str:
    if operation.has_streaming_output:
        return ""
    found = _object(body or b"{}")
    if found is None:
        return "no JSON object"
    shape = operation.output_shape
    wrong = None if shape is None else next(_wrong(shape, found, ""), None)
    if wrong:
        return wrong
    for path in NEEDED.get(operation.name, ()):
        if not _has(found, path.split(".")):
            return f"no {path}"
    return ""


def _no_error(
    operation: OperationModel, headers: Mapping[str, str], body: bytes, *, xml: bool
) -> str:
    if xml:  # the answer to a HEAD has no body
        return "" if not body or b"<Error" in body else "no error of S3"
    found = _object(body)
    if found is None or not _is_error(found, headers):
        return "no error of the service"
    return next((w for shape in operation.error_shapes for w in _wrong(shape, found, "")), "")


def _is_error(found: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    code = headers.get("x-amzn-errortype") or found.get("code") or found.get("__type")
    return bool(code) and isinstance(code, str) and isinstance(found.get("message", ""), str)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _has(value: Any, names: list[str]) -> bool:
    if not names:
        return value is not None
    if isinstance(value, list):
        return all(_has(item, names) for item in value)
    return isinstance(value, dict) and _has(value.get(names[0]), names[1:])


def _wrong(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """Say how a JSON value differs from the model, so that botocore could not read it."""
    kind = shape.type_name
    if value is None:
        return
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{where or 'it'} is no object"
            return
        for name, member in shape.members.items():
            wire_name = member.serialization.get("name", name)
            if "location" not in member.serialization:
                yield from _wrong(member, value.get(wire_name), wire_name)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for item in value:
            yield from _wrong(shape.member, item, where)
            if item is None:
                yield f"{where} has an empty entry"
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{where} is no object"
            return
        for item in value.values():
            yield from _wrong(shape.value, item, where)
    elif not _fits(kind, value):
        yield f"{where} is no {kind}"


def _fits(kind: str, value: Any) -> bool:
    if kind == "timestamp":
        try:
            parse_timestamp(value)
        except (ValueError, TypeError, OverflowError, OSError, RuntimeError):
            return False
        return not isinstance(value, bool)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "long"):
        return type(value) is int
    if kind in ("float", "double"):
        return type(value) in (int, float)
    return isinstance(value, str)
