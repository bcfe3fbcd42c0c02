"""The report of a board in its shadow `ota` (docs/reports.md), as far as it makes sense.

Whoever has a board's key writes what it likes there. So nothing is believed to be of its kind, or
short, or fit for a terminal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twinslot.formats import aws
from twinslot.text import printable

_LONGEST = 100  # characters of a text
_MOST = 2**63


@dataclass(frozen=True)
class Reported:
    """The report of a board; "" and None for what it does not say.

    at: when it was made (Unix seconds); room and spare in KB, heap in bytes; the rest as
    firmware/ota/report.py has it. Texts hold no control characters.
    """

    at: int
    version: str = ""
    sequence: int | None = None
    origin: str = ""
    result: str = ""
    cause: str = ""
    detail: str = ""
    agent: str = ""
    boot: str = ""
    chip: str = ""
    micropython: str = ""
    keys: int | None = None
    digest: str = ""
    created: int | None = None
    encodings: int | None = None
    image: str = ""
    files: str = ""
    room: int | None = None
    spare: int | None = None
    heap: int | None = None


_NUMBERS = ("sequence", "keys", "created", "encodings", "room", "spare", "heap")
_TEXTS = tuple(name for name in Reported.__dataclass_fields__ if name not in (*_NUMBERS, "at"))


def of_thing(data: Any, thing: str) -> Reported | None:
    """Return the report of a thing, None if it never sent one.

    data: a boto3 client of `iot-data`.
    """
    try:
        answer = data.get_thing_shadow(thingName=thing, shadowName=aws.SHADOW)
    except data.exceptions.ResourceNotFoundException:
        return None
    return read(answer["payload"].read())


def read(payload: bytes) -> Reported | None:
    """The report in a shadow's document, None where there is none."""
    try:
        return of_document(json.loads(payload))
    except (ValueError, RecursionError):
        return None


def of_document(document: Any) -> Reported | None:
    """The report in a shadow's document that is parsed already, None where there is none."""
    found = _inside(document, "state", "reported")
    if not found:
        return None
    values: dict[str, Any] = {name: _number(found.get(name)) for name in _NUMBERS}
    values |= {name: _text(found.get(name)) for name in _TEXTS}
    return Reported(_newest(_inside(document, "metadata", "reported")), **values)


def _inside(value: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _newest(stamps: Mapping[str, Any]) -> int:
    """When the newest of the values in a shadow's metadata was set."""
    times = [
        _number(stamp.get("timestamp")) for stamp in stamps.values() if isinstance(stamp, dict)
    ]
    return max((time for time in times if time is not None), default=0)


def _number(value: Any) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST
    return value if known else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return printable(value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "...")
