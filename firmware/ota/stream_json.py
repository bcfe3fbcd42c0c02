"""Messages of AWS IoT's MQTT file streams in JSON, as `stream_cbor` has them in CBOR. Pure.

Topics end in `/json`; the bitmap of a request is hexadecimal text, a block is base64 (RFC 4648).
"""

import json
from binascii import a2b_base64, hexlify

from . import errors
from .compat import const

NAME = "json"

# Characters of base64 decoded at once, a multiple of 4. The text before p, and that behind it, must
# each fit into so many.
_PIECE = const(256)


def get_request(out, file_id, window):
    """Write a GetStream request for all that a window.Window misses into the bytearray `out`."""
    bits, count = window.bitmap()
    text = '{"c":"rdy","f":%d,"l":%d,"o":%d,"b":"0x%s","n":%d}'
    bits = str(hexlify(bits), "ascii")
    out[:] = (text % (file_id, window.block_size, window.first, bits, count)).encode()


class Data:
    """A `data/json` message. file_id, index: of the block in it; its bytes: start to end."""

    def __init__(self):
        self.file_id = self.index = self.start = self.end = -1

    def read(self, buffer, length):
        """Read the message in the first `length` bytes of `buffer`, and decode its base64 there.

        buffer: bytearray. Keys come in any order; beside f, l, i and p there may be others, of
        numbers or simple texts. Raises BlockError.
        """
        payload = memoryview(buffer)[:length]
        try:
            head = bytes(payload[:_PIECE])
            start = head.find(b'"', head.find(b'"p"') + 3) + 1
            end, after = _decode(payload, start)
            if len(payload) - after > _PIECE:
                raise ValueError("too much beside p")
            fields = _fields(head[:start] + bytes(payload[after:]))
            if fields.get("p") != '""':
                raise ValueError("p is missing or not a text")
            self.file_id, self.index, claimed = [
                _number(fields.get(key, "")) for key in ("f", "i", "l")
            ]
        except ValueError as error:
            raise errors.BlockError("a block that is not JSON of a stream: %s" % error)
        if claimed != end - start:
            raise errors.BlockError("a block of %d bytes that claims %d" % (end - start, claimed))
        self.start, self.end = start, end


def parse_rejected(payload):
    """Return the error code (str) of a `rejected/json` message, "unknown" if it cannot be read."""
    try:
        refusal = json.loads(bytes(payload))
        code = refusal.get("o") or refusal.get("code")
    except (AttributeError, MemoryError, RuntimeError, ValueError):  # also of one that is too deep
        code = None
    return code if isinstance(code, str) else "unknown"


def _decode(payload, start):
    """Decode the base64 text at `start`. Returns where its bytes end, and where its quote is."""
    at = end = start
    padding = 0
    while True:
        text = bytes(payload[at : at + _PIECE])
        length = text.find(b'"')
        last = length >= 0
        if last:
            text = text[:length]
        data = a2b_base64(text)
        # The decoder skips other characters, and then yields less than the text's length promises.
        more = padding and text
        padding = text[-2:].count(b"=")
        size = len(text) // 4 * 3 - padding
        if more or len(text) % 4 or len(data) != size:
            raise ValueError("p is not base64")
        payload[end : end + size] = data
        end += size
        at += len(text)
        if last:
            return end, at
        if at >= len(payload):
            raise ValueError("p is cut short")


def _fields(text):
    """Return the pairs of a flat JSON object as texts (dict of str)."""
    text = str(text, "utf-8").strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError("not an object")
    fields = {}
    for pair in text[1:-1].split(","):
        key, _, value = pair.partition(":")
        key = key.strip()
        if not value or len(key) < 2 or key[0] != '"' or key[-1] != '"' or key[1:-1] in fields:
            raise ValueError("a key that is none, or comes twice")
        fields[key[1:-1]] = value.strip()
    return fields


def _number(text):
    """Return the natural number that a text in JSON is. Raises ValueError."""
    number = int(text)
    if number < 0 or str(number) != text:
        raise ValueError("f, i or l is not a number")
    return number
