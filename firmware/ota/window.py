"""The window, which blocks of a file are here and which ones to ask for next; and their pace."""

from . import errors
from .compat import const, ticks_diff, ticks_ms

# AWS sends at most this much data for one request (bytes).
MAX_REQUEST = 131072
# Over so long the speed of a transfer is judged; after so long without a byte, from there on.
_SPAN_S = const(300)
_DEAD_MS = const(60000)
_BLOCK_SIZES = const((256, 512, 1024, 2048, 4096, 8192, 16384))


class Window:
    """The blocks of one file.

    file_size, block_size in bytes; size: blocks per request; first: the first block wanted
    (everything before it is here already); group: no request reaches over a multiple of so many
    blocks, counted from block `origin`; 0 for any. Raises SettingsError for an unusable size.
    """

    def __init__(self, file_size, block_size, size, first=0, group=0, origin=0):
        if block_size not in _BLOCK_SIZES:
            raise errors.SettingsError("block_size must be a power of two from 256 to 16384")
        if not 1 <= size <= 32 or size * block_size > MAX_REQUEST:
            raise errors.SettingsError("window must be 1 to 32 blocks and at most 128 KB")
        self.block_size = block_size
        self.blocks = (file_size + block_size - 1) // block_size
        self._last_size = file_size - (self.blocks - 1) * block_size
        self._size = size
        self._group = group
        self._origin = origin
        self.first = first
        self._asked = 0
        self._here = 0  # bit i: block first + i is here

    @property
    def complete(self):
        """Say whether no block is missing."""
        return self.first >= self.blocks

    @property
    def received(self):
        """Return how many blocks are here."""
        count = self.first
        here = self._here
        while here:
            count += here & 1
            here >>= 1
        return count

    def missing(self):
        """Return the window's bitmap: bit i set when block `first + i` is wanted."""
        width = min(self._size, self.blocks - self.first)
        if self._group:
            width = min(width, self._group - (self.first - self._origin) % self._group)
        return ~self._here & ((1 << width) - 1)

    def bitmap(self):
        """Return `missing` as streams want it, low bits first (bytearray), and how many are set."""
        missing = self.missing()
        count = bin(missing).count("1")
        bits = bytearray()
        while missing:
            bits.append(missing & 0xFF)
            missing >>= 8
        return bits, count

    def ask(self):
        """Count all missing blocks as asked for now. Returns the window."""
        self._asked = bin(self.missing()).count("1")
        return self

    def narrow(self):
        """Ask for half as many blocks at a time from now on, down to one."""
        self._size = max(1, self._size // 2)

    def idle(self, lost):
        """Say whether all blocks asked for have come or were dropped, so that more can come.

        lost: how many blocks were dropped. Blocks that are still on their way are not asked for
        again: they would fill a queue that is too short with the same blocks over and over.
        """
        return self._asked <= lost

    def length_of(self, index):
        """Return how many bytes block `index` of the file has."""
        return self.block_size if index < self.blocks - 1 else self._last_size

    def takes(self, index, size):
        """Say whether block `index` of `size` bytes is wanted.

        A block of another size, or of no file like this one, answers an earlier request.
        """
        return self.wants(index) and size == self.length_of(index)

    def wants(self, index):
        """Say whether block `index` is missing and within the window."""
        if not self.first <= index < self.first + self._size:
            return False
        return bool(self.missing() >> (index - self.first) & 1)

    def back(self, index):
        """Want block `index`, which was here, and all behind it once more."""
        self.first = index
        self._here = self._asked = 0

    def mark(self, index):
        """Note that block `index`, which the window wants, is here; moves the window on."""
        self._asked = max(0, self._asked - 1)
        self._here |= 1 << (index - self.first)
        while self._here & 1:
            self._here >>= 1
            self.first += 1


class Pace:
    """Judges the speed of a transfer while something comes. least: bytes a second, 0 for any."""

    def __init__(self, least):
        self._least = least
        self._bytes = 0
        self._since = self._last = ticks_ms()

    def add(self, count):
        """Count bytes that have come. Raises SlowError when too few did in five minutes.

        After a minute without any it begins again: that was no slow peer, but a dead one.
        """
        now = ticks_ms()
        if ticks_diff(now, self._last) > _DEAD_MS:
            self._since, self._bytes = now, 0
        self._last = now
        self._bytes += count
        seconds = ticks_diff(now, self._since) // 1000
        if seconds >= _SPAN_S:
            if self._bytes < self._least * seconds:
                raise errors.SlowError("%d bytes in %d s, below min_rate" % (self._bytes, seconds))
            self._since, self._bytes = now, 0
