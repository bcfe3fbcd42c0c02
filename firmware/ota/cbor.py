"""CBOR (RFC 8949), the part that an update needs.

`Reader` walks data in any encoding; `package.loads` reads signed data with it.
`dump` writes into a bytearray. Floats, simple values and bignums do not occur.
"""

from .compat import const

UINT = const(0)
NEGATIVE = const(1)
BYTES = const(2)
TEXT = const(3)
ARRAY = const(4)
MAP = const(5)
TAG = const(6)
OTHER = const(7)

INDEFINITE = const(-1)
DEPTH = const(6)  # arrays, maps and tags inside one another
_BREAK = const(0xFF)


class Reader:
    """Walks over items. It keeps values in its attributes, so that a block allocates nothing.

    pos: where the next item begins; major, value: major type and argument of the head that was read
    last; the argument is INDEFINITE for an indefinite length.
    """

    def __init__(self, data=b""):
        self.start(data, len(data))

    def start(self, data, length):
        """Begin at the first of `length` bytes in `data` (bytes-like)."""
        self.data = data
        self.end = length
        self.pos = self.major = self.value = 0

    def head(self):
        """Read the head of an item. A break (0xFF) reads as (OTHER, INDEFINITE).

        Raises ValueError.
        """
        data, pos = self.data, self.pos
        if pos >= self.end:
            raise ValueError("CBOR ends too early")
        self.major = data[pos] >> 5
        low = data[pos] & 31
        pos += 1
        if low == 31:
            low = INDEFINITE
        elif low > 27:
            raise ValueError("CBOR uses a reserved length")
        elif low > 23:
            last = pos + (1 << (low - 24))
            if last > self.end:
                raise ValueError("CBOR ends too early")
            low = 0
            while pos < last:
                low = low << 8 | data[pos]
                pos += 1
        self.value = low
        self.pos = pos

    def check_size(self):
        """Refuse a count or length that the data cannot hold, before anything loops over it."""
        if BYTES <= self.major <= MAP and self.value > self.end:
            raise ValueError("CBOR ends too early")

    def skip(self, depth=DEPTH):
        """Step over an item. Raises ValueError."""
        self.head()
        self.check_size()
        major, value = self.major, self.value
        if major in (BYTES, TEXT) and value != INDEFINITE:
            if self.pos + value > self.end:
                raise ValueError("CBOR ends too early")
            self.pos += value
        elif major in (UINT, NEGATIVE, OTHER):
            if value == INDEFINITE:
                raise ValueError("CBOR has a stray break")
        elif depth == 0:
            raise ValueError("CBOR nests too deep")
        elif major == TAG:
            self.skip(depth - 1)
        elif value == INDEFINITE:
            while not self.at_break():
                self.skip(depth - 1)
            self.pos += 1
        else:
            for _ in range(2 * value if major == MAP else value):
                self.skip(depth - 1)

    def at_break(self):
        """Say whether an indefinite-length item ends here. Raises ValueError past the end."""
        if self.pos >= self.end:
            raise ValueError("CBOR ends too early")
        return self.data[self.pos] == _BREAK


def dump(out, value):
    """Append `value` (int, bytes, str, or a list of such) to the bytearray `out`."""
    if isinstance(value, int):
        if value < 0:
            _dump_head(out, NEGATIVE, -1 - value)
        else:
            _dump_head(out, UINT, value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _dump_head(out, BYTES, len(value))
        out.extend(value)
    elif isinstance(value, str):
        encoded = value.encode()
        _dump_head(out, TEXT, len(encoded))
        out.extend(encoded)
    elif isinstance(value, list):
        _dump_head(out, ARRAY, len(value))
        for item in value:
            dump(out, item)
    else:
        raise TypeError("CBOR cannot hold %r" % (value,))


def dump_map(out, *pairs):
    """Append a map of the (key, value) pairs, in the order given."""
    _dump_head(out, MAP, len(pairs))
    for key, value in pairs:
        dump(out, key)
        dump(out, value)


def _dump_head(out, major, value):
    major <<= 5
    if value < 24:
        out.append(major | value)
        return
    for low in (24, 25, 26, 27):
        size = 1 << (low - 24)
        if value < 1 << 8 * size:
            out.append(major | low)
            for shift in range(8 * (size - 1), -1, -8):
                out.append(value >> shift & 0xFF)
            return
    raise ValueError("CBOR cannot hold %d" % value)
