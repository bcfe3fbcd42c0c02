"""The Device Shadow service: a thing's shadow `ota`, by MQTT and over HTTP.

Topics, shapes, limits and messages are AWS IoT's (developer guide, "Device Shadow service"). One
named shadow is served, in which a board says what it runs. What is sent on `delta` and `documents`
there is not sent here: no board of this project asks for it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import invalid, not_found
from twinslot.service.rows.shadows import Shadow
from twinslot.service.store import Store, Transaction

SUBSCRIPTIONS = aws.subscriptions("shadow")

BAD_REQUEST, NOT_FOUND, CONFLICT, TOO_LARGE = 400, 404, 409, 413
TOO_MANY_REQUESTS, INTERNAL_ERROR = 429, 500
_SECTIONS = ("desired", "reported")
_HTTP = {
    BAD_REQUEST: "InvalidRequestException",
    NOT_FOUND: "ResourceNotFoundException",
    CONFLICT: "ConflictException",
    TOO_LARGE: "RequestEntityTooLargeException",
}


class ShadowError(FleetError):
    """A request that the shadow service rejects; `code` is the number of its answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def concerns(topic: str) -> bool:
    """Whether a request's topic is this service's."""
    return aws.of_thing(topic)[1][:1] == ["shadow"]  # a thing or a job may be called so, too


