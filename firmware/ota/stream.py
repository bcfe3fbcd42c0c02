"""Messages of the MQTT file streams of AWS IoT in CBOR: what is asked for, what comes. No I/O.

Request  `$aws/things/<thing>/streams/<stream>/get/cbor`
Answers  `.../data/cbor`, one message per block; errors on `.../rejected/cbor`
Requests carry `o`, the first missing block, and a bitmap of the window that starts there: the
memory needed does not grow with the file, and to resume one number is enough.
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
        raise errors.BlockError("a block that is not CBOR of a stream: %s" % error)
    if file_id is None or index is None or end is None:
        raise errors.BlockError("a block without f, i or p")
    if length is not None and length != end - start:
        raise errors.BlockError("a block of %d bytes that claims %d" % (end - start, length))
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
