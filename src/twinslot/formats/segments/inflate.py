"""Raw deflate (RFC 1951) with a window that holds strictly. Pure.

zlib alone finds a distance too far only beyond what it has in memory, which is more than a board
has. It is asked for one byte at a time here, so that its memory is the window.
"""

import zlib

from twinslot.errors import EncodingError

_SLICE = 64  # bytes given to zlib at once: it hands back what it has not used
_LENGTH = 4  # bytes of a stream's length


def stream_at(payload: bytes, at: int, name: str) -> tuple[bytes, int]:
    """Return the deflated bytes of the stream at this offset, and the offset behind them.

    name: of the stream, for an error. Raises EncodingError for a length beyond the payload.
    """
    start = at + _LENGTH
    end = start + int.from_bytes(payload[at:start], "big")
    if start > len(payload) or end > len(payload):
        raise EncodingError(f"{name} ends behind the last stored block")
    return payload[start:end], end


def inflated(deflated: bytes, bits: int, most: int, name: str) -> bytes:
    """Return the bytes of a raw deflate stream that is exactly `deflated`.

    bits: the window has 2^bits bytes; most: bytes that it may give. Raises EncodingError.
    """
    engine = zlib.decompressobj(-bits)
    out = bytearray()
    at, waiting = 0, b""
    try:
        while not engine.eof:
            if not waiting:
                waiting = deflated[at : at + _SLICE]
                at += len(waiting)
            given = engine.decompress(waiting, 1)
            waiting = engine.unconsumed_tail
            out += given
            if len(out) > most:
                raise EncodingError(f"{name} gives more than {most} bytes")
            if not given and not waiting and at >= len(deflated) and not engine.eof:
                raise EncodingError(f"{name} is cut short")
    except zlib.error as error:
        raise EncodingError(f"{name} is no deflate stream with such a window: {error}") from error
    if engine.unused_data or waiting or at < len(deflated):
        raise EncodingError(f"{name} ends before its length says so")
    return bytes(out)
