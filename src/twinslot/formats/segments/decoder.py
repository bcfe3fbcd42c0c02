"""The reference decoder of encoding 1: stored blocks in, the result out. Pure.

It does what a board does, byte by byte, and holds no more at once than the base, the stored blocks
and the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from twinslot.errors import EncodingError
from twinslot.formats.segments import operations
from twinslot.formats.segments.addresses import Addresses
from twinslot.formats.segments.chain import BLOCK, PAYLOAD, payload_of
from twinslot.formats.segments.inflate import inflated, stream_at
from twinslot.formats.segments.prologue import BITS, LONGEST, Prologue, read_prologue

SEGMENT = 65536  # bytes of the result
MAX_OPERATIONS = 1024  # bytes of operations in a block
_LENGTHS = 4  # bytes: c and l
MAX_SEGMENT = SEGMENT // BLOCK * (_LENGTHS + MAX_OPERATIONS + BLOCK)  # bytes, inflated


@dataclass(frozen=True)
class Kind:
    """The parts that a component's prologue may have. codes: ranges of code; shifts: a table."""

    codes: bool
    shifts: bool


def decode(data: bytes, first: bytes, size: int, base: bytes | None, kind: Kind) -> bytes:
    """Return the result of a component's stored blocks.

    first: SHA-256 of the first block; size: of the result, bytes; base: None where there is none.
    The result's SHA-256 is the caller's to check. Raises EncodingError.
    """
    payload = payload_of(data, first)
    prologue, at = prologue_of(payload, size, kind)
    addresses = Addresses(prologue)
    result = bytearray()
    while len(result) < size:
        length = min(SEGMENT, size - len(result))
        name = f"segment {len(result) // SEGMENT}"
        deflated, end = stream_at(payload, at, name)
        rows = inflated(deflated, prologue.bits, MAX_SEGMENT, name)
        for block in blocks(rows, len(result), length, base, addresses):
            result += block
        at = end
    _check_end(payload, at)
    return bytes(result)


def prologue_of(payload: bytes, size: int, kind: Kind) -> tuple[Prologue, int]:
    """Read the prologue at the start of a payload; and the offset behind it. size: as of `decode`.

    Raises EncodingError.
    """
    deflated, end = stream_at(payload, 0, "the prologue")
    if end > PAYLOAD:
        raise EncodingError("the prologue ends behind block 0")
    data = inflated(deflated, BITS, LONGEST, "the prologue")
    return read_prologue(data, size, codes=kind.codes, shifts=kind.shifts), end


def blocks(
    rows: bytes, position: int, length: int, base: bytes | None, addresses: Addresses
) -> Iterator[bytes]:
    """The result blocks of one segment.

    rows: the segment, inflated; position: of its first byte in the result; length: of its result.
    """
    at = alignment = 0
    for start in range(position, position + length, BLOCK):
        size = min(BLOCK, position + length - start)
        used = int.from_bytes(rows[at : at + 2], "big")
        literals = int.from_bytes(rows[at + 2 : at + 4], "big")
        at += _LENGTHS
        end = at + used + literals
        if end > len(rows):
            raise EncodingError(f"the segment of block {start // BLOCK} is cut short")
        if not 1 <= used <= MAX_OPERATIONS:
            raise EncodingError(
                f"block {start // BLOCK} has {used} bytes of operations, not 1 to {MAX_OPERATIONS}"
            )
        row = Row(start, size, rows[at : at + used], rows[at + used : end])
        block, alignment = block_of(row, alignment, base, addresses)
        yield block
        at = end
    if at != len(rows):
        raise EncodingError(f"the segment at {position} gives {len(rows)} bytes, and needs {at}")


@dataclass(frozen=True)
class Row:
    """One block of a segment. position: in the result; size: of the result's block, bytes."""

    position: int
    size: int
    operations: bytes
    literals: bytes

    @property
    def data(self) -> bytes:
        """The row as a segment has it."""
        lengths = (len(part).to_bytes(2, "big") for part in (self.operations, self.literals))
        return b"".join((*lengths, self.operations, self.literals))


def block_of(
    row: Row, alignment: int, base: bytes | None, addresses: Addresses
) -> tuple[bytes, int]:
    """The result's block of a row, and the alignment behind it. Raises EncodingError."""
    block = bytearray()
    used = 0
    sweep = addresses.sweep(row.position)
    name = f"block {row.position // BLOCK}"
    if len(row.literals) > row.size:
        raise EncodingError(f"{name} has {len(row.literals)} literals, more than its bytes")
    for one in operations.read(row.operations):
        alignment += one.move
        if len(block) + one.literals + one.copied > row.size:
            raise EncodingError(f"the operations of {name} give more than its {row.size} bytes")
        if used + one.literals > len(row.literals):
            raise EncodingError(f"the operations of {name} place more literals than it has")
        start = len(block)
        block += row.literals[used : used + one.literals]
        used += one.literals
        addresses.literals(block, start, len(block), row.position, sweep)
        if one.copied:
            start = len(block)
            block += _copied(base, row.position + start + alignment, one.copied, name)
            addresses.copied(block, start, len(block), row.position, alignment, sweep)
    if len(block) != row.size or used != len(row.literals):
        raise EncodingError(
            f"the operations of {name} give {len(block)} of {row.size} bytes, and place {used} of "
            f"{len(row.literals)} literals"
        )
    return bytes(block), alignment


def _copied(base: bytes | None, source: int, length: int, name: str) -> bytes:
    if base is None:
        raise EncodingError(f"{name} copies, and the component has no base")
    if source < 0 or source + length > len(base):
        raise EncodingError(f"{name} copies from outside the base, at {source}")
    return base[source : source + length]


def _check_end(payload: bytes, end: int) -> None:
    """Check that nothing follows the last segment but filling. end: offset behind it."""
    if len(payload) - end >= PAYLOAD:
        raise EncodingError("the last stored block holds nothing of the last segment")
    if payload[end:].strip(b"\xff"):
        raise EncodingError("other bytes than 0xFF follow the last segment")
