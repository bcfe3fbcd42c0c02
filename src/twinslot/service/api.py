"""The service's HTTP side: signature, operation, answer; two listeners over one dispatch.

The control listener serves everything and belongs on 127.0.0.1; the data listener hands out
objects. Which service a request means is in the scope of its signature, as with AWS's SDKs. A
signature that its head shows to be wrong is refused before the body is read.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from twinslot.config import Credentials
from twinslot.errors import FleetError
from twinslot.service import sigv4
from twinslot.service.codec import ApiError, Codec, HttpRequest, HttpResponse
from twinslot.service.listener import LateError

MAX_BODY = 25 * 2**20  # bytes
MAX_STRANGE_BODY = 2**19  # bytes of a body that is read before its signature can be checked
EXTENSION = "/fleet/"
"""Below this path lies what AWS has no operation for."""

_NO_STORAGE = 507  # RFC 4918 11.5; clients of AWS do not ask again at once
_CLOSE = {"connection": "close"}  # where a body is left unread
_METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
_log = logging.getLogger(__name__)


class Connection(Protocol):
    """A connection, as its listener shows it to the application: `scope["state"]["connection"]`."""

    def recognize(self) -> None:
        """Note that the request is signed by somebody who is known."""


@dataclass(frozen=True)
class Result:
    """The result of an operation: output members, and a status other than the model's."""

    members: Mapping[str, Any]
    status: int | None = None


@dataclass(frozen=True)
class Operation:
    """An implemented operation, and the parameters that it does not ignore."""

    call: Callable[[Mapping[str, Any]], Result]
    parameters: Iterable[str]
    root: str = ""
    """The name of the root of an answer in XML, where it has a body."""


class Api:
    """Answers HTTP requests.

    `operations` by service and name; `extensions` by method and first word, as "GET served".
    """

    def __init__(
        self,
        operations: Mapping[str, Mapping[str, Operation]],
        extensions: Mapping[str, Callable[[str], Mapping[str, Any]]],
        *,
        credentials: Credentials,
        region: str,
        clock: Callable[[], float],
        max_body: int = MAX_BODY,
    ) -> None:
        """`clock` returns Unix seconds; `max_body` in bytes: 0 where nobody sends anything."""
        self._max_body = max_body
        self._operations = operations
        self._extensions = extensions
        self._credentials = credentials
        self._region = region
        self._clock = clock
        self._codecs = {
            codec.model.signing_name: codec for codec in (Codec(name) for name in operations)
        }

    def handle(
        self, request: HttpRequest, recognized: Callable[[], object] = lambda: None
    ) -> HttpResponse:
        """The response to a request, whatever it is. recognized: called if its signature holds."""
        codec = next(iter(self._codecs.values()))  # until the signature says which service it is
        try:
            signed = sigv4.read(request)
            codec = self._codec(signed)
            self._verify(request, signed, sigv4.verify)
            recognized()
            if request.path.startswith(EXTENSION) and not codec.xml:
                response = self._extension(request)
            else:
                response = self._call(codec, request)
        except ApiError as error:
            response = codec.error(error)
        except FleetError as error:  # of a disk or a database, which may have room again
            _log.error("failed: %s %s: %s", request.method, request.path, error)
            response = codec.error(ApiError("InsufficientStorage", str(error), _NO_STORAGE))
        except Exception:  # noqa: BLE001 - one failing request must not be the service's end
            _log.exception("failed: %s %s", request.method, request.path)
            response = codec.error(ApiError("InternalFailureException", "see the log", 500))
        if request.method == "HEAD":
            response.body = b""
        return response

    def _recognizes(self, head: HttpRequest) -> bool:
        """Whether the head alone shows that a request is signed; False: only its body can.

        Raises ApiError for a signature that is wrong, or not there.
        """
        signed = sigv4.read(head)
        self._codec(signed)
        if not sigv4.names_body(head, signed):
            return False
        self._verify(head, signed, sigv4.verify_head)
        return True

    def _codec(self, signed: sigv4.Signed) -> Codec:
        codec = self._codecs.get(signed.scope.service)
        if codec is None:
            raise ApiError(
                "UnknownServiceException", f"no service {signed.scope.service} is here", 404
            )
        return codec

    def _verify(
        self, request: HttpRequest, signed: sigv4.Signed, check: Callable[..., None]
    ) -> None:
        if signed.scope.access_key != self._credentials.access_key:
            raise ApiError("InvalidAccessKeyId", "the access key is not known", 403)
        check(request, signed, self._credentials.secret_key, self._region, self._clock())

    def _call(self, codec: Codec, request: HttpRequest) -> HttpResponse:
        model = codec.match(request)
        operation = self._operations[codec.model.service_name].get(model.name)
        if operation is None:
            raise ApiError("NotImplemented", f"{model.name} is not implemented here", 501)
        parameters = codec.parse(model, request)
        unknown = sorted(parameters.keys() - set(operation.parameters))
        if unknown:
            raise codec.invalid(f"{model.name}: {', '.join(unknown)} is not implemented here")
        result = operation.call(parameters)
        return codec.response(model, result.members, result.status, operation.root)

    def _extension(self, request: HttpRequest) -> HttpResponse:
        name, _, rest = request.path.removeprefix(EXTENSION).partition("/")
        extension = self._extensions.get(f"{request.method} {name}")
        if extension is None:
            raise ApiError("UnknownOperationException", f"nothing is at {request.path}", 404)
        body = json.dumps(extension(unquote(rest))).encode()
        return HttpResponse(200, {"content-type": "application/json"}, body)

    def application(self) -> Starlette:
        """The ASGI application of one listener."""

        async def answer(request: Request) -> Response:
            head = HttpRequest(
                method=request.method,
                path=request.scope["raw_path"].decode("latin-1"),
                query=request.scope["query_string"].decode("latin-1"),
                headers=dict(request.headers.items()),
                body=b"",
            )
            connection: Connection = request.state.connection
            refused = False
            most = min(MAX_STRANGE_BODY, self._max_body)
            try:
                if self._recognizes(head):
                    connection.recognize()
                    most = self._max_body
            except ApiError:
                refused = True  # `handle` says why; a small body is read, so that the peer listens
            try:
                body = await _body(request, most)
            except _TooLongError:
                if refused and self._max_body:
                    return _response(self.handle(head), _CLOSE)
                return Response(f"more than {most} bytes", 413, _CLOSE)
            except LateError as error:
                return Response(str(error), 408, _CLOSE)
            except ClientDisconnect:
                _log.warning("a peer hung up in mid-body: %s %a", head.method, head.path)
                return Response(status_code=400)  # to nobody
            tell = partial(asyncio.get_running_loop().call_soon_threadsafe, connection.recognize)
            return _response(await run_in_threadpool(self.handle, replace(head, body=body), tell))

        return Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])


class _TooLongError(FleetError):
    """A body is longer than it may be."""


async def _body(request: Request, most: int) -> bytes:
    """Read a body of at most so many bytes. Raises _TooLongError, LateError, ClientDisconnect."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise _TooLongError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _TooLongError
    return bytes(body)


def _response(found: HttpResponse, headers: Mapping[str, str] | None = None) -> Response:
    headers = {**found.headers, **(headers or {})}
    if isinstance(found.body, bytes):
        return Response(found.body, found.status, headers)
    return StreamingResponse(found.body, found.status, headers)
