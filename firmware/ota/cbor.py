"""CBOR (RFC 8949), as little as an update needs.

`head` walks data that others encode as they like; `package.loads` reads signed data. `dump` writes
into a bytearray. Floats, simple values and bignums do not occur.
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


def head(data, pos):
    """Read one item's head at `pos`.

    Returns (major type, argument, position after the head); the argument is INDEFINITE for
    indefinite lengths. A break (0xFF) reads as (OTHER, INDEFINITE, ...). Raises ValueError.
    """
    try:
        first = data[pos]
    except IndexError:
        raise ValueError("CBOR ends too early")
    major = first >> 5
    low = first & 31
    pos += 1
    if low < 24:
        return major, low, pos
    if low == 31:
        return major, INDEFINITE, pos
    if low > 27:
        raise ValueError("CBOR uses a reserved length")
    size = 1 << (low - 24)
    if pos + size > len(data):
        raise ValueError("CBOR ends too early")
    value = 0
    for i in range(pos, pos + size):
        value = value << 8 | data[i]
    return major, value, pos + size


def skip(data, pos, depth=DEPTH):
    """Return the position after the item at `pos`. Raises ValueError."""
    major, value, pos = head(data, pos)
    check_size(data, major, value)
    if major in (BYTES, TEXT) and value != INDEFINITE:
        if pos + value > len(data):
            raise ValueError("CBOR ends too early")
        return pos + value
    if major in (UINT, NEGATIVE) or major == OTHER:
        if value == INDEFINITE:
            raise ValueError("CBOR has a stray break")
        return pos
    if depth == 0:
        raise ValueError("CBOR nests too deep")
    if major == TAG:
        return skip(data, pos, depth - 1)
    if value == INDEFINITE:
        while not at_break(data, pos):
            pos = skip(data, pos, depth - 1)
        return pos + 1
    for _ in range(value if major == ARRAY else 2 * value):
        pos = skip(data, pos, depth - 1)
    return pos


def at_break(data, pos):
    """Say whether an indefinite-length item ends at `pos`. Raises ValueError past the end."""
    if pos >= len(data):
        raise ValueError("CBOR ends too early")
    return data[pos] == _BREAK


def check_size(data, major, value):
    """Refuse a count or length that the data cannot hold, before anything loops over it."""
    if BYTES <= major <= MAP and value > len(data):
        raise ValueError("CBOR ends too early")


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
