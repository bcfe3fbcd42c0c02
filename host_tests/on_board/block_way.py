"""What a block's way from a data path into a writer takes of the heap, on MicroPython."""

from contract import allocated
from ota.transfer import Transfer
from ota.window import Window

BLOCK = 4096
# Blocks until views and buffers that serve all others are made.
_FIRST = 3


class QuietPartition:
    """A partition without flash: as the chip's driver, it takes nothing of the heap."""

    def info(self):
        return 0, 0x11, 0x200000, 0x1B0000, "ota_1", False

    def readblocks(self, block, buf, offset=0):
        pass

    def writeblocks(self, block, buf, offset=0):
        pass

    def ioctl(self, operation, argument):
        return 0


class Way:
    """Blocks of `kit`'s file on their way into `writer`, which has begun.

    figures: bytes that each has taken.
    """

    def __init__(self, kit, path, writer):
        self._kit = kit
        self._path = path
        self._window = Window(len(kit.data), BLOCK, 4)
        self._transfer = Transfer(len(kit.data), self._window, [(0, len(kit.data), writer)])
        self._index = -1
        self.figures = []

    def measure(self):
        """Let all come. Returns the most that one of the later blocks has taken."""
        nothing = allocated(self._nothing)
        spent = 0
        while not self._window.complete:
            spent += allocated(self._poll) - nothing
            if self._index < 0:
                self._path.request(self._window)
                self._kit.turn()
                continue
            spent += allocated(self._take) - nothing
            self.figures.append(spent)
            spent = 0
        return max(self.figures[_FIRST:-1])

    def _nothing(self):
        pass

    def _poll(self):
        self._index = self._path.poll(self._window)

    def _take(self):
        self._transfer.take(self._index, self._path.block)
        self._path.release()
        while self._transfer.work(False):
            pass
