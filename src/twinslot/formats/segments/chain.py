"""The stored blocks of encoding 1: each block but the last names the SHA-256 of the next. Pure.

So the signature covers every byte before it is decoded, with one hash to keep and no table.
"""

import hashlib

from twinslot.errors import EncodingError

BLOCK = 4096  # bytes of a stored block
HASH = 32  # bytes at a block's end: SHA-256 of the next block, zeros in the last
PAYLOAD = BLOCK - HASH  # bytes

_END = bytes(HASH)


def chained(payload: bytes) -> tuple[bytes, bytes]:
    """Return the stored blocks of a payload, filled with 0xFF, and the SHA-256 of the first."""
    parts = [
        payload[at : at + PAYLOAD].ljust(PAYLOAD, b"\xff") for at in range(0, len(payload), PAYLOAD)
    ]
    following, blocks = _END, []
    for part in reversed(parts):
        block = part + following
        following = hashlib.sha256(block).digest()
        blocks.append(block)
    return b"".join(reversed(blocks)), following


def payload_of(data: bytes, first: bytes) -> bytes:
    """Return the payload of stored blocks, the filling included.

    first: SHA-256 of the first block. Raises EncodingError where the chain breaks.
    """
    if not data or len(data) % BLOCK:
        raise EncodingError(f"{len(data)} stored bytes are no whole blocks of {BLOCK}")
    parts = []
    expected = first
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        if expected == _END:
            raise EncodingError(f"the chain ends before block {at // BLOCK}")
        if hashlib.sha256(block).digest() != expected:
            raise EncodingError(f"block {at // BLOCK} does not have the SHA-256 of the chain")
        parts.append(block[:PAYLOAD])
        expected = block[PAYLOAD:]
    if expected != _END:
        raise EncodingError("the last block does not end in zeros: the chain goes on")
    return b"".join(parts)
