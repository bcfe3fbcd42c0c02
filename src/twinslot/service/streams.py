"""MQTT file streams: a request's topic and payload in, messages out.

Topics, keys and limits are AWS IoT's (developer guide, "MQTT-based file delivery"). A stream is
served to a thing only while an open execution of that thing names it. The database is not asked
and nothing is written per block: `access` knows who may read, and what was served is counted here
and flushed now and then.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cbor2

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service.access import Access, Grant
from twinslot.service.objects import ObjectFolder
from twinslot.service.rows.executions import Served
from twinslot.service.rows.streams import Stream, StreamFile
from twinslot.service.store import Store

SUBSCRIPTIONS = aws.subscriptions("streams")

_NAME = re.compile(aws.NAME)
_HEX = re.compile(r"0[xX]([0-9A-Fa-f]*)")


class StreamError(FleetError):
    """A request that the stream service rejects; `code` is the word of its answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """A message to publish."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Request:
    """The request in a topic: `operation` is get or describe, `form` cbor or json."""

    thing: str
    stream_id: str
    operation: str
    form: str

    def topic(self, kind: str) -> str:
        """The topic of an answer of this kind."""
        return aws.topic(self.thing, f"streams/{self.stream_id}/{kind}/{self.form}")


def concerns(topic: str) -> bool:
    """Whether a request's topic is this service's, not that of jobs."""
    return aws.of_thing(topic)[1][:1] == ["streams"]  # a thing or a job may be called so, too


def parse_topic(topic: str) -> Request:
    """Read a request topic. Raises StreamError InvalidTopic when nobody could be answered."""
    thing, levels = aws.of_thing(topic)
    match levels:
        case ["streams", stream_id, ("get" | "describe") as op, form]:
            if form in _FORMS and _NAME.fullmatch(thing) and _NAME.fullmatch(stream_id):
                return Request(thing, stream_id, op, form)
    raise StreamError("InvalidTopic", f"{topic} is no operation of the stream service")


def refuse(topic: str, code: str, message: str, token: Mapping[str, str] | None = None) -> Answer:
    """The rejection of the request that came by this topic. Raises StreamError as parse_topic."""
    request = parse_topic(topic)
    refusal = {"o": code, "m": message, **(token or {})}
    return Answer(request.topic("rejected"), _FORMS[request.form].dumps(refusal))


def token_of(topic: str, payload: bytes) -> dict[str, str]:
    """The client token of a request as answers echo it; nothing where none can be read."""
    try:
        return _Body(_FORMS[parse_topic(topic).form].loads(payload)).token()
    except StreamError:
        return {}


class Streams:
    """Answers the requests of devices."""

    def __init__(self, store: Store, access: Access, objects: ObjectFolder) -> None:
        self._store = store
        self._access = access
        self._objects = objects
        self._served: dict[int, Served] = {}
        self._served_lock = threading.Lock()

    def handle(self, topic: str, payload: bytes) -> list[Answer]:
        """The answers to one request: blocks, a description or a rejection.

        Raises StreamError only for a topic that no answer belongs to.
        """
        request = parse_topic(topic)
        form = _FORMS[request.form]
        token: dict[str, str] = {}
        try:
            body = _Body(form.loads(payload))
            token = body.token()
            if request.operation == "describe":
                return [Answer(request.topic("description"), self._describe(request, body, token))]
            return [
                Answer(request.topic("data"), form.dumps({**token, **block}))
                for block in self._blocks(request, body)
            ]
        except StreamError as error:
            return [refuse(topic, error.code, str(error), token)]

    def flush(self) -> None:
        """Write down what was served since the last time."""
        with self._served_lock:
            served, self._served = self._served, {}
        if served:
            with self._store.write() as transaction:
                transaction.add_served(served)

    def _describe(self, request: Request, body: "_Body", token: Mapping[str, str]) -> bytes:
        version = body.version()
        stream = self._granted(request).source.stream
        _check_version(stream, version)
        described: dict[str, Any] = {**token, "s": stream.version}
        if stream.description is not None:
            described["d"] = stream.description
        described["r"] = [{"f": file.file_id, "z": file.size} for file in stream.files]
        return _FORMS[request.form].dumps(described)

    def _blocks(self, request: Request, body: "_Body") -> list[dict[str, Any]]:
        window = _read_window(body)
        grant = self._granted(request)
        _check_version(grant.source.stream, body.version())
        file = _file(grant, window.file_id)
        sha256 = grant.source.objects.get(file.file_id)
        if sha256 is None:
            raise StreamError("ETagMismatch", "the object changed since the stream was made")
        size = window.block_size
        indexes = window.indexes(file.size)
        places = [(index * size, min(size, file.size - index * size)) for index in indexes]
        pieces = self._objects.pieces(sha256, places)
        self._count(grant.order, len(pieces), sum(places[-1]))
        return [
            {"f": window.file_id, "i": index, "l": len(piece), "p": piece}
            for index, piece in zip(indexes, pieces, strict=True)
        ]

    def _granted(self, request: Request) -> Grant:
        grant = self._access.grant(request.thing, request.stream_id)
        if grant is not None:
            return grant
        with self._store.read() as transaction:
            known = transaction.stream(request.stream_id) is not None
        if not known:
            raise StreamError("ResourceNotFound", f"no stream {request.stream_id}")
        raise StreamError(
            "Unauthorized", f"no open job of {request.thing} names the stream {request.stream_id}"
        )

    def _count(self, order: int, blocks: int, up_to: int) -> None:
        with self._served_lock:
            counted = self._served.get(order, Served(0, 0))
            self._served[order] = Served(counted.blocks + blocks, max(counted.up_to, up_to))


@dataclass(frozen=True)
class Window:
    """The blocks that a GetStream request asks for; sizes in bytes, the rest in blocks."""

    file_id: int
    block_size: int
    origin: int = 0
    count: int | None = None
    bitmap: bytes | None = None

    def indexes(self, file_size: int) -> list[int]:
        """The blocks to send, counted from the file's start, ascending.

        The bitmap's bits (least significant first, bit 0 is the origin), or all blocks from the
        origin on; cut to `count`, to MAX_PER_REQUEST, to the file's end. Raises StreamError when
        the origin lies behind the file, or nothing is asked for.
        """
        total = -(-file_size // self.block_size)
        if self.origin >= total:
            raise StreamError(
                "OffsetOutOfBounds", f"the file has {total} blocks of {self.block_size} bytes"
            )
        most = aws.MAX_PER_REQUEST // self.block_size
        if self.count is not None:
            most = min(most, self.count)
        indexes = list(islice(self._asked(total), most))
        if not indexes:
            raise StreamError("InvalidRequest", "the request asks for no block of the file")
        return indexes

    def _asked(self, total: int) -> Iterator[int]:
        if self.bitmap is None:
            yield from range(self.origin, total)
            return
        bits = int.from_bytes(self.bitmap, "little") & (1 << total - self.origin) - 1
        while bits:
            lowest = bits & -bits
            yield self.origin + lowest.bit_length() - 1
            bits ^= lowest


def _read_window(body: "_Body") -> Window:
    file_id = body.number("f", 0, 255)
    block_size = body.number("l", aws.MIN_BLOCK, aws.MAX_BLOCK, "BlockSizeOutOfBounds")
    origin = body.number("o", 0, aws.MAX_OFFSET, "OffsetOutOfBounds")
    count = body.number("n", 0, aws.MAX_COUNT, "BlockCountLimitExceeded")
    bitmap = body.bitmap()
    body.version()  # refused before it is known whether there is such a stream
    if file_id is None or block_size is None:
        raise StreamError("InvalidRequest", "file id (f) and block size (l) are required")
    return Window(file_id, block_size, origin or 0, count, bitmap)


def _check_version(stream: Stream, version: int | None) -> None:
    """Refuse another version than the stream's. 0 is taken: clients that fix it send that, or 1."""
    if version not in (None, 0, stream.version):
        raise StreamError("VersionMismatch", f"the stream has version {stream.version}")


