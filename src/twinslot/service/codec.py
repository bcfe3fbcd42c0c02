"""AWS's REST protocols from the server's side: the inverse of botocore's serializers and parsers.

Operations, routes, locations and limits come from the service models that botocore ships; nothing
here knows any operation. A request becomes an operation's name and parameters, a result or an
error becomes a response. JSON bodies (rest-json) are read and written here, those of rest-xml in
`xml`.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

from twinslot.errors import FleetError
from twinslot.service import xml

_JAVA_CLASSES = {
    r"\p{C}": r"\x00-\x1f\x7f-\x9f",
    r"\p{Cntrl}": r"\x00-\x1f\x7f",
    r"\p{Graph}": r"\x21-\x7e",
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Upper}": "A-Z",
    r"\p{Digit}": "0-9",
}


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came: `path` still percent-encoded, `query` without the question mark.

    The names of `headers` are lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class HttpResponse:
    """A response to send; a body in pieces needs its Content-Length among the headers."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""


class ApiError(FleetError):
    """An error in the words of the API: `code` names the shape, `members` are its further fields.

    `status` is used where the service model has no such shape.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = dict(members or {})


@cache
def service_model(name: str) -> ServiceModel:
    """The model of a service by its botocore name, such as "iot"."""
    return botocore.session.get_session().get_service_model(name)


def structure(service: str, name: str) -> StructureShape:
    """A structure of a service's model, such as "OTAUpdateInfo" of "iot"."""
    shape: StructureShape = service_model(service).shape_for(name)
    return shape


class Codec:
    """One service's protocol."""

    def __init__(self, service: str) -> None:
        """`service` is botocore's name of it. Raises botocore's UnknownServiceError."""
        self.model = service_model(service)
        self.xml = self.model.metadata["protocol"] == "rest-xml"
        self._routes = [
            _Route(self.model.operation_model(name)) for name in self.model.operation_names
        ]

    def match(self, request: HttpRequest) -> OperationModel:
        """The operation that a request calls. Raises ApiError where there is none."""
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        matching = [route for route in self._routes if route.matches(request, query)]
        if not matching:
            raise ApiError(
                "UnknownOperationException", f"no operation is {request.method} {request.path}", 404
            )
        return max(matching, key=lambda route: route.rank(request, query)).operation

    def parse(self, operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
        """The operation's parameters, checked against the model. Raises ApiError."""
        shape = operation.input_shape
        if shape is None:
            return {}
        try:
            parameters = self._parameters(operation, shape, request)
        except _DecodeError as error:
            raise self.invalid(str(error)) from error
        problems = ParamValidator().validate(parameters, shape)
        if problems.has_errors():
            raise self.invalid(problems.generate_report())
        for problem in _broken_limits(shape, parameters, ""):
            raise self.invalid(problem)
        return parameters

    def invalid(self, message: str) -> ApiError:
        """The service's error for a request that is well-formed and wrong."""
        return ApiError("InvalidRequest" if self.xml else "InvalidRequestException", message, 400)

    def response(
        self,
        operation: OperationModel,
        result: Mapping[str, Any],
        status: int | None = None,
        root: str = "",
    ) -> HttpResponse:
        """A successful response; `status` where it is not the model's (206 of a range).

        root: the name of the root of a body in XML.
        """
        response = HttpResponse(status or operation.http.get("responseCode", 200))
        shape = operation.output_shape
        if shape is None:
            return response
        payload_member = shape.serialization.get("payload")
        rest: dict[str, Any] = {}
        for name, value in result.items():
            member = shape.members[name]
            location = member.serialization.get("location")
            if value is None:
                continue
            if location == "header":
                wire_name = member.serialization.get("name", name)
                response.headers[wire_name] = _header_text(member, value)
            elif location == "headers":
                prefix = member.serialization.get("name", "")
                response.headers.update({prefix + key: text for key, text in value.items()})
            elif name == payload_member:
                response.body = value
            else:
                rest[name] = value
        if payload_member is None and not self.xml:
            response.body = json.dumps(to_json(shape, rest)).encode()
            response.headers["content-type"] = "application/json"
        elif self.xml and rest:
            response.body = xml.write(shape, rest, root)
            response.headers["content-type"] = "application/xml"
        return response

    def error(self, error: ApiError) -> HttpResponse:
        """An error response in the protocol's own form."""
        status = error.status
        code = error.code
        shape = next((s for s in self.model.error_shapes if code in (s.name, s.error_code)), None)
        if shape is not None:
            status = shape.metadata.get("error", {}).get("httpStatusCode", status)
        if self.xml:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                f"<Error><Code>{escape(code)}</Code><Message>{escape(str(error))}</Message></Error>"
            )
            return HttpResponse(status, {"content-type": "application/xml"}, body.encode())
        members = {"message": str(error), **error.members}
        headers = {"content-type": "application/json", "x-amzn-errortype": code}
        return HttpResponse(status, headers, json.dumps(members).encode())

    def _parameters(
        self, operation: OperationModel, shape: StructureShape, request: HttpRequest
    ) -> dict[str, Any]:
        found: dict[str, Any] = dict(_Route(operation).path_parameters(request.path))
        query = parse_qsl(request.query, keep_blank_values=True)
        payload_member = shape.serialization.get("payload")
        body_members = []
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            wire_name = member.serialization.get("name", name)
            value: Any = None
            if location == "querystring":
                value = _from_query(member, wire_name, query)
            elif location == "header":
                text = request.headers.get(wire_name.lower())
                value = None if text is None else _from_text(member, text, wire_name)
            elif location == "headers":
                value = {
                    key[len(wire_name) :]: text
                    for key, text in request.headers.items()
                    if key.startswith(wire_name.lower())
                } or None
            elif location is None and name == payload_member:
                value = self._payload(member, request.body)
            elif location is None:
                body_members.append((name, member, wire_name))
            if value is not None:
                found[name] = value
        if payload_member is None and body_members:
            body = self._json(request.body)
            for name, member, wire_name in body_members:
                if body.get(wire_name) is not None:
                    found[name] = from_json(member, body[wire_name], wire_name)
        return found

    def _payload(self, member: Shape, body: bytes) -> Any:
        if member.type_name == "blob":
            return body
        if member.type_name == "string":
            try:
                return body.decode()
            except UnicodeDecodeError as error:
                raise _DecodeError("the body is not UTF-8") from error
        if self.xml:
            try:
                return xml.read(member, body) if body else None
            except ValueError as error:
                raise _DecodeError(str(error)) from error
        return from_json(member, self._json(body), "the body")

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise _DecodeError("the body is not JSON") from error
        if not isinstance(value, dict):
            raise _DecodeError("the body is not a JSON object")
        return value


