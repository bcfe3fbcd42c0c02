"""The decoder of encoding 1: payload and base become the result, block by block. Pure.

docs/package-format.md (Segments) has the bytes. Without a base the encoding is compression, with
one it is a delta. A segment gives 64 KB, and needs the prologue and the base, but no other one.

Memory: a block of the result, 1 KB of operations, and the window of the stream, which MicroPython
makes again for each segment.
"""

import gc

import deflate

from . import addresses
from .compat import const
from .payload import AHEAD, PAYLOAD, refused

BLOCK = const(4096)
SEGMENT = const(65536)

_OPERATIONS = const(1024)  # bytes
_RANGES = const(4)
_SHIFTS = const(256)
_ADDRESSES = const(0x80000000)
_BIAS = const(0x1000000)
_PROLOGUE_BITS = const(12)
# Inflated bytes take 15 bits each at most, and two tables of codes of so many bytes.
_CODES = const(1138)
_RUN_OUT = "a stream is damaged, or takes more bytes than it may"


class Prologue:
    """What holds for all segments.

    data: bytes as they were inflated, kept until nobody needs them; size: of the result; based:
    whether there is a base; words: whether it is an image; code: of an Xtensa chip. Raises
    PackageError.
    """

    def __init__(self, data, size, based, words, code):
        self.data = data
        self.bits, count = data[0], data[1]
        self.ranges = []
        if not 9 <= self.bits <= 12 or count > (_RANGES if code else 0):
            raise refused("the prologue has %d bits and %d ranges" % (self.bits, count))
        at, before = 2, 0
        for _ in range(count):
            start, length, address, bias = [_word(data, at + 4 * i) for i in range(4)]
            bias = _signed(bias)
            bad = start < before or not length or start + length > size
            bad = bad or address + length >= _ADDRESSES or not -_BIAS < bias < _BIAS
            if bad or (start | length | address | bias) & 3:
                raise refused("the prologue has an impossible range of code at %d" % start)
            before = start + length
            self.ranges.append((start, before, address - start, bias))
            at += 16
        count = data[at] << 8 | data[at + 1]
        if count > (_SHIFTS if based and words else 0):
            raise refused("the prologue has %d shifts" % count)
        entries = []
        before = -1
        for i in range(at + 2, at + 2 + 8 * count, 8):
            address, shift = _word(data, i), _signed(_word(data, i + 4))
            if not before < address < _ADDRESSES:
                raise refused("the prologue's shifts are out of order at %d" % address)
            before = address
            entries.append((address, shift))
        if entries and entries[-1][1]:
            raise refused("the prologue's last shift is not 0")
        self.shifts = addresses.Shifts(entries)


