"""The stored blocks of an encoded component: each is verified whole, then read. Pure.

Encoding 1 (docs/package-format.md, Stored blocks). A block of 4096 bytes ends with the SHA-256 of
the next one, so that the hash of each is known before it comes.

`deflate.DeflateIO` reads byte by byte, which is quick from an `io.BytesIO` alone, and cannot stop
within a symbol. So the blocks lie in one `BytesIO`: in front of the block that is here lies what
nobody has read of the block before, and nothing is inflated of which the rest may be missing.
"""

import io
from hashlib import sha256

from . import errors
from .compat import const

BLOCK = const(4096)
PAYLOAD = const(4064)  # of a block (bytes)
# Of the block before, at most so many bytes are left unread (see `segments`). A multiple of _STEP.
AHEAD = const(1664)

_DIGEST = const(32)
_STEP = const(64)
_TRIES = const(3)


def refused(text, cause="encoding"):
    """Return the error of a component whose bytes break a rule."""
    error = errors.PackageError(text)
    error.own_cause = cause
    return error


class Payload:
    """The payload of `blocks` stored blocks, from byte `offset` of block `number` on.

    digest: SHA-256 of that block.
    stream: io.BytesIO, whose position is the next byte that is read.
    """

    def __init__(self, blocks, number, offset, digest):
        self.stream = stream = io.BytesIO()
        stream.seek(AHEAD + BLOCK - 1)
        stream.write(b"\x00")
        self._blocks = blocks
        self._number = number
        self._digest = digest
        self._before = b""
        self._start = AHEAD + offset
        self._end = AHEAD  # of what is verified
        self._have = 0  # bytes of the block that comes
        self._hash = None
        self._wrong = 0
        self._next = bytearray(_DIGEST)
        self._step = memoryview(bytearray(_STEP))

    @property
    def position(self):
        """Return where in the whole payload the stream stands."""
        return self._number * PAYLOAD + self.stream.tell() - AHEAD

    @property
    def left(self):
        """Return how many verified bytes are unread."""
        return self._end - self.stream.tell()

    @property
    def length(self):
        """Return the bytes of the whole payload."""
        return self._blocks * PAYLOAD

    @property
    def missing(self):
        """Return how many bytes the block that comes next lacks, 0 behind the last one."""
        if self._end > AHEAD and self._number + 1 == self._blocks:
            return 0
        return BLOCK - self._have

    @property
    def border(self):
        """Return (number, offset, SHA-256) of the block with the byte that is read next."""
        at = self.stream.tell() - AHEAD
        if at < 0:
            return self._number - 1, at + PAYLOAD, self._before
        if at < PAYLOAD:
            return self._number, at, self._digest
        return self._number + 1, at - PAYLOAD, bytes(self._next)

    def take(self, data):
        """Take bytes of the block that comes, at most those that are missing.

        Returns how many bytes must come again: 0, or those of a block whose hash is another one.
        Raises PackageError when that is so three times in a row, and for a broken chain.
        """
        stream = self.stream
        if not self._have:
            self._make_room()
            self._hash = sha256()
        stream.seek(AHEAD + self._have)
        stream.write(data)
        self._hash.update(data)
        self._have += len(data)
        if self._have < BLOCK:
            return 0
        self._have = 0
        if self._hash.digest() != self._digest:
            self._wrong += 1
            if self._wrong == _TRIES:
                raise refused("stored block %d has another hash, %d times" % (self._number, _TRIES))
            return BLOCK
        self._wrong = 0
        stream.seek(AHEAD + PAYLOAD)
        stream.readinto(self._next)
        if any(self._next) == (self._number + 1 == self._blocks):
            raise refused("the chain of stored blocks does not end with the last one")
        self._end = AHEAD + PAYLOAD
        stream.seek(self._start)
        return 0

    def finish(self):
        """Check what follows the last segment. Raises PackageError."""
        stream = self.stream
        if self._number + 1 != self._blocks or self._end == AHEAD or stream.tell() <= AHEAD:
            raise refused("more blocks are stored than the result needs")
        while stream.tell() < self._end:
            step = self._step[: self._end - stream.tell()]
            stream.readinto(step)
            for byte in step:
                if byte != 0xFF:
                    raise refused("the last stored block is not padded with 0xFF")

    def _make_room(self):
        """Move the unread rest of the block that is here in front of the one that comes."""
        if self._end == AHEAD:
            return
        stream = self.stream
        start = stream.tell()
        for at in range(start, self._end, _STEP):
            stream.seek(at)
            stream.readinto(self._step)
            stream.seek(at - PAYLOAD)
            stream.write(self._step)
        self._start = start - PAYLOAD
        self._end = AHEAD
        self._number += 1
        self._before, self._digest = self._digest, bytes(self._next)