class _DecodeError(ValueError):
    """A value does not have the form that the model says."""


class _Route:
    """Which requests call one operation, by the model's method and URI template."""

    def __init__(self, operation: OperationModel) -> None:
        self.operation = operation
        self._method = operation.http["method"]
        path, _, query = operation.http["requestUri"].partition("?")
        self._fixed_query = dict(parse_qsl(query, keep_blank_values=True))
        self._labels = re.findall(r"{([^}+]+)\+?}", path)
        pattern = re.sub(r"\\{[^}]+\\\+\\}", "(.+)", re.escape(path))
        self._path = re.compile(re.sub(r"\\{[^}]+\\}", "([^/]+)", pattern) + "/?")
        self._literal = len(re.sub(r"{[^}]+}", "", path))
        self._required: list[tuple[str, str]] = []
        if operation.input_shape is not None:
            for name in operation.input_shape.required_members:
                serialization = operation.input_shape.members[name].serialization
                location = serialization.get("location")
                if location in ("querystring", "header"):
                    self._required.append((location, serialization.get("name", name)))

    def matches(self, request: HttpRequest, query: Mapping[str, str]) -> bool:
        """True when method, path and the fixed part of the query are this operation's."""
        return (
            request.method == self._method
            and self._fixed_query.items() <= query.items()
            and self._path.fullmatch(request.path) is not None
        )

    def rank(self, request: HttpRequest, query: Mapping[str, str]) -> tuple[bool, int, int, int]:
        """How well a matching request fits: S3 tells operations apart by required parameters."""
        present = sum(
            (name in query) if location == "querystring" else (name.lower() in request.headers)
            for location, name in self._required
        )
        complete = present == len(self._required)
        return complete, len(self._fixed_query), present, self._literal

    def path_parameters(self, path: str) -> Iterable[tuple[str, Any]]:
        """The labels of the URI template with their decoded values. Raises _DecodeError."""
        match = self._path.fullmatch(path)
        if match is None:
            return []
        by_wire_name = {}
        if self.operation.input_shape is not None:
            for name, member in self.operation.input_shape.members.items():
                by_wire_name[member.serialization.get("name", name)] = (name, member)
        found = []
        for label, value in zip(self._labels, match.groups(), strict=True):
            name, member = by_wire_name[label]
            found.append((name, _from_text(member, unquote(value), label)))
        return found