class Decoder:
    """A result of `size` bytes.

    payload: payload.Payload, at the prologue or at the border of a segment; base: has `size` and
    `read(position, view)`, None without one; words, code: as of a Prologue; prologue: Prologue,
    None while it has not come.
    block: bytes of the result (memoryview), from `position` on, `count` of them; at_border: whether
    a segment ends with them.
    """

    def __init__(self, size, payload, base, words, code, prologue=None):
        self._result = bytearray(BLOCK)
        self._view = self.block = memoryview(self._result)
        self.position = self.count = 0
        self.at_border = True
        self.prologue = prologue
        self._size = size
        self._kind = size, base is not None, words, code
        self._payload = payload
        self._base = base
        self._operations = bytearray(_OPERATIONS)
        self._head = memoryview(bytearray(4))
        self._stream = None
        self._stop = 0  # where the stream ends in the payload
        self._at = 0  # of the operation that is read

    def decoding(self, segment):
        """Decode from this segment on. A generator: yields True for each block of the result.

        It yields False where payload is missing: all but `AHEAD` bytes are read. Raises
        PackageError, what the base raises, MemoryError.
        """
        if self.prologue is None:
            yield from self._beginning(_PROLOGUE_BITS)
            yield from self._read_prologue()
        self.position = position = segment * SEGMENT
        view, head = self._view, self._head
        while position < self._size:
            yield from self._beginning(self.prologue.bits)
            alignment = 0
            end = min(self._size, position + SEGMENT)
            while position < end:
                self.count = count = min(BLOCK, end - position)
                yield from self._filling(head)
                length = head[0] << 8 | head[1]
                literals = head[2] << 8 | head[3]
                if not 1 <= length <= _OPERATIONS or literals > count:
                    raise refused("block %d has impossible lengths" % (position // BLOCK))
                yield from self._filling(memoryview(self._operations)[:length])
                place = self._at = 0
                cursor = 0
                while self._at < length:
                    byte = self._operations[self._at]
                    self._at += 1
                    new, old = byte >> 4 & 7, byte & 15
                    if new == 7:
                        new += self._number(length, 3)
                    if old == 15:
                        old += self._number(length, 3)
                    if byte & 0x80:
                        moved = self._number(length, 4)
                        alignment += -(moved + 1 >> 1) if moved & 1 else moved >> 1
                    if new > literals or place + new + old > count:
                        raise refused("an operation of block %d is too long" % (position // BLOCK))
                    if new:
                        literals -= new
                        piece = view[place : place + new]
                        if self._runs(new) == new:
                            self._inflate(piece)
                        else:
                            yield from self._filling(piece)
                        cursor = self._moved(position, place, place + new, cursor, None)
                        place += new
                    if old:
                        source = position + place + alignment
                        base = self._base
                        if base is None or source < 0 or source + old > base.size:
                            raise refused("a copy reaches out of the base at %d" % source)
                        base.read(source, view[place : place + old])
                        if not alignment & 3 and self.prologue.shifts.high:
                            addresses.move_words(
                                self._result, place, place + old, self.prologue.shifts
                            )
                        cursor = self._moved(position, place, place + old, cursor, alignment)
                        place += old
                if place != count or literals:
                    raise refused("block %d is not filled" % (position // BLOCK))
                position += count
                if position == end:
                    self._end()
                self.at_border = position == end
                self.block = view if count == BLOCK else view[:count]
                yield True
                self.position = position
        self._payload.finish()

    def _moved(self, position, start, end, cursor, alignment):
        """Sweep the code of a piece. Returns where its next instruction begins."""
        for first, last, address, bias in self.prologue.ranges:
            first -= position
            last = min(last - position, end)
            if first < end and last > start:
                delta = None if alignment is None else alignment + bias
                shifts = self.prologue.shifts
                pc = address + position - shifts.origin
                cursor = addresses.move_code(
                    self._result, max(cursor, first), last, pc, delta, shifts
                )
        return cursor

    def _number(self, end, most):
        """Return the number in the operations, of at most so many bytes."""
        number = shift = 0
        while True:
            if self._at == end or shift == 7 * most:
                raise refused("a number is too long")
            byte = self._operations[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _beginning(self, bits):
        """Begin with the next stream. A generator, as `decoding`."""
        self._stream = None
        gc.collect()  # the window of the last one
        payload, head = self._payload, self._head
        while payload.left < 4:
            yield False
        payload.stream.readinto(head)
        self._stop = payload.position + _word(head, 0)
        if self._stop > payload.length:
            raise refused("a stream is longer than what is stored")
        if self.prologue is None and self._stop > PAYLOAD:
            raise refused("the prologue does not end in the first stored block")
        self._stream = deflate.DeflateIO(payload.stream, deflate.RAW, bits)

    def _filling(self, view):
        """Inflate as many bytes as `view` has. A generator, as `decoding`."""
        at, length = 0, len(view)
        while at < length:
            count = self._runs(length - at)
            while not count:
                yield False
                count = self._runs(length - at)
            if at or count < length:
                self._inflate(view[at : at + count])
            else:
                self._inflate(view)
            at += count

    def _runs(self, wanted):
        """Return how many bytes may be inflated with what is here, 0 for none."""
        payload = self._payload
        left = payload.left
        if payload.position + left >= self._stop:
            return wanted
        if left < AHEAD:
            return 0
        return min(wanted, (left - _CODES) * 8 // 15)

    def _inflate(self, view):
        try:
            if self._stream.readinto(view) == len(view):
                return
        except (EOFError, OSError):
            pass
        raise refused(_RUN_OUT)

    def _end(self):
        """Check that the stream ends here, at its length."""
        try:
            ends = not self._stream.read(1)
        except (EOFError, OSError):
            ends = False
        if not ends or self._payload.position != self._stop:
            raise refused("a stream does not end where it should")

    def _read_prologue(self):
        """Read the prologue, which is whole in the first stored block. A generator."""
        data = bytearray()
        yield from self._more(data, 2)
        yield from self._more(data, 16 * data[1] + 2)
        yield from self._more(data, 8 * (data[-2] << 8 | data[-1]))
        self._end()
        self.prologue = Prologue(data, *self._kind)

    def _more(self, data, count):
        if count > 8 * _SHIFTS:
            raise refused("the prologue is too long")
        more = bytearray(count)
        yield from self._filling(memoryview(more))
        data.extend(more)


def _word(data, at):
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def _signed(word):
    return word - ((word & 0x80000000) << 1)
