"""Addresses in copied and literal pieces: what moves with the image moves them, too. Pure.

Xtensa instructions have 24 or 16 bits (Instruction Set Architecture, narrow forms have a low nibble
from 8 to 13). CALL4, CALL8, CALL12 and L32R have a distance in words, which a copy changes when
either end has moved, and which repeats in literals once it is an absolute address.
"""

from collections.abc import Iterator

from twinslot.formats.segments.prologue import Code, Prologue, Shifts

_CALL, _L32R = 5, 1  # low nibbles
_CALL_BITS, _L32R_BITS = 18, 16
_ADDRESSES = (1 << 31) - 1


class Sweep:
    """The instructions of one block, found piece after piece.

    codes: of the prologue; position: of the block's first byte in the result.
    """

    def __init__(self, codes: tuple[Code, ...], position: int) -> None:
        self._codes = codes
        self._position = position
        self._at = 0

    def over(self, block: bytes | bytearray, start: int, end: int) -> Iterator[tuple[int, Code]]:
        """The whole instructions with a distance in the piece: place in the block, and range."""
        for code in self._codes:
            begin, stop = code.start - self._position, code.end - self._position
            if start >= end or begin >= end or stop <= start:
                continue
            at, stop = max(self._at, begin), min(end, stop)
            while at < stop:
                first = block[at]
                nibble = first & 15
                if 8 <= nibble <= 13:
                    at += 2
                    continue
                if at + 3 <= stop and (nibble == _L32R or (nibble == _CALL and first & 0x30)):
                    yield at, code
                at += 3
            self._at = at


class Addresses:
    """The changes that a board makes to the pieces of a result."""

    def __init__(self, prologue: Prologue) -> None:
        self._shifts = Shifts(prologue.shifts)
        self._known = self._shifts.known
        self._codes = prologue.codes

    def sweep(self, position: int) -> Sweep:
        """The sweep over the block at this position of the result."""
        return Sweep(self._codes, position)

    def literals(self, block: bytearray, start: int, end: int, position: int, sweep: Sweep) -> None:
        """Turn absolute addresses of a literal piece into distances, in place."""
        for at, code in sweep.over(block, start, end):
            move_field(block, at, -origin(block[at], code.address + position + at - code.start))

    def words(self, block: bytearray, start: int, end: int) -> None:
        """Move the addresses among the words of a copied piece, in place."""
        known = self._known
        if not known:
            return
        for at in range(-(-start // 4) * 4, end - 3, 4):
            word = int.from_bytes(block[at : at + 4], "little")
            if word in known:
                moved = (word + self._shifts.of(word)) & 0xFFFFFFFF
                block[at : at + 4] = moved.to_bytes(4, "little")

    def copied(
        self, block: bytearray, start: int, end: int, position: int, alignment: int, sweep: Sweep
    ) -> None:
        """Move words and instructions of a copied piece, in place.

        alignment: A of the format, source minus place.
        """
        if alignment % 4 == 0:
            self.words(block, start, end)
        for at, code in sweep.over(block, start, end):
            self.relocate(block, at, code, position, alignment)

    def relocate(
        self, block: bytearray, at: int, code: Code, position: int, alignment: int
    ) -> bool:
        """Move the distance of one copied instruction, in place. Say whether that changed it."""
        distance = alignment + code.bias
        if distance % 4:
            return False
        target = target_of(block, at, code.address + position + at - code.start + distance)
        by = (distance + self._shifts.of(target)) >> 2
        move_field(block, at, by)
        return by != 0


def origin(first: int, pc: int) -> int:
    """The word that an instruction's distance is counted from. first: its first byte."""
    return (pc + 3) >> 2 if first & 15 == _L32R else (pc >> 2) + 1


def steering(first: int) -> int:
    """The bits of an instruction's first byte that are no part of its distance."""
    return 0xFF if first & 15 == _L32R else 0x3F


def target_of(block: bytes | bytearray, at: int, pc: int) -> int:
    """The address that the instruction at this place names, if it runs at `pc`."""
    value = int.from_bytes(block[at : at + 3], "little")
    if value & 15 == _L32R:
        field = (value >> 8) - (1 << _L32R_BITS)
    else:
        field = value >> 6
        if field >> (_CALL_BITS - 1):
            field -= 1 << _CALL_BITS
    return (origin(value, pc) + field) << 2 & _ADDRESSES


def move_field(block: bytearray, at: int, by: int) -> None:
    """Add to the distance of the instruction at this place, in words."""
    value = int.from_bytes(block[at : at + 3], "little")
    low, bits = (8, _L32R_BITS) if value & 15 == _L32R else (6, _CALL_BITS)
    field = ((value >> low) + by) & ((1 << bits) - 1)
    block[at : at + 3] = (value & ((1 << low) - 1) | field << low).to_bytes(3, "little")
