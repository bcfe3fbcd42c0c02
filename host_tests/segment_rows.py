"""Components of encoding 1, put together by hand for tests: every byte may break a rule."""

import zlib
from collections.abc import Iterable

from twinslot.formats.component import Component, Content, described, read_component
from twinslot.formats.segments import chain, operations
from twinslot.formats.segments.operations import Operation
from twinslot.formats.segments.prologue import Prologue

XTENSA, PLAIN = 0, 5
"""chip_id of the ESP32, and of the ESP32-C3, which has no ranges of code."""


def deflated(data: bytes, bits: int = 12) -> bytes:
    """A raw deflate stream with a window of 2^bits bytes."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -bits, 9)
    return engine.compress(data) + engine.flush()


def framed(stream: bytes) -> bytes:
    """A stream behind its length."""
    return len(stream).to_bytes(4, "big") + stream


def row(made: bytes | Iterable[Operation], literals: bytes = b"") -> bytes:
    """One block of a segment: lengths, operations, literals."""
    data = made if isinstance(made, bytes) else operations.written(made)
    return len(data).to_bytes(2, "big") + len(literals).to_bytes(2, "big") + data + literals


def literal(data: bytes) -> bytes:
    """The rows of a segment without a copy."""
    blocks = (data[at : at + chain.BLOCK] for at in range(0, len(data), chain.BLOCK))
    return b"".join(row([Operation(len(block), 0)], block) for block in blocks)


def payload(prologue: Prologue | bytes, *segments: bytes) -> bytes:
    """Prologue and segments as streams."""
    first = prologue if isinstance(prologue, bytes) else prologue.data
    bits = min(max(prologue.bits, 9), 12) if isinstance(prologue, Prologue) else 12
    return framed(deflated(first)) + b"".join(framed(deflated(one, bits)) for one in segments)


def component_of(content: Content) -> Component:
    """The component as a board reads it from the manifest."""
    return read_component(described(content), 0)
