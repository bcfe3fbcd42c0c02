"""Messages of AWS IoT's MQTT file streams in CBOR: requests, blocks, refusals. Pure.

Request  `$aws/things/<thing>/streams/<stream>/get/cbor`
Answers  `.../data/cbor`, one message per block; errors on `.../rejected/cbor`
Requests carry `o`, the first missing block, and a bitmap of the window that starts there: the
memory needed does not grow with the file, and one number is enough to resume.
"""

from . import cbor, errors

NAME = "cbor"


def get_request(out, file_id, window):
    """Write a GetStream request for all that a window.Window misses into the bytearray `out`."""
    bits, count = window.bitmap()
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


class Data:
    """A `data/cbor` message. file_id, index: of the block in it; its bytes: start to end."""

    def __init__(self):
        self.file_id = self.index = self.start = self.end = -1
        self._reader = cbor.Reader()

    def read(self, buffer, length):
        """Read the message in the first `length` bytes of `buffer` (bytearray).

        Takes definite and indefinite maps, keys in any order. Allocates nothing. Raises BlockError.
        """
        self._reader.start(buffer, length)
        self.file_id = self.index = self.end = -1
        try:
            claimed = self._read()
        except ValueError as error:
            raise errors.BlockError("a block that is not CBOR of a stream: %s" % error)
        if self.file_id < 0 or self.index < 0 or self.end < 0:
            raise errors.BlockError("a block without f, i or p")
        size = self.end - self.start
        if claimed >= 0 and claimed != size:
            raise errors.BlockError("a block of %d bytes that claims %d" % (size, claimed))

    def _read(self):
        """Read the map. Returns the length that the block claims, -1 without one."""
        reader = self._reader
        claimed = -1
        reader.head()
        if reader.major != cbor.MAP:
            raise ValueError("not a map")
        count = reader.value
        while count:
            if count < 0 and reader.at_break():
                break
            count -= 1
            reader.head()
            if reader.major != cbor.TEXT or reader.value != 1 or reader.pos >= reader.end:
                raise ValueError("a key that is not one character")
            key = reader.data[reader.pos]
            reader.pos += 1
            if key == 0x70:  # p
                reader.head()
                if reader.major != cbor.BYTES or reader.value < 0:
                    raise ValueError("p is not a byte string")
                self.start = reader.pos
                if reader.value > reader.end - self.start:
                    raise ValueError("p is cut short")
                reader.pos = self.end = self.start + reader.value
            elif key in (0x66, 0x69, 0x6C):  # f, i, l
                reader.head()
                if reader.major != cbor.UINT or reader.value < 0:
                    raise ValueError("f, i or l is not a number")
                if key == 0x66:
                    self.file_id = reader.value
                elif key == 0x69:
                    self.index = reader.value
                else:
                    claimed = reader.value
            else:
                reader.skip()
        return claimed


def parse_rejected(payload):
    """Return the error code (str) of a `rejected/cbor` message, "unknown" if it cannot be read.

    AWS spells the key `o`, and `code` for old clients.
    """
    reader = cbor.Reader(payload)
    try:
        reader.head()
        count = reader.value
        while reader.major == cbor.MAP and count:
            if count < 0 and reader.at_break():
                break
            count -= 1
            at = reader.pos
            reader.skip()
            key, start = bytes(payload[at + 1 : reader.pos]), reader.pos
            reader.skip()
            end = reader.pos
            if key in (b"o", b"code") and payload[start] >> 5 == cbor.TEXT:
                reader.pos = start
                reader.head()
                return str(bytes(payload[reader.pos : end]), "utf-8")
            reader.major = cbor.MAP
    except ValueError:
        pass
    return "unknown"
