"""The prologue of encoding 1: the window, the ranges of code and the table of shifts. Pure."""

import bisect
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from twinslot.errors import EncodingError

BITS = 12  # the prologue's own window is 2^BITS bytes
MIN_BITS, MAX_BITS = 9, 12
MAX_RANGES = 4
MAX_SHIFTS = 256
MAX_ADDRESS = 2**31  # the first that is none
MAX_BIAS = 2**24  # the first that is none

_RANGE = struct.Struct(">IIIi")
_SHIFT = struct.Struct(">Ii")
_FEWEST = 4  # bytes of a prologue
LONGEST = _FEWEST + MAX_RANGES * _RANGE.size + MAX_SHIFTS * _SHIFT.size


@dataclass(frozen=True)
class Code:
    """A range of the result that holds instructions.

    start, length: in the result, bytes; address: of `start`, when the code runs; bias: how much
    farther the base's address of a byte is from that byte's place than the result's.
    """

    start: int
    length: int
    address: int
    bias: int

    @property
    def end(self) -> int:
        """The position behind the range."""
        return self.start + self.length


@dataclass(frozen=True)
class Prologue:
    """The parts that every segment is decoded with. `bits`: window of the segments is 2^bits bytes.

    shifts: pairs of an address and how far everything from there on has moved, up to the next pair.
    """

    bits: int
    codes: tuple[Code, ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()

    @property
    def data(self) -> bytes:
        """The prologue's bytes."""
        parts = [bytes((self.bits, len(self.codes)))]
        parts += [_RANGE.pack(c.start, c.length, c.address, c.bias) for c in self.codes]
        parts.append(len(self.shifts).to_bytes(2, "big"))
        parts += [_SHIFT.pack(*entry) for entry in self.shifts]
        return b"".join(parts)


class Shifts:
    """S of the format: how far an address has moved from the base to the result."""

    def __init__(self, entries: Iterable[tuple[int, int]]) -> None:
        pairs = tuple(entries)
        self._from = [start for start, _ in pairs]
        self._by = [0, *(shift for _, shift in pairs)]

    @property
    def known(self) -> range:
        """The addresses from the first entry to the last; an empty range without entries."""
        return range(self._from[0], self._from[-1]) if self._from else range(0)

    def of(self, address: int) -> int:
        """How far this address has moved, in bytes."""
        return self._by[bisect.bisect_right(self._from, address)]


def read_prologue(data: bytes, size: int, *, codes: bool, shifts: bool) -> Prologue:
    """Read a prologue. size: of the result, bytes; codes, shifts: whether it may have any.

    Raises EncodingError, with the rule.
    """
    if len(data) < _FEWEST:
        raise EncodingError(f"the prologue has {len(data)} bytes, fewer than {_FEWEST}")
    bits, ranges = data[0], data[1]
    if not MIN_BITS <= bits <= MAX_BITS:
        raise EncodingError(f"prologue, bits: {bits} is not from {MIN_BITS} to {MAX_BITS}")
    if ranges > (MAX_RANGES if codes else 0):
        raise EncodingError(
            f"prologue, R: {ranges} ranges of code, at most {MAX_RANGES}"
            if codes
            else "prologue, R: only firmware of an Xtensa chip has ranges of code"
        )
    at = 2 + ranges * _RANGE.size
    entries = int.from_bytes(data[at : at + 2], "big")
    if len(data) != at + 2 + entries * _SHIFT.size:
        raise EncodingError(
            f"the prologue has {len(data)} bytes, not those of {ranges} ranges and {entries} shifts"
        )
    if entries > (MAX_SHIFTS if shifts else 0):
        raise EncodingError(
            f"prologue, M: {entries} shifts, at most {MAX_SHIFTS}"
            if shifts
            else "prologue, M: only firmware with a base has shifts"
        )
    prologue = Prologue(
        bits,
        tuple(Code(*found) for found in _RANGE.iter_unpack(data[2:at])),
        tuple(_SHIFT.iter_unpack(data[at + 2 :])),
    )
    _check_codes(prologue.codes, size)
    _check_shifts(prologue.shifts)
    return prologue


def _check_codes(codes: tuple[Code, ...], size: int) -> None:
    last = 0
    for number, code in enumerate(codes):
        name = f"prologue, range {number}"
        if code.start < last:
            raise EncodingError(f"{name}: begins before the one before it ends")
        if not code.length:
            raise EncodingError(f"{name}: has no bytes")
        if code.end > size:
            raise EncodingError(f"{name}: ends behind the result")
        if (code.start | code.length | code.address | code.bias) & 3:
            raise EncodingError(f"{name}: start, length, address and bias are multiples of 4")
        if code.address + code.length >= MAX_ADDRESS:
            raise EncodingError(f"{name}: its addresses are not below 2^31")
        if abs(code.bias) >= MAX_BIAS:
            raise EncodingError(f"{name}: the bias is not below 2^24")
        last = code.end


def _check_shifts(shifts: tuple[tuple[int, int], ...]) -> None:
    last = -1
    for number, (start, _) in enumerate(shifts):
        if not last < start < MAX_ADDRESS:
            raise EncodingError(f"prologue, shift {number}: addresses rise, and are below 2^31")
        last = start
    if shifts and shifts[-1][1]:
        raise EncodingError("prologue: the last shift is not 0")
