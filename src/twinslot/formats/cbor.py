"""Deterministic CBOR (RFC 8949 4.2.1): the only form the head of a package may have.

Items are written by cbor2, whose own canonical order of map keys is that of the older RFC 7049;
here they are put in order by their encoding first. Reading is done here, because a general decoder
accepts what a package must not contain and so would let two different byte strings mean the same
manifest.
"""

from typing import Any

import cbor2

from twinslot.errors import FleetError

MAX_DEPTH = 6  # arrays, maps and tags inside one another

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)


class CBORError(FleetError):
    """The bytes are not one deterministic CBOR item."""


class Tagged:
    """A tagged item: `tag` number and `value`."""

    def __init__(self, tag: int, value: Any) -> None:
        self.tag = tag
        self.value = value


def dumps(value: Any) -> bytes:
    """Encode deterministically, what `loads` reads: numbers, bytes, texts, lists and maps of them.

    Raises CBORError for anything else.
    """
    return bytes(cbor2.dumps(_in_order(value)))


def loads(data: bytes) -> Any:
    """Decode exactly one deterministic item.

    Returns int, bytes, str, list, dict or Tagged. Raises CBORError for indefinite lengths,
    duplicate or unsorted keys, keys other than numbers and texts, encodings longer than needed,
    trailing bytes, nesting deeper than MAX_DEPTH, floats, true, false, null, and anything that is
    cut short.
    """
    reader = _Reader(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise CBORError(f"{len(data) - reader.at} bytes follow the CBOR item")
    return value


def _in_order(value: Any) -> Any:
    """Return the same value, the keys of its maps in the order of their encoded bytes."""
    if isinstance(value, dict):
        for key in value:
            if type(key) not in (int, str):
                raise CBORError(f"map key {key!r} is neither a number nor a text")
        return {key: _in_order(value[key]) for key in sorted(value, key=cbor2.dumps)}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    if type(value) not in (int, bytes, str) or (
        isinstance(value, int) and not -(2**64) <= value < 2**64
    ):
        raise CBORError(f"{value!r} has no place in a package")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def item(self, depth: int) -> Any:
        major, argument = self._initial()
        if major == _UINT:
            return argument
        if major == _NINT:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            try:
                return self._take(argument).decode()
            except UnicodeDecodeError as error:
                raise CBORError(f"text before byte {self.at} is not UTF-8") from error
        if major == _SIMPLE:
            raise CBORError(f"simple value {argument} is not allowed")  # boards refuse them too
        if depth == MAX_DEPTH:
            raise CBORError(f"nested deeper than {MAX_DEPTH}")
        if major == _ARRAY:
            return [self.item(depth + 1) for _ in self._count(argument)]
        if major == _MAP:
            return self._map(argument, depth + 1)
        return Tagged(argument, self.item(depth + 1))

    def _map(self, pairs: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        last = b""
        for _ in self._count(pairs):
            start = self.at
            key = self.item(depth)
            encoded = self.data[start : self.at]
            if encoded <= last:
                raise CBORError(f"map key at byte {start} is a duplicate or out of order")
            if not isinstance(key, (int, str)):
                raise CBORError(f"map key at byte {start} is neither a number nor a text")
            last = encoded
            found[key] = self.item(depth)
        return found

    def _initial(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, information = first >> 5, first & 31
        if information < 24:
            return major, information
        if major == _SIMPLE:
            raise CBORError(f"floats and long simple values are not allowed (byte {self.at - 1})")
        if information > 27:
            raise CBORError(f"indefinite or reserved length at byte {self.at - 1}")
        size = 1 << (information - 24)
        argument = int.from_bytes(self._take(size), "big")
        if argument < (24 if size == 1 else 1 << (4 * size)):
            raise CBORError(f"number before byte {self.at} is encoded longer than needed")
        return major, argument

    def _count(self, items: int) -> range:
        # An item takes at least one byte, so a larger count is a lie: no loop is started for it.
        if items > len(self.data) - self.at:
            raise CBORError(f"cut short: {items} items announced at byte {self.at}")
        return range(items)

    def _take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise CBORError(f"cut short: {length} bytes announced at byte {self.at}")
        self.at += length
        return self.data[self.at - length : self.at]
