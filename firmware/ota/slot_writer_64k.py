"""An image into a slot by 64 KB at once, on chips with plenty of memory.

A component writer, see `transfer`. ESP-IDF erases 64 KB at a multiple of 64 KB by one command,
several times as fast as sixteen sectors. MicroPython reaches it by `Partition.writeblocks` without
an offset. The price is a buffer of 64 KB, and that one step lasts as long as such a write.
"""

from . import errors
from .chip import SECTOR
from .compat import const

_BLOCK = const(65536)


def make(board, component, _same):
    """Return the writer of an image into the other slot. See `transfer`.

    It takes 64 KB of heap in one piece, blocks that do not cross a sector's border, and a slot that
    begins at a multiple of 64 KB. Raises MismatchError where it cannot be, MemoryError.
    """
    slot = board.slots.other
    if board.settings["block_size"] > SECTOR or slot.address % _BLOCK:
        raise errors.MismatchError("%s cannot be written by 64 KB" % slot.label)
    return WideWriter(slot, component.length, board.buf)


class WideWriter:
    """Collects 64 KB of an image of `length` bytes, then writes them.

    slot: slots.Slot; buf: scratch, 4096 bytes.
    """

    group = _BLOCK
    in_order = False
    find = full = None

    def __init__(self, slot, length, buf):
        self.received = 0
        self._slot = slot
        self._length = length
        self._here = memoryview(buf)
        self._view = memoryview(bytearray(_BLOCK))
        self._start = 0
        self._missing = 0

    def begin(self, done, _same):
        """Start behind the first `done` bytes, a multiple of 64 KB."""
        self.received = self._start = done
        self._missing = self._size

    def write(self, offset, data):
        """Take the bytes at `offset`, of the first 64 KB not yet written. Raises FlashError."""
        if not self._missing:
            self._store()
        at = offset - self._start
        self._view[at : at + len(data)] = data
        self._missing -= len(data)

    def work(self):
        """Write 64 KB that have come. Returns False when they have not. Raises FlashError."""
        if self._missing or not self._size:
            return False
        self._store()
        return True

    def safe(self):
        """Return how many bytes are in the slot."""
        return min(self.received, self._start)

    kept = safe

    def finish(self):
        """Write the rest, when every byte has come. Raises FlashError."""
        self.work()

    def abandon(self):
        """Let go, in the middle."""

    @property
    def _size(self):
        """Return how many bytes of the image belong into the buffer now."""
        return min(_BLOCK, self._length - self._start)

    def _store(self):
        size = self._size
        if not self._equal(size):
            end = (size + SECTOR - 1) // SECTOR * SECTOR
            self._view[size:end] = b"\xff" * (end - size)
            self._slot.replace(self._start, self._view[:end])
        self._start += self._size
        self._missing = self._size

    def _equal(self, size):
        """Say whether the slot holds the bytes already."""
        for at in range(0, size, SECTOR):
            here = self._here[: min(SECTOR, size - at)]
            self._slot.read(self._start + at, here)
            if here != self._view[at : at + len(here)]:
                return False
        return True
