"""An image into a slot: sectors erased ahead of the network, equal ones kept.

A component writer, see `transfer`. It decides when flash is erased and programmed; `slots.Slot`
does it. While nothing comes over the network, `work` erases ahead, so that neither waits for the
other.
"""

from .chip import SECTOR


def make(board, component, same):
    """Return the writer of an image into the other slot. See `transfer`."""
    window = board.settings["window"] * board.settings["block_size"]
    buf = board.buf if same else None
    return SlotWriter(board.slots.other, component.length, window, buf)


class SlotWriter:
    """An image of `length` bytes, each sector written as soon as it comes.

    slot: slots.Slot; window: bytes of a request; buf: scratch, 4096 bytes, where `begin` says
    `same`, else None.
    """

    group = 0
    in_order = False
    find = full = None

    def __init__(self, slot, length, window, buf):
        self.received = 0
        self._slot = slot
        self._end = (length + SECTOR - 1) // SECTOR
        self._ahead = (window + SECTOR - 1) // SECTOR
        self._view = memoryview(buf) if buf else None
        # Sectors from _kept on, up to _erased, are erased or written; the slot may hold bytes of
        # this very image only before _kept.
        self._kept = 0
        self._erased = 0

    def begin(self, done, same):
        """Start behind the first `done` bytes.

        same: whether the slot may hold more of this very image; only for blocks of whole sectors.
        """
        self.received = done
        self._kept = self._erased = (done + SECTOR - 1) // SECTOR
        if same:
            self._kept = self._erased = self._end

    def write(self, offset, data):
        """Take the bytes at `offset`: whole sectors, or less within one. Raises FlashError."""
        size = len(data)
        done = 0
        while done < size and (offset + done) // SECTOR < self._kept:
            piece = data if size <= SECTOR else data[done : done + SECTOR]
            self._replace(offset + done, piece)
            done += SECTOR
        if done < size:
            last = (offset + size - 1) // SECTOR
            while self._erased <= last:
                self._erase()
            self._slot.program(offset + done, data[done:] if done else data)

    def work(self):
        """Erase one of the sectors that come next, a window ahead at most. Raises FlashError."""
        if self._erased >= min(self._end, self.received // SECTOR + self._ahead):
            return False
        self._erase()
        return True

    def safe(self):
        """Return how many bytes are safe: every one that has come is in the slot."""
        return self.received

    kept = safe

    def finish(self):
        """Write the rest, when every byte has come. Raises FlashError."""

    def abandon(self):
        """Let go, in the middle."""

    def _erase(self):
        self._slot.erase(self._erased)
        self._erased += 1

    def _replace(self, offset, piece):
        """Write a sector that may hold its bytes already; then it is left alone."""
        here = self._view if len(piece) == SECTOR else self._view[: len(piece)]
        self._slot.read(offset, here)
        if here == piece:
            return
        sector = offset // SECTOR
        self._slot.erase(sector)
        self._slot.program(offset, piece)
        # The transfer before this one missed it, so it wrote nothing a window further on.
        if sector + self._ahead < self._kept:
            self._kept = self._erased = sector + self._ahead