def _file(grant: Grant, file_id: int) -> StreamFile:
    for file in grant.source.stream.files:
        if file.file_id == file_id:
            return file
    raise StreamError("ResourceNotFound", f"the stream has no file {file_id}")


class _Body:
    """Typed access to a request's map."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise StreamError("InvalidRequest", "the request is not a map")
        self._value = value

    def token(self) -> dict[str, str]:
        """The client token as answers echo it; nothing where there is none."""
        token = self._value.get("c")
        if token is None:
            return {}
        if not isinstance(token, str) or len(token.encode(errors="replace")) > aws.MAX_TOKEN:
            raise StreamError("InvalidRequest", f"c: text of at most {aws.MAX_TOKEN} bytes")
        return {"c": token}

    def number(self, key: str, least: int, most: int, code: str = "InvalidRequest") -> int | None:
        """A number within bounds, else a StreamError of this code."""
        value = self._value.get(key)
        if value is None:
            return None
        if type(value) is not int:
            raise StreamError("InvalidRequest", f"{key} is not a whole number")
        if not least <= value <= most:
            shown = value if abs(value) < 1 << 64 else "the number"
            raise StreamError(code, f"{key}: {shown} is not within {least} to {most}")
        return value

    def bitmap(self) -> bytes | None:
        """A byte string, or in JSON hexadecimal text such as "0x130080"."""
        value = self._value.get("b")
        if isinstance(value, str) and (text := _HEX.fullmatch(value)) and len(text[1]) % 2 == 0:
            value = bytes.fromhex(text[1])
        if value is not None and not isinstance(value, bytes):
            raise StreamError("InvalidRequest", "b is no bitmap")
        if value is not None and len(value) > aws.MAX_BITMAP:
            raise StreamError("BlockBitmapLimitExceeded", f"b: more than {aws.MAX_BITMAP} bytes")
        return value

    def version(self) -> int | None:
        """The stream's version that the request names, if it names one."""
        return self.number("s", 0, 65535)


