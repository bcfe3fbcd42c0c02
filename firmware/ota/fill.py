"""How an image gets into a slot: sectors erased ahead of the network, equal ones kept.

A fill takes the bytes of an image at most once, in any order within a request's window. It decides
when flash is erased and programmed; `slots.Slot` does it. While nothing comes over the network,
`work` does what the flash needs next, so that neither waits for the other.
"""

from .slots import SECTOR


class Fill:
    """An image of `length` bytes, each of its sectors written as soon as it comes.

    slot: slots.Slot; window: bytes of a request; buf: scratch, 4096 bytes, where `begin` says
    `same`, else None.
    group: a request must not reach over a multiple of so many bytes, 0 for any; in_order: whether
    bytes must come in their order.
    """

    group = 0
    in_order = False

    def __init__(self, slot, length, window, buf):
        self._slot = slot
        self._end = (length + SECTOR - 1) // SECTOR
        self._ahead = (window + SECTOR - 1) // SECTOR
        self._view = memoryview(buf) if buf else None
        # Sectors from _kept on, up to _erased, are erased or written; the slot may hold bytes of
        # this very image only before _kept.
        self._kept = 0
        self._erased = 0

    def begin(self, written, same):
        """Start behind the first `written` bytes.

        same: whether the slot may hold more of this very image; only for blocks of whole sectors.
        """
        self._kept = self._erased = (written + SECTOR - 1) // SECTOR
        if same:
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

    def abandon(self):
        """Let go, in the middle."""

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
