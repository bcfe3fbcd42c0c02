"""MQTT file streams of AWS IoT: what to ask for, what came, what is missing. No I/O.

Request  `$aws/things/<thing>/streams/<stream>/get/cbor`
Answers  `.../data/cbor`, one message per block; errors on `.../rejected/cbor`
Requests carry `o`, the first missing block, and a bitmap of the window that starts there: the
memory needed does not grow with the file, and to resume one number is enough.
"""

from . import cbor
from .errors import BlockError, BlockRangeError, SettingsError

# AWS sends at most this much data for one request (bytes).
MAX_REQUEST = 131072
_BLOCK_SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)


class Topics:
    """The topics of one stream of one thing. things: the `$aws/things/<thing>/` prefix."""

    def __init__(self, thing_prefix, stream):
        prefix = "%sstreams/%s/" % (thing_prefix, stream)
        self.get = prefix + "get/cbor"
        self.data = prefix + "data/cbor"
        self.rejected = prefix + "rejected/cbor"


class Window:
    """Which blocks of a file are here, and which to ask for next.

    file_size, block_size in bytes; size: blocks per request; first: the first block wanted
    (everything before it is here already); group: no request reaches over a multiple of so many
    blocks, counted from `first`; 0 for any. Raises SettingsError for an unusable size.
    """

    def __init__(self, file_size, block_size, size, first=0, group=0):
        if block_size not in _BLOCK_SIZES:
            raise SettingsError("block_size must be a power of two from 256 to 16384")
        if not 1 <= size <= 32 or size * block_size > MAX_REQUEST:
            raise SettingsError("window must be 1 to 32 blocks and at most 128 KB")
        self.block_size = block_size
        self.blocks = (file_size + block_size - 1) // block_size
        self._last_size = file_size - (self.blocks - 1) * block_size
        self._size = size
        self._group = group
        self._start = first
        self.first = first
        self._here = 0  # bit i: block first + i is here

    @property
    def complete(self):
        """Whether no block is missing."""
        return self.first >= self.blocks

    @property
    def received(self):
        """How many blocks are here."""
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
            width = min(width, self._group - (self.first - self._start) % self._group)
        return ~self._here & ((1 << width) - 1)

    def length_of(self, index):
        """Return how many bytes block `index` has. Raises BlockRangeError."""
        if not 0 <= index < self.blocks:
            raise BlockRangeError("block %d is not in a file of %d blocks" % (index, self.blocks))
        return self.block_size if index < self.blocks - 1 else self._last_size

    def wants(self, index):
        """Say whether block `index` is missing and within the window."""
        if not self.first <= index < self.first + self._size:
            return False
        return bool(self.missing() >> (index - self.first) & 1)

    def mark(self, index):
        """Note that block `index`, which the window wants, is here; moves the window on."""
        self._here |= 1 << (index - self.first)
        while self._here & 1:
            self._here >>= 1
            self.first += 1


def get_request(out, file_id, window):
    """Write a GetStream request for all that `window` misses into the bytearray `out`."""
    missing = window.missing()
    bits = bytearray()
    count = 0
    while missing:
        bits.append(missing & 0xFF)
        missing >>= 8
    for byte in bits:
        while byte:
            count += byte & 1
            byte >>= 1
    out[:] = b""
    cbor.dump_map(
        out,
        ("c", "rdy"),
        ("f", file_id),
        ("l", window.block_size),
        ("o", window.first),
        ("b", bits),
        ("n", count),
    )


def parse_data(payload):
    """Read a `data/cbor` message.

    Returns (file id, block index, start, end): the block's bytes are payload[start:end].
    Takes definite and indefinite maps, keys in any order. Raises BlockError.
    """
    file_id = index = length = start = end = None
    try:
        major, count, pos = cbor.head(payload, 0)
        if major != cbor.MAP:
            raise ValueError("not a map")
        while count:
            if count < 0 and cbor.at_break(payload, pos):
                break
            count -= 1
            major, size, pos = cbor.head(payload, pos)
            if major != cbor.TEXT or size != 1:
                raise ValueError("a key that is not one character")
            key = payload[pos]
            pos += 1
            if key == 0x70:  # p
                major, size, start = cbor.head(payload, pos)
                if major != cbor.BYTES or size < 0:
                    raise ValueError("p is not a byte string")
                if size > len(payload) - start:
                    raise ValueError("p is cut short")
                pos = end = start + size
            elif key in (0x66, 0x69, 0x6C):  # f, i, l
                major, value, pos = cbor.head(payload, pos)
                if major != cbor.UINT or value < 0:
                    raise ValueError("f, i or l is not a number")
                if key == 0x66:
                    file_id = value
                elif key == 0x69:
                    index = value
                else:
                    length = value
            else:
                pos = cbor.skip(payload, pos)
    except (IndexError, ValueError) as error:
        raise BlockError("a block that is not CBOR of a stream: %s" % error)
    if file_id is None or index is None or end is None:
        raise BlockError("a block without f, i or p")
    if length is not None and length != end - start:
        raise BlockError("a block of %d bytes that claims %d" % (end - start, length))
    return file_id, index, start, end


def parse_rejected(payload):
    """Return the error code (str) of a `rejected/cbor` message, "unknown" if it cannot be read.

    AWS spells the key `o`, and `code` for old clients.
    """
    try:
        major, count, pos = cbor.head(payload, 0)
        while major == cbor.MAP and count:
            if count < 0 and cbor.at_break(payload, pos):
                break
            count -= 1
            key_end = cbor.skip(payload, pos)
            key = bytes(payload[pos + 1 : key_end])
            pos = cbor.skip(payload, key_end)
            if key in (b"o", b"code"):
                kind, _, start = cbor.head(payload, key_end)
                if kind == cbor.TEXT:
                    return str(bytes(payload[start:pos]), "utf-8")
    except ValueError:
        pass
    return "unknown"
