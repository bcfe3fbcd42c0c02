"""The service's HTTP side: signature, operation, answer; two listeners over one dispatch.

The control listener serves everything and belongs on 127.0.0.1; the data listener hands out
objects. Which service a request means is in the scope of its signature, as with AWS's SDKs.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from twinslot.config import Credentials
from twinslot.service import sigv4
from twinslot.service.codec import ApiError, Codec, HttpRequest, HttpResponse

MAX_BODY = 25 * 2**20  # bytes
EXTENSION = "/fleet/"
"""Below this path lies what AWS has no operation for."""

_METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
_log = logging.getLogger(__name__)


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

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The response to a request, whatever it is."""
        codec = next(iter(self._codecs.values()))  # until the signature says which service it is
        try:
            signed = sigv4.read(request)
            if signed.scope.service not in self._codecs:
                raise ApiError(
                    "UnknownServiceException", f"no service {signed.scope.service} is here", 404
                )
            codec = self._codecs[signed.scope.service]
            if signed.scope.access_key != self._credentials.access_key:
                raise ApiError("InvalidAccessKeyId", "the access key is not known", 403)
            sigv4.verify(request, signed, self._credentials.secret_key, self._region, self._clock())
            if request.path.startswith(EXTENSION) and not codec.xml:
                response = self._extension(request)
            else:
                response = self._call(codec, request)
        except ApiError as error:
            response = codec.error(error)
        except Exception:  # noqa: BLE001 - one failing request must not be the service's end
            _log.exception("failed: %s %s", request.method, request.path)
            response = codec.error(ApiError("InternalFailureException", "see the log", 500))
        if request.method == "HEAD":
            response.body = b""
        return response

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
        return codec.response(model, result.members, result.status)

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
            body = bytearray()
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_body:
                    return Response(f"more than {self._max_body} bytes", 413)
            asked = HttpRequest(
                method=request.method,
                path=request.scope["raw_path"].decode("latin-1"),
                query=request.scope["query_string"].decode("latin-1"),
                headers=dict(request.headers.items()),
                body=bytes(body),
            )
            response = await run_in_threadpool(self.handle, asked)
            if isinstance(response.body, bytes):
                return Response(response.body, response.status, response.headers)
            return StreamingResponse(response.body, response.status, response.headers)

        return Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])
