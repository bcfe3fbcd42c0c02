"""The host's reader of encoding 1: the first bytes say which part the rest is for."""

import zlib

from twinslot.errors import EncodingError
from twinslot.formats.segments import chain, decoder, operations
from twinslot.formats.segments.addresses import Addresses
from twinslot.formats.segments.inflate import inflated
from twinslot.formats.segments.operations import Operation
from twinslot.formats.segments.prologue import Code, Prologue, read_prologue

ALLOWED = (EncodingError,)
COVERS = (
    "src/twinslot/formats/segments/addresses.py",
    "src/twinslot/formats/segments/chain.py",
    "src/twinslot/formats/segments/decoder.py",
    "src/twinslot/formats/segments/inflate.py",
    "src/twinslot/formats/segments/operations.py: read _read_number",
    "src/twinslot/formats/segments/prologue.py",
)
_SIZE = 64
_BASE = bytes(range(40)) + bytes.fromhex("250300a1f5ff1df0") * 2 + bytes.fromhex("25ffff0065feff00")
_PROLOGUE = Prologue(
    12, (Code(0, 32, 0x400D0000, 0), Code(36, 8, 0x40080000, 4)), ((0, 8), (0x10000000, 0))
)
_KINDS = (decoder.Kind(True, True), decoder.Kind(False, False))


def _deflated(data):
    engine = zlib.compressobj(9, zlib.DEFLATED, -12)
    return engine.compress(data) + engine.flush()


def _streams(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _row(made, literals=b""):
    data = operations.written(made)
    return len(data).to_bytes(2, "big") + len(literals).to_bytes(2, "big") + data + literals


_LITERALS = bytes(range(28))
_MADE = [Operation(20, 20, 4), Operation(8, 16, -7)]
_ROWS = _row(_MADE, _LITERALS)
_PAYLOAD = _streams(_deflated(_PROLOGUE.data), _deflated(_ROWS))
_CODE = Code(0, 32, 0x400D0000, 0)
_CALLS = bytes.fromhex("25ffff65000041ffffe500001df0") * 4 + bytes(8)


def _prologue(*codes, bits=12, shifts=()):
    return b"\x03" + Prologue(bits, codes, shifts).data


SEEDS = (
    *(bytes((part,)) + b"abc" * length for part in (0, 0x10, 0x20, 0x40) for length in (1, 1500)),
    b"\x00",
    b"\x01" + _PAYLOAD,
    b"\x11" + _PAYLOAD,
    b"\x41" + _PAYLOAD,
    b"\x01" + _PAYLOAD + b"\0",
    b"\x01" + _PAYLOAD[:-4],
    b"\x01" + _streams(bytes(4100), b""),
    b"\x01",
    b"\x02" + _deflated(bytes(90)),
    b"\x02" + _deflated(bytes(200)),
    b"\x02" + _deflated(bytes(90))[:-1],
    b"\x02" + _deflated(bytes(90)) + b"\0",
    b"\x02\x07\x07",
    b"\x13" + _PROLOGUE.data,
    b"\x13" + Prologue(12, (), _PROLOGUE.shifts).data,
    b"\x03\x0c",
    b"\x03\x0c\x00\x00\x00\x00",
    _prologue(_CODE),
    _prologue(bits=8),
    _prologue(*[_CODE] * 5),
    _prologue(_CODE, _CODE),
    _prologue(Code(0, 0, 0, 0)),
    _prologue(Code(60, 8, 0, 0)),
    _prologue(Code(1, 8, 0, 0)),
    _prologue(Code(0, 8, 2**31 - 8, 0)),
    _prologue(Code(0, 8, 0, 2**24)),
    _prologue(shifts=((0, 4),)),
    _prologue(shifts=((4, 4), (4, 0))),
    _prologue(shifts=tuple((n, 0) for n in range(257))),
    b"\x04" + _ROWS,
    b"\x24" + _ROWS,
    b"\x44" + _row([Operation(64, 0)], _CALLS),
    b"\x04" + _row([Operation(64, 0)], _CALLS),
    b"\x04" + _row([Operation(0, 64)]),
    b"\x04" + _row([Operation(0, 61, 3), Operation(0, 3, -3)]),
    b"\x04" + _row([Operation(0, 0, 2), Operation(0, 62), Operation(2, 0)], b"ab"),
    b"\x44" + _row([Operation(0, 24, 40), Operation(40, 0)], bytes(40)),
    b"\x04" + _row([Operation(0, 64, 1)]),
    b"\x04" + _row([Operation(0, 63)]),
    b"\x04" + _row([Operation(0, 65)]),
    b"\x04" + _row([Operation(64, 0)], bytes(63)),
    b"\x04" + _row([Operation(64, 0)], bytes(65)),
    b"\x04" + _row([Operation(64, 0)], _CALLS) + b"\0",
    b"\x04" + _row([Operation(64, 0)], _CALLS)[:-1],
    b"\x04" + _row([]),
    b"\x04\x00\x02\x00\x00\x8f\xff",
    b"\x04\x00\x05\x00\x00\x0f\x80\x80\x80\x00",
)


def run(data):
    """Read a chain, a payload in a chain that is right, a stream, a prologue, or rows.

    The low half of the first byte says which; its bits change kind, base and surroundings.
    """
    flags = data[0] if data else 0
    kind, base = _KINDS[flags >> 4 & 1], None if flags & 0x20 else _BASE
    part, rest = flags & 15, data[1:]
    if part == 0:
        _chain(rest, flags)
    elif part == 1:
        filled = rest + (b"\xff" * 4200 if flags & 0x40 else b"\xff")
        assert len(decoder.decode(*chain.chained(filled), _SIZE, base, kind)) == _SIZE
    elif part == 2:
        assert len(inflated(rest, 9, 100, "a stream")) <= 100
    elif part == 3:
        found = read_prologue(rest, _SIZE, codes=kind.codes, shifts=kind.shifts)
        assert found.data == rest
    else:
        used = Addresses(Prologue(12, (_CODE,)) if flags & 0x40 else _PROLOGUE)
        assert len(b"".join(decoder.blocks(rest, 0, _SIZE, base, used))) == _SIZE


def _chain(rest, flags):
    """Read a chain as it is, without its last block, with one more, or with a wrong byte."""
    stored, first = chain.chained(rest + b"?")
    assert chain.payload_of(stored, first).startswith(rest)
    if flags & 0x10:
        chain.payload_of(stored[:-4096], first)
    if flags & 0x20:
        chain.payload_of(stored + stored[-4096:], first)
    if flags & 0x40:
        chain.payload_of(b"!" + stored[1:], first)
