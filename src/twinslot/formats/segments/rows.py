"""The rows of a segment: which bytes of each block are copied, and which are literal. Pure.

A row is made from what copies would give, and checked by what the decoder makes of it: a byte that
comes out wrong becomes a literal, until none does.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from twinslot.formats.segments import operations
from twinslot.formats.segments.addresses import Addresses, move_field, origin, steering
from twinslot.formats.segments.chain import BLOCK
from twinslot.formats.segments.decoder import MAX_OPERATIONS, Row, block_of
from twinslot.formats.segments.matching import Region
from twinslot.formats.segments.operations import Operation

_SHORTEST = 3  # bytes that are worth a copy at the alignment that holds
_ELSEWHERE = 4  # so many more at another one

Mask = npt.NDArray[np.bool_]


class Rows:
    """Makes the rows of one result. regions: where its bytes lie in the base, in order."""

    def __init__(
        self, result: bytes, base: bytes | None, regions: Sequence[Region], addresses: Addresses
    ) -> None:
        self._result = result
        self._base = base
        self._regions = regions
        self._addresses = addresses
        self._number = 0  # of the region in which the next block begins

    def segment(self, start: int, end: int) -> bytes:
        """The rows of the result from start to end, which is a whole segment."""
        rows, alignment = [], 0
        for position in range(start, end, BLOCK):
            wanted = self._result[position : min(position + BLOCK, end)]
            row, alignment = self._block(position, wanted, alignment)
            rows.append(row.data)
        return b"".join(rows)

    def _block(self, position: int, wanted: bytes, before: int) -> tuple[Row, int]:
        """The row of one block, and the alignment behind it. before: the alignment ahead of it."""
        pieces = list(self._pieces(position, len(wanted)))
        literal = self._missed(wanted, pieces, position)
        shortest = _SHORTEST
        while True:
            copies = list(_copies(pieces, literal, before, shortest))
            row = self._row(wanted, copies, position, before)
            if len(row.operations) > MAX_OPERATIONS:
                shortest *= 2
                continue
            got, alignment = block_of(row, before, self._base, self._addresses)
            if got == wanted:
                return row, alignment
            literal |= np.frombuffer(got, np.uint8) != np.frombuffer(wanted, np.uint8)

    def _pieces(self, position: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Start, end and alignment of what this block can copy; places count from its begin."""
        end, limit = position + size, len(self._base or b"")
        while self._number < len(self._regions) and self._regions[self._number].end <= position:
            self._number += 1
        for one in self._regions[self._number :]:
            if one.start >= end:
                break
            if one.alignment is not None:
                low = max(one.start, position, -one.alignment)
                high = min(one.end, end, limit - one.alignment)
                if low < high:
                    yield low - position, high - position, one.alignment

    def _missed(self, wanted: bytes, pieces: list[tuple[int, int, int]], position: int) -> Mask:
        """The bytes that no copy gives.

        Of a word or an instruction that copies change, all bytes: a part of it would not change.
        """
        made = bytearray(wanted)
        literal = np.ones(len(wanted), bool)
        changed: list[tuple[int, int]] = []
        sweep = self._addresses.sweep(position)
        at = 0
        for start, end, alignment in pieces:
            for _ in sweep.over(wanted, at, start):
                pass  # the sweep goes on over what is literal
            source = position + start + alignment
            raw = (self._base or b"")[source : source + end - start]
            made[start:end] = raw
            if alignment % 4 == 0:
                self._addresses.words(made, start, end)
                changed += _words(raw, bytes(made[start:end]), start)
            for place, code in sweep.over(wanted, start, end):
                mask = steering(wanted[place])
                if (made[place] ^ wanted[place]) & mask == 0 and self._addresses.relocate(
                    made, place, code, position, alignment
                ):
                    changed.append((place, place + 3))
            literal[start:end] = False
            at = end
        literal |= np.frombuffer(bytes(made), np.uint8) != np.frombuffer(wanted, np.uint8)
        for start, end in changed:
            if literal[start:end].any():
                literal[start:end] = True
        return literal

    def _row(
        self, wanted: bytes, copies: list[tuple[int, int, int]], position: int, before: int
    ) -> Row:
        """The row with these copies, and literals between them."""
        stored = bytearray(wanted)
        literals, made = [], []
        sweep = self._addresses.sweep(position)
        at, alignment = 0, before
        for start, end, wished in [*copies, (len(wanted), len(wanted), None)]:
            for place, code in sweep.over(wanted, at, start):
                pc = code.address + position + place - code.start
                move_field(stored, place, origin(wanted[place], pc))
            for _ in sweep.over(wanted, start, end):
                pass
            literals.append(stored[at:start])
            if wished is not None:
                made.append(Operation(start - at, end - start, wished - alignment))
                alignment = wished
            elif start > at:
                made.append(Operation(start - at, 0))
            at = end
        return Row(position, len(wanted), operations.written(made), b"".join(literals))


def _words(raw: bytes, made: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the words that differ. start: place of the first byte."""
    places = np.flatnonzero(np.frombuffer(raw, np.uint8) != np.frombuffer(made, np.uint8))
    for word in np.unique((places + start) // 4).tolist():
        yield 4 * word, 4 * word + 4


def _copies(
    pieces: list[tuple[int, int, int]], literal: Mask, before: int, shortest: int
) -> Iterator[tuple[int, int, int]]:
    """Start, end and alignment of the runs without a literal that are worth a copy."""
    for start, end, alignment in pieces:
        edges = np.flatnonzero(np.diff(np.concatenate(([True], literal[start:end], [True]))))
        for low, high in edges.reshape(-1, 2).tolist():
            if high - low >= shortest + (_ELSEWHERE if alignment != before else 0):
                yield start + low, start + high, alignment
                before = alignment
