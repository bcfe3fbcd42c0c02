"""NOR flash, strict: erasing sets a sector to 0xFF, programming clears bits only.

One operation is one erased sector, one erased block of 64 KB, or one programmed piece within a page
of 256 bytes, as a flash chip does them. Every operation is counted, and `cut_at` cuts the power in
the middle of one: a part of it, chosen by `seed`, is done, the rest is not. Which sector was erased
and programmed how often is counted in a file, where one is given (sim/wear.py reads it).
"""

from binascii import crc32

try:
    from _thread import allocate_lock
except ImportError:  # WebAssembly has no threads

    class allocate_lock:  # noqa: N801
        """A lock where nobody else runs."""

        def __enter__(self):
            pass

        def __exit__(self, *details):
            pass


SECTOR = 4096
BLOCK = 65536
PAGE = 256
# A view: taking a part of it takes no heap, as on a chip, whose driver has its own memory.
_BLANK = memoryview(b"\xff" * PAGE)


class PowerCut(BaseException):
    """The power failed in the middle of a flash operation."""


class Memory:
    """Flash cells in memory, blank at first; takes room only for sectors that were written."""

    def __init__(self):
        self._sectors = {}
        self._at = 0

    def seek(self, address):
        self._at = address

    def readinto(self, buf):
        for start, end, sector, offset in self._pieces(len(buf)):
            cells = self._sectors.get(sector)
            for i in range(start, end, PAGE):
                stop = min(end, i + PAGE)
                at = offset + i - start
                buf[i:stop] = cells[at : at + stop - i] if cells else _BLANK[: stop - i]
        return len(buf)

    def write(self, data):
        for start, end, sector, offset in self._pieces(len(data)):
            if sector not in self._sectors:
                self._sectors[sector] = bytearray(b"\xff" * SECTOR)
            self._sectors[sector][offset : offset + end - start] = data[start:end]
        return len(data)

    def _pieces(self, length):
        """Cut the next `length` bytes at sector borders: (start, end, sector, offset in it)."""
        start = 0
        while start < length:
            sector, offset = divmod(self._at, SECTOR)
            size = min(length - start, SECTOR - offset)
            self._at += size
            yield start, start + size, sector, offset
            start += size


class Nor:
    """A flash chip over `file`: anything unbuffered with seek, readinto and write.

    size: bytes; seed: int, chooses how much of the cut operation is done; wear: None, or another
    such file of zeros, for counters of 4 bytes (little-endian): for each sector how often it was
    erased, and programmed; then commits of NVS, and the entries they take in ESP-IDF's layout.
    layout: of its partitions, once layout.py has read it.
    operations: how many were done since it was made; cut_at: number of the operation in which the
    power fails, None for never; dead: after a cut nothing is written until `power_on`.
    """

    def __init__(self, file, size, seed=0, wear=None):
        self._file = file
        self._wear = wear
        self.size = size
        self.seed = seed
        self.operations = 0
        self.cut_at = None
        self.dead = False
        self.layout = None
        self._page = bytearray(PAGE)
        self._lock = allocate_lock()

    def power_on(self):
        """End a power cut."""
        self.dead = False

    def read(self, address, buf):
        """Fill `buf`. Raises OSError(-260) outside the chip."""
        self._check(address, len(buf))
        with self._lock:
            self._file.seek(address)
            self._file.readinto(buf)

    def erase(self, sector):
        """Set one sector of 4096 bytes to 0xFF. Raises PowerCut."""
        self._check(sector * SECTOR, SECTOR)
        self._whole(self._erase, sector * SECTOR, SECTOR)

    def erase_block(self, address):
        """Set the 64 KB at a multiple of 64 KB to 0xFF by one operation. Raises PowerCut."""
        self._check(address, BLOCK)
        self._whole(self._erase, address, BLOCK)

    def program(self, address, data):
        """Write `data`. Raises OSError(-1) if a bit would have to go from 0 to 1, PowerCut."""
        self._check(address, len(data))
        self._whole(self._program, address, memoryview(data))

    def committed(self, entries):
        """A value was committed to NVS. entries: of 32 bytes."""
        self._wears(2 * self.size // SECTOR)
        self._wears(2 * self.size // SECTOR + 1, entries)

    def on_cut(self):
        """Called in the middle of operation `cut_at`, when its part is done; must not return."""
        raise PowerCut

    def _whole(self, operation, address, what):
        """Python code is interrupted by Ctrl-C anywhere, the chip's flash driver is not.

        Doing an interrupted operation once more completes it.
        """
        try:
            with self._lock:
                operation(address, what)
        except KeyboardInterrupt:
            with self._lock:
                operation(address, what)
            raise

    def _erase(self, address, size):
        done = self._count(size)
        if done is not None and done & 1:
            address += size - done  # the end went first
        for sector in range(address // SECTOR, (address + size) // SECTOR if done is None else 0):
            self._wears(2 * sector)
        self._file.seek(address)
        left = size if done is None else done
        while left:
            left -= self._file.write(_BLANK[: min(PAGE, left)])
        self._finish(done)

    def _program(self, address, view):
        start = 0
        while start < len(view):
            end = min(start + PAGE - (address + start) % PAGE, len(view))
            self._program_page(address + start, view[start:end])
            start = end

    def _program_page(self, address, piece):
        old = memoryview(self._page)[: len(piece)]
        self._file.seek(address)
        self._file.readinto(old)
        if old != _BLANK[: len(piece)]:
            for i in range(len(piece)):
                if piece[i] & ~old[i]:
                    raise OSError(-1, "flash at 0x%x is not erased" % (address + i))
        done = self._count(len(piece))
        self._wears(2 * (address // SECTOR) + 1)
        self._file.seek(address)
        self._file.write(piece if done is None else piece[:done])
        self._finish(done)

    def _count(self, length):
        """Count one operation. Returns how many of its bytes a power cut lets through, or None."""
        if self.dead:
            raise PowerCut
        self.operations += 1
        if self.operations != self.cut_at:
            return None
        return crc32(b"%d %d" % (self.seed, self.operations)) % (length + 1)

    def _wears(self, counter, more=1):
        if self._wear:
            number = bytearray(4)
            self._wear.seek(4 * counter)
            self._wear.readinto(number)
            self._wear.seek(4 * counter)
            self._wear.write((int.from_bytes(number, "little") + more).to_bytes(4, "little"))

    def _finish(self, done):
        if done is not None:
            self.dead = True
            self.on_cut()

    def _check(self, address, length):
        if address < 0 or address + length > self.size:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
