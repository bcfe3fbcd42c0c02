"""The image that runs as the base of a delta."""

from hashlib import sha256

from . import errors
from .chip import SECTOR


def of(component, board):
    """Return the Image that is the base of an encoded component, None without one."""
    _, digest, size = component.coded
    return digest and Image(board.slots.running, size, digest)


class Image:
    """The first `size` bytes of a slot, whose SHA-256 should be `digest`."""

    def __init__(self, slot, size, digest):
        self.size = size
        self._slot = slot
        self._digest = digest
        self.read = slot.read

    def checking(self, buf):
        """Read it through. A generator of slices. Raises MismatchError. buf: 4096 bytes."""
        slot, found = self._slot, sha256()
        view = memoryview(buf)
        for at in range(0, self.size if self.size <= slot.capacity else 0, SECTOR):
            piece = view[: min(SECTOR, self.size - at)]
            slot.read(at, piece)
            found.update(piece)
            yield
        if found.digest() != self._digest:
            error = errors.MismatchError(
                "the delta is for another image than that in " + slot.label
            )
            error.own_cause = "base"
            raise error

    def close(self):
        """Nothing is open."""
