"""Encoded components of these tests: a plain encoder of encoding 1, and what its rules say.

It follows docs/package-format.md by the letter, in big numbers and without any haste, and shares no
code with the board. Its streams are stored, not compressed, so that any interpreter makes them.
"""

from hashlib import sha256

BLOCK = 4096
PAYLOAD = 4064
SEGMENT = 65536


def stored(data):
    """Return a raw deflate stream of stored blocks (RFC 1951, 3.2.4)."""
    out = bytearray()
    at = 0
    while True:
        piece = data[at : at + 1000]
        at += len(piece)
        last = at >= len(data)
        out.append(1 if last else 0)
        out.extend(len(piece).to_bytes(2, "little"))
        out.extend((0xFFFF - len(piece)).to_bytes(2, "little"))
        out.extend(piece)
        if last:
            return bytes(out)


def stream(data, deflated=stored):
    """Return a stream with its length."""
    packed = deflated(bytes(data))
    return len(packed).to_bytes(4, "big") + packed


def number(value):
    """Return a number of the operations."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def operation(new, old, moved=0):
    """Return one operation: lengths of literals and copy, by how much the alignment moves."""
    first = 0x80 * (moved != 0) | min(new, 7) << 4 | min(old, 15)
    out = bytes([first])
    if new >= 7:
        out += number(new - 7)
    if old >= 15:
        out += number(old - 15)
    if moved:
        out += number(2 * moved if moved > 0 else -2 * moved - 1)
    return out


def prologue(bits=12, ranges=(), shifts=()):
    """Return the prologue. ranges: (start, length, address, bias); shifts: (from, shift)."""
    out = bytes([bits, len(ranges)])
    for row in ranges:
        for value in row:
            out += (value & 0xFFFFFFFF).to_bytes(4, "big")
    out += len(shifts).to_bytes(2, "big")
    for row in shifts:
        for value in row:
            out += (value & 0xFFFFFFFF).to_bytes(4, "big")
    return out


def chained(payload):
    """Return (stored blocks, hash of the first) of a payload."""
    payload = bytes(payload)
    count = (len(payload) + PAYLOAD - 1) // PAYLOAD
    payload += b"\xff" * (count * PAYLOAD - len(payload))
    digest = bytes(32)
    blocks = []
    for at in range(count - 1, -1, -1):
        block = payload[at * PAYLOAD : (at + 1) * PAYLOAD] + digest
        digest = sha256(block).digest()
        blocks.insert(0, block)
    return b"".join(blocks), digest


class Encoder:
    """Encodes `result`, over `base` where there is one.

    ranges, shifts: of the prologue; alignments: which ones are tried for copies, near which a piece
    of `least` bytes that are equal after all changes is copied; deflated: makes a raw stream.
    """

    def __init__(self, result, base=b"", **options):
        self.result = bytes(result)
        self.base = bytes(base)
        self.bits = options.get("bits", 12)
        self.ranges = options.get("ranges", ())
        self.shifts = options.get("shifts", ())
        self.alignments = options.get("alignments", (0,) if base else ())
        self.least = options.get("least", 64)
        self.deflated = options.get("deflated", stored)

    def payload(self):
        """Return the payload."""
        out = bytearray(stream(prologue(self.bits, self.ranges, self.shifts), self.deflated))
        self.borders = []  # where in the payload a segment begins
        for at in range(0, len(self.result), SEGMENT):
            self.borders.append(len(out))
            out += stream(self.segment(at, self.result[at : at + SEGMENT]), self.deflated)
        return out

    def blocks(self):
        """Return (stored blocks, hash of the first)."""
        return chained(self.payload())

    def segment(self, position, data):
        """Return the row of result blocks of a segment."""
        out = bytearray()
        self._alignment = 0
        for at in range(0, len(data), BLOCK):
            out += self._block(position + at, data[at : at + BLOCK])
        return out

    def _block(self, position, data):
        operations, literals = bytearray(), bytearray()
        place = cursor = new = 0
        while place < len(data):
            size, alignment = self._copy(position, data, place - new, place, cursor)
            if len(operations) > 900:
                size = 0
            if not size:
                size = min(256, len(data) - place)
                new += size
                place += size
                continue
            cursor = self._literals(position, data, place - new, place, cursor, literals)
            operations += operation(new, size, alignment - self._alignment)
            self._alignment = alignment
            piece = self._copied(position, place, size, alignment)
            cursor, _ = swept(self, position, piece, place, cursor, alignment)
            place += size
            new = 0
        if new:
            self._literals(position, data, place - new, place, cursor, literals)
            operations += operation(new, 0)
        return (
            len(operations).to_bytes(2, "big")
            + len(literals).to_bytes(2, "big")
            + operations
            + literals
        )

    def _literals(self, position, data, start, end, cursor, out):
        """Add literals in the form that the board changes back. Returns the cursor behind them."""
        after, piece = swept(self, position, data[start:end], start, cursor, None, back=True)
        out.extend(piece)
        return after

    def _copied(self, position, place, size, alignment):
        source = position + place + alignment
        piece = self.base[source : source + size]
        if alignment % 4 == 0:
            piece = words_moved(self.shifts, piece, place)
        return piece

    def _copy(self, position, data, start, place, cursor):
        """Return (bytes, alignment) of a copy that gives what it should, else zeros."""
        _, moved = swept(self, position, data[start:place], start, cursor, None, back=True)
        begin, _ = swept(self, position, moved, start, cursor, None)
        for alignment in self.alignments:
            size = len(data) - place
            while size >= self.least:
                source = position + place + alignment
                if source >= 0 and source + size <= len(self.base):
                    piece = self._copied(position, place, size, alignment)
                    piece = swept(self, position, piece, place, begin, alignment)[1]
                    if piece == data[place : place + size]:
                        return size, alignment
                size //= 2
        return 0, 0


# -- addresses, by the letter ----------------------------------------------------------------------


def shift_of(shifts, address):
    """Return S(address)."""
    found = 0
    for start, shift in shifts:
        if start <= address:
            found = shift
    return found


def words_moved(shifts, piece, place):
    """Return a copied piece at `place` of its block with its words moved."""
    out = bytearray(piece)
    for at in range(-place % 4, len(out) - 3, 4):
        word = int.from_bytes(out[at : at + 4], "little")
        if shifts and shifts[0][0] <= word < shifts[-1][0]:
            word = (word + shift_of(shifts, word)) % (1 << 32)
            out[at : at + 4] = word.to_bytes(4, "little")
    return bytes(out)


def swept(encoder, position, piece, start, cursor, alignment, back=False):
    """Sweep the code in a piece at `start` of the block at `position`.

    alignment: of a copy, None: of literals; back: undo it. Returns the cursor and the new piece.
    """
    out = bytearray(piece)
    end = start + len(out)
    for first, length, address, bias in encoder.ranges:
        begin, stop = first - position, first + length - position
        if not (out and begin < end and stop > start):
            continue
        cursor = max(cursor, begin)
        stop = min(stop, end)
        while cursor < stop:
            at = cursor - start
            if 8 <= out[at] & 15 <= 13:
                cursor += 2
                continue
            if cursor + 3 <= stop:
                pc = address + position + cursor - first
                word = int.from_bytes(out[at : at + 3], "little")
                word = _instruction(encoder.shifts, word, pc, alignment, bias, back)
                out[at : at + 3] = word.to_bytes(3, "little")
            cursor += 3
    return cursor, bytes(out)


def _instruction(shifts, word, pc, alignment, bias, back):
    if word & 15 == 5 and word & 0x30:
        low, bits, place = 6, 18, (pc >> 2) + 1
    elif word & 15 == 1:
        low, bits, place = 8, 16, (pc + 3) >> 2
    else:
        return word
    field = word >> low
    if alignment is None:
        field += place if back else -place
    elif (alignment + bias) % 4 == 0:
        assert not back
        away = alignment + bias
        if bits == 18:
            signed = field - (1 << 18) if field >> 17 else field
            target = (((pc + away) >> 2) + 1 + signed) << 2
        else:
            target = (((pc + away + 3) >> 2) + field - 65536) << 2
        field += (away + shift_of(shifts, target % (1 << 31))) >> 2
    return word & (1 << low) - 1 | (field % (1 << bits)) << low
