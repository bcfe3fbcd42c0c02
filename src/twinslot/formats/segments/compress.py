"""The smallest raw deflate stream of a segment for a given window. Pure."""

import zlib

_MEMORIES = range(9, 3, -1)
"""zlib's memLevel, which says after how many symbols it begins another Huffman table."""


def deflated(data: bytes, bits: int) -> bytes:
    """Return a raw deflate stream with a window of 2^bits bytes."""
    return min((_deflated(data, bits, memory) for memory in _MEMORIES), key=len)


def _deflated(data: bytes, bits: int, memory: int) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -bits, memory)
    return engine.compress(data) + engine.flush()