@dataclass(frozen=True)
class _Form:
    """How messages of one form are read and written."""

    loads: Callable[[bytes], Any]
    dumps: Callable[[Mapping[str, Any]], bytes]


def _check_length(payload: bytes) -> None:
    """Long numbers take decoders time that grows with the square of their length."""
    if len(payload) > aws.MAX_REQUEST:
        raise StreamError("InvalidRequest", f"the request has more than {aws.MAX_REQUEST} bytes")


def _load_cbor(payload: bytes) -> Any:
    _check_length(payload)
    try:
        return cbor2.loads(payload)
    except (cbor2.CBORDecodeError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise StreamError("InvalidCbor", "the payload is not CBOR") from error


def _load_json(payload: bytes) -> Any:
    _check_length(payload)
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise StreamError("InvalidJson", "the payload is not JSON") from error


def _dump_cbor(message: Mapping[str, Any]) -> bytes:
    # AWS sends maps of indefinite length, and receivers of 2019 know the overhead to the byte.
    def dump(value: Any) -> bytes:
        if isinstance(value, dict):
            items = (cbor2.dumps(key) + dump(item) for key, item in value.items())
            return b"\xbf" + b"".join(items) + b"\xff"
        if isinstance(value, list):
            head = bytes([0x80 + len(value)] if len(value) < 24 else [0x98, len(value)])
            return head + b"".join(dump(item) for item in value)
        return cbor2.dumps(value)

    return dump(message)


def _dump_json(message: Mapping[str, Any]) -> bytes:
    def encode(value: bytes) -> str:
        return base64.b64encode(value).decode()

    return json.dumps(message, separators=(",", ":"), default=encode).encode()


_FORMS = {"cbor": _Form(_load_cbor, _dump_cbor), "json": _Form(_load_json, _dump_json)}
