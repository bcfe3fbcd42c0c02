"""Addresses in a copied piece of an image, moved to where the new image has them. Pure.

Encoding 1 (docs/package-format.md, Addresses): words by a table of shifts, then the operands of
Xtensa's CALL and L32R in the code of the image. Addresses are kept as distances from the table's
first one, because they are above 2^30, which MicroPython on a chip keeps on the heap.
"""

from .compat import const

_CALL = const(0x3FFFF)  # of the operand of CALL4, CALL8 and CALL12; then of L32R
_L32R = const(0xFFFF)
_ADDRESSES = const(0x80000000)


class Shifts:
    """The table: from which address on which shift holds.

    entries: list of (address, shift), ascending; the last shift is 0.
    origin: a multiple of 4, from which distances count; low, high: distances of the first and the
    last entry, both 0 without a table.
    """

    def __init__(self, entries):
        self.origin = origin = entries[0][0] & ~3 if entries else 0
        self._froms = [entry[0] - origin for entry in entries]
        self._shifts = [entry[1] for entry in entries]
        self.low = self._froms[0] if entries else 0
        self.high = self._froms[-1] if entries else 0
        self._last = 0

    def of(self, distance):
        """Return the shift of the address at this distance, 0 outside of the table."""
        if distance < self.low or distance >= self.high:
            return 0
        froms, at = self._froms, self._last
        if not froms[at] <= distance < froms[at + 1]:
            at, end = 0, len(froms)
            while end - at > 1:
                middle = (at + end) // 2
                if froms[middle] <= distance:
                    at = middle
                else:
                    end = middle
            self._last = at
        return self._shifts[at]


def move_words(block, start, end, shifts):
    """Shift the little-endian words wholly between `start` and `end` that the table has.

    block: bytearray, whose multiples of 4 are those of the image; shifts: Shifts.
    """
    first = shifts.origin >> 24
    last = (shifts.origin + shifts.high) >> 24
    rest = shifts.origin & 0xFFFFFF
    low, high = shifts.low, shifts.high
    for at in range(((start + 3) & ~3) + 3, end, 4):
        top = block[at]  # mostly another one, and then the word is none
        if first <= top <= last:
            word = top - first << 24 | block[at - 1] << 16 | block[at - 2] << 8 | block[at - 3]
            if low <= word - rest < high:
                word += shifts.of(word - rest)
                block[at - 3] = word & 0xFF
                block[at - 2] = word >> 8 & 0xFF
                block[at - 1] = word >> 16 & 0xFF
                block[at] = (word >> 24) + first & 0xFF


def move_code(block, at, end, pc, delta, shifts):
    """Sweep the instructions from `at` on, wholly before `end`. Returns where the next one begins.

    pc: distance of the address of block[0] from the table's origin; delta: address of the source
    less that of the place, of a copied piece; None: of literals, whose operands are absolute.
    """
    absolute = delta is None
    changes = absolute or (not delta & 3 and (delta or shifts.high))
    origin = shifts.origin >> 2
    while at < end:
        low = block[at]
        kind = low & 15
        if 8 <= kind <= 13:
            at += 2
            continue
        call = kind == 5 and low & 0x30
        if changes and (call or kind == 1) and at + 3 <= end:
            value = block[at + 1] | block[at + 2] << 8
            if call:
                value = value << 2 | low >> 6
                place = (pc + at >> 2) + 1
            else:
                place = pc + at + 3 >> 2
            if absolute:
                step = -place - origin
            else:
                step = delta
                if shifts.high:
                    target = value - ((value & 0x20000) << 1 if call else 65536)
                    step += shifts.of(_within(place * 4 + delta + target * 4, shifts.origin))
                step >>= 2
            value += step
            if call:
                value &= _CALL
                block[at] = low & 0x3F | (value & 3) << 6
                value >>= 2
            else:
                value &= _L32R
            block[at + 1] = value & 0xFF
            block[at + 2] = value >> 8
        at += 3
    return at


def _within(distance, origin):
    """Return a distance as that of an address modulo 2^31."""
    if -origin <= distance < _ADDRESSES - origin:
        return distance
    return (distance + origin) % _ADDRESSES - origin
