"""One package on its way into the idle slot and the spare directory, block by block.

Knows no data path and no clock: it says which blocks are missing, takes what came, and raises what
is wrong. Its head is verified and admitted before.
"""

import gc

from .compat import const, forget, mem_free
from .pair import APPLICATION, FIRMWARE, HEAD_SIZE
from .slots import SECTOR
from .window import Window

# Free heap (bytes) with which flash is written 64 KB at a time. Only chips with PSRAM have as much.
_PLENTY = const(1114112)


class Download:
    """The transfer of one package.

    manifest: of its verified head; size: bytes of the file; board: board.Board.
    window: which blocks are here, once `open` is through.
    """

    def __init__(self, manifest, size, board):
        self.manifest = manifest
        self._size = size
        self._slot = board.slots.other
        self._spare = board.spare
        self._settings = board.settings
        self._block_size = board.settings["block_size"]
        self._board = board
        self._parts = []
        self.window = None

    @property
    def received(self):
        """How many blocks of the file are here."""
        return self.window.received

    @property
    def complete(self):
        """Whether every block is here."""
        return self.window.complete

    @property
    def checkpoint(self):
        """How many bytes of the package are safe from a power cut, a multiple of the sector."""
        for component, filling in self._parts:
            here = self._here(component)
            if here < component.length:
                here -= here % SECTOR
            safe = filling.safe(here)
            if safe < component.length:
                return component.offset + safe
        return self._size

    def take(self, index, data):
        """Take block `index` (memoryview).

        Returns True when it brought something new, False for a duplicate and for what comes too
        early. Raises BlockRangeError, FlashError and what `unpack.Unpacking.write` raises.
        """
        window = self.window
        if index == 0 and len(data) == HEAD_SIZE < self._block_size:
            return False  # the head once more, while larger blocks are awaited
        if not window.takes(index, len(data)):
            return False
        at = index * window.block_size
        if index != window.first and self._in_order(at, len(data)):
            return False  # the one before it was lost; both are asked for again
        self._store(at, data)
        window.mark(index)
        return True

    def work(self):
        """Do what the flash needs next. Returns False when nothing. Raises FlashError.

        To be called while nothing comes; takes no longer than a write of one sector or, if
        `wide_writes`, of 64 KB.
        """
        return any(filling.work(self._here(component)) for component, filling in self._parts)

    def finish(self):
        """Write what is left, when every block is here. Raises FlashError."""
        for _, filling in self._parts:
            filling.finish()

    def abandon(self):
        """Let go, in the middle."""
        for _, filling in self._parts:
            filling.abandon()

    def open(self, present):
        """Make room for what comes, and open the window. A generator of slices.

        present: how many bytes of the package are here already (a checkpoint). Raises FlashError,
        FilesystemError.
        """
        manifest = self.manifest
        same, firmware = False, manifest.component(FIRMWARE)
        if firmware:
            same = self._slot.begin(manifest.record, self._board.buf)
        else:
            self._slot.void(self._board.buf)
        if not manifest.component(APPLICATION):
            self._board.give_back()  # until what came is read back
        yield
        parts, group, origin = [], 0, 0
        size = self._block_size
        same = same and size >= SECTOR
        first = (self._size + size - 1) // size
        for component in manifest.components:
            written = min(max(0, present - component.offset), component.length)
            if component == firmware:
                filling = self._choose_fill(component.length, same)
                group, origin = filling.group // size, component.offset // size
                if written < component.length:
                    written -= written % (filling.group or SECTOR)
            else:
                filling = self._unpacking(component, written)
            if written < component.length:
                first = min(first, (component.offset + written) // size)
            parts.append((component, filling))
        for component, filling in parts:
            here = min(max(0, first * size - component.offset), component.length)
            filling.begin(here, same)
        self.window = Window(self._size, size, self._settings["window"], first, group, origin)
        self._parts = parts

    def _choose_fill(self, length, same):
        """Return how the slot is filled. Imported only now: verifying the head took the heap."""
        size = self._block_size
        gc.collect()
        if self._settings["wide_writes"] and mem_free() >= _PLENTY:
            from . import wide

            filling = wide.find(self._slot, length, size, self._board.buf)
            if filling:
                return filling
        from .fill import Fill

        buf = self._board.buf if same else None
        return Fill(self._slot, length, self._settings["window"] * size, buf)

    def _unpacking(self, component, written):
        """Return how the directory is filled; what lies there goes, unless all of it is wanted."""
        from .unpack import Unpacking  # first: it is the largest

        if written < component.length:
            from .directory import set_aside

            set_aside(self._spare)
            del set_aside
            forget("directory")
        from .cleanup import removing

        forget("cleanup")  # which lives as long as the generator
        old = removing(self._board.directory)
        return Unpacking(self._spare, component, self._board.buf, old)

    def _here(self, component):
        """How many bytes of a component have come without a gap."""
        here = self.window.first * self._block_size - component.offset
        return min(max(0, here), component.length)

    def _in_order(self, at, size):
        """Say whether bytes of the package must not come before those in front of them."""
        for component, filling in self._parts:
            if filling.in_order and at < component.offset + component.length:
                if at + size > component.offset:
                    return True
        return False

    def _store(self, at, data):
        """Give every component what of `data`, at `at` of the package, belongs to it."""
        for component, filling in self._parts:
            offset = at - component.offset
            piece = data[max(0, -offset) : max(0, component.length - offset)]
            if len(piece):
                filling.write(max(0, offset), piece)
