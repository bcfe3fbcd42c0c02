"""The board's decoder of encoding 1, with right hashes: a signer may be at fault.

The first byte says what the rest is: a payload (1), else a prologue and blocks of the result, which
get their streams here. With base (2); the image of an Xtensa chip (4); an image (8); stored blocks
that come in pieces (16); one of them damaged (32), or its chain (64).
"""

from hashlib import sha256

from ota.errors import PackageError
from ota.payload import Payload
from ota.segments import Decoder

ALLOWED = (PackageError,)
COVERS = ("firmware/ota/payload.py", "firmware/ota/segments.py", "firmware/ota/addresses.py")

_BASE = bytes([(i * i >> 3) + 7 * i & 255 for i in range(3000)])
_PAYLOAD = 4064


def _stored(data):
    """Return a stream, with its length: deflate's stored blocks."""
    out = bytearray()
    at = 0
    while not out or at < len(data):
        piece = data[at : at + 1000]
        at += 1000
        out.append(0 if at < len(data) else 1)
        out.extend(len(piece).to_bytes(2, "little"))
        out.extend((0xFFFF - len(piece)).to_bytes(2, "little"))
        out.extend(piece)
    return len(out).to_bytes(4, "big") + bytes(out)


def _block(operations, literals):
    head = len(operations).to_bytes(2, "big") + len(literals).to_bytes(2, "big")
    return head + operations + literals


def _words(*values):
    return b"".join([(value & 0xFFFFFFFF).to_bytes(4, "big") for value in values])


def _seed(flags, size, prologue, blocks):
    return (
        bytes([flags])
        + (size - 1).to_bytes(2, "little")
        + bytes([len(prologue)])
        + prologue
        + blocks
    )


_PLAIN = b"\x0c\x00\x00\x00"
_RANGES = b"\x09\x02" + _words(0, 400, 0x400D0000, 0, 400, 1200, 0, -4)
_SHIFTS = b"\x00\x04" + _words(0x21000000, 5, 0x40000000, -9, 0x400D0100, 64, 0x7F000000, 0)
_LITERALS = bytes([37 * i & 255 for i in range(1600)])
# 1600 literals; 100 literals and a copy, twice; copies at other alignments.
_LONG = _block(b"\x70\xb9\x0c", _LITERALS)
_COPIES = _block(b"\x7f\x5d\xad\x05\xff\x5d\xad\x05\x08", _LITERALS[:200])
_WIDE = _block(b"\x0f\xb1\x0c", b"")

_EMPTY = b"\x00\x00\x00\xff\xff"  # a block of deflate that gives nothing

