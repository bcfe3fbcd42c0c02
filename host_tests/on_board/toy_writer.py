"""A component writer of these tests: an image that travels in hexadecimal, as encoding 9.

It takes a sector in any order, and writes it when it is whole.
"""

from ota.slots import SECTOR

_DIGITS = bytearray(256)
for _digit in range(16):
    _DIGITS[ord("%x" % _digit)] = _digit


def make(board, component, same):
    """Return the writer, see `ota.transfer`."""
    return HexWriter(board.slots.other, component.size)


def checking(component, board):
    """Judge nothing. A generator of slices."""
    return iter(())


class HexWriter:
    """slot: slots.Slot; size: bytes of the image."""

    group = 2 * SECTOR
    in_order = False
    full = False
    find = None

    def __init__(self, slot, size):
        self.received = 0
        self.slot = slot
        self.size = size
        self.sector = bytearray(SECTOR)
        self.view = memoryview(self.sector)
        self.stored = 0  # bytes of the image that lie in the slot
        self.missing = 0  # bytes that the sector lacks

    def begin(self, done, same):
        """Start behind what lies there."""
        self.received = done
        self.stored = done // 2
        self.missing = self.due()

    def write(self, offset, data):
        """Take a piece of the sector."""
        if not self.missing:
            self.store()
        self.decode(offset // 2 - self.stored, data)
        self.missing -= len(data) // 2

    def work(self):
        """Write a sector that is whole."""
        if self.missing or not self.due():
            return False
        self.store()
        return True

    def safe(self):
        """Return how much of it lies in the slot."""
        return min(self.received, 2 * self.stored)

    def kept(self):
        """Return the same: nothing is written when it is let go."""
        return self.safe()

    def finish(self):
        """Write the last sector."""
        self.work()

    def abandon(self):
        """Let go."""

    def due(self):
        """Return the bytes of the image that belong into the sector now."""
        return min(SECTOR, self.size - self.stored)

    def decode(self, at, data):
        """Put the bytes that `data` stands for into the sector."""
        sector = self.sector
        for i in range(len(data) // 2):
            sector[at + i] = _DIGITS[data[2 * i]] << 4 | _DIGITS[data[2 * i + 1]]

    def store(self):
        """Write the sector."""
        self.slot.replace(self.stored, self.view)
        self.stored += self.due()
        self.missing = self.due()
