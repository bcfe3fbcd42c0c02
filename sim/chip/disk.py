"""The vfs partition as a block device, for littlefs."""

from layout import SECTOR, find


class Disk:
    """flash: a nor.Nor; interrupted: called when Ctrl-C came in the middle of an access.

    littlefs does not survive an exception here, and the chip raises none: the access is completed,
    and Ctrl-C has to come again later.
    """

    def __init__(self, flash, interrupted):
        self._flash = flash
        self._interrupted = interrupted
        _, _, _, self._start, self._size = find("vfs")

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