SEEDS = (
    _seed(12, 1600, _PLAIN, _LONG),
    _seed(28, 1600, _RANGES + b"\x00\x00", _LONG),
    _seed(14, 1600, _RANGES + _SHIFTS, _LONG),
    _seed(14, 1600, _RANGES + _SHIFTS, _WIDE),
    _seed(14, 1600, b"\x09\x00" + _SHIFTS, _COPIES),
    _seed(14, 10, _PLAIN, _block(b"\x9a\x06\x80\x05", b"a")),
    _seed(44, 1600, _PLAIN, _LONG),
    _seed(76, 1600, _PLAIN, _LONG),
    _seed(108, 1600, _PLAIN, _LONG),
    _seed(14, 1600, _RANGES + b"\x00\x00", _WIDE),
    _seed(14, 1600, _RANGES + b"\x00\x00", _COPIES),
    _seed(14, 1600, b"\x09\x01" + _words(800, 400, 0x400D0000, 0) + b"\x00\x00", _COPIES),
    _seed(14, 1600, _PLAIN, _block(b"\x80\xff\xff\x03\x0f\xb1\x0c", b"")),
    _seed(14, 1600, _PLAIN, _block(b"\x70\xb9\x0c\x01", _LITERALS)),
    _seed(12, 1600, _PLAIN, _LONG + b"more"),
    _seed(12, 1600, _PLAIN, _LONG[:-1]),
    bytes([13, 8, 0, 0]) + _words(4059) + _EMPTY * 810 + b"\x01\x04\x00\xfb\xff" + _PLAIN,
    bytes([13, 255, 31, 0])
    + _words(4060)
    + _EMPTY * 807
    + b"\x01\x14\x00\xeb\xff"
    + b"\x0c\x01"
    + _words(0, 400, 0, 0)
    + bytes(2)
    + _stored(_LONG),
    _seed(
        12,
        7000,
        _PLAIN,
        _block(b"\x70\xf9\x1f", bytes(4096)) + _block(b"\x70\xd1\x16", bytes(2904)),
    ),
    _seed(14, 1600, b"\x09\x01" + _words(0, 404, 0, 1) + b"\x00\x00", _LONG),
    _seed(14, 1600, b"\x09\x00\x00\x02" + _words(5, 1, 5, 0), _LONG),
    _seed(14, 1600, b"\x09\x00\x00\x01" + _words(5, 1), _LONG),
    _seed(12, 1600, b"\x09\x00" + _SHIFTS, _LONG),
    _seed(12, 1600, b"\x0d\x00\x00\x00", _LONG),
    _seed(12, 1600, b"\x0c\xff" + bytes(240), _LONG),
    _seed(12, 10, _PLAIN, _block(b"\x70\x83\x80\x80\x00", bytes(10))),
    _seed(12, 10, _PLAIN, _block(b"\x60", bytes(10))),
    _seed(12, 10, _PLAIN, b"\x00\x00\x00\x00"),
    bytes([13, 8, 0, 0]) + _stored(_PLAIN) + _stored(_block(b"\x70\x02", bytes(9))) + b"\xfe",
    bytes([13, 8, 0, 0]) + _stored(_PLAIN) + _stored(_block(b"\x70\x02", bytes(9))) + bytes(5000),
    bytes([13, 8, 0, 0]) + _stored(_PLAIN) + _words(20) + bytes(20),
    bytes([13, 8, 0, 0]) + _words(5000) + bytes(5000),
    bytes([13, 8, 0, 0]) + _words(50000),
    bytes([13, 8, 0, 0]) + _stored(_PLAIN) + _words(900) + b"\x00\x00\x00\xff\xff" * 1400,
    b"",
)


class _Base:
    """What is copied from."""

    size = len(_BASE)

    def read(self, position, view):
        """Fill `view`."""
        view[:] = _BASE[position : position + len(view)]


def run(data):
    """Decode what the bytes say, within bounded time and memory."""
    if len(data) < 4:
        return
    flags, size = data[0], 1 + (data[1] | data[2] << 8) % 8192
    payload = bytes(data[4:])
    if not flags & 1:
        payload = _stored(payload[: data[3]]) + _stored(payload[data[3] :])
    blocks = _chained(payload, flags & 64)
    first = sha256(blocks[0]).digest()
    source = Payload(len(blocks), 0, 0, first)
    decoder = Decoder(size, source, _Base() if flags & 2 else None, flags & 8, flags & 4)
    done = at = 0
    for whole in decoder.decoding(0):
        _check_border(source)
        if whole:
            assert decoder.position == done and 0 < decoder.count == len(decoder.block)
            done += decoder.count
        elif not source.missing:
            return  # its writer refuses it
        else:
            if flags & 32:
                for _ in range(3 if flags & 64 else 2):
                    source.take(bytes(4096))
            _give(source, blocks[at], 700 if flags & 16 else 4096)
            at += 1
            _check_border(source)
    assert done == size


def _check_border(source):
    number, offset, _ = source.border
    assert source.position == number * _PAYLOAD + offset


def _give(source, block, piece):
    for at in range(0, len(block), piece):
        assert source.take(block[at : at + piece]) == 0


def _chained(payload, breaks):
    """Return the stored blocks of a payload."""
    blocks = []
    digest = b"x" * 32 if breaks else bytes(32)
    payload += b"\xff" * (-len(payload) % _PAYLOAD)
    for at in range(len(payload) - _PAYLOAD, -1, -_PAYLOAD):
        blocks.insert(0, payload[at : at + _PAYLOAD] + digest)
        digest = sha256(blocks[0]).digest()
    return blocks or [b"\xff" * _PAYLOAD + digest]
