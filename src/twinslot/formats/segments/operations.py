"""The operations of a block of encoding 1: place literals, copy from the base. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twinslot.errors import EncodingError
from twinslot.formats import mqtt

_MOST_PLACED = 3  # bytes of a number that is added to n or m
_MOST_MOVED = 4  # bytes of z
_N, _M = 7, 15  # values of n and m that a number follows


@dataclass(frozen=True)
class Operation:
    """Move the alignment by `move`, place `literals` bytes, then copy `copied` bytes."""

    literals: int
    copied: int
    move: int = 0


def written(operations: Iterable[Operation]) -> bytes:
    """Return the bytes of operations."""
    out = bytearray()
    for one in operations:
        n, m = min(one.literals, _N), min(one.copied, _M)
        out.append((one.move != 0) << 7 | n << 4 | m)
        if n == _N:
            out += mqtt.variable(one.literals - _N)
        if m == _M:
            out += mqtt.variable(one.copied - _M)
        if one.move:
            out += mqtt.variable(2 * one.move if one.move > 0 else -2 * one.move - 1)
    return bytes(out)


def read(data: bytes) -> Iterator[Operation]:
    """Read operations. Raises EncodingError for a number that is cut or too long."""
    at = 0
    while at < len(data):
        code = data[at]
        at += 1
        n, m, move = code >> 4 & 7, code & 15, 0
        if n == _N:
            more, at = _read_number(data, at, _MOST_PLACED)
            n += more
        if m == _M:
            more, at = _read_number(data, at, _MOST_PLACED)
            m += more
        if code & 0x80:
            z, at = _read_number(data, at, _MOST_MOVED)
            move = z >> 1 if z & 1 == 0 else -((z + 1) >> 1)
        yield Operation(n, m, move)


def _read_number(data: bytes, at: int, most: int) -> tuple[int, int]:
    """The number at this offset, and the offset behind it."""
    value = 0
    for place in range(most):
        if at + place >= len(data):
            raise EncodingError("the operations end within a number")
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise EncodingError(f"the operations have a number of more than {most} bytes")