def _from_query(shape: Shape, name: str, query: Sequence[tuple[str, str]]) -> Any:
    values = [value for key, value in query if key == name]
    if shape.type_name == "list":
        return [_from_text(shape.member, value, name) for value in values] or None
    if shape.type_name == "map":
        return dict(query)
    return _from_text(shape, values[-1], name) if values else None


def _from_text(shape: Shape, text: str, name: str) -> Any:
    kind = shape.type_name
    try:
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "timestamp":
            return parse_timestamp(text)
    except (KeyError, ValueError, OverflowError, OSError, RuntimeError) as error:
        # The last one is botocore's for a time that is out of all bounds.
        raise _DecodeError(f"{name}: {text!r} is no {kind}") from error
    return text


def from_json(shape: Shape, value: Any, name: str) -> Any:
    """The value as botocore's parameters have it; wrong types are left to its validation."""
    if shape.type_name == "structure" and isinstance(value, dict):
        found = {}
        for key, member in shape.members.items():
            wire_name = member.serialization.get("name", key)
            if value.get(wire_name) is not None:
                found[key] = from_json(member, value[wire_name], wire_name)
        return found
    if shape.type_name == "list" and isinstance(value, list):
        return [from_json(shape.member, item, name) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: from_json(shape.value, item, name) for key, item in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise _DecodeError(f"{name} is not base64") from error
    if shape.type_name == "timestamp" and isinstance(value, (int, float)):
        return _from_text(shape, str(value), name)
    return value


def to_json(shape: Shape, value: Any) -> Any:
    """The value of a response as rest-json has it: wire names, blobs in base64."""
    if shape.type_name == "structure":
        return {
            shape.members[key].serialization.get("name", key): to_json(shape.members[key], item)
            for key, item in value.items()
            if item is not None
        }
    if shape.type_name == "list":
        return [to_json(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: to_json(shape.value, item) for key, item in value.items()}
    if shape.type_name == "blob":
        return base64.b64encode(value).decode()
    return value  # timestamps are kept as Unix seconds, which is rest-json's form


def _header_text(shape: Shape, value: Any) -> str:
    if shape.type_name == "timestamp":
        return format_datetime(datetime.fromtimestamp(value, UTC), usegmt=True)
    if shape.type_name == "boolean":
        return "true" if value else "false"
    return str(value)


def _broken_limits(shape: Shape, value: Any, where: str) -> Iterable[str]:
    """The broken rule of pattern, enumeration or upper limit; botocore checks the rest."""
    if shape.type_name == "structure":
        for key, item in value.items():
            yield from _broken_limits(shape.members[key], item, f"{where}.{key}".lstrip("."))
    elif shape.type_name == "list":
        yield from _too_many(shape, len(value), where)
        for item in value:
            yield from _broken_limits(shape.member, item, where)
    elif shape.type_name == "map":
        yield from _too_many(shape, len(value), where)
        for key, item in value.items():
            yield from _broken_limits(shape.key, key, where)
            yield from _broken_limits(shape.value, item, f"{where}.{key}")
    elif shape.type_name == "string":
        yield from _too_many(shape, len(value), where)
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed:
            yield f"{where}: {value!r} is none of {', '.join(allowed)}"
        pattern = shape.metadata.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            yield f"{where}: {value!r} does not match {pattern}"
    elif shape.type_name in ("integer", "long"):
        yield from _too_many(shape, value, where)


def _too_many(shape: Shape, amount: int, where: str) -> Iterable[str]:
    most = shape.metadata.get("max")
    if most is not None and amount > int(most):
        yield f"{where}: {amount} is more than {most}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the models, which are written for Java, in Python's terms."""
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)
