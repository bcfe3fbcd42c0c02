"""NOR flash, strict: erasing sets a sector to 0xFF, programming clears bits only.

One operation is one erased sector or one programmed piece within a page of 256 bytes, as a flash
chip does them. Every operation is counted, and `cut_at` cuts the power in the middle of one: part
of it is done, the rest is not.
"""

SECTOR = 4096
PAGE = 256
_BLANK = b"\xff" * PAGE


class PowerCut(BaseException):
    """The power failed in the middle of a flash operation."""


class Nor:
    """A flash chip over `file`: anything unbuffered with seek, readinto and write.

    size: bytes; operations: how many were done since it was made; cut_at: number of the operation
    in which the power fails, None for never.
    """

    def __init__(self, file, size):
        self._file = file
        self.size = size
        self.operations = 0
        self.cut_at = None
        self._page = bytearray(PAGE)

    def read(self, address, buf):
        """Fill `buf`. Raises OSError(-260) outside the chip."""
        self._check(address, len(buf))
        self._file.seek(address)
        self._file.readinto(buf)

    def erase(self, sector):
        """Set one sector of 4096 bytes to 0xFF."""
        self._check(sector * SECTOR, SECTOR)
        torn = self._count()
        self._file.seek(sector * SECTOR)
        for _ in range(SECTOR // PAGE // (2 if torn else 1)):
            self._file.write(_BLANK)
        if torn:
            raise PowerCut()

    def program(self, address, data):
        """Write `data`. Raises OSError(-1) if a bit would have to go from 0 to 1."""
        self._check(address, len(data))
        view = memoryview(data)
        done = 0
        while done < len(view):
            size = min(PAGE - (address + done) % PAGE, len(view) - done)
            self._program(address + done, view[done : done + size])
            done += size

    def _program(self, address, piece):
        old = memoryview(self._page)[: len(piece)]
        self._file.seek(address)
        self._file.readinto(old)
        for i in range(len(piece)):
            if piece[i] & ~old[i]:
                raise OSError(-1, "flash at 0x%x is not erased" % (address + i))
        torn = self._count()
        self._file.seek(address)
        self._file.write(piece[: len(piece) // 2] if torn else piece)
        if torn:
            raise PowerCut()

    def _count(self):
        self.operations += 1
        return self.operations == self.cut_at

    def _check(self, address, length):
        if address < 0 or address + length > self.size:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
