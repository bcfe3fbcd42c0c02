"""How an image gets into a slot: sectors erased ahead of the network, equal ones kept.

A fill takes the bytes of an image at most once, in any order within a request's window. It decides
when flash is erased and programmed; `slots.Slot` does it. While nothing comes over the network,
`work` does what the flash needs next, so that neither waits for the other.
"""

import gc

from .compat import const, mem_free
from .slots import SECTOR

# Bytes of heap that must stay free beside a buffer of 64 KB. Only chips with PSRAM have as much.
_PLENTY = const(1048576)
_BLOCK = const(65536)


def choose(slot, length, window, block_size, wide, buf):
    """Return the fill for an image of `length` bytes: 64 KB at a time or sector by sector.

    window: bytes of a request; block_size: bytes; wide: whether 64 KB at a time is allowed. It also
    takes much free heap, blocks that do not cross a sector's border, and a slot that begins at a
    multiple of 64 KB (ESP-IDF erases 64 KB by one command only there). buf: scratch, 4096 bytes.
    """
    if wide and block_size <= SECTOR and slot.address % _BLOCK == 0:
        gc.collect()
        if mem_free() >= _PLENTY + _BLOCK:
            try:
                from .wide import WideFill

                return WideFill(slot, length, buf)
            except MemoryError:
                pass  # no 64 KB in one piece
    return Fill(slot, length, window, block_size, buf)


class Fill:
    """Sector by sector, each written as soon as it comes. Arguments as `choose`.

    group: bytes that a request must not reach over, 0 for any.
    """

    group = 0

    def __init__(self, slot, length, window, block_size, buf):
        self._slot = slot
        self._end = (length + SECTOR - 1) // SECTOR
        self._ahead = (window + SECTOR - 1) // SECTOR
        self._whole = block_size >= SECTOR
        self._view = memoryview(buf)
        # Sectors from _kept on, up to _erased, are erased or written; the slot may hold bytes of
        # this very image only before _kept.
        self._kept = 0
        self._erased = 0

    def begin(self, written, same):
        """Start behind the first `written` bytes. same: the slot may hold more of this image."""
        self._kept = self._erased = (written + SECTOR - 1) // SECTOR
        if same and self._whole:
            self._kept = self._erased = self._end

    def write(self, offset, data):
        """Take the bytes at `offset`: whole sectors, or less within one. Raises FlashError."""
        size = len(data)
        done = 0
        while done < size and (offset + done) // SECTOR < self._kept:
            self._replace(offset + done, data[done : done + SECTOR])
            done += SECTOR
        if done < size:
            last = (offset + size - 1) // SECTOR
            while self._erased <= last:
                self._erase()
            self._slot.program(offset + done, data[done:] if done else data)

    def work(self, here):
        """Erase one sector of those that come next. Returns False when there is nothing to do.

        here: bytes of the image received without a gap; at most a window beyond them is erased.
        Raises FlashError.
        """
        if self._erased >= min(self._end, here // SECTOR + self._ahead):
            return False
        self._erase()
        return True

    def safe(self, here):
        """Return how many of the first `here` bytes, which have come, are in the slot."""
        return here

    def finish(self):
        """Write what is left, when everything has come. Raises FlashError."""

    def _erase(self):
        self._slot.erase(self._erased)
        self._erased += 1

    def _replace(self, offset, piece):
        """Write a sector that may hold its bytes already; then it is left alone."""
        here = self._view[: len(piece)]
        self._slot.read(offset, here)
        if here == piece:
            return
        sector = offset // SECTOR
        self._slot.erase(sector)
        self._slot.program(offset, piece)
        # The transfer before this one missed it, so it wrote nothing a window further on.
        if sector + self._ahead < self._kept:
            self._kept = self._erased = sector + self._ahead
