"""The partition of the file system as a block device, for littlefs or FAT."""

import esp32
from layout import SECTOR

# MicroPython takes FAT in the partition `ffat`, by its sectors (ports/esp32, flashbdev.py).
FAT_LABEL = "ffat"
_FAT_SECTOR = 512


class Disk:
    """flash: a nor.Nor; row: of the partition table; interrupted: called when Ctrl-C came amid it.

    No file system survives an exception here, and the chip raises none: the access is completed,
    and Ctrl-C has to come again later.
    """

    def __init__(self, flash, row, interrupted):
        self._flash = flash
        self._interrupted = interrupted
        _, _, _, self._start, self._size = row

    def readblocks(self, block, buf, offset=0):
        """Fill `buf`."""
        self._access(self._flash.read, self._start + block * SECTOR + offset, buf)

    def writeblocks(self, block, buf, offset=0):
        """Program `buf`; littlefs erases by itself before."""
        self._access(self._flash.program, self._start + block * SECTOR + offset, buf)

    def ioctl(self, operation, argument):
        """4: number of blocks, 5: size of one, 6: erase one."""
        return self._access(self._control, operation, argument)

    def _control(self, operation, argument):
        if operation == 4:
            return self._size // SECTOR
        if operation == 5:
            return SECTOR
        if operation == 6:
            self._flash.erase(self._start // SECTOR + argument)
        return 0

    def _access(self, action, *arguments):
        # MicroPython looks for Ctrl-C where code branches: nothing outside of `try` does.
        try:
            return action(*arguments)
        except KeyboardInterrupt:
            result = action(*arguments)
            self._interrupted()
            return result


class FatDisk(Disk):
    """The same for FAT, whose sectors of 512 bytes the chip writes by whole sectors of flash."""

    def __init__(self, flash, row, interrupted):
        super().__init__(flash, row, interrupted)
        self._partition = esp32.Partition(row[0], _FAT_SECTOR)

    def readblocks(self, block, buf):
        """Fill `buf`."""
        self._access(self._partition.readblocks, block, buf)

    def writeblocks(self, block, buf):
        """Write `buf`."""
        self._access(self._partition.writeblocks, block, buf)

    def _control(self, operation, argument):
        return self._partition.ioctl(operation, argument)