class Shadows:
    """Answers the requests of devices and of operators. `clock` returns Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self.operations = {
            "GetThingShadow": Operation(self._get_thing_shadow, {"thingName", "shadowName"}),
            "UpdateThingShadow": Operation(
                self._update_thing_shadow, {"thingName", "shadowName", "payload"}
            ),
            "DeleteThingShadow": Operation(self._delete_thing_shadow, {"thingName", "shadowName"}),
            "ListNamedShadowsForThing": Operation(
                self._list_named_shadows, {"thingName", "pageSize", "nextToken"}
            ),
        }

    def answer(self, transaction: Transaction, topic: str, payload: bytes) -> None:
        """Do what a request asks, and send its answer. An operation is refused before it writes."""
        now = int(self._clock())
        token: dict[str, str] = {}
        thing, levels = aws.of_thing(topic)
        try:
            body = _parsed(payload)
            token = _token(body)
            _check_thing(transaction, thing)
            if levels[-1] == "update":
                answer = _update(transaction, thing, body, now)
            else:
                answer = document(_found(transaction, thing))
            transaction.send(f"{topic}/accepted", {**answer, "timestamp": now, **token})
        except ShadowError as error:
            rejection = {"code": error.code, "message": str(error), "timestamp": now, **token}
            transaction.send(f"{topic}/rejected", rejection)

    def _get_thing_shadow(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters.get("shadowName", "")
        with self._store.read() as transaction:
            shadow = transaction.shadow(parameters["thingName"]) if name == aws.SHADOW else None
        if shadow is None:
            raise not_found(f"No shadow exists with name: {name!r}")
        return self._payload(document(shadow))

    def _update_thing_shadow(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        _check_name(parameters)
        with self._store.write() as transaction, _as_http():
            body = _parsed(parameters["payload"])
            token = _token(body)
            _check_thing(transaction, thing)
            answer = _update(transaction, thing, body, int(self._clock()))
        return self._payload({**answer, **token})

    def _delete_thing_shadow(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        _check_name(parameters)
        with self._store.write() as transaction:
            shadow = transaction.shadow(thing)
            if shadow is None:
                raise not_found(f"No shadow exists with name: {aws.SHADOW!r}")
            transaction.delete_shadow(thing)
        return self._payload({"version": shadow.version})

    def _list_named_shadows(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        if "nextToken" in parameters:
            raise invalid("nextToken is none that this list gave: ask without it")
        with self._store.read() as transaction, _as_http():
            _check_thing(transaction, thing)
            found = transaction.shadow(thing)
        names = [] if found is None else [aws.SHADOW]
        return Result({"results": names, "timestamp": int(self._clock())})

    def _payload(self, answer: Mapping[str, Any]) -> Result:
        stamped = {**answer, "timestamp": int(self._clock())}
        return Result({"payload": json.dumps(stamped).encode()})


def token_of(payload: bytes) -> dict[str, str]:
    """The client token of a request as answers echo it; nothing where none can be read."""
    try:
        return _token(_parsed(payload))
    except ShadowError:
        return {}


def document(shadow: Shadow) -> dict[str, Any]:
    """A shadow as answers have it."""
    return {"state": shadow.state, "metadata": shadow.metadata, "version": shadow.version}


def merge(state: Any, stamps: Any, change: Any, now: int) -> tuple[Any, Any]:
    """Change a part of a state, and note of each value when it was set.

    A key that is null in `change` goes; what is not named stays. Returns the new state and its
    metadata, whose leaves are `{"timestamp": Unix seconds}`.
    """
    if isinstance(change, list):
        return change, [merge(None, None, item, now)[1] for item in change]
    if not isinstance(change, dict):
        return change, {"timestamp": now}
    values, times = (dict(state), dict(stamps)) if isinstance(state, dict) else ({}, {})
    for key, value in change.items():
        if value is None:
            values.pop(key, None)
            times.pop(key, None)
        else:
            values[key], times[key] = merge(values.get(key), times.get(key), value, now)
    return values, times


def _update(
    transaction: Transaction, thing: str, body: Mapping[str, Any], now: int
) -> dict[str, Any]:
    """Change the shadow, or make it. Returns what an answer says of it: the change alone."""
    change = _change(body)
    before = transaction.shadow(thing) or Shadow({}, {}, 0)
    expected = body.get("version")
    if expected is not None and (type(expected) is not int or not 0 <= expected < 2**63):
        raise ShadowError(BAD_REQUEST, "Invalid version")
    if expected is not None and expected != before.version:
        raise ShadowError(CONFLICT, "Version conflict")
    state, metadata = merge(before.state, before.metadata, change, now)
    if _size(state) > aws.MAX_SHADOW:
        raise ShadowError(TOO_LARGE, "The payload exceeds the maximum size allowed")
    transaction.save_shadow(thing, Shadow(state, metadata, before.version + 1))
    _, stamps = merge({}, {}, change, now)
    return {"state": change, "metadata": stamps, "version": before.version + 1}


def _check_thing(transaction: Transaction, thing: str) -> None:
    if transaction.thing(thing) is None:
        raise ShadowError(NOT_FOUND, "Thing not found")


def _check_name(parameters: Mapping[str, Any]) -> None:
    """Raise the error of HTTP for another shadow than the one that is here."""
    name = parameters.get("shadowName", "")
    if name != aws.SHADOW:
        raise invalid(f"shadow {name!r} is not implemented here, only {aws.SHADOW!r}")


@contextmanager
def _as_http() -> Iterator[None]:
    """A rejection as HTTP has it."""
    try:
        yield
    except ShadowError as error:
        raise ApiError(_HTTP[error.code], str(error), error.code) from error


def _found(transaction: Transaction, thing: str) -> Shadow:
    shadow = transaction.shadow(thing)
    if shadow is None:
        raise ShadowError(NOT_FOUND, f"No shadow exists with name: {aws.SHADOW!r}")
    return shadow


def _parsed(payload: bytes) -> dict[str, Any]:
    """The object of a request; an empty payload is an empty one. Raises ShadowError."""
    if len(payload) > aws.MAX_SHADOW:  # long numbers take time that grows with their length squared
        raise ShadowError(TOO_LARGE, "The payload exceeds the maximum size allowed")
    try:
        value = _JSON.decode(payload.decode() or "{}")
    except (ValueError, RecursionError) as error:
        raise ShadowError(BAD_REQUEST, "Invalid JSON") from error
    if not isinstance(value, dict):
        raise ShadowError(BAD_REQUEST, "Invalid JSON")
    return value


def _token(body: Mapping[str, Any]) -> dict[str, str]:
    """The client token as answers echo it; nothing where there is none. Raises ShadowError."""
    token = body.get("clientToken")
    if token is None:
        return {}
    if not isinstance(token, str) or len(token.encode(errors="replace")) > aws.MAX_TOKEN:
        raise ShadowError(BAD_REQUEST, "Invalid clientToken")
    return {"clientToken": token}


def _change(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes of an update, by section. Raises ShadowError."""
    if "state" not in body:
        raise ShadowError(BAD_REQUEST, "Missing required node: state")
    change = body["state"]
    if not isinstance(change, dict):
        raise ShadowError(BAD_REQUEST, "State node must be an object")
    for name, section in change.items():
        if name not in _SECTIONS:
            raise ShadowError(BAD_REQUEST, "State contains an invalid node")
        if section is not None and not isinstance(section, dict):
            raise ShadowError(BAD_REQUEST, f"{name.capitalize()} node must be an object")
        if _is_deeper(section, aws.MAX_SHADOW_DEPTH):
            message = f"JSON contains too many levels of nesting; maximum is {aws.MAX_SHADOW_DEPTH}"
            raise ShadowError(BAD_REQUEST, message)
    return change


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inside)


def _size(state: Any) -> int:
    """The bytes of a state document."""
    text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode(errors="surrogatepass"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)  # to make one costs more than to use it
