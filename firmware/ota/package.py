"""The signed head of a package: record, signature and payload. Pure.

Rules
- The payload, which is the manifest, is read only when its signature holds (`admission`,
  `installed`), or held when it was installed (`keyring`).
- Only the deterministic encoding is accepted (`loads`), and only known fields (`manifest`).
The bytes: magic "OTA\\x01", u32 length L, COSE_Sign1 (RFC 9052), 0xFF up to 4096; then components,
each on a multiple of 4096.
"""

from . import cbor, errors
from .compat import const

HEAD_SIZE = const(4096)
FIRMWARE = const(0)
APPLICATION = const(1)

MAGIC = b"OTA\x01"
_MAX_COSE = const(2000)
_COSE_SIGN1 = const(18)


def is_package(start):
    """Say whether a file that begins with the bytes `start` (at least 4) is a package."""
    return bytes(start[:4]) == MAGIC


def record_of_head(data):
    """Return the record (bytes) of a head: all but its padding. data: the first 4096 bytes.

    Raises PackageError.
    """
    if len(data) < HEAD_SIZE:
        raise errors.PackageError("the package is shorter than its head of %d bytes" % HEAD_SIZE)
    record = record_of(data)
    for i in range(len(record), HEAD_SIZE):
        if data[i] != 0xFF:
            raise errors.PackageError("the head is not padded with 0xFF")
    return record


def split(records):
    """Return the one or two records (bytes) that a slot's trailer holds. Raises PackageError."""
    first = record_of(records)
    rest = records[len(first) :]
    return [first, record_of(rest)] if is_package(rest) else [first]


def opened(record):
    """Take a record apart: payload, algorithm, key id, the bytes that were signed, signature.

    Nothing of the payload is read. Raises PackageError.
    """
    return _readable(_signed, record[8:])


def fields_of(payload):
    """Return the fields of a payload whose signature holds. Raises PackageError."""
    return _readable(loads, payload)


def _readable(read, data):
    try:
        return read(data)
    except ValueError as error:
        raise errors.PackageError("the head cannot be read: %s" % error)


def record_of(data):
    """Return a copy of the record (magic, length, COSE) that `data` begins with.

    Raises PackageError.
    """
    if len(data) < 8 or not is_package(data):
        raise errors.PackageError("the file is not a package: it does not begin with the magic")
    length = int.from_bytes(data[4:8], "big")
    if not 1 <= length <= _MAX_COSE or 8 + length > len(data):
        raise errors.PackageError(
            "the COSE structure has an impossible length of %d bytes" % length
        )
    return bytes(data[: 8 + length])


def _signed(cose):
    """Take a COSE_Sign1 structure apart (RFC 9052, 4.2 and 4.4).

    Returns the payload, algorithm, key id, the bytes that were signed, and the signature.
    """
    tagged = loads(cose)
    parts = getattr(tagged, "value", None)
    if getattr(tagged, "tag", None) != _COSE_SIGN1 or not isinstance(parts, list):
        raise ValueError("it is not a COSE_Sign1 structure")
    if len(parts) != 4 or parts[1] != {}:
        raise ValueError("COSE_Sign1 needs four parts, with an empty unprotected header")
    protected, _, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise ValueError("protected header, payload and signature must be byte strings")
    header = loads(protected)
    if not isinstance(header, dict) or set(header) != {1, 4}:
        raise ValueError("the protected header must hold alg and kid, nothing else")
    if not isinstance(header[1], int) or not isinstance(header[4], bytes):
        raise ValueError("alg must be a number and kid a byte string")
    signed = bytearray()
    cbor.dump(signed, ["Signature1", protected, b"", payload])
    return payload, header[1], header[4], signed, signature


class Tagged:
    """A tagged item: `tag` (int) and `value`."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value


def loads(data):
    """Decode one deterministically encoded item that fills `data`. Raises ValueError."""
    reader = cbor.Reader(data)
    value = _load(reader, cbor.DEPTH)
    if reader.pos != len(data):
        raise ValueError("CBOR is followed by other bytes")
    return value


def _load(reader, depth):
    start = reader.pos
    reader.head()
    major, value, pos = reader.major, reader.value, reader.pos
    if major == cbor.OTHER or value == cbor.INDEFINITE:
        raise ValueError("CBOR holds a float, a simple value or an indefinite length")
    if pos - start > 1 and value < _shortest(pos - start):
        raise ValueError("CBOR spells a number longer than needed")
    reader.check_size()
    if major == cbor.UINT:
        return value
    if major == cbor.NEGATIVE:
        return -1 - value
    if major in (cbor.BYTES, cbor.TEXT):
        if pos + value > reader.end:
            raise ValueError("CBOR ends too early")
        reader.pos = pos + value
        raw = bytes(reader.data[pos : pos + value])
        return raw if major == cbor.BYTES else str(raw, "utf-8")
    if depth == 0:
        raise ValueError("CBOR nests too deep")
    if major == cbor.TAG:
        return Tagged(value, _load(reader, depth - 1))
    if major == cbor.ARRAY:
        return [_load(reader, depth - 1) for _ in range(value)]
    return _load_map(reader, value, depth)


def _shortest(head_size):
    """Return the smallest value that needs a head of `head_size` bytes (2, 3, 5 or 9)."""
    return 24 if head_size == 2 else 1 << 8 * (head_size // 2)


def _load_map(reader, count, depth):
    items = {}
    before = b""
    for _ in range(count):
        start = reader.pos
        key = _load(reader, depth - 1)
        if not isinstance(key, (int, str)):
            raise ValueError("CBOR map key is neither a number nor a text")
        encoded = bytes(reader.data[start : reader.pos])
        if encoded <= before:
            raise ValueError("CBOR map keys are not sorted, or occur twice")
        before = encoded
        items[key] = _load(reader, depth - 1)
    return items
